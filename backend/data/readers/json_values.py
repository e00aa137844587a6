"""JSON values, fast where that is exact: orjson reads what it reads as Python does, and Python reads the rest.

orjson makes floats of integers beyond 64 bits, takes deeper nesting, and knows no NaN, no infinity and no half
surrogate pairs. Texts that may hold one of these go to Python's own reader, which is five times slower.
"""

import json
from typing import Any, NamedTuple

import orjson

from backend.data.readers.source import BrokenRow, Row, clip, shown_value


class NotJson(NamedTuple):
    """Why a text holds no JSON value. `reason` goes on after "Row 14 of cats.jsonl ..."."""

    reason: str


def read_value(text: bytes | str) -> Any:
    """The JSON value of a text, or why there is none (a `NotJson`). Bytes that are not UTF-8 become lone surrogates."""
    value = _read_exactly(text)
    if not isinstance(value, NotJson):
        return value
    return _read_patiently(text if isinstance(text, str) else text.decode("utf-8", "surrogateescape"))


def read_row(number: int, line: bytes | str) -> Row | BrokenRow | None:
    """The row a line of JSON holds; None for a blank line."""
    value = _read_exactly(line)
    if isinstance(value, dict):  # and its texts are storable: orjson has made sure of that
        return Row(number, value)
    text = line if isinstance(line, str) else line.decode("utf-8", "surrogateescape")
    return None if text.isspace() else as_row(number, _read_patiently(text), text=text)


def as_row(number: int, value: Any, *, text: str | None = None) -> Row | BrokenRow:
    """A row of the value, if it is an object whose texts can be stored."""
    reason = value.reason if isinstance(value, NotJson) else _unfitness(value)
    if reason is None:
        return Row(number, value)
    return BrokenRow(number, shown_value(value) if text is None else clip(text.rstrip()), reason)


NOT_UNICODE = "holds characters that are not valid Unicode"
_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord(" ") for byte in range(256))
_LONG_NUMBER = b"0" * 19  # the largest integers of 64 bits have 19 and 20 digits
_SAFE_DEPTH = 300  # brackets; Python gives up at about 1000 within each other


def _read_exactly(text: bytes | str) -> Any:
    """What orjson reads, if Python would read the very same."""
    try:
        content = text if isinstance(text, bytes) else text.encode()
        return NotJson("") if _may_differ(content) else orjson.loads(content)
    except (UnicodeEncodeError, orjson.JSONDecodeError):
        return NotJson("")


def _may_differ(content: bytes) -> bool:
    if _LONG_NUMBER in content.translate(_DIGITS):
        return True
    return len(content) > 2 * _SAFE_DEPTH and content.count(b"[") + content.count(b"{") > _SAFE_DEPTH


def _read_patiently(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return NotJson(f"is not valid JSON: {error.msg.removesuffix(' at')}")
    except RecursionError:
        return NotJson("is nested too deeply")
    except ValueError:  # Python refuses integers of more than 4300 digits
        return NotJson("is not valid JSON: a number in it is too long")


def _unfitness(value: Any) -> str | None:
    """Why a value cannot be a row, if it cannot."""
    if not isinstance(value, dict):
        return "is not an object with named columns"
    try:
        orjson.dumps(value)  # takes less than Python does: no long integers, no deep nesting
    except TypeError:
        return _unfitness_by_python(value)
    return None


def _unfitness_by_python(value: dict[str, Any]) -> str | None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, or bytes that did not decode
        return NOT_UNICODE
    except RecursionError:
        return "is nested too deeply"
    return None
