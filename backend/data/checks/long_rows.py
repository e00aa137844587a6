"""Rows longer than training takes in."""

from array import array
from typing import ClassVar, Literal

from pydantic import Field

from backend.data.checks import Check, Finding, Gravity, Passing, Row, Ruler, Watch, rows_are
from backend.specs import TrainingSettings


class LongRows(Check):
    """The rule: the true number of tokens, by the base model's tokenizer and chat template."""

    order: ClassVar[int] = 11
    title: ClassVar[str] = "Rows cut by the length limit"
    looks_for: ClassVar[str] = "rows cut by the length limit"
    gravity: ClassVar[Gravity] = "notable"
    mend: ClassVar[str] = "Leave them out"

    name: Literal["long_rows"] = "long_rows"
    base_model: str = Field(
        "starter", min_length=1, title="Counted by", description="The model whose tokens are counted: a row has more or fewer by another.",
    )
    max_length: int = Field(
        TrainingSettings().max_length, ge=1, le=1_000_000, title="Cut at (tokens)",
        description="The longest row training takes in; what stands behind is cut off and not learnt from.",
    )

    def begin(self, passing: Passing) -> Watch:
        return _Long(self, passing.ruler(self.base_model))


class _Long(Watch):
    """Counting takes milliseconds a row, so rows that cannot be too long are not counted.

    A token stands for at least one byte; and what the chat template adds to a row is no more than all the tokens of any
    other row with the same roles.
    """

    def __init__(self, check: LongRows, ruler: Ruler) -> None:
        self._check, self._ruler = check, ruler
        self._shortest: dict[tuple[str, ...], int] = {}  # roles -> tokens of the shortest row counted
        self._rows = array("q")  # numbers of the rows that are cut
        self._seen = self._lost = self._tokens = self._cut_tokens = self._longest = 0
        self._is_told = True  # whether every row could be measured

    def see(self, row: Row) -> None:
        self._seen += 1
        roles, limit = tuple(who for who, _ in row.said), self._check.max_length
        if roles in self._shortest and self._shortest[roles] + sum(len(text.encode()) for text in row.texts) <= limit:
            return
        length = self._ruler(row.record)
        if length is None:
            self._is_told = False
            return
        self._shortest[roles] = min(length.tokens, self._shortest.get(roles, length.tokens))
        if length.tokens > limit:
            self._rows.append(row.number)
            self._tokens += length.tokens
            self._cut_tokens += length.tokens - limit
            self._lost += length.before_answer >= limit
            self._longest = max(self._longest, length.tokens)

    def findings(self) -> list[Finding]:
        if not self._is_told or not self._rows:
            return []
        gravity = "wrong" if self._lost else self._check.gravity
        return [self._check.finding(self._sentence(), self._rows, count=len(self._rows), of=self._seen, gravity=gravity)]

    def _sentence(self) -> str:
        nothing = f" Of {self._lost:,} nothing to learn from is left." if self._lost else ""
        return (
            f"{rows_are(len(self._rows), 'are', 'is')} longer than {self._check.max_length:,} tokens, and {self._cut_tokens / self._tokens:.2%} "
            f"of their tokens are cut off.{nothing} The longest has {self._longest:,}. Raise the limit in Train, shorten the rows, or leave them out."
        )
