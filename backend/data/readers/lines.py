"""The lines of a text, counted: as characters for tables and old encodings, as bytes for UTF-8, which is faster."""

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from backend.data.readers.source import CHUNK, LARGEST_ROW, SHOWN
from backend.errors import UserError


class Lines:
    """The lines of a text, counted, with the beginning of what was read lately at hand to show."""

    def __init__(self, text: io.TextIOWrapper, name: str) -> None:
        self._text = text
        self._name = name
        self.number = 0
        self.recent = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LARGEST_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == LARGEST_ROW and not line.endswith(("\n", "\r")):
            raise _too_long(self.number, self._name)
        if len(self.recent) <= SHOWN:
            self.recent += line[: SHOWN + 1]
        return line


def lines_of_utf8(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The lines of a UTF-8 file as bytes, split where Python splits text: after LF, CR and CR LF."""
    number, rest = 0, file.read(CHUNK).removeprefix(codecs.BOM_UTF8)
    while True:
        more = file.read(max(CHUNK, len(rest)))  # doubling: a long line is not gone over often
        lines = (rest + more).splitlines(keepends=True)
        rest = lines.pop() if lines and more else b""  # it may go on, and a CR be the first half of a line end
        yield from lines
        number += len(lines)
        if not more:
            return
        if len(rest) > LARGEST_ROW and len(rest.decode("utf-8", "ignore")) > LARGEST_ROW:
            raise _too_long(number + 1, name)


def _too_long(number: int, name: str) -> UserError:
    return UserError(f"Line {number} of {name} has more than {LARGEST_ROW:,} characters. Shorten it.")
