"""Cells pasted from a spreadsheet, as rows of a draft.

    pasted = read_cells("What is a cat?\\tA small animal.", "messages")
    pasted.records, pasted.header, pasted.columns

Excel, Google Sheets, Numbers and LibreOffice put cells on the clipboard alike: tabs between cells, line ends between rows,
and a cell with a tab or a line break in it in quotes, its own quotes doubled. A quote that is no such thing is text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backend.data.records import Message, Record, RecordKind
from backend.errors import UserError

MOST_ROWS = 10_000  # of one paste; more is a file to import
PARTS: dict[int, tuple[str, ...]] = {1: ("user",), 2: ("user", "assistant"), 3: ("system", "user", "assistant")}
NAMES = {  # what people call the columns in a first row
    "system": {"system", "system prompt"},
    "user": {"user", "prompt", "instruction", "question", "input"},
    "assistant": {"assistant", "answer", "response", "completion", "output"},
    "text": {"text", "document", "content"},
}

_QUOTED = re.compile(r'"((?:[^"]|"")*)"(?=\t|\r?\n|$)')
_PLAIN = re.compile(r"[^\t\r\n]*")
_NEXT = re.compile(r"\t|\r\n|\n|\r")


@dataclass(frozen=True)
class Pasted:
    """The rows that cells make, in order."""

    records: Sequence[Record]
    columns: tuple[str, ...]  # the part each column plays
    header: tuple[str, ...] = ()  # the first row, where it names the columns and is no row itself


def read_cells(text: str, record: RecordKind) -> Pasted:
    """Rows from pasted cells. Raises `UserError` where the columns are no rows of this kind, or there are too many."""
    lines = [cells for cells in cells_of(text) if any(cell.strip() for cell in cells)]
    if not lines:
        raise UserError("There are no cells to add. Copy them in the spreadsheet and paste them here.")
    if len(lines) > MOST_ROWS:
        raise UserError(f"These are {len(lines):,} rows; {MOST_ROWS:,} can be pasted at once. Save them as a CSV file and import it.")
    header = _header(lines[0], record)
    columns = header or _columns(max(map(len, lines)), record)
    records = [_record(dict(zip(columns, cells, strict=False)), record) for cells in (lines[1:] if header else lines)]
    return Pasted(records, columns, tuple(cell.strip() for cell in lines[0]) if header else ())


def cells_of(text: str) -> list[list[str]]:
    """The cells of each line, text for text."""
    lines: list[list[str]] = [[]]
    place = 0
    while place < len(text):
        cell, place = _cell(text, place)
        lines[-1].append(cell)
        end = _NEXT.match(text, place)
        if end and end.group() != "\t":
            lines.append([])
        elif end and end.end() == len(text):
            lines[-1].append("")  # the last cell of the last line is empty
        place = end.end() if end else place
    return lines if lines[-1] else lines[:-1]


def _cell(text: str, place: int) -> tuple[str, int]:
    """One cell, and where it ends."""
    quoted = _QUOTED.match(text, place)
    if quoted and re.search(r'[\t\r\n]|""', quoted[1]):
        return quoted[1].replace('""', '"'), quoted.end()
    plain = _PLAIN.match(text, place)
    assert plain, "an empty cell is a cell"
    return plain[0], plain.end()


def _header(cells: Sequence[str], record: RecordKind) -> tuple[str, ...]:
    """The part each column plays, where the first row names them; nothing where it is a row."""
    parts = ("text",) if record == "text" else ("system", "user", "assistant")
    named = tuple(next((part for part in parts if cell.strip().casefold() in NAMES[part]), "") for cell in cells)
    fits = all(named) and len(set(named)) == len(named) and ("text" in named or "user" in named)
    return named if fits else ()


def _columns(count: int, record: RecordKind) -> tuple[str, ...]:
    if record == "text":
        if count > 1:
            raise UserError(f"These are {count} columns; a text document is one. Copy the column with the texts alone.")
        return ("text",)
    if count not in PARTS:
        raise UserError(
            f"These are {count} columns. Copy two (user, assistant) or three (system, user, assistant); import a file to say what "
            "more columns mean."
        )
    return PARTS[count]


def _record(cells: dict[str, str], record: RecordKind) -> Record:
    """One row; a part that has no cell is left empty, to be written."""
    if record == "text":
        return {"text": cells["text"]}
    system: list[Message] = [{"role": "system", "content": cells["system"]}] if cells.get("system", "").strip() else []
    return {"messages": [
        *system, {"role": "user", "content": cells.get("user", "")}, {"role": "assistant", "content": cells.get("assistant", "")},
    ]}  # fmt: skip
