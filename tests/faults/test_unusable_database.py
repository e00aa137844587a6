"""A studio whose database cannot be used: it opens, trains and chats; whoever asks for rows or votes is told, and the file stays as it is."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.main import build
from app.studio import Studio
from backend.data.versions import Card
from backend.errors import UserError
from backend.store import Store
from backend.workspace import Workspace
from tests.backend.test_engine import idle, spec_for


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


@pytest.mark.fault("the database is damaged, locked, older or newer")
@pytest.mark.parametrize(("fault", "words"), [(damaged, "cannot be used"), (newer, "newer studio"), (locked, "cannot be used")])
def test_a_studio_whose_database_cannot_be_used_opens_and_trains_and_says_so_where_it_is_needed(
    fault: Callable[[Path], Iterator[None]], words: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch, tell: Callable[..., None]
) -> None:
    monkeypatch.setattr("backend.store.BUSY_SECONDS", 0.2)
    file = workspace.root / "studio.db"
    Store(file).close()
    with fault(file):  # type: ignore[attr-defined]
        before = hashlib.sha256(file.read_bytes()).hexdigest()
        studio = Studio.open(workspace.root)
        build(studio)
        for asked in (lambda: studio.labels, lambda: studio.drafts):
            with pytest.raises(UserError, match=words):
                asked()
        run = studio.runs.get(studio.engine.submit(spec_for(dataset)))
        idle(studio.engine)
        assert run.status == "done"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    assert list(workspace.root.glob("*backup*")) == []
    if fault is locked:
        assert studio.labels.batches() == [], "once the other program is gone"
    studio.engine._studio_lock.release()
    tell(tried=1, lost="nothing")
