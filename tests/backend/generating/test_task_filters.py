"""What is kept and what not, with the reason in words."""

import pytest

from backend.data.similarity import Nearest, Pool
from backend.generating.filters import (
    blocked_word,
    fault_of_answer,
    fault_of_instruction,
    fault_of_similarity,
    says_the_same_again,
)
from backend.generating.settings import CANNOT_DO, GenerationSettings
from backend.generating.tasks import Task

SETTINGS = GenerationSettings()


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("Sing loudly", "is 2 words long, and at least 3 are needed"),
        ("Sing", "is 1 word long, and at least 3 are needed"),
        ("word " * 151, "is 151 words long, and at most 150 are allowed"),
        ("Describe what the picture shows.", 'holds "picture", which is not allowed'),
        ("Tell me where to go to see it.", 'holds "go to", which is not allowed'),
        ("- tell me a joke", "starts with punctuation"),
        ("... and tell me a joke", "starts with punctuation"),
        ("Write a story about the", "is not finished"),
        ("First tell me a joke,", "is not finished"),
    ],
)
def test_an_instruction_is_rejected_with_its_reason(instruction: str, reason: str) -> None:
    fault = fault_of_instruction(instruction, SETTINGS)
    assert fault is not None and fault.reason == reason


@pytest.mark.parametrize("instruction", [
    "Write a story about mapping the profile of a mountain.", '"Yes" or "no": is it raining?', "¿Qué hora es ahora?", "写一首关于大海的诗。",
    "Summarise this email in one sentence:", "3 tips for better sleep", "「海」について短い詩を書いてください",
])  # fmt: skip
def test_an_instruction_with_nothing_wrong_passes(instruction: str) -> None:
    assert fault_of_instruction(instruction, SETTINGS) is None


def test_blocked_words_are_whole_words_in_any_case() -> None:
    assert blocked_word("Draw a MAP!", CANNOT_DO) == "map"
    assert blocked_word("Compare the graphs, please", ("graph",)) is None
    assert blocked_word("Anything at all", ("", "!")) is None


def test_the_limit_itself_is_too_similar_and_what_is_below_is_not() -> None:
    assert fault_of_similarity(Nearest(0, "x", 0.7), SETTINGS) == ("too similar", "is 0.70 similar to an earlier one, and below 0.7 is asked for")
    assert fault_of_similarity(Nearest(0, "x", 0.699), SETTINGS) is None
    assert fault_of_similarity(None, SETTINGS) is None
    strict = GenerationSettings(most_similar=0.3)
    assert fault_of_similarity(Pool(["Write a poem about the sea."]).nearest("Write a letter to the mayor"), strict) is not None


def test_a_repeat_is_called_one() -> None:
    nearest = Pool(["Write a poem about the sea."]).nearest("write a poem, about the SEA!")
    assert fault_of_similarity(nearest, SETTINGS) == ("repeat", "repeats an earlier one word by word")


@pytest.mark.parametrize(
    ("task", "is_cut_off", "reason"),
    [
        (Task("Name a bird.", "", "", False), False, "has no answer"),
        (Task("Name a bird.", "", "A wren is a", False), True, "has an answer that was cut off at the longest length allowed"),
        (Task("Name it.", "a wren", "A wren!", False), False, "has its input for an answer"),
        (Task("Name a bird.", "", "Name a bird", False), False, "has its own instruction for an answer"),
        (Task("Sort this.", "2 1", "Sort this. 2 1", False), False, "has its own instruction for an answer"),
        (Task("Name birds.", "", "I like birds very much. " * 8, False), False, "says the same thing over and over"),
        (Task("Name birds.", "", "A wren.", False), False, None),
        (Task("Is it good?", "So good!", "Yes", True), False, None),
    ],
)
def test_an_answer_is_judged_with_its_reason(task: Task, is_cut_off: bool, reason: str | None) -> None:
    fault = fault_of_answer(task, is_cut_off=is_cut_off)
    assert (fault and fault.reason) == reason


def test_a_refrain_is_no_repetition() -> None:
    assert not says_the_same_again("Row, row, row your boat, gently down the stream; merrily, merrily, merrily, merrily, life is but a dream for all of us.")
    assert not says_the_same_again("yes " * 10)  # too short to tell
