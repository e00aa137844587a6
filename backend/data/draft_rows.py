"""The rows of a draft, looked at: a page of them, searched and filtered, counted."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

import orjson

from backend.data.journal import TAG_MARK
from backend.data.records import Record

PAGE = 25  # rows: each is a card with fields to write in


@dataclass(frozen=True)
class Query:
    """Which rows are looked for: those that fit all of it."""

    words: str = ""  # somewhere in the row, whatever the case
    tag: str = ""
    how: str = ""  # "hand", "imported", "template", "generated", "augmented"
    unfinished: bool = False  # not to be learnt from yet


@dataclass(frozen=True)
class Row:
    """A row of a draft. `revision` says which state of it this is: an edit names the one it began from."""

    id: int
    number: int  # counted from 1, over the whole draft
    revision: int
    record: Record
    problem: str | None  # why it cannot be learnt from yet; goes on after "Row 14 ..."


@dataclass(frozen=True)
class Page:
    """A page of the rows a query found, and what there is to choose from."""

    rows: Sequence[Row]
    page: int  # counted from 0
    pages: int
    found: int  # rows that fit the query
    rows_there: int
    unfinished: int
    tags: dict[str, int]  # rows by tag
    hows: dict[str, int]  # rows by how they were made


def look(db: Connection, draft: str, query: Query, *, page: int = 0, holding: int | None = None) -> Page:
    """One page of what a query finds: the one asked for, or the one that holds a row."""
    every = ids(db, draft)
    found = every if query == Query() else ids(db, draft, query)
    if holding in found:
        page = found.index(holding) // PAGE
    pages = max(1, -(-len(found) // PAGE))
    page = min(max(page, 0), pages - 1)
    shown = found[page * PAGE : (page + 1) * PAGE]
    return Page(_rows(db, shown, every), page, pages, len(found), len(every), _unfinished(db, draft), _tags(db, draft), _hows(db, draft))


def ids(db: Connection, draft: str, query: Query | None = None) -> list[int]:
    """The ids of the rows a query finds, in order; of all rows without one."""
    conditions, values = _conditions(query or Query())
    found = db.execute(f"SELECT id FROM rows WHERE {' AND '.join(['draft = ?', *conditions])} ORDER BY place", (draft, *values))
    return [id for (id,) in found]


def row(db: Connection, draft: str, id: int) -> Row | None:
    """One row, as it is now; None where it is gone."""
    found = db.execute("SELECT place, revision, record, problem FROM rows WHERE id = ? AND draft = ?", (id, draft)).fetchone()
    if found is None:
        return None
    place, revision, record, problem = found
    ((number,),) = db.execute("SELECT count(*) FROM rows WHERE draft = ? AND place <= ?", (draft, place))
    return Row(id, number, revision, orjson.loads(record), problem)


def unfinished(db: Connection, draft: str) -> list[tuple[int, int, str]]:
    """(id, number, why) of each row that cannot be learnt from yet, in order."""
    reasons = dict(db.execute("SELECT id, problem FROM rows WHERE draft = ? AND problem IS NOT NULL", (draft,)))
    return [(id, number, reasons[id]) for number, id in enumerate(ids(db, draft), start=1) if id in reasons]


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    wanted: dict[str, Any] = {}
    if words := query.words.casefold().strip():
        wanted["instr(folded, ?) > 0"] = words
    if query.tag:
        wanted["instr(tags, ?) > 0"] = f"{TAG_MARK}{query.tag}{TAG_MARK}"
    if query.how:
        wanted["how = ?"] = query.how
    conditions = [*wanted, *(["problem IS NOT NULL"] if query.unfinished else [])]
    return conditions, list(wanted.values())


def _rows(db: Connection, shown: Sequence[int], every: Sequence[int]) -> list[Row]:
    wanted = set(shown)
    numbers = {id: number for number, id in enumerate(every, start=1) if id in wanted}
    rows = db.execute(
        "SELECT id, revision, record, problem FROM rows WHERE id IN (SELECT value FROM json_each(?))", (orjson.dumps(shown).decode(),)
    )
    kept = {id: Row(id, numbers[id], revision, orjson.loads(record), problem) for id, revision, record, problem in rows}
    return [kept[id] for id in shown]


def _unfinished(db: Connection, draft: str) -> int:
    return db.execute("SELECT count(*) FROM rows WHERE draft = ? AND problem IS NOT NULL", (draft,)).fetchone()[0]


def _tags(db: Connection, draft: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for marked, rows in db.execute("SELECT tags, count(*) FROM rows WHERE draft = ? AND tags <> '' GROUP BY tags", (draft,)):
        counts.update(dict.fromkeys(marked.strip(TAG_MARK).split(TAG_MARK), rows))
    return dict(counts.most_common())


def _hows(db: Connection, draft: str) -> dict[str, int]:
    return dict(db.execute("SELECT how, count(*) FROM rows WHERE draft = ? GROUP BY how ORDER BY count(*) DESC", (draft,)).fetchall())


def clean(text: str) -> str:
    """The text as it can be kept: half a surrogate pair, as a browser may send it, stands for no character."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_tag(text: str) -> str:
    """A tag in one line, without the marks that separate tags."""
    return re.sub(r"[\s\x00-\x1f]+", " ", clean(text)).strip()[:60]
