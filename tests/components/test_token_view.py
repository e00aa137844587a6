"""What the token view and the histogram of lengths say, without a page."""

import re
from typing import NamedTuple

import pytest

from components.length_histogram import length_histogram
from components.token_view import TOKENS_SHOWN, token_view


class Word(NamedTuple):
    text: str
    trained: bool = False
    special: bool = False


def spans(html: str) -> list[tuple[str, str]]:
    """(kinds, text) of each token, legend left out."""
    body = html.split('class="tokens"')[1]
    return re.findall(r'<span class="(token[a-z ]*)"[^>]*>([^<]*)</span>', body)


def test_trained_read_and_special_tokens_are_told_apart() -> None:
    html = token_view([Word("<s>", special=True), Word("Why"), Word("So", trained=True)], max_length=9)
    assert spans(html) == [("token special", "&lt;s&gt;"), ("token", "Why"), ("token trained", "So")]


def test_the_legend_says_it_in_words() -> None:
    legend = token_view([Word("a")], max_length=9)
    assert all(words in legend for words in ("learnt from", "read, not learnt from", "special token of the model"))


def test_the_cut_stands_between_the_last_token_seen_and_the_first_lost() -> None:
    html = token_view([Word(letter) for letter in "abcde"], max_length=3)
    assert re.search(r">c</span>.*cut here at 3 tokens: the model does not see the other 2.*>d</span>", html)


@pytest.mark.parametrize("max_length", [5, 6])
def test_nothing_is_said_of_a_cut_where_nothing_is_cut(max_length: int) -> None:
    assert "cut here" not in token_view([Word(letter) for letter in "abcde"], max_length=max_length)


def test_a_long_row_is_clipped_and_says_so() -> None:
    html = token_view([Word("a")] * TOKENS_SHOWN, max_length=3_000, count=40_034)
    assert "Shown are the first 2,000 of 40,034 tokens. The limit of 3,000 tokens cuts it further on." in html
    assert "cut here" not in html


def test_more_tokens_than_are_shown_do_not_reach_the_page() -> None:
    assert len(spans(token_view([Word("a")] * (TOKENS_SHOWN + 500), max_length=9_999))) == TOKENS_SHOWN


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "${alert(1)}", "{{x}}", "</span>", "`", "\\", '"'])
def test_text_stays_text(text: str) -> None:
    assert not re.search(r"<script|\$\{|\{\{|`|\\", token_view([Word(text)], max_length=9))
    assert len(spans(token_view([Word(text), Word("after")], max_length=9))) == 2


def test_line_ends_and_parts_of_characters_are_visible() -> None:
    assert [text for _, text in spans(token_view([Word("a\n"), Word("")], max_length=9))] == ["a↵\n", "·"]


def drawn(lengths: list[int], max_length: int) -> tuple[int, int]:
    """Rows drawn whole and rows drawn as cut."""
    whole, cut = length_histogram(lengths, max_length=max_length).data
    return sum(whole.y), sum(cut.y)


@pytest.mark.parametrize(
    ("lengths", "max_length", "expected"),
    [
        ([100, 101], 100, (1, 1)),
        ([1, 2, 3], 1, (1, 2)),
        ([5, 512, 513, 200_000], 512, (2, 2)),
        ([90, 118], 512, (2, 0)),
        ([90, 118], 131_072, (2, 0)),
        (list(range(1, 1001)), 333, (333, 667)),
        ([], 512, (0, 0)),
    ],
)
def test_every_row_is_drawn_on_its_side_of_the_limit(lengths: list[int], max_length: int, expected: tuple[int, int]) -> None:
    assert drawn(lengths, max_length) == expected


def test_the_last_bar_names_the_longest_row() -> None:
    _, cut = length_histogram([100, 200_000], max_length=512).data
    assert cut.customdata[-1].endswith("to 200,000 tokens")


def test_a_limit_far_beyond_is_told_and_not_drawn() -> None:
    figure = length_histogram([90, 118], max_length=8_192)
    assert not figure.layout.shapes
    assert "8,192 tokens, far to the right" in figure.layout.annotations[0].text
