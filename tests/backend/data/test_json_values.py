"""The fast way of reading JSON gives what Python's own reader gives, value for value; the rest goes the slow way."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.data.readers import BrokenRow, Row
from backend.data.readers.json_values import NotJson, read_row, read_value


def by_python(text: str) -> Any:
    """The value, or `NotJson` where Python's own reader refuses."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NotJson("")


def alike(one: Any, other: Any) -> bool:
    """Equal in value, type and order of keys; NaN is NaN, and 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return math.isnan(one) and math.isnan(other) or (one, math.copysign(1, one)) == (other, math.copysign(1, other))
    return isinstance(one, NotJson) or one == other


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.integers(2**62, 2**66) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
NEARLY_JSON = st.lists(
    st.sampled_from(
        ['{"a":', '"', "}", "[", "]", ",", "\\ud83d", "\\ude00", "\\u00", "1", "-0", "1e400", "0.1", "9" * 19, "9" * 20, "NaN", "-Infinity",
         " ", "\r", "\t", "\x0b", "\x00", "\ufeff", "é", "😀", "true", '{"a":1,"a":', "01", "1.", ".5", "+1", "1E+2"]
    ),
    max_size=9,
).map("".join)  # fmt: skip


@given(st.one_of(st.builds(json.dumps, VALUES, ensure_ascii=st.booleans()), NEARLY_JSON))
@settings(max_examples=600, deadline=None, derandomize=True, database=None)
def test_every_text_is_read_as_python_reads_it(text: str) -> None:
    expected = by_python(text)
    assert alike(read_value(text), expected)
    assert alike(read_value(text.encode("utf-8", "surrogatepass")), by_python(text)) or "\ud800" <= max(text) <= "\udfff"


@pytest.mark.parametrize(
    "text",
    ["1" * 18, "9" * 19, "-" + "9" * 19, str(2**63), str(2**64), str(-(2**63) - 1), "0." + "0" * 30 + "1", "1" * 400 + ".5",
     '{"a": NaN}', "1e999", "-0", "-0.0", '{"a": 1, "b": 2, "a": 3}', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00\\ud83d"'],
)  # fmt: skip
def test_what_the_fast_reader_reads_differently_is_read_as_python_does(text: str) -> None:
    assert alike(read_value(text.encode()), by_python(text))


@pytest.mark.parametrize("depth", [1010, 100_000])
def test_what_is_nested_too_deeply_for_python_is_refused(depth: int) -> None:
    value = read_value(b"[" * depth + b"]" * depth)
    assert value == NotJson("is nested too deeply")


def test_a_row_read_fast_holds_nothing_that_cannot_be_stored() -> None:
    for line in (b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"a": "\xed\xa0\x80"}', b'{"a": "\xff"}', b'{"a": "\xc0\x80"}'):
        row = read_row(3, line)
        assert isinstance(row, BrokenRow) and row.reason == "holds characters that are not valid Unicode"
    assert read_row(3, b'{"a": "\\ud83d\\ude00"}\n') == Row(3, {"a": "\U0001f600"})


@pytest.mark.parametrize("line", [b"\n", b" \r\n", b"\t", "\u00a0\n".encode()])
def test_a_blank_line_is_no_row(line: bytes) -> None:
    assert read_row(1, line) is None
