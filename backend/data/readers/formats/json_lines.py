"""JSON Lines: one object on each line. A broken line costs only itself."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import ClassVar

from backend.data.readers.encodings import open_text
from backend.data.readers.formats import Reader
from backend.data.readers.json_values import read_row, read_value
from backend.data.readers.lines import Lines, lines_of_utf8
from backend.data.readers.meter import Meter
from backend.data.readers.source import HEAD, LARGEST_ROW, BrokenRow, Row, Source, Wanted


class JsonLinesReader(Reader):
    formats: ClassVar[dict[str, str]] = {"jsonl": "JSON Lines"}
    order = 20  # after JSON, which looks for a list of rows in an object

    def judge(self, source: Source, head: str, wanted: Wanted) -> Source | None:
        is_one_object = head.lstrip().startswith("{") and not source.is_called_text  # and holds no list of rows
        if wanted.format or is_one_object or is_json_lines(source):
            return replace(source, format="jsonl")
        return None

    def rows(self, source: Source, meter: Meter) -> Iterator[Row | BrokenRow]:
        with meter.opened(source.path) as file:
            if source.encoding == "utf-8":
                lines = lines_of_utf8(file, source.name)
            else:
                lines = Lines(open_text(file, source.encoding), source.name)
            for number, line in enumerate(lines, start=1):
                row = read_row(number, line)
                if row is not None:
                    yield row


def is_json_lines(source: Source) -> bool:
    """Whether the first line is a JSON object, or half of the first lines are: a broken line changes nothing."""
    verdicts: list[bool] = []
    characters = 0
    for line in first_lines(source, limit=20):
        verdicts.append(line.lstrip().startswith("{") and isinstance(read_value(line), dict))
        characters += len(line)
        if verdicts[0] or characters > 4 * HEAD:
            break
    return verdicts[:1] == [True] or sum(verdicts) >= max(1, len(verdicts) / 2)


def first_lines(source: Source, *, limit: int) -> Iterator[str]:
    """The first lines that are not blank; one that is overlong comes in pieces."""
    with source.path.open("rb") as file:
        text = open_text(file, source.encoding)
        lines = (line for line in iter(lambda: text.readline(LARGEST_ROW), "") if not line.isspace())
        yield from islice(lines, limit)
