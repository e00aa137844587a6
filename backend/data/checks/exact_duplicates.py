"""Rows that say exactly the same as an earlier row."""

from typing import ClassVar, Literal

from backend.data.checks import Check, Finding, Gravity, Passing, Watch, rows_are


class ExactDuplicates(Check):
    """The rule: the same turns, character for character; what is known about a row does not count."""

    order: ClassVar[int] = 1
    title: ClassVar[str] = "Exact duplicates"
    looks_for: ClassVar[str] = "exact duplicates"
    gravity: ClassVar[Gravity] = "wrong"
    mend: ClassVar[str] = "Leave the copies out"

    name: Literal["exact_duplicates"] = "exact_duplicates"

    def begin(self, passing: Passing) -> Watch:
        return _Copies(self, passing)


class _Copies(Watch):
    def __init__(self, check: ExactDuplicates, passing: Passing) -> None:
        self._check, self._passing = check, passing

    def findings(self) -> list[Finding]:
        import numpy as np

        firsts = self._passing.firsts
        (copies,) = np.nonzero(firsts != np.arange(len(firsts)))
        if not len(copies):
            return []
        sentence = (
            f"{rows_are(len(copies), 'say', 'says')} exactly what an earlier row says. A row that is there twice weighs twice."
        )
        found = self._check.finding(sentence, copies + 1, count=len(copies), of=len(firsts))
        return [found.model_copy(update={"others": (firsts[copies[: len(found.rows)]] + 1).tolist()})]
