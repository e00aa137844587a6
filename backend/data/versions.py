"""Saved data sets: immutable Parquet files, each with a card that says what it is and where it came from.

    datasets = Datasets(workspace)
    source = inspect(Path("cats.csv"))
    card = datasets.import_file(source, mapping, name="Cats")
    for record in datasets.iterate(card.id): ...

    datasets/<id>/v1.parquet    messages: list<struct<role, content>>, or text: string
    datasets/<id>/v1.json       the card; a version is there when its card is

Saving again under the same name makes the next version; saving the same rows again gives back the one there is.
"""

import hashlib
import json
import re
import reprlib
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from backend.data.readers import BrokenRow, Progress, Row, Source, clip, read_rows
from backend.data.shapes import Mapping, Record, RowProblem, Shape, to_record
from backend.errors import UserError
from backend.workspace import Workspace, is_id, new_id, write_whole

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

ROWS_PER_GROUP = 1000  # a page of rows is read without the rest of the file
CHARACTERS_PER_GROUP = 16 * 2**20  # long rows make smaller groups, so that memory stays bounded
PROBLEMS_LISTED = 50
LONGEST_NAME = 120  # characters

DUPLICATE = "is an exact duplicate"
CONTRADICTION = "has the prompt of an earlier row and another answer"


class Card(BaseModel):
    """What a version is: its rows, their hash, where they came from and what was noticed on the way."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    id: str
    name: str
    version: int
    record: Literal["messages", "text"]
    shape: Shape
    rows: int
    sha256: str  # of the records, so the same rows have the same hash whatever file they came from
    source: dict[str, Any]  # file, format, encoding, delimiter, list_field, header, mapping
    left_out: dict[str, int]  # rows not saved, by reason
    notes: dict[str, int]  # rows saved and worth a look, by reason
    created: str  # ISO 8601, UTC


class Problem(NamedTuple):
    """A row that cannot be used: its number, why, and how it begins."""

    number: int
    reason: str
    text: str


class Column(NamedTuple):
    """What a column holds in the first rows: how often which kind of value, and the first one, clipped."""

    name: str
    kinds: dict[str, int]
    sample: str


@dataclass(frozen=True)
class Preview:
    """The first rows, clipped to be shown."""

    columns: list[Column]
    records: list[Record]
    problems: list[Problem]


@dataclass(frozen=True)
class Check:
    """What an import would find: nothing is saved."""

    rows: int  # that can be used
    problems: list[Problem]  # the first of those that cannot
    left_out: dict[str, int]  # how many cannot, by reason
    notes: dict[str, int]  # how many can and are worth a look, by reason


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
        with self._opened(self.card(id, version)) as file:
            return list(_page(file, offset, limit))

    def iterate(self, id: str, version: int | None = None) -> Iterator[Record]:
        """Every record, in order, in bounded memory."""
        card = self.card(id, version)  # what is missing is said now, and not at the first record
        return self._iterate(card)

    def preview(self, source: Source, mapping: Mapping | None = None, *, limit: int = 20) -> Preview:
        """The first rows as they are and as they would be saved. Without a mapping: only which columns there are."""
        first = list(islice(read_rows(source), 200))
        columns = _columns([row.values for row in first if isinstance(row, Row)])
        if mapping is None:
            return Preview(columns, [], [])
        results = [_use(row, mapping) for row in first[:limit]]
        problems = [result for result in results if isinstance(result, Problem)]
        records = [clipped(result) for result in results if not isinstance(result, Problem)]
        return Preview(columns, records, problems)

    def check(self, source: Source, mapping: Mapping, *, progress: Progress | None = None) -> Check:
        """Go over every row and count what an import would take, leave out and note. Saves nothing."""
        tally = _Tally()
        for row in read_rows(source, progress=progress):
            tally.count(_use(row, mapping))
        return Check(tally.rows, tally.problems, dict(tally.left_out), dict(tally.notes))

    def import_file(
        self,
        source: Source,
        mapping: Mapping,
        *,
        name: str,
        skip_problems: bool = False,
        drop_duplicates: bool = False,
        progress: Progress | None = None,
    ) -> Card:
        """Save the rows of a file as a version, in one pass and bounded memory; all of it or nothing.

        `progress` is told the share done now and then. Raises `UserError` for rows that cannot be used unless
        `skip_problems` consents to leave them out, for a file that changed meanwhile, and for a full disk.
        """
        name = _shown_name(name)
        tally = _Tally(drop_duplicates=drop_duplicates)
        try:
            with self._partial_file() as path:
                with _RecordWriter(path, mapping.record) as writer:
                    for row in read_rows(source, progress=progress):
                        record = tally.count(_use(row, mapping))
                        if record is not None:
                            writer.write(record)
                _require_consent(tally, source, skip_problems)
                card = _card(tally, source, mapping, name)
                return self._same(card) or self._keep(path, card)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f'"{name}" cannot be saved ({reason}). Make room or choose another workspace.') from error

    def delete(self, id: str) -> None:
        """Remove a data set and all its versions. Raises `UserError` where there is none."""
        self.versions(id)
        doomed = self.root / f".{id}.{secrets.token_hex(4)}.deleted"
        try:
            (self.root / id).rename(doomed)  # gone at once, even if clearing up is cut short
        except OSError as error:
            raise UserError(f'Data set "{id}" cannot be deleted ({error.strerror}). Is the folder writable?') from error
        shutil.rmtree(doomed, ignore_errors=True)

    def _iterate(self, card: Card) -> Iterator[Record]:
        with self._opened(card) as file:
            for batch in file.iter_batches(batch_size=100):
                yield from batch.to_pylist()

    @contextmanager
    def _opened(self, card: Card) -> "Iterator[ParquetFile]":
        import pyarrow
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(self.root / card.id / f"v{card.version}.parquet") as file:
                yield file
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(
                f'The rows of "{card.name}", version {card.version}, are missing or damaged. Import the file again.'
            ) from error

    @contextmanager
    def _partial_file(self) -> Iterator[Path]:
        """A file to write to that is gone afterwards, unless it was moved to its place."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / f".{secrets.token_hex(8)}.partial"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _same(self, card: Card) -> Card | None:
        """The version there already is of these rows under this name."""
        for path in self.root.glob("*/v*.json"):
            other = _read_card(path)
            if other and (other.name, other.sha256, other.record) == (card.name, card.sha256, card.record):
                return other
        return None

    def _keep(self, path: Path, card: Card) -> Card:
        """Move the rows to their place and write the card, which makes the version be there."""
        id = next((other.id for other in self.list() if other.name == card.name), None) or new_id(card.name)
        folder = self.root / id
        folder.mkdir(exist_ok=True)
        rows = _claim(folder)
        try:
            path.replace(rows)
            card = card.model_copy(update={"id": id, "version": _version_number(rows)})
            write_whole(rows.with_suffix(".json"), json.dumps(card.model_dump(), indent=2, ensure_ascii=False) + "\n")
        except BaseException:
            rows.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
            raise
        return card


def clipped(record: Record, *, max_chars: int = 2000) -> Record:
    """The record with each text cut to be shown: a row of 15 MB would freeze a page."""
    short = partial(clip, max_chars=max_chars)
    if "text" in record:
        return {"text": short(record["text"])}
    return {"messages": [{"role": turn["role"], "content": short(turn["content"])} for turn in record["messages"][:50]]}


# ---- going over the rows ---------------------------------------------------------------------------------------------


def _use(row: Row | BrokenRow, mapping: Mapping) -> Record | Problem:
    if isinstance(row, BrokenRow):
        return Problem(row.number, row.reason, row.text)
    try:
        return to_record(row.values, mapping)
    except RowProblem as problem:
        return Problem(row.number, problem.reason, _shown(row.values))


@dataclass
class _Tally:
    """What has been seen of the rows so far. Keeps 16 bytes of hash for each row and each prompt, and no row."""

    drop_duplicates: bool = False
    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    sha256: Any = field(default_factory=hashlib.sha256)
    _seen: set[bytes] = field(default_factory=set)
    _first_answers: dict[bytes, bytes] = field(default_factory=dict)  # hash of a prompt -> of the record it came in

    def count(self, result: Record | Problem) -> Record | None:
        """Take note of a row; the record, if it is one to keep."""
        if isinstance(result, Problem):
            self._count_problem(result)
            return None
        content = _canonical(result)
        digest = _digest(content)
        if digest in self._seen and self.drop_duplicates:
            self.left_out[DUPLICATE] += 1
            return None
        self._note(result, digest)
        self.sha256.update(content)
        self.rows += 1
        return result

    @property
    def unusable(self) -> int:
        return self.left_out.total() - self.left_out[DUPLICATE]

    def _count_problem(self, problem: Problem) -> None:
        # Reasons quote what was found, so garbage could bring a new one with each row.
        known = problem.reason in self.left_out or len(self.left_out) < PROBLEMS_LISTED
        self.left_out[problem.reason if known else "has another problem"] += 1
        if len(self.problems) < PROBLEMS_LISTED:
            self.problems.append(problem)

    def _note(self, record: Record, digest: bytes) -> None:
        if digest in self._seen:
            self.notes[DUPLICATE] += 1
            return
        self._seen.add(digest)
        if "messages" in record:
            prompt = _digest(_canonical(record["messages"][:-1]))
            if self._first_answers.setdefault(prompt, digest) != digest:
                self.notes[CONTRADICTION] += 1


def _canonical(content: Any) -> bytes:
    """The same bytes for the same content, one line."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _require_consent(tally: _Tally, source: Source, skip_problems: bool) -> None:
    """Raise `UserError` with the first bad rows, if there are any that nobody consented to leave out."""
    sentences = [_sentence(problem, source) for problem in tally.problems[:5]]
    if tally.unusable and not tally.rows:
        none = f"None of the {tally.unusable:,} rows of {source.name} can be used. Check what its columns mean."
        raise UserError(*sentences, none)
    if tally.unusable and not skip_problems:
        read = tally.left_out.total() + tally.rows
        few = "1 row" if tally.unusable == 1 else f"{tally.unusable:,} rows"
        raise UserError(*sentences, f"{few} of {read:,} cannot be used. Mend the file, or import without them.")


def _sentence(problem: Problem, source: Source) -> str:
    return f"Row {problem.number} of {source.name} {problem.reason}. It begins: {clip(problem.text, max_chars=80)}"


# ---- columns, as they are found --------------------------------------------------------------------------------------


def _columns(rows: list[dict[str, Any]]) -> list[Column]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [_column(name, [row.get(name) for row in rows]) for name in names]


def _column(name: str, values: list[Any]) -> Column:
    kinds = Counter(map(_kind, values))
    return Column(name, dict(kinds), _shown(next((value for value in values if value not in (None, "")), "")))


def _kind(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    kinds = {str: "text", bool: "true or false", int: "number", float: "number", list: "list", dict: "object"}
    return kinds.get(type(value), type(value).__name__)


def _shown(value: Any) -> str:
    """How a value begins; a long or deep one is not written out first."""
    shorten = reprlib.Repr()
    shorten.maxstring = shorten.maxother = 100
    return clip(value if isinstance(value, str) else shorten.repr(value))


# ---- cards and files -------------------------------------------------------------------------------------------------


def _card(tally: _Tally, source: Source, mapping: Mapping, name: str) -> Card:
    return Card(
        id="",  # given when it is kept
        name=name,
        version=0,
        record=mapping.record,
        shape=mapping.shape,
        rows=tally.rows,
        sha256=tally.sha256.hexdigest(),
        source={
            "file": source.name,
            "format": source.format,
            "encoding": source.encoding,
            "delimiter": source.delimiter,
            "list_field": source.list_field,
            "header": source.header,
            "mapping": mapping.model_dump(),
        },
        left_out=dict(tally.left_out),
        notes=dict(tally.notes),
        created=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def _read_card(path: Path) -> Card | None:
    """The card, or None where it is damaged or of a newer studio."""
    try:
        return Card.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


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


def _schema(record: Literal["messages", "text"]) -> "Schema":
    import pyarrow as pa

    if record == "text":
        return pa.schema([("text", pa.string())])
    return pa.schema([("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])))])


class _RecordWriter:
    """Records to Parquet, a row group at a time."""

    def __init__(self, path: Path, record: Literal["messages", "text"]) -> None:
        from pyarrow.parquet import ParquetWriter

        self._schema = _schema(record)
        self._file = ParquetWriter(path, self._schema, compression="zstd")
        self._group: list[Record] = []
        self._characters = 0

    def __enter__(self) -> "_RecordWriter":
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        if fault is None:
            self._flush()
        self._file.close()

    def write(self, record: Record) -> None:
        self._group.append(record)
        self._characters += _length(record)
        if len(self._group) == ROWS_PER_GROUP or self._characters >= CHARACTERS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._group:
            self._file.write_table(pa.Table.from_pylist(self._group, schema=self._schema))
        self._group, self._characters = [], 0


def _length(record: Record) -> int:
    if "text" in record:
        return len(record["text"])
    return sum(len(turn["content"]) for turn in record["messages"])


def _page(file: "ParquetFile", offset: int, limit: int) -> Iterator[Record]:
    """Records `offset` to `offset + limit`, from the row groups they are in."""
    start = 0  # the first row of the group
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if start < offset + limit and offset < end:
            first = max(offset - start, 0)
            yield from file.read_row_group(group).slice(first, offset + limit - start - first).to_pylist()
        start = end
