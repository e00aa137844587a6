"""Finding a text in the rows of a saved version, as far as a second goes, and on from there.

    found = search(datasets, id, version, "kettle")                            numbers of rows, and how far it looked
    more = search(datasets, id, version, "kettle", start=found.searched)       the rest, if there is one

What is sought is looked for letter by letter, capital or small. Nothing is indexed: rows are read as they lie, with only
the columns that hold text, and compared by Arrow.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.data import parquet
from backend.data.records import RecordKind
from backend.data.versions import Datasets
from backend.errors import UserError

if TYPE_CHECKING:
    from pyarrow import Array, Table
    from pyarrow.parquet import ParquetFile

SECONDS = 0.8  # somebody waits
MOST_FOUND = 5_000  # rows; whoever finds more looks for something longer
GROUPS_AT_ONCE = 8  # rows are compared in larger pieces than they are kept in
LONGEST_SOUGHT = 1_000  # characters
EXCERPT = 240  # characters around what was found
TEXTS: dict[RecordKind, list[str]] = {"messages": ["messages"], "text": ["text"], "preferences": ["prompt", "answers"]}  # columns


@dataclass(frozen=True)
class Found:
    """The rows that hold a text, and how far was looked."""

    numbers: list[int]  # counted from 0, ascending
    searched: int  # rows from the first on
    rows: int  # in the version

    @property
    def is_whole(self) -> bool:
        """Whether every row has been looked at."""
        return self.searched >= self.rows


def search(datasets: Datasets, id: str, version: int, text: str, *, start: int = 0, seconds: float = SECONDS) -> Found:
    """The rows from `start` on that hold a text, until the time is up or enough are found.

    Raises `UserError` for nothing to look for.
    """
    sought = _sought(text)
    until = time.monotonic() + seconds
    card = datasets.card(id, version)
    numbers: list[int] = []
    searched = start
    with datasets.opened(card) as file:
        for groups, first, end in _pieces(file, start):
            table = file.read_row_groups(groups, columns=TEXTS[card.record])
            numbers += [number for number in _matching(table, sought, first) if number >= start]
            searched = end
            if time.monotonic() > until or len(numbers) >= MOST_FOUND:
                break
    return Found(numbers, searched, card.rows)


def excerpt(text: str, sought: str, *, max_chars: int = EXCERPT) -> tuple[str, str, str]:
    """(before, what was found, after): the surroundings of the first place, cut to be shown; found is "" where it is not in."""
    place = re.search(re.escape(sought.strip()), text, re.IGNORECASE)
    if place is None:
        return (text if len(text) <= max_chars else text[: max_chars - 1] + "…"), "", ""
    before, after = text[: place.start()], text[place.end() :]
    before = before if len(before) <= max_chars // 2 else "…" + before[-max_chars // 2 :]
    after = after if len(after) <= max_chars else after[:max_chars] + "…"
    return before, place.group(), after


def _sought(text: str) -> str:
    sought = (text or "").strip()
    if not sought:
        raise UserError("There is nothing to look for. Type a word that stands in the rows.")
    if len(sought) > LONGEST_SOUGHT:
        raise UserError(f"What is looked for is longer than {LONGEST_SOUGHT:,} characters. Type a shorter part of it.")
    return sought.encode("utf-8", "replace").decode()


def _pieces(file: "ParquetFile", start: int) -> Iterator[tuple[list[int], int, int]]:
    """(row groups, their first row, the row after their last), from the group that holds `start` on; the first is small."""
    groups: list[int] = []
    first = 0
    for group, begin, end in parquet.groups(file):
        if end <= start:
            continue
        first = first if groups else begin
        groups.append(group)
        if len(groups) == GROUPS_AT_ONCE or file.metadata.row_group(group).total_byte_size > 2**22:
            yield groups, first, end
            groups = []
    if groups:
        yield groups, first, file.metadata.num_rows


def _matching(table: "Table", sought: str, first: int) -> Iterator[int]:
    """The numbers of the rows that hold the text, ascending, the table's first being `first`."""
    for batch in table.to_batches():
        rows = {row for column in batch.columns for row in _matching_rows(column, sought)}
        yield from (first + row for row in sorted(rows))
        first += batch.num_rows


def _matching_rows(column: "Array", sought: str) -> list[int]:
    """The rows of a column of texts, or of lists of turns however deep, that hold the text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = None  # of each text; None while each is a row of its own
    while pa.types.is_list(column.type):
        parents = pc.list_parent_indices(column)
        rows = parents if rows is None else rows.take(parents)
        column = column.flatten()
    texts = column.field("content") if pa.types.is_struct(column.type) else column
    hits = pc.match_substring(texts, sought, ignore_case=True)
    return (pc.indices_nonzero(hits) if rows is None else rows.filter(hits)).to_pylist()
