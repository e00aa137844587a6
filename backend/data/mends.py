"""Mends: what a check found, put right in a new version. Looked at first, made on a click, undone on another.

    seen = preview(datasets, card, finding, checks)       what would change and what would go
    card = mend(datasets, card, finding, checks)          a new version
    card = undo(datasets, card)                           the version it was made from, as the newest again

A mend goes over the rows of its finding and no others; what is known about a row stays with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from backend.data.checks import Check, Finding, Row
from backend.data.readers import Progress
from backend.data.records import Record
from backend.data.versions import Card, Datasets
from backend.errors import UserError

CHANGES_SHOWN = 20
ROWS_AT_ONCE = 1000


class Change(NamedTuple):
    """A row before a mend and after it."""

    number: int  # from 1
    before: Record
    after: Record | None  # None: it goes


@dataclass(frozen=True)
class Preview:
    """What a mend would do."""

    changed: int  # rows
    gone: int
    untouched: int  # rows of the finding that the mend cannot put right
    left: int  # rows of the version there would be
    first: list[Change]


def preview(datasets: Datasets, card: Card, finding: Finding, check: Check, *, progress: Progress | None = None) -> Preview:
    """What a mend would do to a version. Saves nothing."""
    changed = gone = untouched = 0
    first: list[Change] = []
    for change in _changes(datasets, card, finding, check, progress):
        untouched += change.after == change.before
        changed += change.after is not None and change.after != change.before
        gone += change.after is None
        if len(first) < CHANGES_SHOWN and change.after != change.before:
            first.append(change)
    return Preview(changed, gone, untouched, card.rows - gone, first)


def mend(datasets: Datasets, card: Card, finding: Finding, check: Check, *, progress: Progress | None = None) -> Card:
    """Save the version a mend makes. Raises `UserError` where it would change nothing or leave no row."""
    to_mend = finding.to_mend
    if len(to_mend) == card.rows and not any(change.after for change in _changes(datasets, card, finding, check, None)):
        raise UserError(f'This would leave no row of "{card.name}". Write or import other rows instead.')
    made = datasets.save(
        _mended(datasets, card, finding, check), name=card.name, record=card.record, of=card.id, guidelines=card.guidelines,
        source={"made": "mended", "mend": check.name, "finding": finding.title, "settings": check.model_dump(), "from_version": card.version},
        progress=progress, rows=card.rows,
    )  # fmt: skip
    if made.version == card.version:
        raise UserError("There is nothing here that this mend can put right. Look at the rows and change them by hand.")
    return made


def undo(datasets: Datasets, card: Card, *, progress: Progress | None = None) -> Card:
    """The version that a mended one was made from, saved again as the newest. Raises `UserError` where it was not mended."""
    if card.source.get("made") != "mended":
        raise UserError(f'Version {card.version} of "{card.name}" was not made by a mend. Restore an older one under Versions.')
    before = datasets.card(card.id, card.source["from_version"])
    return datasets.save(
        datasets.iterate(before.id, before.version), name=before.name, record=before.record, of=before.id, guidelines=before.guidelines,
        source={"made": "restored", "from_version": before.version}, progress=progress, rows=before.rows,
    )  # fmt: skip


def _mended(datasets: Datasets, card: Card, finding: Finding, check: Check) -> Iterator[Record]:
    """Every row of the version as the mend leaves it."""
    put_right, to_mend = check.mender(finding), set(finding.to_mend)
    for number, record in enumerate(datasets.iterate(card.id, card.version), 1):
        after = put_right(Row(number, record)) if number in to_mend else record
        if after is not None:
            yield after


def _changes(datasets: Datasets, card: Card, finding: Finding, check: Check, progress: Progress | None) -> Iterator[Change]:
    """The finding's rows before and after, a thousand read at a time."""
    put_right, to_mend = check.mender(finding), finding.to_mend
    for begin in range(0, len(to_mend), ROWS_AT_ONCE):
        numbers = to_mend[begin : begin + ROWS_AT_ONCE]
        records = datasets.at(card.id, card.version, [number - 1 for number in numbers])
        for number, record in zip(numbers, records, strict=True):
            yield Change(number, record, put_right(Row(number, record)))
        if progress:
            progress(min(1.0, (begin + ROWS_AT_ONCE) / len(to_mend)))
