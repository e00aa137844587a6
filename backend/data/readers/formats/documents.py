"""Plain texts for continued pre-training: each file is one document, Markdown included, kept as it is.

A file of a folder that is no text is a broken row which names it, so that it is listed and left out on consent.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from backend.data.readers.encodings import codec, find_encoding
from backend.data.readers.formats import Reader
from backend.data.readers.json_values import NOT_UNICODE
from backend.data.readers.kinds import Unreadable, beginning, require_no_program, require_text
from backend.data.readers.meter import Meter
from backend.data.readers.source import ACCEPTED, LARGEST_ROW, SHOWN, BrokenRow, Part, Row, Source, Wanted, clip
from backend.errors import UserError

MEANT_FOR_ROWS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


class DocumentReader(Reader):
    formats: ClassVar[dict[str, str]] = {"documents": "plain text"}
    order = 40

    def judge(self, source: Source, head: str, wanted: Wanted) -> Source | None:
        """Whatever text no other reader knows, unless its name promises rows."""
        require_no_program(head, name=source.name)
        if source.name.lower().endswith(MEANT_FOR_ROWS) and not wanted.format:
            raise UserError(
                f"{source.name} is plain text without rows and columns. {ACCEPTED} Texts without columns go into a CSV whose "
                'only column is called "text"; one text to go on from goes into a file that ends in .txt.'
            )
        return replace(source, format="documents")

    def rows(self, source: Source, meter: Meter) -> Iterator[Row | BrokenRow]:
        for number, part in enumerate(source.files, start=1):
            yield _document(number, part, meter, encoding=source.encoding)


def _document(number: int, part: Part, meter: Meter, *, encoding: str | None) -> Row | BrokenRow:
    content = b""
    try:
        content = _content(part, meter)
        return Row(number, {"text": _text(content, encoding or find_encoding(part.path)), "file": part.name})
    except Unreadable as fault:
        shown = clip(content[: 4 * SHOWN].decode("utf-8", "backslashreplace"))
        return BrokenRow(number, shown, f"({part.name}) {fault.reason}")


def _content(part: Part, meter: Meter) -> bytes:
    """The whole file. Raises `Unreadable` for links, programs, archives, pictures and the like."""
    status, head = beginning(part.path)
    require_text(head)
    require_no_program(head.decode("utf-8", "replace"), name=part.name)
    if status.st_size > 4 * LARGEST_ROW:  # no encoding takes more than 4 bytes for a character
        raise Unreadable(_TOO_LONG)
    try:
        with meter.opened(part.path) as file:
            return file.read()
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})") from error


def _text(content: bytes, encoding: str) -> str:
    """Its text, line ends as they are. Raises `Unreadable` where there is none, or too much."""
    try:
        text = content.decode(codec(encoding))
    except UnicodeDecodeError as error:
        raise Unreadable(NOT_UNICODE) from error
    if len(text) > LARGEST_ROW:
        raise Unreadable(_TOO_LONG)
    if not text.strip("\0\ufeff \t\r\n"):
        raise Unreadable("is empty")
    return text


_TOO_LONG = f"has more than {LARGEST_ROW:,} characters"
