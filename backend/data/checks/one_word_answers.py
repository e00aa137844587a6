"""Answers of a single word that are no label."""

from array import array
from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from backend.data.checks import WORD, Check, Finding, Gravity, Mark, Passing, Row, Watch, alike, rows_are

WORDS_COUNTED = 50_000  # different ones


class OneWordAnswers(Check):
    """The rule: one run of letters and digits, and fewer rows say the same than a label would have."""

    order: ClassVar[int] = 5
    title: ClassVar[str] = "One-word answers"
    looks_for: ClassVar[str] = "one-word answers"
    gravity: ClassVar[Gravity] = "notable"
    mend: ClassVar[str] = "Leave them out"

    name: Literal["one_word_answers"] = "one_word_answers"
    label_from: int = Field(
        5, ge=1, le=1_000_000, title="A label from (rows)",
        description="A one-word answer that so many rows give is taken for a label, such as positive or sports, and is not reported.",
    )

    def begin(self, passing: Passing) -> Watch:
        return _OneWord(self)

    def marks(self, row: Row) -> list[Mark]:
        return [Mark(len(row.turns) - 1, 0, len(row.answer or ""))]


class _OneWord(Watch):
    def __init__(self, check: OneWordAnswers) -> None:
        self._check, self._seen = check, 0
        self._rows, self._said = array("q"), array("q")  # row numbers, and which word each says
        self._words: dict[str, int] = {}

    def see(self, row: Row) -> None:
        self._seen += 1
        answer = row.answer
        if answer and len(answer) < 100 and len(WORD.findall(answer)) == 1 and len(self._words) < WORDS_COUNTED:
            self._rows.append(row.number)
            self._said.append(self._words.setdefault(alike(answer), len(self._words)))

    def findings(self) -> list[Finding]:
        often = Counter(self._said)
        rows = [row for row, word in zip(self._rows, self._said, strict=True) if often[word] < self._check.label_from]
        if not rows:
            return []
        sentence = (
            f"{rows_are(len(rows), 'answer', 'answers')} with a single word. Right for a quiz; otherwise the model learns to be curt."
        )
        return [self._check.finding(sentence, rows, count=len(rows), of=self._seen, at_least=len(self._words) == WORDS_COUNTED)]
