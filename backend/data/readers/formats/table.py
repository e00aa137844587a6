"""Tables of text: CSV and TSV, their delimiter, quotes and header found out. Cells stay text as somebody wrote it."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import ClassVar, NamedTuple

from backend.data.readers.encodings import open_text
from backend.data.readers.formats import Reader
from backend.data.readers.json_values import NOT_UNICODE
from backend.data.readers.kinds import LONGEST_COLUMN_NAME, is_column_name, require_no_program
from backend.data.readers.lines import Lines
from backend.data.readers.meter import Meter
from backend.data.readers.neutralised import restored
from backend.data.readers.source import LARGEST_ROW, BrokenRow, Row, Source, Wanted, clip
from backend.errors import UserError

DELIMITERS = ("\t", ",", ";", "|")


class TableReader(Reader):
    formats: ClassVar[dict[str, str]] = {"csv": "table (CSV)", "tsv": "table (TSV)"}
    order = 30

    def judge(self, source: Source, head: str, wanted: Wanted) -> Source | None:
        require_no_program(head, name=source.name)
        layout = _best_layout(source, wanted.delimiter)
        asked_for = wanted.format or wanted.delimiter
        is_table = layout.is_plainly_table if source.is_called_text and not asked_for else layout.is_likely
        if not (is_table or (wanted.format and layout.cells)):
            return None
        header = _names_columns(layout.names) if wanted.header is None else wanted.header
        format = "tsv" if layout.delimiter == "\t" and layout.is_table else "csv"
        return replace(source, format=format, delimiter=layout.delimiter, quoted=layout.quoted, header=header)

    def rows(self, source: Source, meter: Meter) -> Iterator[Row | BrokenRow]:
        with meter.opened(source.path) as file:
            lines = Lines(open_text(file, source.encoding), source.name)
            yield from _rows(lines, source)


class _Layout(NamedTuple):
    """How a table may be laid out, and how well its first rows agree with that."""

    delimiter: str
    quoted: bool
    cells: list[str]  # of the first row, as they stand
    rows: int  # looked at after the first
    agreement: float  # share of them that are as wide as the first

    @property
    def names(self) -> list[str]:
        return [cell.strip() for cell in self.cells]

    @property
    def is_table(self) -> bool:
        return len(self.cells) > 1 and (self.agreement >= 0.5 or all(map(is_column_name, self.names)))

    @property
    def is_likely(self) -> bool:
        """Whether it is a table, or a single column that has a name."""
        return self.is_table or (len(self.cells) == 1 and is_column_name(self.names[0]))

    @property
    def is_plainly_table(self) -> bool:
        """Whether it is one even in a file that is called a text: prose has commas too, and a space after each."""
        if len(self.cells) < 2 or not self.rows or self.agreement < 0.9 or self.cells != self.names:
            return False
        return self.delimiter == "\t" or all(map(is_column_name, self.names))


def _best_layout(source: Source, delimiter: str | None) -> _Layout:
    if delimiter is not None and delimiter not in DELIMITERS:
        raise UserError(f'"{clip(delimiter)}" cannot separate columns here. Choose comma, semicolon, tab or "|".')
    layouts = [_lay_out(source, each, True) for each in ([delimiter] if delimiter else DELIMITERS)]
    if delimiter in (None, "\t"):
        layouts.append(_lay_out(source, "\t", False))  # many a TSV knows no quotes: "So it goes<tab>1
    return max(layouts, key=lambda layout: (layout.is_table, layout.agreement, len(layout.cells)))


def _lay_out(source: Source, delimiter: str, quoted: bool) -> _Layout:
    with source.path.open("rb") as file:
        lines = Lines(open_text(file, source.encoding), source.name)
        first, *rows = list(islice(_split(lines, delimiter, quoted=quoted), 100)) or [[]]
    if isinstance(first, str):
        return _Layout(delimiter, quoted, [], 0, 0.0)
    agreeing = sum(isinstance(cells, list) and len(cells) == len(first) for cells in rows)
    return _Layout(delimiter, quoted, first, len(rows), agreeing / len(rows) if rows else 1.0)


def _names_columns(names: list[str]) -> bool:
    return not any(_is_number(name) or len(name) > LONGEST_COLUMN_NAME for name in names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")


def _rows(lines: Lines, source: Source) -> Iterator[Row | BrokenRow]:
    records = _split(lines, source.delimiter, quoted=source.quoted)
    first = next(records, [])
    assert not isinstance(first, str), "no layout is chosen whose first row is broken"
    names = _column_names(first, header=source.header)
    if not source.header:
        yield _row(1, names, first, lines.recent)
    for number, cells in enumerate(records, start=1 if source.header else 2):
        if isinstance(cells, str):
            yield BrokenRow(number, clip(lines.recent.rstrip()), cells)
        else:
            yield _row(number, names, cells, lines.recent)


def _row(number: int, names: list[str], cells: list[str], text: str) -> Row | BrokenRow:
    if len(cells) > len(names):
        reason = f"has {len(cells)} cells where there are {len(names)} columns"
    elif not _is_storable(cells):
        reason = NOT_UNICODE
    else:
        return Row(number, restored(dict(zip(names, cells, strict=False))))  # a short row lacks its last
    return BrokenRow(number, clip(text.rstrip()), reason)


def _is_storable(cells: list[str]) -> bool:
    """Whether the texts hold no bytes that did not decode."""
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _column_names(cells: list[str], *, header: bool) -> list[str]:
    """A name for each column: its own, made unique, or its place."""
    names: list[str] = []
    for place, cell in enumerate(cells, start=1):
        name = (clip(cell.strip()) if header else "") or f"column {place}"
        names.append(name if name not in names else f"{name} ({place})")
    return names


def _split(lines: Lines, delimiter: str | None, *, quoted: bool) -> Iterator[list[str] | str]:
    """The cells of each record of a table, or the reason (a str) why it has none. Blank lines are no records."""
    csv.field_size_limit(LARGEST_ROW)  # Python's own limit is 128 KiB and holds for the whole process
    # Strict, because otherwise a quote that is opened and never closed swallows the rows after it without a word.
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter or ",", quoting=quoting, strict=True)
    while True:
        lines.recent = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"has its quotes wrong ({error})"
        else:
            if cells:
                yield cells
