"""JSON: a list of objects, or an object with such a list under one of its keys."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from backend.data.readers.encodings import open_text
from backend.data.readers.formats import Reader
from backend.data.readers.formats.json_lines import first_lines, is_json_lines
from backend.data.readers.json_text import JsonText, opens_json
from backend.data.readers.json_values import as_row
from backend.data.readers.meter import Meter
from backend.data.readers.source import BrokenRow, Row, Source, Wanted


class JsonReader(Reader):
    formats: ClassVar[dict[str, str]] = {"json": "JSON"}
    order = 10

    def judge(self, source: Source, head: str, wanted: Wanted) -> Source | None:
        if wanted.list_field:
            return replace(source, format="json", list_field=wanted.list_field)
        if not (wanted.format or opens_json(head, source)):
            return None
        if not head.lstrip().startswith("{"):
            return replace(source, format="json")
        return _judge_object(source, wanted)

    def rows(self, source: Source, meter: Meter) -> Iterator[Row | BrokenRow]:
        with meter.opened(source.path) as file:
            text = JsonText(open_text(file, source.encoding), source.name)
            values = text.elements_under(source.list_field) if source.list_field else text.elements()
            for number, value in enumerate(values, start=1):
                yield as_row(number, value)


def _judge_object(source: Source, wanted: Wanted) -> Source | None:
    """An object is JSON if it holds a list of rows or goes over several lines; else it is a row on a line."""
    several_lines = sum(1 for _ in first_lines(source, limit=2)) > 1
    if several_lines and not wanted.format and is_json_lines(source):
        return None
    with source.path.open("rb") as file:
        found = _find_list_field(JsonText(open_text(file, source.encoding), source.name))
    return replace(source, format="json", list_field=found) if found or several_lines or wanted.format else None


def _find_list_field(text: JsonText) -> str | None:
    """The first key of an object that holds a list of rows; a list of turns is itself part of a row."""
    for key in text.keys():
        if not text.take("["):
            text.value()
            continue
        elements = text.rest_of_list()
        first = next(elements, None)
        if isinstance(first, dict) and not {"role", "from"} & first.keys():
            return key
        for _ in elements:
            pass
    return None
