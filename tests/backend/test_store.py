"""The workspace's SQLite file: older ones are brought up to date, and one that cannot be used is left as it is."""

import sqlite3
import threading
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.labelling.items import Labels
from backend.labelling.talking import ChatVotes
from backend.store import SCHEMAS, Store


def older(path: Path, version: int) -> None:
    """A file as a studio with so many schemas left it, with a draft in it."""
    db = sqlite3.connect(path, isolation_level=None)
    for schema in SCHEMAS[:version]:
        for statement in filter(str.strip, schema.split(";\n")):
            db.execute(statement)
    db.execute("INSERT INTO drafts (id, name, record, author, guidelines, changed) VALUES ('poems-1', 'poems', 'text', 'ada', '{}', '')")
    db.execute(f"PRAGMA user_version = {version}")
    db.close()


def drafts(db: sqlite3.Connection) -> list[tuple]:
    return db.execute("SELECT id, name FROM drafts").fetchall()


def tables(path: Path) -> list[tuple]:
    db = sqlite3.connect(path)
    try:
        return sorted(db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall())
    finally:
        db.close()


@pytest.mark.parametrize("version", range(1, len(SCHEMAS)))
def test_an_older_file_is_brought_up_to_date_and_a_copy_kept(tmp_path: Path, version: int) -> None:
    older(tmp_path / "studio.db", version)
    store = Store(tmp_path / "studio.db")
    with store.reading() as db:
        assert drafts(db) == [("poems-1", "poems")]
    store.close()
    Store(tmp_path / "new.db").close()
    assert tables(tmp_path / "studio.db") == tables(tmp_path / "new.db")
    kept = sqlite3.connect(tmp_path / f"studio.db.v{version}.backup")
    assert kept.execute("PRAGMA user_version").fetchone() == (version,) and drafts(kept) == [("poems-1", "poems")]


def test_votes_an_older_file_marked_as_taken_back_are_taken_back_by_a_record_of_their_own(tmp_path: Path) -> None:
    older(tmp_path / "studio.db", 3)
    db = sqlite3.connect(tmp_path / "studio.db", isolation_level=None)
    db.execute("INSERT INTO label_batches VALUES ('b', 'first round', '', 1, '', '{}')")
    db.execute("INSERT INTO label_items VALUES ('b', 0, '{}')")
    for verdict, undone in (("tie", 5.0), ("ranked", 7.0), ("both bad", 0)):
        db.execute(
            "INSERT INTO label_votes (batch, item, annotator, verdict, ranks, shown, repeat, seconds, at, undone) "
            "VALUES ('b', 0, 'ada', ?, '[]', '[1,0]', 0, 2, 4, ?)", (verdict, undone),
        )  # fmt: skip
    for turn, undone in ((0, 6.0), (0, 0), (1, 8.0)):
        db.execute(
            "INSERT INTO chat_votes (talk, turn, prompt, left_answer, right_answer, verdict, same_history, annotator, at, undone) "
            """VALUES ('t', ?, '[]', '{"answer":[],"made":{}}', '{"answer":[],"made":{}}', 'left', 1, 'ada', 4, ?)""", (turn, undone),
        )  # fmt: skip
    db.close()
    store = Store(tmp_path / "studio.db")
    labels, votes = Labels(store), ChatVotes(store)
    assert [(vote.verdict, vote.undone) for vote in labels.votes("b", undone=True)] == [("tie", 5.0), ("ranked", 7.0), ("both bad", 0.0)]
    assert [vote.verdict for vote in labels.votes("b")] == ["both bad"] and labels.turn("b", "ada") == 5
    assert [(vote.talk, vote.turn) for vote in votes.votes()] == [("t", 0)] and votes.count() == 1
    with store.reading() as db:
        assert db.execute("SELECT vote, at FROM label_undos").fetchall() == [(1, 5.0), (2, 7.0)]
        assert db.execute("SELECT vote, at FROM chat_undos").fetchall() == [(1, 6.0), (3, 8.0)]


def test_a_file_that_is_up_to_date_or_new_leaves_no_copy(tmp_path: Path) -> None:
    Store(tmp_path / "studio.db").close()
    Store(tmp_path / "studio.db").close()
    assert list(tmp_path.glob("*backup*")) == []


@pytest.mark.fault("the database is damaged, locked, older or newer")
def test_a_step_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(tmp_path / "studio.db", 1)
    before = tables(tmp_path / "studio.db")
    monkeypatch.setattr("backend.store.SCHEMAS", (*SCHEMAS[:2], "CREATE TABLE cats (name TEXT);\nCREATE TABLE cats (name TEXT);\n"))
    with pytest.raises(UserError, match="cannot be used"):
        Store(tmp_path / "studio.db")
    assert tables(tmp_path / "studio.db") == before


@pytest.mark.fault("the database is damaged, locked, older or newer")
@pytest.mark.parametrize("content", [b"not a database at all " * 400, b"SQLite format 3\0" + bytes(7 * place % 256 for place in range(8000))], ids=["text", "a header only"])
def test_a_damaged_file_ends_in_a_sentence_and_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "studio.db"
    file.write_bytes(content)
    with pytest.raises(UserError, match="cannot be used"):
        Store(file)
    assert file.read_bytes() == content


@pytest.mark.fault("the database is damaged, locked, older or newer")
def test_a_newer_file_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    older(tmp_path / "studio.db", 1)
    db = sqlite3.connect(tmp_path / "studio.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(UserError, match="newer studio"):
        Store(tmp_path / "studio.db")
    assert list(tmp_path.glob("*backup*")) == []


@pytest.mark.fault("the database is damaged, locked, older or newer")
def test_a_locked_file_ends_in_a_sentence_and_opens_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.store.BUSY_SECONDS", 0.2)
    store = Store(tmp_path / "studio.db")
    other = sqlite3.connect(tmp_path / "studio.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match="another program"), store.changing():
        pass
    other.execute("ROLLBACK")
    with store.changing() as db:
        db.execute("INSERT INTO drafts (id, name, record, author, guidelines, changed) VALUES ('a-1', 'a', 'text', 'ada', '{}', '')")
    assert len(drafts(other)) == 1


@pytest.mark.fault("the database is damaged, locked, older or newer")
def test_two_processes_that_open_an_older_file_at_once_bring_it_up_to_date_once(tmp_path: Path) -> None:
    older(tmp_path / "studio.db", 1)
    failures: list[BaseException] = []

    def open_it() -> None:
        try:
            Store(tmp_path / "studio.db").close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store(tmp_path / "studio.db").reading() as db:
        assert drafts(db) == [("poems-1", "poems")]
