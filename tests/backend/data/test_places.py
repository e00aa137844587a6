"""Places between places: always another, always in order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from backend.data import places


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 5)), max_size=60))
def test_rows_put_anywhere_stand_in_order(puts: list[tuple[int, int]]) -> None:
    there = list(places.first(3))
    for spot, rows in puts:
        at = spot % (len(there) + 1)
        low = there[at - 1] if at else b""
        there[at:at] = places.after(low, rows) if at == len(there) and low else places.between(low, there[at], rows)
    assert there == sorted(set(there))
    assert not any(place.endswith(b"\0") for place in there)


def test_adding_at_the_end_needs_no_longer_places() -> None:
    last = places.first(1)[0]
    for _ in range(10_000):
        (last,) = places.after(last, 1)
    assert len(last) <= places.ROOM


def test_a_thousand_rows_into_one_gap_stay_short() -> None:
    low, high = places.first(2)
    rng = random.Random(0)
    there = [low, high]
    for _ in range(1000):
        at = rng.randrange(1, len(there))
        there[at:at] = places.between(there[at - 1], there[at], 1)
    assert max(map(len, there)) < 20
