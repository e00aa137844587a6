"""Rows with nothing to learn in them."""

from typing import ClassVar, Literal

from backend.data.checks import Check, Gravity, Mark, OneByOne, Passing, Row, Watch, rows_are


class EmptyAnswers(Check):
    """The rule: an answer without a letter, a digit or a sign; or a text without."""

    order: ClassVar[int] = 4
    title: ClassVar[str] = "Empty answers"
    looks_for: ClassVar[str] = "empty answers"
    gravity: ClassVar[Gravity] = "wrong"
    mend: ClassVar[str] = "Leave them out"

    name: Literal["empty_answers"] = "empty_answers"

    def begin(self, passing: Passing) -> Watch:
        return OneByOne(self, _has_an_empty_answer, _sentence)

    def marks(self, row: Row) -> list[Mark]:
        return [Mark(number, 0, len(text)) for number, text in enumerate(row.texts) if _is_empty(text)]


def _has_an_empty_answer(row: Row) -> bool:
    return any(who not in ("system", "user") and _is_empty(text) for who, text in row.said)


def _is_empty(text: str) -> bool:
    return not text.strip("\u200b\ufeff \t\r\n\u00a0")


def _sentence(count: int) -> str:
    return f"{rows_are(count, 'have', 'has')} an empty answer. From these the model learns to say nothing."
