"""What an answer is worth: plain rules, a trained reward model, or a weighted sum of them. Imports no torch.

A rule gives 1 to an answer that keeps it and 0 to one that does not, so that a mean reward reads as a share.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import regex
from pydantic import Field, field_validator

from backend.data.records import Message
from backend.settings import Settings, advanced

PATTERN_SECONDS = 0.2  # a pattern that takes longer on one answer counts as not found: some take for ever

Form = Literal["any", "three lines", "list", "JSON"]
Judge = Callable[[Sequence[list[Message]]], list[float]]  # conversations -> a reward each


class Answered(NamedTuple):
    """A prompt, what was answered, whether the answer came to its end, and the answer in the data, if any."""

    prompt: list[Message]
    answer: str
    finished: bool
    wanted: str = ""


def _weight(rule: str) -> float:
    """The setting that says how much a rule counts."""
    return advanced(
        1.0, gt=0, le=100, title=f"Weight of “{rule}”",
        description="How much it counts beside the other rules: at 2 as much as two of weight 1.",
    )


class RewardSettings(Settings):
    """What answers are rewarded for. Rules that are left empty count for nothing."""

    reward_run: str | None = Field(
        None, title="Reward model",
        description="A run that learnt what people prefer. Its rewards are scaled so that a preferred answer is about 1 above the "
        "other, as with a rule. None: rules alone decide.",
        json_schema_extra={"names_run": True},
    )
    most_words: int | None = Field(
        None, ge=1, le=10_000, title="At most so many words",
        description="Rewards answers that are finished within so many words. Empty: any length.",
    )
    contains: tuple[str, ...] = Field(
        (), max_length=20, title="Contains", description="Rewards answers that hold all of these texts, one a line, in any case.",
    )
    avoids: tuple[str, ...] = Field(
        (), max_length=20, title="Avoids", description="Rewards answers that hold none of these texts, one a line, in any case.",
    )
    pattern: str = advanced(
        "", max_length=500, title="Matches a pattern", description="Rewards answers in which this regular expression is found.",
    )
    form: Form = Field(
        "any", title="Form",
        description="three lines: the habit of the starter data. list: every line a point. JSON: nothing but valid JSON.",
    )
    exact: bool = advanced(
        False, title="The right answer", description="Rewards answers equal to the one in the data, letter case and spaces aside.",
    )
    most_words_weight: float = _weight("At most so many words")
    contains_weight: float = _weight("Contains")
    avoids_weight: float = _weight("Avoids")
    pattern_weight: float = _weight("Matches a pattern")
    form_weight: float = _weight("Form")
    exact_weight: float = _weight("The right answer")
    reward_run_weight: float = advanced(
        1.0, ge=0, le=100, title="Weight of the reward model", description="How much it counts beside the rules, which weigh 1 together.",
    )
    unfinished_cost: float = advanced(
        1.0, ge=0, le=100, title="Cost of being cut off",
        description="Taken off what the reward model says of an answer that ran into its longest length, or says nothing: "
        "people were never asked about such answers.",
    )

    @field_validator("pattern")
    @classmethod
    def _can_be_read(cls, pattern: str) -> str:
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return pattern

    def rules(self) -> dict[Callable[[Answered], bool], float]:
        """The rules that are set, and how much each counts."""
        asked = (
            (self._is_short, self.most_words is not None, self.most_words_weight), (self._holds_all, self.contains, self.contains_weight),
            (self._holds_none, self.avoids, self.avoids_weight), (self._matches, self.pattern, self.pattern_weight),
            (self._has_form, self.form != "any", self.form_weight), (self._is_right, self.exact, self.exact_weight),
        )  # fmt: skip
        return {rule: weight for rule, wanted, weight in asked if wanted}

    def judge(self, answered: Sequence[Answered], judge: Judge | None = None) -> list[float]:
        """The reward of each answer: the share of rules it keeps, each by its weight, and what the reward model says, by its own."""
        rules = self.rules()
        total = sum(rules.values()) or 1.0
        kept = [sum(weight * rule(each) for rule, weight in rules.items()) / total for each in answered]
        if judge is None:
            return kept
        said = judge([[*each.prompt, {"role": "assistant", "content": each.answer}] for each in answered])
        costs = [0.0 if each.finished and each.answer.strip() else self.unfinished_cost for each in answered]
        return [rule + self.reward_run_weight * (reward - cost) for rule, reward, cost in zip(kept, said, costs, strict=True)]

    def _is_short(self, each: Answered) -> bool:
        return each.finished and 0 < len(each.answer.split()) <= (self.most_words or 0)

    def _holds_all(self, each: Answered) -> bool:
        return all(text.casefold() in each.answer.casefold() for text in self.contains)

    def _holds_none(self, each: Answered) -> bool:
        return bool(each.answer.strip()) and not any(text.casefold() in each.answer.casefold() for text in self.avoids)

    def _matches(self, each: Answered) -> bool:
        try:
            return regex.search(self.pattern, each.answer, timeout=PATTERN_SECONDS) is not None
        except TimeoutError:
            return False

    def _has_form(self, each: Answered) -> bool:
        return each.finished and _FORMS[self.form](each.answer.strip())

    def _is_right(self, each: Answered) -> bool:
        return bool(each.wanted.strip()) and _plain(each.answer) == _plain(each.wanted)


def in_margins(judge: Judge, margin: float) -> Judge:
    """Rewards in units of how far a reward model holds better and worse answers apart: its scale is its own, and KL costs by ours.

    A model that hardly tells them apart is left as it is, or its noise would be blown up.
    """
    return lambda conversations: [reward / max(margin, 1.0) for reward in judge(conversations)]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _is_three_lines(answer: str) -> bool:
    from backend.data.starter import keeps_three_lines

    return keeps_three_lines(answer)


def _is_list(answer: str) -> bool:
    lines = [line for line in answer.splitlines() if line.strip()]
    return len(lines) > 1 and all(re.match(r"\s*([-*•]|\d+[.)])\s+\S", line) for line in lines)


def _is_json(answer: str) -> bool:
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True


_FORMS: dict[str, Callable[[str], bool]] = {"three lines": _is_three_lines, "list": _is_list, "JSON": _is_json}
