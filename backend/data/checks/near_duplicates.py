"""Rows that say nearly the same as an earlier row."""

from typing import ClassVar, Literal

from pydantic import Field

from backend.data.checks import Check, Finding, Gravity, Passing, Row, Watch, rows_are
from backend.data.records import how_of

THRESHOLD = 0.8


class NearDuplicates(Check):
    """The rule: the Jaccard similarity of two rows' word triples, as `backend.data.alike` has them.

    Augmented rows are near the ones they were made from, as they are meant to be, and do not count.
    """

    order: ClassVar[int] = 2
    title: ClassVar[str] = "Near duplicates"
    looks_for: ClassVar[str] = "near duplicates"
    gravity: ClassVar[Gravity] = "doubtful"
    mend: ClassVar[str] = "Keep one of each"

    name: Literal["near_duplicates"] = "near_duplicates"
    threshold: float = Field(
        THRESHOLD, ge=0.5, le=1, title="Near from",
        description="Two rows are near when they share this part of all their runs of three words. Lower finds more, and more that "
        "are only similar.",
    )

    def begin(self, passing: Passing) -> Watch:
        return _NearCopies(self, passing)


class _NearCopies(Watch):
    def __init__(self, check: NearDuplicates, passing: Passing) -> None:
        self._check, self._passing = check, passing
        self._counts = bytearray()  # 1 for each row that counts, else 0

    def see(self, row: Row) -> None:
        self._counts.append(how_of(row.record) != "augmented")

    def findings(self) -> list[Finding]:
        import numpy as np

        pairs = self._passing.near(self._check.threshold).among(np.frombuffer(self._counts, dtype=bool))
        copies, originals = pairs.copies()
        if not len(copies):
            return []
        sentence = (
            f"{rows_are(len(copies), 'share', 'shares')} {self._check.threshold:.0%} or more of their word triples with an earlier row. "
            "What is said again and again in nearly the same words is learnt by heart."
        )
        order = copies.argsort()
        rows, others = (copies[order] + 1).tolist(), (originals[order] + 1).tolist()
        found = self._check.finding(sentence, rows, count=len(copies), of=self._passing.rows, at_least=not pairs.all_found)
        return [found.model_copy(update={"others": others[: len(found.rows)]})]
