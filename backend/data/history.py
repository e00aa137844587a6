"""What changed from one version to another: rows added, removed and edited.

    changes = compare(datasets, older, newer)
    changes.added, changes.removed, changes.edited    row numbers, counted from 0
    for difference in shown(datasets, older, newer, changes, page=0): ...

Rows are told apart by digests of their content, so that a million rows are compared in bounded memory; only the rows of a
page are read again. Rows that merely moved are no change.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from backend.data.readers import Progress
from backend.data.records import Record, content, digest, prompt_of
from backend.data.versions import Card, Datasets

if TYPE_CHECKING:
    from numpy import ndarray

PAGE = 10  # differences
WORDS_OF_PROGRESS = 5000  # rows between two


@dataclass(frozen=True)
class Changes:
    """Rows by their numbers in the older and the newer version, counted from 0, in the order they stand in."""

    added: Sequence[int] = ()  # in the newer
    removed: Sequence[int] = ()  # in the older
    edited: Sequence[tuple[int, int]] = ()  # in the older, in the newer

    @property
    def count(self) -> int:
        return len(self.added) + len(self.removed) + len(self.edited)


@dataclass(frozen=True)
class Difference:
    """One change, with its rows; numbers are counted from 1."""

    kind: Literal["added", "removed", "edited"]
    before: Record | None = None
    after: Record | None = None
    number_before: int | None = None
    number_after: int | None = None


class Digests(NamedTuple):
    """64 bits for each row of a version: its content, its prompt and its answer. int64, [rows]."""

    content: "ndarray"
    prompt: "ndarray"
    answer: "ndarray"


def compare(datasets: Datasets, older: Card, newer: Card, *, progress: Progress | None = None) -> Changes:
    """What changed from one version to another. Raises `UserError` where one cannot be read."""
    if older.sha256 == newer.sha256:
        return Changes()
    whole = older.rows + newer.rows
    before = digests(datasets, older, progress=progress and (lambda done: progress(done / whole)))
    after = digests(datasets, newer, progress=progress and (lambda done: progress((older.rows + done) / whole)))
    return changes(before, after)


def digests(datasets: Datasets, card: Card, *, progress: Progress | None = None) -> Digests:
    """The digests of a version's rows; `progress` is told how many rows are done."""
    import numpy as np

    found = np.empty((3, card.rows), dtype=np.int64)
    for row, record in enumerate(datasets.iterate(card.id, card.version)):
        texts = content(record), prompt_of(record).encode(), _answer(record).encode()
        found[:, row] = [int.from_bytes(digest(text)[:8], "big", signed=True) for text in texts]
        if progress and row % WORDS_OF_PROGRESS == 0:
            progress(row)
    return Digests(*found)


def changes(before: Digests, after: Digests) -> Changes:
    """What changed between two versions with these digests.

    A row that is gone and one that is new are the same row edited where they ask the same; else where they alone give
    the same answer; else where they stand between the same neighbours.
    """
    removed, added, neighbour = _unmatched(before.content, after.content)
    edited: list[tuple[int, int]] = []
    for pairs in (_same_prompt, _same_answer):
        edited += pairs(before, after, removed, added)
        removed, added = _left(removed, added, edited)
    edited += _same_neighbours(removed, added, neighbour)
    removed, added = _left(removed, added, edited)
    return Changes(added, removed, sorted(edited, key=lambda pair: pair[1]))


def shown(datasets: Datasets, older: Card, newer: Card, changes: Changes, *, page: int) -> Sequence[Difference]:
    """One page of the differences, each with its rows: edited ones first, then added, then removed."""
    every = [
        *(("edited", before, after) for before, after in changes.edited),
        *(("added", None, after) for after in changes.added),
        *(("removed", before, None) for before in changes.removed),
    ]
    return [
        Difference(
            kind, _row(datasets, older, before), _row(datasets, newer, after),  # type: ignore[arg-type]
            None if before is None else before + 1, None if after is None else after + 1,
        )
        for kind, before, after in every[page * PAGE : (page + 1) * PAGE]
    ]  # fmt: skip


def restore(datasets: Datasets, card: Card, *, progress: Progress | None = None) -> Card:
    """A new newest version with the rows of an older one."""
    newest = datasets.card(card.id)
    return datasets.save(
        datasets.iterate(card.id, card.version), name=newest.name, record=card.record, of=card.id, again=True, progress=progress,
        source={"made": "restored", "from_version": card.version}, guidelines=card.guidelines, rows=card.rows,
    )  # fmt: skip


# ---- which rows have no partner --------------------------------------------------------------------------------------


def _unmatched(before: "ndarray", after: "ndarray") -> tuple[list[int], list[int], dict[int, int]]:
    """Rows of either side with no equal on the other; and for each older one, behind which newer row it stood.

    Of rows that are there several times, the first ones of each side are partners.
    """
    import numpy as np

    _, groups = np.unique(np.concatenate([before, after]), return_inverse=True)
    olds, news = groups[: len(before)], groups[len(before) :]
    ranks_old, ranks_new = _ranks(olds), _ranks(news)
    sizes = np.minimum(np.bincount(olds, minlength=groups.max() + 1), np.bincount(news, minlength=groups.max() + 1))
    kept_old, kept_new = ranks_old < sizes[olds], ranks_new < sizes[news]
    partner = np.full(len(before), -1)
    partner[_by_group(olds, ranks_old, kept_old)] = _by_group(news, ranks_new, kept_new)
    return np.flatnonzero(~kept_old).tolist(), np.flatnonzero(~kept_new).tolist(), _neighbours(partner, ~kept_old)


def _ranks(groups: "ndarray") -> "ndarray":
    """Which one of its group each row is, counted from 0: [a, b, a] -> [0, 0, 1]."""
    import numpy as np

    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0]) if len(groups) else np.array([], int)
    within = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    ranks = np.empty(len(groups), int)
    ranks[order] = within
    return ranks


def _by_group(groups: "ndarray", ranks: "ndarray", kept: "ndarray") -> "ndarray":
    """The kept rows, ordered by group and rank, so that both sides' lie alongside."""
    import numpy as np

    rows = np.flatnonzero(kept)
    return rows[np.lexsort((ranks[rows], groups[rows]))]


def _neighbours(partner: "ndarray", gone: "ndarray") -> dict[int, int]:
    """For each older row that is gone: the newer row of the last one before it that stayed, or -1."""
    import numpy as np

    last = np.maximum.accumulate(np.where(gone, -1, np.arange(len(partner))))
    return {row: int(partner[last[row]]) if last[row] >= 0 else -1 for row in np.flatnonzero(gone).tolist()}


# ---- which of them are one row edited --------------------------------------------------------------------------------


def _same_prompt(before: Digests, after: Digests, removed: list[int], added: list[int]) -> list[tuple[int, int]]:
    """Rows that ask the same, in order."""
    waiting: dict[int, list[int]] = {}
    for row in reversed(removed):
        waiting.setdefault(int(before.prompt[row]), []).append(row)
    found = ((waiting.get(int(after.prompt[row])), row) for row in added)
    return [(olds.pop(), row) for olds, row in found if olds]


def _same_answer(before: Digests, after: Digests, removed: list[int], added: list[int]) -> list[tuple[int, int]]:
    """Rows that alone on their side give an answer: "positive" answers many, and says nothing."""
    olds, news = ([int(side.answer[row]) for row in rows] for side, rows in ((before, removed), (after, added)))
    often_old, often_new = Counter(olds), Counter(news)
    places = dict(zip(olds, removed, strict=True))
    return [
        (places[answer], row) for answer, row in zip(news, added, strict=True)
        if answer != _NO_ANSWER and often_old[answer] == 1 and often_new[answer] == 1
    ]  # fmt: skip


def _same_neighbours(removed: list[int], added: list[int], neighbour: dict[int, int]) -> list[tuple[int, int]]:
    """Rows in the same gap between rows that stayed, where as many are gone as are new."""
    gaps: dict[int, tuple[list[int], list[int]]] = {}
    for row in removed:
        gaps.setdefault(neighbour[row], ([], []))[0].append(row)
    new, before = {*added}, -1
    for row in added:
        before = before if row - 1 in new else row - 1
        gaps.setdefault(before, ([], []))[1].append(row)
    return [pair for olds, news in gaps.values() if len(olds) == len(news) for pair in zip(olds, news, strict=True)]


def _left(removed: list[int], added: list[int], edited: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    olds, news = {old for old, _ in edited}, {new for _, new in edited}
    return [row for row in removed if row not in olds], [row for row in added if row not in news]


def _answer(record: Record) -> str:
    """The last answer; nothing where nobody answers."""
    turns = record["messages"] if "messages" in record else []
    return next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), "")


_NO_ANSWER = int.from_bytes(digest(b"")[:8], "big", signed=True)


def _row(datasets: Datasets, card: Card, row: int | None) -> Record | None:
    return None if row is None else datasets.rows(card.id, card.version, offset=row, limit=1)[0]
