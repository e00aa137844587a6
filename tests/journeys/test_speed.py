"""The bench in its quick form, as the command is typed: it stands here because it wants both cores, as journeys do."""

import subprocess
import sys

from tests.journeys.conftest import ROOT


def test_training_is_as_right_as_it_was_and_not_half_as_fast() -> None:
    command = [sys.executable, ROOT / "launch.py", "bench", "--no-venv", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
