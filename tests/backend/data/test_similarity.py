"""The similarity of texts: exact, whatever is skipped on the way, and the measure the papers use."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from backend.data.similarity import Pool, rouge_l, words

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"
few_words = st.lists(st.sampled_from(["a", "b", "c", "dé", "你", "好", "हिन्दी", "42", "İ", "-"]), max_size=12).map(" ".join)


def real_instructions() -> list[str]:
    if not REAL_DATA.is_dir():
        pytest.skip("the real data is not here")
    seeds = map(json.loads, (REAL_DATA / "seed_tasks.jsonl").read_text(encoding="utf-8").splitlines())
    alpaca = json.loads((REAL_DATA / "alpaca_en_demo.json").read_text(encoding="utf-8"))
    return [row["instruction"] for row in [*seeds, *alpaca]]


def plainly(texts: list[str], text: str) -> tuple[int, float] | None:
    """The nearest by comparing with everything; None where nothing is shared."""
    scores = [rouge_l(words(text), words(other)) for other in texts]
    best = max(scores, default=0.0)
    return (scores.index(best), best) if best else None


@given(texts=st.lists(few_words | st.text(max_size=20), max_size=12), text=few_words | st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_the_nearest_is_the_one_the_plain_computation_finds(texts: list[str], text: str) -> None:
    nearest = Pool(texts).nearest(text)
    assert (nearest and (nearest.index, nearest.score)) == plainly(texts, text)


def test_skipping_most_of_a_large_pool_changes_no_answer() -> None:
    drawn = random.Random(0)
    texts = [" ".join(drawn.choices("abcdefghijklmnop", k=drawn.randint(1, 14))) for _ in range(800)]
    pool = Pool(texts)
    for _ in range(30):
        text = " ".join(drawn.choices("abcdefghijklmnopqrst", k=drawn.randint(1, 14)))
        nearest = pool.nearest(text)
        assert nearest is not None and (nearest.index, nearest.score) == plainly(texts, text)


def test_the_score_is_rouge_l_as_the_package_has_it() -> None:
    texts = [text for text in real_instructions() if text.isascii()]
    drawn, scorer, pool = random.Random(0), RougeScorer(["rougeL"]), Pool(texts[200:])
    for text in drawn.sample(texts[:200], 12):
        reference = max(scorer.score(other, text)["rougeL"].fmeasure for other in pool.texts)
        nearest = pool.nearest(text)
        assert nearest is not None and nearest.score == pytest.approx(reference, abs=1e-12)
        assert scorer.score(nearest.text, text)["rougeL"].fmeasure == pytest.approx(reference, abs=1e-12)


def test_every_instruction_is_its_own_nearest() -> None:
    texts = real_instructions()
    for number, nearest in enumerate(Pool(texts).nearest_many(texts)):
        assert nearest is not None and nearest.score == 1.0 and nearest.index <= number
        assert words(nearest.text) == words(texts[number])


def test_a_text_added_later_is_compared_with() -> None:
    pool = Pool(["Write a poem about the sea."])
    assert pool.nearest("Sort these numbers") is None
    pool.add("Sort these numbers, smallest first")
    nearest = pool.nearest("sort THESE numbers")
    assert nearest == (1, "Sort these numbers, smallest first", pytest.approx(2 * 3 / (3 + 5)))
    assert len(pool) == 2


def test_of_equals_the_earliest_is_the_nearest() -> None:
    nearest = Pool(["b a", "a b", "a b", "b a"]).nearest("A, b!")
    assert nearest == (1, "a b", 1.0)


def test_words_are_letters_digits_and_marks_and_characters_where_no_spaces_are_written() -> None:
    assert words("Don't say_it: 3.5 times!") == ["don", "t", "say", "it", "3", "5", "times"]
    assert words("STRASSE straße") == ["strasse", "strasse"]
    assert words("caf\u00e9") == words("cafe\u0301")
    assert words("你好, world 東京へ") == ["你", "好", "world", "東", "京", "へ"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("한국어 문장") == ["한국어", "문장"]
    assert words("… — !") == []


def test_a_text_without_words_is_like_nothing() -> None:
    pool = Pool(["", "!!!", "one"])
    assert pool.nearest("???") is None and Pool().nearest("one") is None
    assert pool.nearest("one") == (2, "one", 1.0)


def test_more_words_than_one_byte_or_two_hold_are_told_apart() -> None:
    texts = [" ".join(f"w{first + n}" for n in range(10)) for first in range(0, 70_000, 10)]  # past 0xffff, over the surrogates
    pool = Pool(texts)
    for number in (0, 30, 5529, 5600, 6999):
        nearest = pool.nearest(" ".join(reversed(texts[number].split()[:5])) + " " + texts[number].split()[9])
        assert nearest == (number, texts[number], 2 * 2 / (6 + 10))
