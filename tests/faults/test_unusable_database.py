"""The studio as a user starts it, watcher and all, where its database cannot be used: a sentence, an untouched file, and no loop."""

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import ROOT

FAULT = "the database is damaged, locked, older or newer"


@contextmanager
def damaged(file: Path) -> Iterator[None]:
    content = bytearray(file.read_bytes())
    content[16:100] = bytes(84)  # the rest of the header
    file.write_bytes(content)
    yield


@contextmanager
def newer(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")
    yield


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.fault(FAULT)
@pytest.mark.parametrize(("fault", "words"), [(damaged, "cannot be used"), (newer, "newer studio"), (locked, "another program")])
def test_a_studio_whose_database_cannot_be_used_says_so_once_and_leaves_it_as_it_is(
    fault: Callable[[Path], Iterator[None]], words: str, tmp_path: Path, tell: Callable[..., None]
) -> None:
    from backend.store import Store

    workspace = tmp_path / "workspace"
    workspace.mkdir()
    file = workspace / "studio.db"
    Store(file).close()
    command = [sys.executable, "launch.py", "--no-venv", "--no-browser", f"--workspace={workspace}"]
    with fault(file):
        before = hashlib.sha256(file.read_bytes()).hexdigest()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count(words) == 1 and done.stderr.count("studio.db") >= 1, done.stderr
    tell(tried=1, lost="nothing")
