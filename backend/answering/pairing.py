"""Answers to one prompt put beside each other: any two make a pair, and four to nine can be put in order.

    paired = pair(answering.prompts(), answering.answers(), PairingSettings())
    paired.items                what people are shown
    paired.left_out             how many prompts had too few answers for it
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from backend.answering.answering import Answer
from backend.answering.prompts import Asked
from backend.errors import UserError
from backend.labelling.items import MOST_ANSWERS, Item
from backend.settings import Settings, sentences

FEWEST_RANKED = 4


class PairingSettings(Settings):
    """What is put beside what."""

    form: Literal["pairs", "rankings"] = Field(
        "pairs", title="Compared as",
        description="Two at a time, which is quick and sure, or several at once to be put in order, which says more about each prompt.",
    )
    which: Literal["all", "some", "one against another"] = Field(
        "all", title="Which pairs", description="Every two answers to a prompt, some drawn by chance, or only those of one answerer against another's.",
    )
    per_prompt: int = Field(
        1, ge=1, le=500, title="Pairs of each prompt", description="How many are drawn where only some are wanted. More prompts teach more than more pairs of one.",
    )
    one: int = Field(1, ge=1, le=64, title="One answerer", description="Whose answers stand against those of the other.")
    other: int = Field(2, ge=1, le=64, title="The other", description="Whose answers they stand against.")
    answers: int = Field(
        4, ge=FEWEST_RANKED, le=MOST_ANSWERS, title="Answers in a ranking",
        description="More say more at once and are harder to put in order. Drawn by chance where a prompt has more.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Drawn by the seed", description="The same seed draws the same pairs and rankings again.")

    @model_validator(mode="after")
    def _two_answerers(self) -> Self:
        if self.form == "pairs" and self.which == "one against another" and self.one == self.other:
            raise ValueError("one answerer stands against itself; choose two different ones, or all pairs")
        return self


@dataclass(frozen=True)
class Paired:
    """Items, in the order of their prompts."""

    items: list[Item]
    left_out: int  # prompts with too few answers


def pair(prompts: Sequence[Asked], answers: Iterable[Answer], settings: PairingSettings) -> Paired:
    """Items out of answers, those that could not be given left aside."""
    by_prompt: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        if not answer.fault:
            by_prompt[answer.prompt].append(answer)
    groups = {number: _groups(by_prompt[number], settings, random.Random(f"{settings.seed} {number}")) for number in range(len(prompts))}
    items = [
        Item(prompts[number].messages, [answer.candidate for answer in group]) for number, found in groups.items() for group in found
    ]
    return Paired(items, sum(not found for found in groups.values()))


def parse_pairing(values: dict[str, Any]) -> PairingSettings:
    """From plain values. Raises `UserError` naming every problem at once."""
    try:
        return PairingSettings.model_validate(values)
    except ValidationError as error:
        raise UserError(*sentences(error)) from error


def _groups(answers: list[Answer], settings: PairingSettings, dice: random.Random) -> list[Sequence[Answer]]:
    """The answers of one prompt that are compared with each other."""
    if settings.form == "rankings":
        enough = len(answers) >= FEWEST_RANKED
        return [dice.sample(answers, min(settings.answers, len(answers)))] if enough else []
    if settings.which == "one against another":
        said = [[answer for answer in answers if answer.answerer == who - 1] for who in (settings.one, settings.other)]
        return list(product(*said))
    pairs = list(combinations(answers, 2))
    return dice.sample(pairs, min(settings.per_prompt, len(pairs))) if settings.which == "some" else pairs  # type: ignore[return-value]
