"""The workspace's SQLite file as it lies on the disk: it is written ahead, and where its bytes went wrong it says so."""

import sqlite3
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.store import Store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A draft of 500 poems, over many pages of the file."""
    store = Store(tmp_path / "studio.db")
    with store.changing() as db:
        db.execute("INSERT INTO drafts (id, name, record, author, guidelines, changed) VALUES ('poems-1', 'poems', 'text', 'ada', '{}', '')")
        db.executemany(
            "INSERT INTO rows (draft, place, revision, record, how, tags, folded) VALUES ('poems-1', ?, 1, ?, 'written', '', '')",
            [(place.to_bytes(2, "big"), f'{{"text": "poem number {place}"}}') for place in range(500)],
        )
    store.close()
    return store.path


def test_it_is_written_ahead(file: Path) -> None:
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store = Store(file)
    with store.changing() as db:
        db.execute("UPDATE drafts SET name = 'verses'")
        with store.snapshot() as seen:  # who reads does not wait for who writes
            assert seen.execute("SELECT name FROM drafts").fetchone() == ("poems",)


@pytest.mark.fault("the database is damaged, locked, older or newer")
@pytest.mark.parametrize("damage", ["of a page's places", "of a text"])
def test_damage_inside_it_ends_in_a_sentence_and_leaves_it_as_it_is(file: Path, damage: str) -> None:
    content = bytearray(file.read_bytes())
    page_bytes = int.from_bytes(content[16:18], "big")  # https://sqlite.org/fileformat.html
    text = content.index(b"poem number 300")
    page = text - text % page_bytes
    first, count = (page + 8, 50) if damage == "of a page's places" else (text, 4)  # where its rows lie stands from byte 8 on
    content[first : first + count] = b"\xff" * count
    file.write_bytes(content)

    store = Store(file)
    with pytest.raises(UserError, match="cannot be used .* the file damaged.* nothing was changed"), store.reading() as db:
        db.execute("SELECT record FROM rows").fetchall()
    if damage == "of a page's places":
        with pytest.raises(UserError, match="malformed"), store.changing() as db:
            db.execute("UPDATE rows SET revision = 2")
    store.close()
    assert file.read_bytes() == content
