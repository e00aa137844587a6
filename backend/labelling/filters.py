"""What is not worth a person's time, or not fit to be learnt from: counted and named, before labelling and when it is taken away.

    sifted = sieve(items, FilterSettings(), held_out=prompts_of(datasets.iterate("questions")))
    sifted.kept                 the items that passed, in their order
    sifted.dropped              the others: Dropped(14, "short", "has an answer of 3 words, and at least 5 are needed")
    sifted.counts               how many each filter dropped

An item is dropped for the first filter it meets. What is wrong with one of its answers is wrong with the item: a ranking
with an answer taken out would no longer be what people were shown.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import Field

from backend.data.records import Message, Record, canonical, digest, prompt_of
from backend.data.similarity import WITHOUT_SPACES
from backend.labelling.items import Item
from backend.settings import Settings

Filter = Literal["empty", "identical", "short", "cut_off", "duplicates", "held_out"]
FILTERS: dict[Filter, str] = {
    "empty": "an answer is empty",
    "identical": "answers are the same",
    "short": "an answer is too short",
    "cut_off": "an answer was cut off",
    "duplicates": "the same answers to the same prompt came before",
    "held_out": "the prompt is kept for evaluation",
}  # what is said of those each one dropped, in the order they are tried


_CHARACTER_WORDS = re.compile(f"[{WITHOUT_SPACES}]")


class FilterSettings(Settings):
    """Which items are left out."""

    empty: bool = Field(True, title="Empty answers", description="Leave out items with an answer that says nothing.")
    identical: bool = Field(
        True, title="Identical answers", description="Leave out items with two answers that are the same: there is nothing to choose.",
    )
    short: bool = Field(
        True, title="Short answers", description="Leave out items with an answer of fewer words than below. Untick it where short answers are right.",
    )
    shortest_words: int = Field(
        5, ge=1, le=200, title="Shortest answer (words)",
        description="Higher leaves out more. In scripts without spaces, such as Chinese, each character counts as a word.",
    )
    cut_off: bool = Field(
        True, title="Answers cut off",
        description="Leave out items with an answer that ran into its longest length: learnt from, it teaches to stop in mid-sentence.",
    )
    duplicates: bool = Field(
        True, title="The same again", description="Leave out items whose prompt and answers came before, in whatever order they stand.",
    )
    held_out: bool = Field(
        True, title="Prompts kept for evaluation",
        description="Leave out items whose prompt is in the data set chosen for evaluation: a model that learnt them cannot be measured on them.",
    )


class Dropped(NamedTuple):
    """An item that was left out: its place among those looked at, from 1; `reason` goes on after "Item 14 ..."."""

    number: int
    filter: Filter
    reason: str


@dataclass(frozen=True)
class Sieved:
    """What passed and what did not."""

    kept: list[Item]
    numbers: list[int]  # of those kept: their places among those looked at, from 1
    dropped: list[Dropped]

    @property
    def counts(self) -> dict[Filter, int]:
        """How many each filter dropped, in the order they are tried; those that dropped none are left out."""
        found = Counter(each.filter for each in self.dropped)
        return {name: found[name] for name in FILTERS if found[name]}


def sieve(items: Iterable[Item], settings: FilterSettings, *, held_out: Container[str] = ()) -> Sieved:
    """Part what is worth labelling or learning from the rest. `held_out` are prompts as `prompts_of` gives them."""
    sifted, seen = Sieved([], [], []), set[bytes]()
    for number, item in enumerate(items, start=1):
        fault = _fault_of_answers(item, settings) or _fault_among_others(item, settings, seen, held_out)
        if fault:
            sifted.dropped.append(Dropped(number, *fault))
        else:
            sifted.kept.append(item)
            sifted.numbers.append(number)
    return sifted


def prompts_of(records: Iterable[Record]) -> set[str]:
    """What some rows ask, to be held out: kept for evaluation, they must not be learnt from."""
    return {_asked(prompt_of(record)) for record in records}


Fault = tuple[Filter, str]


def _fault_of_answers(item: Item, settings: FilterSettings) -> Fault | None:
    """What is wrong with an item by itself."""
    texts = [_text(candidate.answer) for candidate in item.candidates]
    if settings.empty and not all(texts):
        return "empty", "has an empty answer"
    if settings.identical and len(set(texts)) < len(texts):
        return "identical", "has two answers that are the same"
    if settings.short and (shortest := min(map(word_count, texts))) < settings.shortest_words:
        return "short", f"has an answer of {_words(shortest)}, and at least {settings.shortest_words} are needed"
    if settings.cut_off and any(candidate.made.get("end") == "cut off" for candidate in item.candidates):
        return "cut_off", "has an answer that was cut off at the longest length allowed"
    return None


def _fault_among_others(item: Item, settings: FilterSettings, seen: set[bytes], held_out: Container[str]) -> Fault | None:
    """What is wrong with an item beside others. What it says is added to what was `seen`."""
    content = content_of(item)
    if settings.duplicates and content in seen:
        return "duplicates", "has the prompt and the answers of an earlier one"
    seen.add(content)
    if settings.held_out and _asked(_question(item.prompt)) in held_out:
        return "held_out", "has a prompt that is kept for evaluation"
    return None


def content_of(item: Item) -> bytes:
    """What stands for a prompt and its answers, in whatever order the answers are."""
    return digest(canonical([item.prompt, sorted(canonical(candidate.answer).decode() for candidate in item.candidates)]))


def word_count(text: str) -> int:
    """Words as people count them, between spaces; in scripts without spaces each character is one."""
    return sum(len(_CHARACTER_WORDS.findall(word)) or 1 for word in text.split())


def _question(prompt: Sequence[Message]) -> str:
    return prompt_of({"prompt": list(prompt), "answers": [], "ranks": []})


def _asked(prompt: str) -> str:
    """A prompt as it is compared: spaces and line ends make no other question of it."""
    return " ".join(prompt.split())


def _text(answer: Sequence[Message]) -> str:
    return "\n".join(turn["content"] for turn in answer).strip()


def _words(number: int) -> str:
    return "1 word" if number == 1 else f"{number} words"
