"""Rows with marks, and pictures, hold what they were given, as text."""

import json
import re

from components.found_rows import COMPARED, SHOWN, found_rows, marked_row, row_beside, row_mended
from components.quality_plots import bars, length_bars, prompt_scatter

HOSTILE = "<b onclick=alert(1)> ${x} {{y}} `"
UNSAFE = re.compile(r"<b |\$\{|\{\{|`")


def shown_text(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def test_what_was_found_is_marked_where_it_stands() -> None:
    html = marked_row(3, [("user", "write to a@b.de or c@d.de"), ("assistant", "no")], [(0, 9, 15), (0, 19, 25)])
    assert re.findall(r'<mark class="found">(.*?)</mark>', html) == ["a@b.de", "c@d.de"]
    assert "write to a@b.de or c@d.de" in shown_text(html)


def test_overlapping_marks_lose_no_letter() -> None:
    html = marked_row(3, [("user", "abcdef")], [(0, 0, 4), (0, 2, 6)])
    assert "abcdef" in shown_text(html)


def test_a_mark_far_down_in_a_long_text_is_in_view() -> None:
    text = "x" * 100_000 + "found" + "y" * 100_000
    html = marked_row(1, [("user", text)], [(0, 100_000, 100_005)])
    assert '<mark class="found">found</mark>' in html and len(html) < SHOWN + 500


def test_a_difference_far_down_in_two_long_texts_is_in_view() -> None:
    left, right = ([("user", "word " * 50_000 + end)] for end in ("left end", "right end"))
    html = row_beside(2, right, 1, left)
    assert "<del>left</del>" in html and "<ins>right</ins>" in html and len(html) < 4 * COMPARED


def test_rows_that_go_stay_or_change_say_so() -> None:
    said = [("user", "a b")]
    assert "goes" in row_mended(1, said, None)
    assert "stays on one side" in row_mended(1, said, said, note="stays on one side with 2")
    assert "<del>b</del>" in row_mended(1, said, [("user", "a c")])


def test_data_is_text_everywhere() -> None:
    said = [(HOSTILE, HOSTILE)]
    html = found_rows([marked_row(1, said, [(0, 2, 9)], note=HOSTILE), row_beside(2, said, 1, said), row_mended(3, said, None)], label=HOSTILE)
    assert not UNSAFE.search(html)


def test_bars_add_up_what_they_do_not_show() -> None:
    figure = bars({f"task {number}": 100 - number for number in range(20)}, what="rows")
    assert len(figure.data[0].x) == 16 and sum(figure.data[0].x) == sum(100 - number for number in range(20))
    assert figure.layout.yaxis.ticktext[-1] == "5 others"


def test_labels_in_pictures_are_no_markup() -> None:
    figures = [bars({HOSTILE: 1}, what="rows"), prompt_scatter([0.0], [0.0], [0], [HOSTILE], [HOSTILE])]
    assert not any(re.search(r"<b |\$", figure.to_json()) for figure in figures)


def test_lengths_are_told_with_both_ends_of_a_bar() -> None:
    figure = length_bars({0: 1, 12: 5, 13: 2}, per_doubling=4)
    assert json.loads(figure.to_json())["data"][0]["customdata"] == ["1 to 1 characters", "8 to 9 characters", "10 to 11 characters"]
