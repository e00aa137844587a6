"""The margins of held-out pairs as bars: every pair in its range, the wrong ones told apart."""

import re

from backend.progress import MARGIN_EDGES
from components.margin_bars import margin_bars


def test_every_range_has_its_bar_and_the_wrong_side_ends_at_nought() -> None:
    shown = margin_bars([0, 1, 0, 2, 3, 4, 5, 6])
    assert shown.count("<li") == len(MARGIN_EDGES) + 1 and "of 21 held-out pairs" in shown
    ranges = re.findall(r'<li class="margin-(\w+)"><span class="margin-range number">([^<]+)<', shown)
    assert ranges[3:5] == [("wrong", "-1 to 0"), ("right", "0 to 1")] and ranges[-1] == ("right", "above 4")
    assert "1 pair<" in shown and "6 pairs<" in shown


def test_no_pair_at_all_is_no_fault() -> None:
    assert "of 0 held-out pairs" in margin_bars([0] * (len(MARGIN_EDGES) + 1))
