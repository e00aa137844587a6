"""Tables whose rows become instructions: a file that somebody brings, or the rows of a saved version.

    table = FileTable(inspect(Path("reviews.tsv")))
    found = survey(table)                       one pass: rows, empty cells, and the few values of label columns
    columns = guess_columns(table, templates)   {"text": "column 1", "label": "column 2"}

Cells are text, as they stand in the file; what is nothing is the empty text.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from statistics import mean
from typing import Any, NamedTuple, Protocol

from backend.data.readers import BrokenRow, Progress, Row, Source, read_rows
from backend.data.records import Record, canonical, digest, family_of, prompt_of
from backend.data.templating.sets import Part, TemplateSet
from backend.data.versions import Datasets

ROWS_GUESSED_FROM = 200
MOST_LABELS = 50  # different values of a column that can still be labels
NUMBERS_KEPT = 20  # numbers of rows left out that are listed


class TableRow(NamedTuple):
    """One row. `number` is what a person counts from 1; `family` is the same for all that is made of it."""

    number: int
    cells: dict[str, str]
    family: str
    record: Record | None = None  # of a saved version: the row itself


class Table(Protocol):
    """Where rows come from."""

    def rows(self, progress: Progress | None = None) -> Iterator[TableRow | BrokenRow]:
        """Every row, in order, in bounded memory."""

    def described(self) -> dict[str, Any]:
        """Where it comes from, for a card: enough to find it again."""


@dataclass(frozen=True)
class FileTable:
    """A file, as it was inspected."""

    source: Source

    def rows(self, progress: Progress | None = None) -> Iterator[TableRow | BrokenRow]:
        for row in read_rows(self.source, progress=progress):
            yield _row_of_file(row) if isinstance(row, Row) else row

    def described(self) -> dict[str, Any]:
        read = self.source
        return {
            "file": read.name, "format": read.format, "encoding": read.encoding, "delimiter": read.delimiter,
            "list_field": read.list_field, "header": read.header,
        }  # fmt: skip


@dataclass(frozen=True)
class SavedTable:
    """A saved version: conversations have the columns prompt, completion and system; plain texts have text."""

    datasets: Datasets
    id: str
    version: int

    def rows(self, progress: Progress | None = None) -> Iterator[TableRow | BrokenRow]:
        count = self.datasets.card(self.id, self.version).rows
        for number, record in enumerate(self.datasets.iterate(self.id, self.version), start=1):
            if progress and number % 500 == 0:
                progress(number / count)
            yield TableRow(number, _cells_of(record), family_of(record), record)

    def described(self) -> dict[str, Any]:
        return {"data": self.id, "version": self.version}


def first_rows(table: Table, limit: int = ROWS_GUESSED_FROM) -> list[TableRow]:
    """The first rows that can be read."""
    return [row for row in islice(table.rows(), limit) if isinstance(row, TableRow)]


def column_names(rows: Iterable[TableRow]) -> list[str]:
    """The columns of some rows, in order."""
    return list(dict.fromkeys(name for row in rows for name in row.cells))


# ---- one pass over a table -------------------------------------------------------------------------------------------

Filled = frozenset[str]  # the columns of a row that are not empty


@dataclass
class Some:
    """Rows that have something in common: how many, and the numbers of the first."""

    count: int = 0
    numbers: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.numbers) < NUMBERS_KEPT:
            self.numbers.append(number)


@dataclass(frozen=True)
class Survey:
    """What a table holds, as far as it decides which rows can be used."""

    rows: int = 0  # that can be read
    broken: Some = field(default_factory=Some)
    filled: dict[Filled, Some] = field(default_factory=dict)
    values: dict[str, dict[tuple[str, Filled], Some]] = field(
        default_factory=dict
    )  # of columns of few values: rows by value and what is filled

    def labels(self, column: str) -> Counter[str] | None:
        """The values of a column and how often each is there, in order; None where they are too many."""
        if column not in self.values:
            return None
        counted: Counter[str] = Counter()
        for (value, _), rows in self.values[column].items():
            counted[value] += rows.count
        return Counter({value: counted[value] for value in sorted(counted, key=_by_size)})


def survey(table: Table, *, progress: Progress | None = None) -> Survey:
    """Go over every row once. Raises `UserError` where the table cannot be read."""
    count, broken, columns = 0, Some(), _Columns()
    for row in table.rows(progress):
        if isinstance(row, BrokenRow):
            broken.add(row.number)
            continue
        count += 1
        columns.take(row)
    return Survey(count, broken, columns.filled, columns.values)


class _Columns:
    """The cells seen so far. A column of more than MOST_LABELS values is given up: it holds no labels."""

    def __init__(self) -> None:
        self.filled: dict[Filled, Some] = {}
        self.values: dict[str, dict[tuple[str, Filled], Some]] = {}
        self._given_up: set[str] = set()

    def take(self, row: TableRow) -> None:
        filled = frozenset(name for name, cell in row.cells.items() if cell.strip())
        self.filled.setdefault(filled, Some()).add(row.number)
        for name in filled - self._given_up:
            self._take_value(name, row.cells[name].strip(), filled, row.number)

    def _take_value(self, name: str, value: str, filled: Filled, number: int) -> None:
        values = self.values.setdefault(name, {})
        is_new = (value, filled) not in values
        values.setdefault((value, filled), Some()).add(number)
        if is_new and len({value for value, _ in values}) > MOST_LABELS:
            del self.values[name]
            self._given_up.add(name)


# ---- guessing --------------------------------------------------------------------------------------------------------


def guess_columns(rows: list[TableRow], templates: TemplateSet) -> dict[str, str]:
    """Which column plays which part: by its name, else by what is in it. Parts nothing fits are left out."""
    names = column_names(rows)
    guessed = _by_name(names, templates)
    for part, described in templates.columns.items():
        left = [name for name in names if name not in guessed.values()]
        if part not in guessed and (column := _by_content(rows, left, described)):
            guessed[part] = column
    return {part: guessed[part] for part in templates.columns if part in guessed}


def guess_set(rows: list[TableRow], sets: dict[str, TemplateSet], *, keeping_answers: bool = False) -> str | None:
    """The set that fits a table best: by the names of its columns and the values of its label."""
    fitting = {id: _fit(rows, templates) for id, templates in sets.items() if templates.keeps_answers == keeping_answers}
    return max(fitting, key=lambda id: fitting[id], default=None)


def name_labels(values: Iterable[str], templates: TemplateSet) -> dict[str, str]:
    """A name for each value of the label: by the first naming of the set that fits them, else the value itself."""
    found = {value: value.casefold() for value in sorted(values, key=_by_size)}
    naming = next((names for names in _namings(templates) if _names_all(names, set(found.values()))), {})
    return {value: naming.get(folded, value) for value, folded in found.items()}


def _namings(templates: TemplateSet) -> Iterator[dict[str, str]]:
    for names in templates.label_names:
        yield {value.casefold(): name for value, name in names.items()}


def _names_all(names: dict[str, str], found: set[str]) -> bool:
    """Whether a naming is meant for these values. Numbers mean something only together: 1 and 2 are not two of 0, 1, 2."""
    in_numbers = any(value.lstrip("-").isdecimal() for value in found)
    return bool(found) and (found == set(names) if in_numbers else found <= set(names))


def _by_size(value: str) -> tuple[float, str]:
    """Sorts numbers by their size and words behind them."""
    try:
        return float(value), value
    except ValueError:
        return math.inf, value


def _by_name(names: list[str], templates: TemplateSet) -> dict[str, str]:
    """Parts whose column is called as such columns usually are; the best known name first."""
    folded = {name.strip().casefold().replace(" ", "_").replace("-", "_"): name for name in reversed(names)}
    guessed: dict[str, str] = {}
    for part, described in templates.columns.items():
        likely = (folded[usual] for usual in (part, *described.names) if usual in folded)
        column = next((name for name in likely if name not in guessed.values()), None)
        if column is not None:
            guessed[part] = column
    return guessed


def _by_content(rows: list[TableRow], names: list[str], part: Part) -> str | None:
    """The column that a part's content suits: few short values for a label, texts for anything else."""
    few = [name for name in names if _is_label(rows, name)]
    if part.label:
        return few[-1] if few else None
    texts = [name for name in names if name not in few]
    return max(texts, key=lambda name: mean(len(row.cells.get(name, "")) for row in rows), default=None)


def _is_label(rows: list[TableRow], name: str) -> bool:
    """Whether a column's values are few and short, and come again and again."""
    values = [row.cells.get(name, "").strip() for row in rows]
    different = set(filter(None, values))
    return 1 < len(different) <= min(MOST_LABELS, max(2, len(values) // 2)) and max(map(len, different)) <= 60


def _fit(rows: list[TableRow], templates: TemplateSet) -> float:
    """How well a table suits a set: parts found by name count most, then labels it knows, then parts found at all."""
    by_name = _by_name(column_names(rows), templates)
    guessed = guess_columns(rows, templates)
    if len(guessed) < len(templates.columns):
        return len(by_name) / 100
    label = templates.label_part
    values = {row.cells.get(guessed[label], "").strip().casefold() for row in rows} - {""} if label else set()
    knows = any(_names_all(names, values) for names in _namings(templates))
    return 1 + len(by_name) + 0.5 * knows + 0.1 * bool(label) - 0.2 * max(0, 2 - len(guessed))


# ---- cells -----------------------------------------------------------------------------------------------------------


def _row_of_file(row: Row) -> TableRow:
    cells = {name: as_text(value) for name, value in row.values.items()}
    return TableRow(row.number, cells, digest(canonical(cells)).hex())


def _cells_of(record: Record) -> dict[str, str]:
    if "text" in record:
        return {"text": record["text"]}
    if "answers" in record:
        return {"prompt": prompt_of(record)}
    said = {turn["role"]: turn["content"] for turn in record["messages"]}  # the last of each
    return {"prompt": prompt_of(record), "completion": said.get("assistant", ""), "system": said.get("system", "")}


def as_text(value: Any) -> str:
    """A cell as it would be written."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
