"""What is not kept, and why: each reason goes on after "The task ...". The rules are those of Self-Instruct's code."""

import re
from typing import NamedTuple

from backend.data.similarity import Nearest, words
from backend.generating.settings import GenerationSettings
from backend.generating.tasks import Task

LEAST_TOLD = 20  # words from which on an answer can be said to repeat itself
DANGLING = {"a", "an", "the", "and", "or", "of", "to", "in", "with", "for"}


class Fault(NamedTuple):
    """Why a task is rejected."""

    kind: str  # to count by: "too similar"
    reason: str  # in full: "is 0.83 similar to an earlier one, and below 0.7 is asked for"


def fault_of_instruction(instruction: str, settings: GenerationSettings) -> Fault | None:
    """What is wrong with an instruction by itself."""
    length = len(words(instruction))
    if length < settings.shortest_words:
        return Fault("too short", f"is {_words(length)} long, and at least {settings.shortest_words} are needed")
    if length > settings.longest_words:
        return Fault("too long", f"is {_words(length)} long, and at most {settings.longest_words} are allowed")
    if blocked := blocked_word(instruction, settings.blocked_words):
        return Fault("word not allowed", f'holds "{blocked}", which is not allowed')
    if not instruction[0].isalnum() and instruction[0] not in "\"'\u201c\u2018\u00ab\u00bf\u00a1\u300c":
        return Fault("no instruction", "starts with punctuation")
    if instruction[-1] in ",;(-\u2013" or words(instruction)[-1] in DANGLING:
        return Fault("not finished", "is not finished")
    return None


def fault_of_similarity(nearest: Nearest | None, settings: GenerationSettings) -> Fault | None:
    """Whether an instruction is too much like one there is."""
    if nearest is None or nearest.score < settings.most_similar:
        return None
    if nearest.score == 1:
        return Fault("repeat", "repeats an earlier one word by word")
    return Fault("too similar", f"is {nearest.score:.2f} similar to an earlier one, and below {settings.most_similar:g} is asked for")


def fault_of_answer(task: Task, *, is_cut_off: bool) -> Fault | None:
    """What is wrong with the example of an instruction."""
    if not task.output:
        return Fault("no answer", "has no answer")
    if is_cut_off:
        return Fault("answer cut off", "has an answer that was cut off at the longest length allowed")
    if _same(task.output, task.input):
        return Fault("answer is the input", "has its input for an answer")
    if _same(task.output, task.instruction) or _same(task.output, task.prompt):
        return Fault("answer is the instruction", "has its own instruction for an answer")
    if says_the_same_again(task.output) or says_the_same_again(task.input):
        return Fault("repeats itself", "says the same thing over and over")
    return None


def blocked_word(instruction: str, blocked: tuple[str, ...]) -> str | None:
    """The first of the blocked words or phrases that an instruction holds, as whole words."""
    said = f" {' '.join(words(instruction))} "
    return next((each for each in blocked if words(each) and f" {' '.join(words(each))} " in said), None)


def says_the_same_again(text: str) -> bool:
    """Whether fewer than half of a longer text's runs of four words are different ones."""
    said = words(text)
    runs = list(zip(said, said[1:], said[2:], said[3:], strict=False))
    return len(said) >= LEAST_TOLD and len(set(runs)) < len(runs) / 2


def _same(one: str, other: str) -> bool:
    return bool(other) and re.sub(r"\W+", " ", one).casefold().strip() == re.sub(r"\W+", " ", other).casefold().strip()


def _words(count: int) -> str:
    return "1 word" if count == 1 else f"{count} words"
