"""From a file to a saved version: looked at first, gone over row by row, saved in one pass.

    seen = preview(source, mapping)                  the first rows as they would be saved
    found = check(source, mapping)                   every row counted, nothing saved
    card = import_file(datasets, source, mapping, name="Cats")
"""

import reprlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from backend.data.judgements import Judgements
from backend.data.readers import BrokenRow, Progress, Row, Source, clip, read_rows
from backend.data.records import Record, about_of, canonical, clipped, content, digest, prompt_of
from backend.data.shapes import Mapping, RowProblem, to_record
from backend.data.versions import Card, Datasets
from backend.errors import UserError

PROBLEMS_LISTED = 10_000
REASONS_COUNTED = 50

DUPLICATE = "is an exact duplicate"
CONTRADICTION = "has the prompt of an earlier row and another answer"
REVERSED = "prefers an answer that an earlier row with the same prompt rejects"


class Problem(NamedTuple):
    """A row that cannot be used: its number, why, and how it begins."""

    number: int
    reason: str
    text: str


class Reached(NamedTuple):
    """How far going over a file has come."""

    share: float  # 0 to 1
    rows: int
    size: int  # bytes


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


def preview(source: Source, mapping: Mapping | None = None, *, limit: int = 20) -> Preview:
    """The first rows as they are and as they would be saved. Without a mapping: only which columns there are."""
    first = list(islice(read_rows(source), 200))
    columns = _columns([row.values for row in first if isinstance(row, Row)])
    if mapping is None:
        return Preview(columns, [], [])
    results = [_use(row, mapping) for row in first[:limit]]
    problems = [result for result in results if isinstance(result, Problem)]
    records = [clipped(result) for result in results if not isinstance(result, Problem)]
    return Preview(columns, records, problems)


def check(source: Source, mapping: Mapping, *, progress: Callable[[Reached], None] | None = None) -> Check:
    """Go over every row and count what an import would take, leave out and note. Saves nothing."""
    tally = _Tally()
    for row in read_rows(source, progress=_telling(progress, source, tally)):
        tally.count(row.number, _use(row, mapping))
    return Check(tally.rows, tally.problems, dict(tally.left_out), dict(tally.notes))


def import_file(
    datasets: Datasets,
    source: Source,
    mapping: Mapping,
    *,
    name: str,
    skip_problems: bool = False,
    drop_duplicates: bool = False,
    progress: Callable[[Reached], None] | None = None,
) -> Card:
    """Save the rows of a file as a version, in one pass and bounded memory; all of it or nothing.

    `progress` is told now and then how far it has come; what it raises ends the import. Raises `UserError` for rows that cannot be used unless
    `skip_problems` consents to leave them out, for a file that changed meanwhile, and for a full disk.
    """
    tally = _Tally(drop_duplicates=drop_duplicates)
    with datasets.new_version(name, mapping.record) as version:
        for row in read_rows(source, progress=_telling(progress, source, tally)):
            record = tally.count(row.number, _use(row, mapping))
            if record is not None:
                version.write(record, tally.content)
        _require_consent(tally, source, skip_problems)
        return version.keep(
            source=_origin(source, mapping), shape=mapping.shape, left_out=dict(tally.left_out), notes=dict(tally.notes)
        )


def _telling(progress: Callable[[Reached], None] | None, source: Source, tally: "_Tally") -> Progress | None:
    """What the reader tells, with the rows counted so far."""
    return progress and (lambda share: progress(Reached(share, tally.read, round(share * source.size))))


def _origin(source: Source, mapping: Mapping) -> dict[str, Any]:
    """What the card says of where the rows came from."""
    return {
        "file": source.name,
        "format": source.format,
        "encoding": source.encoding,
        "delimiter": source.delimiter,
        "list_field": source.list_field,
        "header": source.header,
        "mapping": mapping.model_dump(),
    }


# ---- going over the rows ---------------------------------------------------------------------------------------------


def _use(row: Row | BrokenRow, mapping: Mapping) -> Record | Problem:
    if isinstance(row, BrokenRow):
        return Problem(row.number, row.reason, row.text)
    try:
        record = to_record(row.values, mapping)
    except RowProblem as problem:
        return Problem(row.number, problem.reason, _shown(row.values))
    if "about" in row.values and (about := about_of(row.values["about"])) and "about" not in mapping.columns.values():
        record["about"] = about  # our own export brings back what is known about its rows
    return record


@dataclass
class _Tally:
    """What has been seen of the rows so far. Keeps 16 bytes of hash for each row, prompt and pair of answers, and no row."""

    drop_duplicates: bool = False
    rows: int = 0
    content: bytes = b""  # of the record counted last
    problems: list[Problem] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    _seen: set[bytes] = field(default_factory=set)
    _judgements: Judgements = field(default_factory=Judgements)
    _first_answers: dict[bytes, bytes] = field(default_factory=dict)  # hash of a prompt -> of the record it came in

    def count(self, number: int, result: Record | Problem) -> Record | None:
        """Take note of a row; the record, if it is one to keep."""
        if isinstance(result, Problem):
            self._count_problem(result)
            return None
        if "answers" in result and self._judgements.contradict(result):
            self._count_problem(Problem(number, REVERSED, _shown(prompt_of(result))))
            return None
        self.content = content(result)
        found = digest(self.content)
        if found in self._seen and self.drop_duplicates:
            self.left_out[DUPLICATE] += 1
            return None
        self._note(result, found)
        self.rows += 1
        return result

    @property
    def read(self) -> int:
        return self.rows + self.left_out.total()

    @property
    def unusable(self) -> int:
        return self.left_out.total() - self.left_out[DUPLICATE]

    def _count_problem(self, problem: Problem) -> None:
        # Reasons quote what was found, so garbage could bring a new one with each row.
        known = problem.reason in self.left_out or len(self.left_out) < REASONS_COUNTED
        self.left_out[problem.reason if known else "has another problem"] += 1
        if len(self.problems) < PROBLEMS_LISTED:
            self.problems.append(problem)

    def _note(self, record: Record, found: bytes) -> None:
        if found in self._seen:
            self.notes[DUPLICATE] += 1
            return
        self._seen.add(found)
        if "messages" in record:
            prompt = digest(canonical(record["messages"][:-1]))
            if self._first_answers.setdefault(prompt, found) != found:
                self.notes[CONTRADICTION] += 1


def _require_consent(tally: _Tally, source: Source, skip_problems: bool) -> None:
    """Raise `UserError` with the first bad rows, if there are any that nobody consented to leave out."""
    sentences = [_sentence(problem, source) for problem in tally.problems[:5]]
    if tally.unusable and not tally.rows:
        none = f"None of the {tally.unusable:,} rows of {source.name} can be used. Check what its columns mean."
        raise UserError(*sentences, none)
    if tally.unusable and not skip_problems:
        few = "1 row" if tally.unusable == 1 else f"{tally.unusable:,} rows"
        raise UserError(*sentences, f"{few} of {tally.read:,} cannot be used. Mend the file, or import without them.")


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
