"""What is left out of what people label and learn from: counted, named, and nothing else."""

from typing import Any

import pytest

from backend.data.records import Message
from backend.labelling.filters import FilterSettings, prompts_of, sieve
from backend.labelling.items import Candidate, Item, Made

GOOD, OTHER = "This answer has five words.", "Another answer, which has some more words."


def user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def item(*answers: str, prompt: str = "How?", made: Made | None = None) -> Item:
    return Item(user(prompt), [Candidate([{"role": "assistant", "content": text}], made or {}) for text in answers])


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (item("", OTHER), "empty"),
        (item(" \n", OTHER), "empty"),
        (item(GOOD, f"{GOOD} \n"), "identical"),
        (item("Only four words here.", OTHER), "short"),
        (item(GOOD, OTHER, "Too short.", prompt="three answers"), "short"),
        (item(GOOD, OTHER, made={"end": "cut off"}), "cut_off"),
    ],
)
def test_an_item_with_a_bad_answer_is_left_out_and_named(bad: Item, name: str) -> None:
    fine = item(GOOD, OTHER, prompt="fine", made={"end": "finished"})
    sifted = sieve([fine, bad], FilterSettings())
    assert sifted.kept == [fine] and sifted.numbers == [1]
    assert [(drop.number, drop.filter) for drop in sifted.dropped] == [(2, name)] and sifted.counts == {name: 1}
    every_filter_off: dict[str, Any] = {field: False for field in FilterSettings.model_fields if field != "shortest_words"}
    assert sieve([fine, bad], FilterSettings(**every_filter_off)).kept == [fine, bad]


def test_the_same_pair_is_found_in_either_order_and_under_its_own_prompt_only() -> None:
    sifted = sieve([item(GOOD, OTHER), item(OTHER, GOOD), item(GOOD, OTHER), item(GOOD, OTHER, prompt="Why?")], FilterSettings())
    assert sifted.counts == {"duplicates": 2} and sifted.numbers == [1, 4]


def test_a_pair_that_was_left_out_makes_no_duplicate_of_a_later_one() -> None:
    cut, whole = item(GOOD, OTHER, made={"end": "cut off"}), item(GOOD, OTHER)
    assert sieve([cut, whole], FilterSettings()).kept == [whole]


def test_a_prompt_kept_for_evaluation_is_found_whatever_its_spaces() -> None:
    held_out = prompts_of([{"messages": [*user("How  do\nI sit? "), {"role": "assistant", "content": "So."}]}])
    pairs = [item(GOOD, OTHER, prompt="How do I sit?"), item(GOOD, OTHER, prompt="How do I stand?")]
    assert sieve(pairs, FilterSettings(), held_out=held_out).counts == {"held_out": 1}
    assert sieve(pairs, FilterSettings(held_out=False), held_out=held_out).kept == pairs


def test_words_are_those_between_spaces_and_characters_where_there_are_none() -> None:
    assert sieve([item("It's a no-go, really now.", "一二三四五")], FilterSettings()).kept
    assert sieve([item("It's a no-go, really.", OTHER)], FilterSettings()).dropped[0].reason.startswith("has an answer of 4 words")
    assert not sieve([item("一二三四", OTHER)], FilterSettings()).kept
    assert sieve([item("一二三四", OTHER)], FilterSettings(shortest_words=4)).kept
