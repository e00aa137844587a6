"""Saved data sets: immutable Parquet files, each with a card that says what it is and where it came from.

    datasets = Datasets(workspace)
    card = datasets.save(records, name="Cats", record="messages", source={"made": "by hand"})
    for record in datasets.iterate(card.id): ...

    datasets/<id>/v1.parquet    messages: list<struct<role, content>>, or text: string; about: struct
    datasets/<id>/v1.json       the card; a version is there when its card is

Saving again under the same name makes the next version; saving the same rows again gives back the one there is.
"""

import hashlib
import json
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from backend.data import parquet
from backend.data.readers import Progress, clip
from backend.data.records import Record, RecordKind, canonical, content, how_of
from backend.data.shapes import Shape
from backend.errors import UserError
from backend.workspace import Workspace, is_id, new_id, write_whole

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

LONGEST_NAME = 120  # characters
SURELY_LEFT_SECONDS = 24 * 3600
NOTHING_KNOWN = canonical({})


class Card(BaseModel):
    """What a version is: its rows, their hash, where they came from and what was noticed on the way."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    id: str
    name: str
    version: int
    record: RecordKind
    shape: Shape
    rows: int
    sha256: str  # of the records, so the same rows have the same hash whatever file they came from
    about_sha256: str = ""  # of what is known about them
    made: dict[str, int] = {}  # rows by how they came about: by hand, imported, template, generated, augmented
    source: dict[str, Any]  # file, format, encoding, delimiter, list_field, header, mapping; or how they were made here
    guidelines: dict[str, str] = {}  # how to write rows for it
    left_out: dict[str, int] = {}  # rows not saved, by reason
    notes: dict[str, int] = {}  # rows saved and worth a look, by reason
    created: str  # ISO 8601, UTC


class Datasets:
    """The data sets of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.root = workspace.datasets

    def list(self) -> list[Card]:
        """The newest version of every data set, the most recently made first; unreadable cards are passed over."""
        newest: dict[str, Card] = {}
        for path in self.root.glob("*/v*.json"):
            card = _read_card(path)
            if card and (card.id not in newest or card.version > newest[card.id].version):
                newest[card.id] = card
        return sorted(newest.values(), key=lambda card: card.created, reverse=True)

    def card(self, id: str, version: int | None = None) -> Card:
        """One version; the newest if none is named. Raises `UserError` where there is none."""
        numbers = self.versions(id)
        wanted = numbers[-1] if version is None else version
        if wanted not in numbers:
            there = ", ".join(map(str, numbers))
            raise UserError(f'Data set "{id}" has no version {wanted}. Choose one it has: {there}.')
        card = _read_card(self.root / id / f"v{wanted}.json")
        if card is None:
            raise UserError(f'The card of data set "{id}", version {wanted}, cannot be read. Import the file again.')
        return card

    def versions(self, id: str) -> Sequence[int]:
        """The numbers of its versions, oldest first. Raises `UserError` where there is no such data set."""
        cards = (self.root / id).glob("v*.json") if is_id(id) else []
        numbers = sorted(_version_number(path) for path in cards if path.stem[1:].isdecimal())
        if not numbers:
            raise UserError(f'There is no data set "{clip(id)}" here. Choose another, or import its file again.')
        return numbers

    def rows(self, id: str, version: int | None = None, *, offset: int = 0, limit: int = 50) -> Sequence[Record]:
        """`limit` records from `offset` on, reading only the row groups they are in."""
        with self.opened(self.card(id, version)) as file:
            return list(parquet.page(file, offset, limit))

    def at(self, id: str, version: int, numbers: Sequence[int]) -> Sequence[Record]:
        """The records of some numbers, counted from 0 and ascending."""
        with self.opened(self.card(id, version)) as file:
            return list(parquet.at(file, numbers))

    def sample(self, id: str, version: int | None = None, *, limit: int) -> Sequence[Record]:
        """Every record, or where there are more than `limit` about that many, spread evenly over the version."""
        with self.opened(self.card(id, version)) as file:
            return list(parquet.sample(file, limit))

    def iterate(self, id: str, version: int | None = None) -> Iterator[Record]:
        """Every record, in order, in bounded memory."""
        card = self.card(id, version)  # what is missing is said now, and not at the first record
        return self._iterate(card)

    def proven(self, id: str, version: int | None = None, *, before_each: Callable[[], None] = lambda: None) -> Sequence[Record]:
        """Every record, once they have proved to be what was saved: a file changed by other hands is another version.

        `before_each` may break off the reading by raising. Raises `UserError` where they are not what was saved.
        """
        card, sha256 = self.card(id, version), hashlib.sha256()
        records: list[Record] = []
        for each in self._iterate(card):
            before_each()
            sha256.update(content(each))
            records.append(each)
        if sha256.hexdigest() != card.sha256:
            raise UserError(
                f'The rows of "{card.name}", version {card.version}, are not those that were saved: the file was changed since. '
                "Choose another version, or import the file again."
            )
        return records

    def save(
        self, records: Iterable[Record], *, name: str, record: RecordKind, source: dict[str, Any], of: str | None = None,
        guidelines: dict[str, str] | None = None, again: bool = False, progress: Progress | None = None, rows: int = 0,
    ) -> Card:
        """Save records made here as a version, in bounded memory; all of them or none.

        `of` names the data set it is a version of, else the name does. `again` makes a version even of rows that are
        saved already. `progress` is told the share of `rows` done. Raises `UserError` where there are none to save.
        """
        with self.new_version(name, record) as version:
            for number, each in enumerate(records, start=1):
                version.write(each)
                if progress and rows and number % 500 == 0:
                    progress(min(number / rows, 1.0))
            return version.keep(source=source, of=of, guidelines=guidelines, again=again)

    @contextmanager
    def new_version(self, name: str, record: RecordKind) -> Iterator["NewVersion"]:
        """A version being written. Left without `keep`, or by a fault, nothing of it stays."""
        name = _shown_name(name)
        path = self.root / f".{secrets.token_hex(8)}.partial"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with NewVersion(self, path, name, record) as version:
                yield version
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f'"{name}" cannot be saved ({reason}). Make room or choose another workspace.') from error
        finally:
            path.unlink(missing_ok=True)

    def delete(self, id: str) -> None:
        """Remove a data set and all its versions. Raises `UserError` where there is none."""
        self.versions(id)
        doomed = self.root / f".{id}.{secrets.token_hex(4)}.deleted"
        try:
            (self.root / id).rename(doomed)  # gone at once, even if clearing up is cut short
        except OSError as error:
            raise UserError(f'Data set "{id}" cannot be deleted ({error.strerror}). Is the folder writable?') from error
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a killed import or deletion left behind; nothing young, which another process may be writing."""
        for left in [*self.root.glob(".*.partial"), *self.root.glob(".*.deleted")]:
            if time.time() - left.stat().st_mtime > SURELY_LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)

    @contextmanager
    def opened(self, card: Card) -> "Iterator[ParquetFile]":
        """The file of a version. Raises `UserError` where it is missing or damaged."""
        import pyarrow
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(self.root / card.id / f"v{card.version}.parquet") as file:
                yield file
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(
                f'The rows of "{card.name}", version {card.version}, are missing or damaged. Import the file again.'
            ) from error

    def _iterate(self, card: Card) -> Iterator[Record]:
        with self.opened(card) as file:
            yield from parquet.all_records(file)


class NewVersion:
    """A version being written: `write` each record, then `keep` it."""

    def __init__(self, datasets: Datasets, path: Path, name: str, record: RecordKind) -> None:
        self._datasets, self._path, self._name, self._record = datasets, path, name, record
        self._writer = parquet.RecordWriter(path, record)
        self._sha256, self._about = hashlib.sha256(), hashlib.sha256()
        self._made: Counter[str] = Counter()

    def __enter__(self) -> "NewVersion":
        return self

    def __exit__(self, *fault: Any) -> None:
        self._writer.close()

    def write(self, record: Record, known_content: bytes | None = None) -> None:
        """Add a record; `known_content` is its content where somebody has made it already."""
        self._sha256.update(known_content or content(record))
        self._about.update(canonical(record["about"]) if record.get("about") else NOTHING_KNOWN)
        self._made[how_of(record)] += 1
        self._writer.write(record)

    def keep(
        self, *, source: dict[str, Any], shape: Shape | None = None, of: str | None = None,
        guidelines: dict[str, str] | None = None, left_out: dict[str, int] | None = None, notes: dict[str, int] | None = None,
        again: bool = False,
    ) -> Card:
        """Make what was written a version. Gives back the version there is where the same rows are saved already.

        Without `guidelines` those of the version before go on: they belong to the data set.
        """
        if not self._made:
            raise UserError(f'"{self._name}" has no rows. Add at least one, then save.')
        self._writer.finish()
        before = self._before(of)
        if guidelines is None:
            guidelines = before.guidelines if before else {}
        card = Card(
            id=of or "", name=self._name, version=0, record=self._record, shape=shape or self._record, rows=self._made.total(),
            sha256=self._sha256.hexdigest(), about_sha256=self._about.hexdigest(), made=dict(self._made), source=source,
            guidelines=guidelines, left_out=left_out or {}, notes=notes or {},
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        same = None if again else self._same(card)
        return same or self._put_in_place(card, before.id if before else new_id(card.name))

    def _before(self, of: str | None) -> Card | None:
        """The newest version of the data set this is one of: the one that is named, else the one of its name."""
        if of:
            return self._datasets.card(of)
        return next((card for card in self._datasets.list() if card.name == self._name), None)

    def _same(self, card: Card) -> Card | None:
        """The version there already is of these rows: the newest of the data set it belongs to, or any under its name.

        A data set that is worked on has a new version also when only what is known about its rows has changed.
        """
        if card.id:
            newest = self._datasets.card(card.id)
            return newest if _worked_on(newest) == _worked_on(card) else None
        for path in self._datasets.root.glob("*/v*.json"):
            other = _read_card(path)
            if other and (other.name, other.sha256, other.record) == (card.name, card.sha256, card.record):
                return other
        return None

    def _put_in_place(self, card: Card, id: str) -> Card:
        """Move the rows to their place and write the card, which makes the version be there."""
        folder = self._datasets.root / id
        folder.mkdir(exist_ok=True)
        rows = _claim(folder)
        try:
            self._path.replace(rows)
            card = card.model_copy(update={"id": id, "version": _version_number(rows)})
            write_whole(rows.with_suffix(".json"), json.dumps(card.model_dump(), indent=2, ensure_ascii=False) + "\n")
        except BaseException:
            rows.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
            raise
        return card


# ---- cards and files -------------------------------------------------------------------------------------------------


def _read_card(path: Path) -> Card | None:
    """The card, or None where it is damaged or of a newer studio."""
    try:
        return Card.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _worked_on(card: Card) -> tuple[Any, ...]:
    """All of a version that a person can change."""
    return card.name, card.sha256, card.about_sha256, card.guidelines


def _version_number(path: Path) -> int:
    return int(path.stem.removeprefix("v"))


def _claim(folder: Path) -> Path:
    """The Parquet file of the next version, made empty so that nobody else takes its number."""
    number = 1
    while True:
        path = folder / f"v{number}.parquet"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return path


def _shown_name(name: str) -> str:
    shown = clip(re.sub(r"\s+", " ", name).strip(), max_chars=LONGEST_NAME)
    if not shown:
        raise UserError("The data set has no name. Give it one, so that you can find it again.")
    return shown
