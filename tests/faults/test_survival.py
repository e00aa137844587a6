"""The table of what was survived says what the tests told: how often, what it cost, how soon work went on, and what did not go well."""

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.conftest import ROOT

TESTS = '''
import pytest

@pytest.mark.fault("a fire")
def test_once():
    pass

@pytest.mark.fault("a fire")
def test_told(record_property):
    record_property("told", (50, "4 steps made again", [1.0, 9.0, 2.0]))

@pytest.mark.fault("a flood", tries=2000)
@pytest.mark.parametrize("way", ["in", "out"])
def test_often(way):
    pass

@pytest.mark.fault("a flood")
def test_not_here():
    pytest.skip("dry land")

@pytest.mark.fault("a quake")
def test_fallen():
    assert False

@pytest.mark.fault("a quake")
def test_never_begun(nothing_of_that_name):
    pass

def test_of_no_fault():
    pass
'''


def test_the_table_counts_what_was_tried_lost_and_not_survived(tmp_path: Path) -> None:
    file = tmp_path / "test_faults.py"
    file.write_text(TESTS)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.faults.survival", "--rootdir", tmp_path, "-m", "fault", file], cwd=ROOT,
        env={**os.environ, "STUDIO_FAULTS": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )
    assert [line for line in ran.stdout.splitlines() if line.startswith("|")] == [
        "| fault | times tried | lost | recovered in seconds (median) |",
        "|---|---|---|---|",
        "| a fire | 51 | 4 steps made again | 2.0 |",
        "| a flood | 4,000 | nothing; 1 not tried here |  |",
        "| a quake | 0 | 2 FAILED |  |",
    ], ran.stdout + ran.stderr
