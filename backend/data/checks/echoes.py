"""Answers that repeat the prompt."""

import re
from typing import ClassVar, Literal

from backend.data.checks import WORD, Check, Finding, Gravity, Mark, Mender, OneByOne, Passing, Row, Watch, rows_are
from backend.data.records import Record

LEAST_WORDS = 4  # fewer begin many a good answer


class Echoes(Check):
    """The rule: an answer begins with its whole question, four words or more, letter case and punctuation put aside."""

    order: ClassVar[int] = 7
    title: ClassVar[str] = "Answers that repeat the prompt"
    looks_for: ClassVar[str] = "answers that repeat the prompt"
    gravity: ClassVar[Gravity] = "doubtful"
    mend: ClassVar[str] = "Take the prompt out of the answer"

    name: Literal["echoes"] = "echoes"

    def begin(self, passing: Passing) -> Watch:
        return OneByOne(self, lambda row: _echo(row) > 0, _sentence)

    def marks(self, row: Row) -> list[Mark]:
        return [Mark(len(row.turns) - 1, 0, _echo(row))]

    def mender(self, finding: Finding) -> Mender:
        return _without_echo


def _without_echo(row: Row) -> Record | None:
    """The row with what stands behind the prompt in the answer; None where nothing does."""
    left = re.sub(r"^[\s:;,.?!\"'”’)\]-]+", "", (row.answer or "")[_echo(row) :])
    if not left:
        return None
    return {**row.record, "messages": [*row.turns[:-1], {**row.turns[-1], "content": left}]}


def _echo(row: Row) -> int:
    """How many characters of the answer say the prompt again."""
    if row.answer is None or len(row.turns) < 2 or row.turns[-2]["role"] != "user":
        return 0
    question = row.turns[-2]["content"]
    if not _may_begin_alike(question, row.answer):
        return 0
    asked = [word.group().casefold() for word in WORD.finditer(question)]
    said = [word for _, word in zip(asked, WORD.finditer(row.answer), strict=False)]
    if len(asked) < LEAST_WORDS or [word.group().casefold() for word in said] != asked:
        return 0
    return said[-1].end()


def _may_begin_alike(question: str, answer: str) -> bool:
    """Whether both begin with one word: most rows are done with here."""
    asked, said = WORD.search(question), WORD.search(answer)
    return bool(asked and said and asked.group().casefold() == said.group().casefold())


def _sentence(count: int) -> str:
    return f"{rows_are(count, 'begin', 'begins')} with the question again. The model learns to repeat what it is asked before it answers."
