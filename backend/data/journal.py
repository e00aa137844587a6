"""What was done to a draft, so that it can be taken back and done again, also after a restart.

    with store.changing() as db, Change(db, draft_id, "delete 3 rows") as change:
        change.remove(7)
    with store.changing() as db:
        undo(db, draft_id)

A change keeps an image of each row as it was and as it became. Typing in one row for a while is one change.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import Any, Literal

import orjson

from backend.data.records import Record, how_of
from backend.data.shapes import Mapping, RowProblem, to_record

DRAFT = 0  # in place of a row: the draft itself, its name and its guidelines
CHANGES_KEPT = 1000
TYPING_SECONDS = 10  # one change, however often it is saved meanwhile
TAG_MARK = "\x1f"  # stands around each tag in the column that tags are found by

_WHOLE = {
    "messages": Mapping(shape="messages", columns={"messages": "messages"}),
    "text": Mapping(shape="text", columns={"text": "text"}),
}


@dataclass(frozen=True)
class Image:
    """A row at one time: where it stands and what it says, as JSON. Of the draft: its name and guidelines, as JSON."""

    place: bytes
    record: str


class Change:
    """Rows of a draft being changed. What it changed is put into the journal at the end; nothing changed, nothing noted."""

    def __init__(self, db: Connection, draft: str, label: str, *, typing: bool = False) -> None:
        self._db, self._draft, self._label, self._typing = db, draft, label, typing
        self._images: dict[int, tuple[Image | None, Image | None]] = {}
        self._revision: int | None = None

    def __enter__(self) -> "Change":
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: Any) -> None:
        if self._images and not fault:
            self._note()

    def add(self, place: bytes, record: Record) -> int:
        """A new row, by its id."""
        row = insert(self._db, self._draft, place, record, self._tick())
        self._images[row] = (None, Image(place, as_json(record)))
        return row

    def write(self, row: int, *, record: Record | None = None, place: bytes | None = None) -> None:
        """Another text, another place, or both for a row."""
        before = image(self._db, self._draft, row)
        assert before, "what is changed is there"
        after = Image(before.place if place is None else place, before.record if record is None else as_json(record))
        self._put(row, before, after)

    def remove(self, row: int) -> None:
        self._put(row, image(self._db, self._draft, row), None)

    def describe(self, *, name: str, guidelines: dict[str, str]) -> None:
        """Another name, other guidelines for the draft itself."""
        described = json.dumps({"name": name, "guidelines": guidelines}, ensure_ascii=False)
        self._put(DRAFT, image(self._db, self._draft, DRAFT), Image(b"", described))

    def _put(self, row: int, before: Image | None, after: Image | None) -> None:
        self._images[row] = (before, after)
        put(self._db, self._draft, row, after, self._tick())

    def _tick(self) -> int:
        """The revision of all that this changes."""
        if self._revision is None:
            self._revision = tick(self._db, self._draft)
        return self._revision

    def _note(self) -> None:
        """Put the change into the journal; what was undone before it cannot be done again."""
        ((done, newest),) = self._db.execute(
            "SELECT done, (SELECT max(number) FROM changes WHERE draft = id) FROM drafts WHERE id = ?", (self._draft,)
        )
        if self._typing and newest == done and self._goes_on(done):
            return
        self._db.execute("DELETE FROM changes WHERE draft = ? AND number > ?", (self._draft, done))
        self._db.execute("INSERT INTO changes VALUES (?, ?, ?, ?)", (self._draft, done + 1, self._label, time.time()))
        self._db.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", (
            (self._draft, done + 1, row, *_columns_of(before), *_columns_of(after)) for row, (before, after) in self._images.items()
        ))  # fmt: skip
        self._db.execute("UPDATE drafts SET done = ? WHERE id = ?", (done + 1, self._draft))
        self._db.execute("DELETE FROM changes WHERE draft = ? AND number <= ?", (self._draft, done + 1 - CHANGES_KEPT))

    def _goes_on(self, newest: int) -> bool:
        """Whether this is more typing of the change before, which then has this as its end."""
        ((row, (_, after)),) = self._images.items()
        before = self._db.execute(
            "SELECT row FROM images JOIN changes ON changes.draft = images.draft AND number = change "
            "WHERE images.draft = ? AND change = ? AND label = ? AND at > ? LIMIT 2",
            (self._draft, newest, self._label, time.time() - TYPING_SECONDS),
        ).fetchall()
        if before != [(row,)]:
            return False
        self._db.execute(
            "UPDATE images SET place_after = ?, record_after = ? WHERE draft = ? AND change = ?",
            (*_columns_of(after), self._draft, newest),
        )
        return True


@dataclass(frozen=True)
class Taken:
    """What undo or redo did: its label, and the rows it touched."""

    label: str
    rows: Sequence[int]


def undo(db: Connection, draft: str) -> Taken | None:
    """Take the newest change back; None where there is none."""
    number = _done(db, draft)
    taken = _replay(db, draft, number, "before")
    if taken:
        db.execute("UPDATE drafts SET done = ? WHERE id = ?", (number - 1, draft))
    return taken


def redo(db: Connection, draft: str) -> Taken | None:
    """Do again what was undone last; None where there is nothing."""
    number = _done(db, draft) + 1
    taken = _replay(db, draft, number, "after")
    if taken:
        db.execute("UPDATE drafts SET done = ? WHERE id = ?", (number, draft))
    return taken


def labels(db: Connection, draft: str) -> tuple[str | None, str | None]:
    """What undo would take back, and what redo would do again."""
    done = _done(db, draft)
    found = dict(db.execute("SELECT number, label FROM changes WHERE draft = ? AND number IN (?, ?)", (draft, done, done + 1)))
    return found.get(done), found.get(done + 1)


# ---- rows as they are kept -------------------------------------------------------------------------------------------


def tick(db: Connection, draft: str) -> int:
    """The draft's clock, one further."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    ((clock,),) = db.execute("UPDATE drafts SET clock = clock + 1, changed = ? WHERE id = ? RETURNING clock", (now, draft)).fetchall()
    return clock


def insert(db: Connection, draft: str, place: bytes, record: Record, revision: int) -> int:
    """A row under an id of its own."""
    columns = (draft, place, revision, as_json(record), *_found_by(record))
    row = db.execute(
        "INSERT INTO rows (draft, place, revision, record, how, tags, problem, folded) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", columns
    ).lastrowid
    assert row, "SQLite gives each row an id"
    return row


def image(db: Connection, draft: str, row: int) -> Image | None:
    """A row, or the draft itself, as it is now."""
    if row == DRAFT:
        ((name, guidelines),) = db.execute("SELECT name, guidelines FROM drafts WHERE id = ?", (draft,))
        return Image(b"", json.dumps({"name": name, "guidelines": json.loads(guidelines)}, ensure_ascii=False))
    found = db.execute("SELECT place, record FROM rows WHERE id = ? AND draft = ?", (row, draft)).fetchone()
    return Image(*found) if found else None


def put(db: Connection, draft: str, row: int, image: Image | None, revision: int) -> None:
    """Make a row, or the draft itself, what an image says."""
    if row == DRAFT:
        assert image, "a draft is never undone away"
        described = json.loads(image.record)
        guidelines = json.dumps(described["guidelines"], ensure_ascii=False)
        db.execute("UPDATE drafts SET name = ?, guidelines = ? WHERE id = ?", (described["name"], guidelines, draft))
    elif image is None:
        db.execute("DELETE FROM rows WHERE id = ? AND draft = ?", (row, draft))
    else:
        db.execute(
            "INSERT OR REPLACE INTO rows (id, draft, place, revision, record, how, tags, problem, folded) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (row, draft, image.place, revision, image.record, *_found_by(orjson.loads(image.record))),
        )


def as_json(record: Record) -> str:
    return orjson.dumps(record).decode()


def problem_of(record: Record) -> str | None:
    """Why a row cannot be learnt from yet, to go on after "Row 14 ..."; None where it can."""
    try:
        to_record(dict(record), _WHOLE["text" if "text" in record else "messages"])
    except RowProblem as problem:
        return problem.reason
    return None


def _found_by(record: Record) -> tuple[str, str, str | None, str]:
    """What rows are found by: how they were made, their tags, what is wrong with them, their words."""
    tags = record.get("about", {}).get("tags") or []
    marked = TAG_MARK + TAG_MARK.join(tags) + TAG_MARK if tags else ""
    words = record["text"] if "text" in record else "\n".join(turn["content"] for turn in record["messages"])
    return how_of(record), marked, problem_of(record), words.casefold()


def _replay(db: Connection, draft: str, number: int, side: Literal["before", "after"]) -> Taken | None:
    found = db.execute("SELECT label FROM changes WHERE draft = ? AND number = ?", (draft, number)).fetchone()
    if found is None:
        return None
    revision = tick(db, draft)
    images = db.execute(
        f"SELECT row, place_{side}, record_{side} FROM images WHERE draft = ? AND change = ?", (draft, number)
    ).fetchall()
    for row, place, record in images:
        put(db, draft, row, None if record is None else Image(place, record), revision)
    return Taken(found[0], [row for row, _, record in images if row != DRAFT and record is not None])


def _done(db: Connection, draft: str) -> int:
    return db.execute("SELECT done FROM drafts WHERE id = ?", (draft,)).fetchone()[0]


def _columns_of(image: Image | None) -> tuple[Any, Any]:
    return (image.place, image.record) if image else (None, None)
