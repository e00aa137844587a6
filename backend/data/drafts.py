"""Drafts: data sets while they are written. Every change is kept at once, and can be taken back.

    drafts = Drafts(Store.of(workspace))
    draft = drafts.begin("Cats", "messages", author="Ada")
    row = drafts.add(draft.id, conversation("What is a cat?", "A small animal."))
    card = drafts.save(draft.id, datasets)           an immutable version; the draft goes on from it

A row written here is by hand and has its writer as author. A row that came from elsewhere and is edited keeps how it was
made, and has as author who edited it last.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from sqlite3 import Connection
from typing import Any

import orjson

from backend.data import draft_rows, journal, places
from backend.data.draft_rows import Page, Query, Row
from backend.data.journal import Change, Taken
from backend.data.readers import Progress, clip
from backend.data.records import About, Record, RecordKind, content
from backend.data.versions import LONGEST_NAME, Card, Datasets
from backend.errors import UserError
from backend.store import Store
from backend.workspace import new_id

MOST_ROWS = 100_000  # a larger set is mended by rule, not by hand
PROBLEMS_NAMED = 5  # the rest is counted
ROWS_AT_ONCE = 1000  # copied between two words about progress


@dataclass(frozen=True)
class Draft:
    """What there is to know about a draft, beside its rows."""

    id: str
    name: str
    record: RecordKind
    author: str
    guidelines: dict[str, str]
    dataset: str | None  # the data set it is a draft of, and the version it was last like
    version: int | None
    changed: str  # ISO 8601, UTC
    rows: int
    unsaved: bool  # there is something in it that no version has
    undo: str | None  # what undo would take back: "delete 3 rows"
    redo: str | None


class Stale(UserError):
    """A row was changed elsewhere since it was read: `theirs` is what it is now, None where it is gone."""

    def __init__(self, theirs: Row | None) -> None:
        what = f"Row {theirs.number:,} was changed" if theirs else "The row was deleted"
        super().__init__(f"{what} elsewhere while you wrote. Choose which of the two to keep.")
        self.theirs = theirs


class Drafts:
    """The drafts of a workspace."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # ---- drafts

    def list(self) -> Sequence[Draft]:
        """All drafts, the most recently changed first."""
        with self._store.reading() as db:
            return [_draft(db, id) for (id,) in db.execute("SELECT id FROM drafts ORDER BY changed DESC").fetchall()]

    def get(self, id: str) -> Draft:
        """Raises `UserError` where there is no such draft."""
        with self._store.reading() as db:
            return _draft(db, id)

    def begin(self, name: str, record: RecordKind, *, author: str = "") -> Draft:
        """A new draft without rows. Raises `UserError` where it has no name."""
        with self._store.changing() as db:
            return _draft(db, _insert(db, _shown(name), record, _signed(author)))

    def of_dataset(
        self, datasets: Datasets, dataset: str, *, author: str = "", anew: bool = False, progress: Progress | None = None
    ) -> Draft:
        """The draft of a data set; made of its newest version where there is none yet, or where it shall be made `anew`.

        Raises `UserError` where the data set is too large to be edited by hand.
        """
        card = datasets.card(dataset)
        if card.record == "preferences":
            raise UserError(f'"{card.name}" holds preferences, which are labelled or imported, not written. Import it again to change it.')
        with self._store.changing() as db:
            there = db.execute("SELECT id FROM drafts WHERE dataset = ?", (dataset,)).fetchone()
            if there and not anew:
                return _draft(db, *there)
            if card.rows > MOST_ROWS:
                raise UserError(
                    f'"{card.name}" has {card.rows:,} rows; up to {MOST_ROWS:,} can be edited by hand. Mend it under Check, or '
                    "make a smaller set of it with Mix and edit that."
                )
            db.execute("DELETE FROM drafts WHERE dataset = ?", (dataset,))
            id = _insert(db, card.name, card.record, _signed(author), card=card)
            _copy(db, id, datasets.iterate(card.id, card.version), card.rows, progress)
            return _draft(db, id)

    def discard(self, id: str) -> None:
        """Remove a draft and all that is in it; versions saved from it stay."""
        with self._store.changing() as db:
            db.execute("DELETE FROM drafts WHERE id = ?", (id,))

    def sign(self, id: str, author: str) -> None:
        """Say who writes from now on."""
        with self._store.changing() as db:
            db.execute("UPDATE drafts SET author = ? WHERE id = ?", (_signed(author), id))

    def last_author(self) -> str:
        """Who wrote last; empty where nobody did."""
        with self._store.reading() as db:
            return next((author for (author,) in db.execute("SELECT author FROM drafts ORDER BY changed DESC LIMIT 1")), "")

    def rename(self, id: str, name: str) -> None:
        with self._change(id, "rename", typing=True) as (change, draft, _):
            if _shown(name) != draft.name:
                change.describe(name=_shown(name), guidelines=draft.guidelines)

    def guide(self, id: str, guidelines: dict[str, str]) -> None:
        """Set the writing guidelines."""
        with self._change(id, "write guidelines", typing=True) as (change, draft, _):
            cleaned = {part: draft_rows.clean(text) for part, text in guidelines.items()}
            if cleaned != draft.guidelines:
                change.describe(name=draft.name, guidelines=cleaned)

    # ---- rows

    def look(self, id: str, query: Query = Query(), *, page: int = 0, holding: int | None = None) -> Page:  # noqa: B008  frozen
        """One page of the rows a query finds: the one asked for, or the one that holds a row."""
        with self._store.reading() as db:
            return draft_rows.look(db, id, query, page=page, holding=holding)

    def record(self, id: str, row: int) -> Record:
        """What a row says. Raises `Stale` where it is gone."""
        with self._store.reading() as db:
            found = draft_rows.row(db, id, row)
        if found is None:
            raise Stale(None)
        return found.record

    def found(self, id: str, query: Query) -> Sequence[int]:
        """The ids of all rows a query finds, in order."""
        with self._store.reading() as db:
            return draft_rows.ids(db, id, query)

    def unfinished(self, id: str) -> Sequence[tuple[int, int, str]]:
        """(id, number, why) of each row that cannot be learnt from yet, in order."""
        with self._store.reading() as db:
            return draft_rows.unfinished(db, id)

    def add(self, id: str, record: Record, *, behind: int | None = None) -> int:
        """A row behind another, or at the end. Gives its id."""
        return self.add_all(id, [record], behind=behind, label="add a row")[0]

    def add_all(self, id: str, records: Sequence[Record], *, behind: int | None = None, label: str = "") -> Sequence[int]:
        """Rows behind another, or at the end, in one change. Gives their ids."""
        with self._change(id, label or f"paste {_rows(len(records))}") as (change, draft, db):
            spots = _places_behind(db, id, behind, len(records))
            about: About = {"how": "hand", "author": draft.author} if draft.author else {"how": "hand"}
            return [change.add(place, {**_clean(record), "about": about}) for place, record in zip(spots, records, strict=True)]

    def edit(self, id: str, row: int, record: Record, *, based: int) -> Row:
        """What a row says from now on. `based` is the revision it was read at; raises `Stale` where that is not its newest."""
        record = _clean(record)
        with self._change(id, "edit a row", typing=True) as (change, draft, db):
            theirs = draft_rows.row(db, id, row)
            if theirs and content(theirs.record) == content(record):
                return theirs
            if theirs is None or theirs.revision != based:
                raise Stale(theirs)
            change.write(row, record={**record, "about": _edited_by(draft.author, theirs.record)})
            return _there(draft_rows.row(db, id, row))

    def duplicate(self, id: str, rows: Sequence[int]) -> Sequence[int]:
        """A copy of each row, right behind it. Gives the ids of the copies."""
        with self._rows_changing(id, rows, "duplicate") as (change, there, db):
            return [change.add(place, record) for row, record in there.items() for place in _places_behind(db, id, row, 1)]

    def delete(self, id: str, rows: Sequence[int]) -> None:
        with self._rows_changing(id, rows, "delete") as (change, there, _):
            for row in there:
                change.remove(row)

    def move(self, id: str, row: int, *, to: int) -> None:
        """Put a row where it has the number `to`, counted from 1; beyond either end is the end."""
        with self._rows_changing(id, [row], "move") as (change, there, db):
            others = [other for other in draft_rows.ids(db, id) if other != row]
            index = min(max(to - 1, 0), len(others))
            if there and others:
                low = _place(db, others[index - 1]) if index else b""
                (place,) = places.after(low, 1) if index == len(others) else places.between(low, _place(db, others[index]), 1)
                change.write(row, place=place)

    def tag(self, id: str, rows: Sequence[int], tag: str) -> None:
        """Put a tag on rows. Raises `UserError` where it says nothing."""
        tag = draft_rows.clean_tag(tag)
        if not tag:
            raise UserError("The tag is empty. Write a word or two.")
        with self._rows_changing(id, rows, "tag") as (change, there, _):
            for row, record in there.items():
                change.write(row, record=_tagged(record, [*_tags(record), *([] if tag in _tags(record) else [tag])]))

    def untag(self, id: str, rows: Sequence[int], tag: str) -> None:
        """Take a tag off rows."""
        with self._rows_changing(id, rows, "untag") as (change, there, _):
            for row, record in there.items():
                change.write(row, record=_tagged(record, [other for other in _tags(record) if other != tag]))

    def undo(self, id: str) -> Taken | None:
        """Take the newest change back; None where there is none."""
        with self._store.changing() as db:
            return journal.undo(db, _draft(db, id).id)

    def redo(self, id: str) -> Taken | None:
        """Do again what was undone last; None where there is nothing."""
        with self._store.changing() as db:
            return journal.redo(db, _draft(db, id).id)

    # ---- versions

    def save(self, id: str, datasets: Datasets, *, leave_out: bool = False, progress: Progress | None = None) -> Card:
        """Make a version of the draft as it is now; the draft goes on from it, with the rows that were left out.

        Raises `UserError` where a row cannot be learnt from yet, unless such rows are to be left out.
        """
        with self._store.snapshot() as db:
            draft = _draft(db, id)
            _check_name(draft, datasets)
            left = draft_rows.unfinished(db, id)
            if left and not leave_out:
                raise UserError(*_unfinished_in_words(draft, left))
            ((clock,),) = db.execute("SELECT clock FROM drafts WHERE id = ?", (id,))
            card = _write(draft, _finished(db, id), left, datasets, progress)
        with self._store.changing() as db:
            db.execute("UPDATE drafts SET dataset = ?, version = ?, saved = ? WHERE id = ?", (card.id, card.version, clock, id))
        return card

    # ---- how changes are made

    @contextmanager
    def _change(self, id: str, label: str, *, typing: bool = False) -> Iterator[tuple[Change, Draft, Connection]]:
        """A change of a draft, in one transaction with its line in the journal."""
        with self._store.changing() as db:
            draft = _draft(db, id)
            with Change(db, id, label, typing=typing) as change:
                yield change, draft, db

    @contextmanager
    def _rows_changing(self, id: str, rows: Sequence[int], verb: str) -> Iterator[tuple[Change, dict[int, Record], Connection]]:
        """A change of those of the rows that are still there."""
        with self._store.changing() as db:
            found = db.execute(
                "SELECT id, record FROM rows WHERE draft = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY place",
                (id, orjson.dumps(list(rows)).decode()),
            )
            there = {row: orjson.loads(record) for row, record in found.fetchall()}
            with Change(db, id, f"{verb} {_rows(len(there))}") as change:
                yield change, there, db


# ---- drafts as they are kept -----------------------------------------------------------------------------------------


def _draft(db: Connection, id: str) -> Draft:
    found = db.execute(
        "SELECT id, name, record, author, guidelines, dataset, version, changed, clock > saved, "
        "(SELECT count(*) FROM rows WHERE draft = drafts.id) FROM drafts WHERE id = ?",
        (id,),
    ).fetchone()
    if found is None:
        raise UserError("This draft is gone: it was discarded, perhaps in another window. Choose another, or begin a new one.")
    *known, unsaved, rows = found
    id, name, record, author, guidelines, dataset, version, changed = known
    undo, redo = journal.labels(db, id)
    return Draft(id, name, record, author, json.loads(guidelines), dataset, version, changed, rows, bool(unsaved), undo, redo)


def _insert(db: Connection, name: str, record: RecordKind, author: str, *, card: Card | None = None) -> str:
    """A draft without rows; of a version, or new."""
    id = new_id(name)
    guidelines = json.dumps(card.guidelines if card else {}, ensure_ascii=False)
    of = (card.id, card.version) if card else (None, None)
    db.execute(
        "INSERT INTO drafts (id, name, record, author, guidelines, dataset, version, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (id, name, record, author, guidelines, *of, datetime.now(UTC).isoformat(timespec="microseconds")),
    )
    return id


def _copy(db: Connection, draft: str, records: Iterator[Record], rows: int, progress: Progress | None) -> None:
    """The rows of a version into a draft."""
    spots = iter(places.first(rows))
    done = 0
    while part := list(islice(records, ROWS_AT_ONCE)):
        for record in part:
            journal.insert(db, draft, next(spots), record, 0)
        done += len(part)
        if progress:
            progress(done / rows)


def _places_behind(db: Connection, draft: str, behind: int | None, rows: int) -> Sequence[bytes]:
    """Places for rows behind another, or at the end where there is none or it is gone."""
    low = _place(db, behind)
    if low is None:
        low = db.execute("SELECT max(place) FROM rows WHERE draft = ?", (draft,)).fetchone()[0]
        return places.after(low, rows) if low else places.first(rows)
    ((high,),) = db.execute("SELECT min(place) FROM rows WHERE draft = ? AND place > ?", (draft, low))
    return places.between(low, high, rows) if high else places.after(low, rows)


def _place(db: Connection, row: int | None) -> Any:
    """Where a row stands; None where it is gone."""
    return next((place for (place,) in db.execute("SELECT place FROM rows WHERE id = ?", (row,))), None)


# ---- records ---------------------------------------------------------------------------------------------------------


def conversation(user: str, assistant: str, *, system: str | None = None) -> Record:
    """A question and its answer, after a system prompt where there is one."""
    turns: Any = [{"role": "system", "content": system}] if system is not None else []
    return {"messages": [*turns, {"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}


def _clean(record: Record) -> Record:
    """What is learnt from, as it can be kept."""
    if "text" in record:
        return {"text": draft_rows.clean(record["text"])}
    return {"messages": [{"role": turn["role"], "content": draft_rows.clean(turn["content"])} for turn in record["messages"]]}


def _edited_by(author: str, before: Record) -> About:
    """What is known about a row once somebody has edited it: how it was made stays, its author is who wrote last."""
    about: Any = {**before.get("about", {}), "author": author}
    return {name: known for name, known in about.items() if known}  # type: ignore[return-value]


def _tags(record: Record) -> list[str]:
    return record.get("about", {}).get("tags") or []


def _tagged(record: Record, tags: Sequence[str]) -> Record:
    return {**record, "about": {**record.get("about", {}), "tags": list(tags)}}


def _there(row: Row | None) -> Row:
    assert row, "the row was written just now"
    return row


# ---- versions --------------------------------------------------------------------------------------------------------


def _check_name(draft: Draft, datasets: Datasets) -> None:
    """Rows written here never become a version of somebody else's data set by its name alone."""
    if any(card.name == draft.name and card.id != draft.dataset for card in datasets.list()):
        raise UserError(
            f'There is another data set named "{clip(draft.name)}". Give the draft another name, or edit the rows of that one.'
        )


def _finished(db: Connection, draft: str) -> Iterator[Record]:
    for (record,) in db.execute("SELECT record FROM rows WHERE draft = ? AND problem IS NULL ORDER BY place", (draft,)):
        yield orjson.loads(record)


def _write(
    draft: Draft, records: Iterator[Record], left: Sequence[tuple[int, int, str]], datasets: Datasets, progress: Progress | None
) -> Card:
    """The version of a draft; of its data set, if that is still there."""
    of = draft.dataset if any(card.id == draft.dataset for card in datasets.list()) else None
    source = {"made": "by hand", "author": draft.author, **({"from_version": draft.version} if of else {})}
    left_out = Counter(reason for _, _, reason in left)
    with datasets.new_version(draft.name, draft.record) as version:
        for number, record in enumerate(records, start=1):
            version.write(record)
            if progress and number % ROWS_AT_ONCE == 0:
                progress(number / draft.rows)
        return version.keep(source=source, of=of, guidelines=draft.guidelines, left_out=dict(left_out))


def _unfinished_in_words(draft: Draft, left: Sequence[tuple[int, int, str]]) -> list[str]:
    name = clip(draft.name)
    named = left[:PROBLEMS_NAMED]
    problems = [f'Row {number:,} of "{name}" {reason}. Finish it, delete it, or leave it out.' for _, number, reason in named]
    more = len(left) - len(named)
    return [*problems, *([f"{_rows(more).capitalize()} more cannot be learnt from either."] if more else [])]


def _shown(name: str) -> str:
    shown = clip(re.sub(r"\s+", " ", draft_rows.clean(name)).strip(), max_chars=LONGEST_NAME)
    if not shown:
        raise UserError("The draft has no name. Give it one, so that you can find it again.")
    return shown


def _signed(author: str) -> str:
    return re.sub(r"\s+", " ", draft_rows.clean(author)).strip()[:LONGEST_NAME]


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"
