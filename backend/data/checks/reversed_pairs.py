"""Pairs of answers that are judged both ways."""

from typing import ClassVar, Literal

from backend.data.checks import Check, Gravity, OneByOne, Passing, Row, Watch, rows_are
from backend.data.judgements import Judgements


class ReversedPairs(Check):
    """The rule: the same prompt and the same two answers, character for character, the other way round than in an earlier row."""

    order: ClassVar[int] = 13
    title: ClassVar[str] = "Pairs judged both ways"
    looks_for: ClassVar[str] = "pairs judged both ways"
    gravity: ClassVar[Gravity] = "wrong"
    mend: ClassVar[str] = "Keep the first judgement"

    name: Literal["reversed_pairs"] = "reversed_pairs"

    def begin(self, passing: Passing) -> Watch:
        judgements = Judgements()

        def is_reversed(row: Row) -> bool:
            return "answers" in row.record and judgements.contradict(row.record)

        return OneByOne(self, is_reversed, _sentence)


def _sentence(count: int) -> str:
    return f"{rows_are(count, 'prefer', 'prefers')} an answer that an earlier row rejects. What they teach cancels out."
