"""Rows longer than training takes in."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.checks import Check, Finding, Gravity, Passing, Watch
from backend.specs import TrainingSettings

if TYPE_CHECKING:
    from backend.data.views import Lengths


class LongRows(Check):
    """The rule: the true number of tokens, by the base model's tokenizer and chat template, on a sample of 2,000 rows."""

    order: ClassVar[int] = 11
    title: ClassVar[str] = "Rows cut by the length limit"
    looks_for: ClassVar[str] = "rows cut by the length limit"
    gravity: ClassVar[Gravity] = "notable"

    name: Literal["long_rows"] = "long_rows"
    base_model: str = Field(
        "starter", min_length=1, title="Counted by", description="The model whose tokens are counted: a row has more or fewer by another.",
    )
    max_length: int = Field(
        TrainingSettings().max_length, ge=1, le=1_000_000, title="Cut at (tokens)",
        description="The longest row training takes in; what stands behind is cut off and not learnt from.",
    )

    def begin(self, passing: Passing) -> Watch:
        return _Long(self, passing)


class _Long(Watch):
    def __init__(self, check: LongRows, passing: Passing) -> None:
        self._check, self._passing = check, passing

    def findings(self) -> list[Finding]:
        limit, lengths = self._check.max_length, self._passing.lengths(self._check.base_model)
        if lengths is None or not lengths.cut_rows(limit):
            return []
        rows = [] if lengths.is_sample else [number for number, row in enumerate(lengths.measured, 1) if row.tokens > limit]
        return [self._check.finding(
            _sentence(lengths, limit), rows, count=lengths.cut_rows(limit), of=len(lengths.measured), is_sample=lengths.is_sample,
            gravity="wrong" if lengths.lost_rows(limit) else self._check.gravity,
        )]  # fmt: skip


def _sentence(lengths: "Lengths", limit: int) -> str:
    cut, lost = lengths.cut_rows(limit), lengths.lost_rows(limit)
    of = f"{len(lengths.measured):,} rows spread evenly over all {lengths.rows:,}" if lengths.is_sample else f"{lengths.rows:,} rows"
    nothing = f" Of {lost:,} nothing to learn from is left." if lost else ""
    return (
        f"{cut:,} of {of} {'is' if cut == 1 else 'are'} longer than {limit:,} tokens, and {lengths.cut_tokens(limit) / lengths.tokens:.2%} of all "
        f"tokens are cut off.{nothing} The longest has {max(row.tokens for row in lengths.measured):,}. Raise the limit in Train, or shorten the rows."
    )
