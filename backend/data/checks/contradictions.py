"""Rows that answer the same prompt differently."""

from typing import ClassVar, Literal

from backend.data.alike import Keys
from backend.data.checks import Check, Finding, Gravity, Passing, Row, Watch, alike, rows_are
from backend.data.records import digest


class Contradictions(Check):
    """The rule: all that is said before the last answer is the same, letter case and white space put aside; the answer is not."""

    order: ClassVar[int] = 3
    title: ClassVar[str] = "The same prompt, another answer"
    looks_for: ClassVar[str] = "prompts with several answers"
    gravity: ClassVar[Gravity] = "doubtful"
    mend: ClassVar[str] = "Keep the first answer"

    name: Literal["contradictions"] = "contradictions"

    def begin(self, passing: Passing) -> Watch:
        return _Contradictions(self)


class _Contradictions(Watch):
    def __init__(self, check: Contradictions) -> None:
        self._check = check
        self._prompts, self._answers = Keys(), Keys()

    def see(self, row: Row) -> None:
        prompt, answer = row.prompt, row.answer
        self._prompts.add(None if prompt is None or answer is None else digest(alike(prompt).encode()))
        self._answers.add(None if answer is None else digest(alike(answer).encode()))

    def findings(self) -> list[Finding]:
        import numpy as np

        firsts, answers = self._prompts.firsts(), self._answers.firsts()
        (other,) = np.nonzero(answers != answers[firsts])  # than the first row with that prompt
        if not len(other):
            return []
        sentence = (
            f"{rows_are(len(other), 'answer', 'answers')} a prompt that an earlier row answers otherwise. The model learns a mixture of both; "
            "wanted where variety is wanted, a mistake where one answer is right."
        )
        found = self._check.finding(sentence, other + 1, count=len(other), of=len(firsts))
        return [found.model_copy(update={"others": (firsts[other[: len(found.rows)]] + 1).tolist()})]
