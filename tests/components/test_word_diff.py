"""Words of two texts, compared."""

import random

import pytest

from components.word_diff import COMPARED, Piece, differences, word_diff

HOSTILE = "<img src=x onerror=alert(1)> ${1+1} {{x}} `"


def test_what_both_say_and_what_only_one_says():
    assert word_diff("Fill the kettle.", "Boil the kettle.") == [
        Piece("left", left="Fill "), Piece("right", right="Boil "), Piece("same", "the kettle.", "the kettle."),
    ]


def test_white_space_alone_is_no_difference():
    assert {piece.kind for piece in word_diff("one two\nthree", "one  two three")} == {"same"}


@pytest.mark.parametrize("left", ["", " ", "\n a b", "a b c ", "水を沸かす", "é́ ß 👩‍👩‍👧"])
@pytest.mark.parametrize("right", ["", "a c", "水を捨てる", "x"])
def test_the_pieces_joined_are_the_texts(left, right):
    pieces = word_diff(left, right)
    assert "".join(piece.left for piece in pieces) == left
    assert "".join(piece.right for piece in pieces) == right


def test_text_without_spaces_is_compared_letter_by_letter():
    same = [piece.left for piece in word_diff("水を沸かす", "水を捨てる") if piece.kind == "same"]
    assert same == ["水を"]


def test_marks_are_words_as_well_as_colours():
    shown = differences("a b", "a c d", left="base", right="run")
    assert "<del>only left</del> 1 word " in shown and "<ins>only right</ins> 2 words" in shown and "both 1 word<" in shown
    assert "a <del>b</del>" in shown and "a <ins>c d</ins>" in shown


def test_equal_texts_say_so():
    assert "Word for word the same." in differences("a", "a", left="l", right="r")
    assert "Both are empty." in differences("", "", left="l", right="r")


def test_texts_and_headings_are_shown_as_text():
    shown = differences(HOSTILE, "b", left=HOSTILE, right="r")
    assert "<img" not in shown and "${" not in shown and "{{" not in shown and "`" not in shown


def test_long_texts_are_compared_in_part_and_shown_whole():
    words = random.Random(0)
    left, right = (" ".join(words.choice("the a kettle of and to water".split()) for _ in range(COMPARED + 5)) for _ in "lr")
    shown = differences(f"{left} end-left", f"{right} end-right", left="l", right="r")
    assert "The first 2,000 words" in shown and "end-left" in shown and "end-right" in shown
