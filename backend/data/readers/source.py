"""What is read and what comes out of it: a `Source` names a file and how to read it, a `Row` or `BrokenRow` comes out."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

Progress = Callable[[float], None]  # is told the share done, 0 to 1
Layout = Literal["plain", "label_studio"]

ACCEPTED = "Bring JSON, JSON Lines, CSV, TSV, Parquet, or plain texts."
LARGEST_ROW = 32 * 2**20  # characters; what one row may hold before we say so instead of filling the memory
HEAD = 2**20  # bytes a file is judged by
CHUNK = 2**16  # bytes or characters read at once; a small file's progress is seen too
SHOWN = 200  # characters of a broken row that are shown
TEXT_ENDINGS = (".txt", ".text", ".md", ".markdown")


class Part(NamedTuple):
    """One file of a source, as it was found."""

    path: Path
    name: str  # what the user calls it: shown, never used as a path
    size: int  # bytes; -1 where there is no file
    modified_ns: int

    @classmethod
    def found(cls, path: Path, name: str) -> "Part":
        """The file as it is now, links not followed."""
        try:
            status = path.lstat()
        except (OSError, ValueError):
            return cls(path, name, -1, -1)
        return cls(path, name, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Source:
    """A file and how to read it. `name` is what the user calls it: shown, never used as a path."""

    path: Path
    name: str
    format: str = ""  # as its reader calls it, such as "jsonl"; "" until one is found
    encoding: str | None = None  # of text; None for Parquet, and where every document has its own
    delimiter: str | None = None  # of a table
    list_field: str | None = None  # the key that holds the rows, where a JSON object does: {"data": [...]}
    header: bool = True  # whether the first row of a table names the columns
    quoted: bool = True  # whether a cell of a table may stand in quotes
    layout: Layout = "plain"  # of JSON: whether its rows are annotated tasks, to be laid out as columns
    parts: tuple[Part, ...] = ()  # the files of a folder, each of them a document
    size: int = 0  # bytes
    modified_ns: int = 0

    def is_unchanged(self) -> bool:
        """Whether the files are still those that were inspected."""
        return all(part == Part.found(part.path, part.name) for part in self.files)

    @property
    def files(self) -> tuple[Part, ...]:
        """The file or files it is made of."""
        return self.parts or (Part(self.path, self.name, self.size, self.modified_ns),)

    @property
    def is_called_text(self) -> bool:
        """Whether its name says that it is a text to be read from the first word to the last."""
        return self.name.lower().endswith(TEXT_ENDINGS)


@dataclass(frozen=True)
class Wanted:
    """How somebody says a file is to be read; None is to be found out."""

    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    list_field: str | None = None
    header: bool | None = None


class Row(NamedTuple):
    """One row. `number` is what a person counts from 1: the line in JSON Lines, elsewhere the row after the header."""

    number: int
    values: dict[str, Any]


class BrokenRow(NamedTuple):
    """A row that cannot be read. `reason` goes on after "Row 14 of cats.csv ..."; `text` is how it begins."""

    number: int
    text: str
    reason: str


def clip(text: str, *, max_chars: int = SHOWN) -> str:
    """The beginning of a text, fit to be shown and stored whatever it holds."""
    shown = text if len(text) <= max_chars else text[: max_chars - 1] + "…"
    return shown.encode("utf-8", "backslashreplace").decode()


def shown_value(value: Any) -> str:
    """How a value begins; a long or deep one is not written out first."""
    shorten = reprlib.Repr()
    shorten.maxstring = shorten.maxother = SHOWN
    return clip(shorten.repr(value))
