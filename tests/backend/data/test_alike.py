"""Rows that are alike, held to brute force on real rows."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.data.alike import Keys, NearIndex, Pairs, shingles
from backend.data.similarity import words

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


def texts_with_variations(count: int) -> list[str]:
    """Real rows, and as many again with one to five words changed."""
    file = REAL_DATA / "alpaca_en_demo.json"
    if not file.exists():
        pytest.skip("the real rows are not on this machine")
    rows = json.loads(file.read_text(encoding="utf-8"))[: count // 2]
    texts = [f"{row['instruction']} {row['input']} {row['output']}" for row in rows]
    draw = random.Random(0)
    return texts + [changed(text, draw.choice([1, 1, 2, 3, 5]), draw) for text in texts]


def changed(text: str, count: int, draw: random.Random) -> str:
    spoken = text.split()
    for _ in range(count):
        spoken[draw.randrange(len(spoken))] = "changed"
    return " ".join(spoken)


def triples(text: str) -> set[tuple[str, ...]]:
    """The shingles of the rule, computed plainly."""
    spoken = words(text)
    return {tuple(spoken[at : at + 3]) for at in range(len(spoken) - 2)} or {tuple(spoken)}


@pytest.fixture(scope="module")
def real() -> tuple[list[str], dict[tuple[int, int], float]]:
    """A thousand texts, and every pair of them at 0.7 or nearer, by brute force."""
    texts = texts_with_variations(1000)
    sets = [triples(text) for text in texts]
    pairs = {}
    for later, own in enumerate(sets):
        for earlier, other in enumerate(sets[:later]):
            if 0.7 * len(own) <= len(other) <= len(own) / 0.7:  # no others can be so near
                shared = len(own & other)
                pairs[earlier, later] = shared / (len(own) + len(other) - shared)
    return texts, {pair: score for pair, score in pairs.items() if score >= 0.7}


def near(texts: list[str], threshold: float) -> Pairs:
    index = NearIndex(len(texts))
    for text in texts:
        index.see(text)
    return index.pairs(threshold, read=lambda numbers: [texts[number] for number in numbers])


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.95])
def test_near_pairs_are_those_of_brute_force_on_a_thousand_real_rows(real: Any, threshold: float) -> None:
    texts, pairs = real
    expected = {pair: score for pair, score in pairs.items() if score >= threshold}
    found = near(texts, threshold)
    scores = dict(zip(found.numbers(), found.jaccard.tolist(), strict=True))
    assert found.all_found and len(expected) > 100
    assert set(scores) <= set(expected)  # no pair that is none
    assert len(set(expected) - set(scores)) <= len(expected) / 100  # sketches may miss a pair that is only just near
    assert all(score == pytest.approx(expected[pair]) for pair, score in scores.items())


def test_of_a_chain_only_rows_near_one_that_stays_are_copies() -> None:
    """b is near a, c is near b and not near a: once b goes, c is like no other."""
    pairs = Pairs(np.array([0, 1, 0, 3]), np.array([1, 2, 4, 4]), np.array([0.9, 0.9, 0.8, 0.95]), True)
    copies, originals = pairs.copies()
    assert dict(zip(copies.tolist(), originals.tolist(), strict=True)) == {1: 0, 4: 3}


def test_a_hundred_variations_of_one_row_have_one_original() -> None:
    draw = random.Random(1)
    text = " ".join(f"word{number}" for number in range(300))
    copies, _ = near([text, *(changed(text, 1, draw) for _ in range(100))], 0.8).copies()
    assert sorted(copies.tolist()) == list(range(1, 101))


def test_rows_left_out_beforehand_are_in_no_pair() -> None:
    texts = ["a b c d e f g", "a b c d e f g", "a b c d e f g h"]
    index = NearIndex(3)
    for text in texts:
        index.see(text)
    pairs = index.pairs(0.8, read=lambda numbers: [texts[number] for number in numbers], without=np.array([False, True, False]))
    assert (pairs.earlier.tolist(), pairs.later.tolist()) == ([0], [2])


@pytest.mark.parametrize("text", ["", "…", "one", "one two", "日本語を書く", "naïve “quotes” – and Straße", "cafe\u0301 au lait", "Привет, мир и все"])
def test_the_shingles_are_those_of_the_rule_whatever_the_script(text: str) -> None:
    hashes, begins, with_words = shingles(["before it", text, "after it all"])
    own = hashes[begins[1] : begins[2]]
    assert len(set(own.tolist())) == len(triples(text))
    assert bool(with_words[1]) == bool(words(text))


def test_letter_case_and_punctuation_make_no_difference() -> None:
    one, other = (set(shingles([text])[0].tolist()) for text in ("Fill the KETTLE, now!", "fill the kettle now"))
    assert one == other


def test_rows_without_words_are_near_nothing() -> None:
    assert near(["…", "!!!", ""], 0.5).earlier.size == 0


def test_the_first_row_of_each_key_is_found() -> None:
    keys = Keys()
    for key in (b"a" * 16, b"b" * 16, None, b"a" * 16, None, b"b" * 16, b"a" * 16):
        keys.add(key)
    assert keys.firsts().tolist() == [0, 1, 2, 0, 4, 1, 0]
    assert Keys().firsts().tolist() == []
