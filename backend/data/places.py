"""Where rows stand among each other, as bytes that sort like the rows do.

A row that comes between two others gets a place between theirs, so that adding or moving one row changes no other.
A place is read as the digits of a fraction, 256 to the digit, without zeros at the end; there is always another between
any two (fractional indexing, https://www.figma.com/blog/realtime-editing-of-ordered-sequences/).
"""

from collections.abc import Sequence
from itertools import count

ROOM = 6  # digits a place has at first: rows added at the end need no more than these


def first(rows: int) -> Sequence[bytes]:
    """Places for the first rows of a draft."""
    return after(_place(1 << (8 * ROOM - 8), ROOM), rows)


def after(last: bytes, rows: int) -> Sequence[bytes]:
    """Places for rows that follow the last one."""
    start = _digits(last, ROOM)
    return [_place(start + 1 + number, ROOM) for number in range(rows)]


def between(low: bytes, high: bytes, rows: int) -> Sequence[bytes]:
    """Places for rows between two others, evenly spread; `low` may be b"", which stands before every row."""
    assert low < high, "the rows to go between stand in order"
    for size in count(1):
        start, room = _digits(low, size), _digits(high, size) - _digits(low, size)
        if room > rows:
            step = room // (rows + 1)
            return [_place(start + step * number, size) for number in range(1, rows + 1)]
    raise AssertionError("there is always room between two places")


def _digits(place: bytes, size: int) -> int:
    """The first `size` digits of a place, as a number."""
    return int.from_bytes(place[:size].ljust(size, b"\0"), "big")


def _place(digits: int, size: int) -> bytes:
    return digits.to_bytes(size, "big").rstrip(b"\0")
