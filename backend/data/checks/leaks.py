"""Held-out rows that also stand in training, so that the model is tested on what it has learnt by heart."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from backend.data.alike import Keys, Pairs
from backend.data.checks import ROWS_KEPT, WORD, Check, Finding, Gravity, Mender, Passing, Row, Watch, alike
from backend.data.checks.near_duplicates import THRESHOLD
from backend.data.records import About, Record, digest, family_of, how_of
from backend.examples import hold_out
from backend.specs import TrainingSettings

if TYPE_CHECKING:
    import numpy as np
    from pyarrow import Array

LONG_ANSWER = 8  # words; shorter answers are the same by chance or because they are labels
LONGEST_KEY = 64  # characters of a family's name kept where the whole would take too much memory
ROWS_AT_ONCE = 1000


class Leaks(Check):
    """The rule: training's own hold-out; and on its other side a row with the same prompt (letter case and white space put
    aside), with the same answer of eight words or more, or with a near duplicate."""

    order: ClassVar[int] = 12
    title: ClassVar[str] = "Held-out rows that also stand in training"
    looks_for: ClassVar[str] = "held-out rows that also stand in training"
    gravity: ClassVar[Gravity] = "wrong"
    mend: ClassVar[str] = "Keep them on one side"

    name: Literal["leaks"] = "leaks"
    validation_share: float = Field(
        TrainingSettings().validation_share, ge=0, le=0.5, title="Held-out share",
        description="The part of the rows that training holds out, as in Train.",
    )
    seed: int = Field(
        TrainingSettings().seed, ge=0, le=2**31 - 1, title="Seed of the hold-out", description="Decides which rows are held out, as in Train.",
    )

    def begin(self, passing: Passing) -> Watch:
        return _Leaks(self, passing)

    def mender(self, finding: Finding) -> Mender:
        """Rows get a family that keeps them on one side with those like them: no row goes, none is changed."""
        firsts = {number: family[0] for family in finding.families for number in family}

        def mended(row: Row) -> Record:
            about: About = {**row.record.get("about", {}), "family": f"alike {firsts[row.number]}"}  # type: ignore[typeddict-item]
            return {**row.record, "about": about}  # type: ignore[return-value,typeddict-item]

        return mended


class _Leaks(Watch):
    def __init__(self, check: Leaks, passing: Passing) -> None:
        self._check, self._passing = check, passing
        self._families, self._is_augmented = _Families(whole=not passing.is_large), bytearray()
        self._prompts, self._answers = Keys(), Keys()

    def see(self, row: Row) -> None:
        self._families.add(family_of(row.record))
        self._is_augmented.append(how_of(row.record) == "augmented")
        self._prompts.add(None if row.prompt is None else digest(alike(row.prompt).encode()))
        self._answers.add(digest(alike(row.answer or "").encode()) if _is_long(row.answer) else None)

    def findings(self) -> list[Finding]:
        import numpy as np

        keys = self._families.ranks()
        sides = _Sides.of(keys, np.frombuffer(self._is_augmented, dtype=bool), self._check)
        alike_rows, near = [self._prompts.firsts(), self._answers.firsts()], self._passing.near(THRESHOLD)
        twins = _twins(sides, alike_rows, near)
        if not twins:
            return []
        rows = sorted(twins)
        links = [pair for firsts in (*alike_rows, _firsts_of(keys)) for pair in _links(firsts)]
        families = _needing_one(_joined([*links, *near.numbers()]), keys)
        found = self._check.finding(
            self._sentence(len(rows), int(sides.held.sum())), [row + 1 for row in rows], count=len(rows), of=self._passing.rows,
            at_least=not near.all_found,
        )  # fmt: skip
        return [found.model_copy(update={"others": [twins[row] + 1 for row in rows[: len(found.rows)]], "families": families})]

    def _sentence(self, leaking: int, held: int) -> str:
        large = " In so large a set, training may draw a few other rows than were looked at here." if self._passing.is_large else ""
        return (
            f"{leaking:,} of the {held:,} rows that training holds out {'has' if leaking == 1 else 'have'} the same prompt, the same long answer "
            f"or a near duplicate among the rows it learns from. The held-out loss then looks better than it is.{large}"
        )


def _is_long(answer: str | None) -> bool:
    return answer is not None and len(answer) >= 2 * LONG_ANSWER and len(WORD.findall(answer[:500])) >= LONG_ANSWER


class _Families:
    """What the hold-out sorts rows by. Kept whole, as it must be to draw the same rows as training; or its beginning."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._waiting: list[str] = []
        self._chunks: list[Array] = []  # of Arrow, each different family once: a fraction of the memory of Python's strings

    def add(self, family: str) -> None:
        self._waiting.append(family if self._whole else f"{family[:LONGEST_KEY]} {digest(family.encode()).hex()}")
        if len(self._waiting) == ROWS_AT_ONCE:
            self._put_by()

    def ranks(self) -> "np.ndarray":
        """The place of each row's family among all families, sorted as Python sorts strings. [rows]"""
        import numpy as np
        from pyarrow import chunked_array, compute

        self._put_by()
        if not self._chunks:
            return np.empty(0, dtype=np.int64)
        chunks = chunked_array(self._chunks).unify_dictionaries().chunks
        places = compute.rank(chunks[0].dictionary, sort_keys="ascending", tiebreaker="dense").to_numpy()
        return places[np.concatenate([chunk.indices.to_numpy() for chunk in chunks])]

    def _put_by(self) -> None:
        from pyarrow import array, string

        if self._waiting:
            self._chunks.append(array(self._waiting, string()).dictionary_encode())
        self._waiting = []


class _Sides(NamedTuple):
    """Which rows training holds out, and which it learns from. [rows], bool"""

    held: "np.ndarray"
    learnt: "np.ndarray"

    @classmethod
    def of(cls, keys: "np.ndarray", is_augmented: "np.ndarray", check: Leaks) -> "_Sides":
        """As `backend.plan` has it: only originals are drawn, and what was augmented from a held-out row is left out."""
        import numpy as np

        held, learnt = np.zeros(len(keys), dtype=bool), np.zeros(len(keys), dtype=bool)
        originals = np.flatnonzero(~is_augmented)
        families = [f"{key:010d}" for key in keys[originals].tolist()]  # places sort as the families do
        drawn, kept_back = hold_out(families, check.validation_share, seed=check.seed)
        learnt[originals[drawn]], held[originals[kept_back]] = True, True
        return cls(held, learnt | (is_augmented & ~np.isin(keys, keys[held])))


def _twins(sides: _Sides, alike_rows: "list[np.ndarray]", near: Pairs) -> dict[int, int]:
    """{held-out row: a row to learn from that is like it}."""
    import numpy as np

    twins: dict[int, int] = {}
    learnt = np.flatnonzero(sides.learnt)
    for firsts in alike_rows:
        twin = np.full(len(firsts), -1)
        twin[firsts[learnt[::-1]]] = learnt[::-1]  # of each group the first row that is learnt from
        held = np.flatnonzero(sides.held & (twin[firsts] >= 0))
        twins = dict(zip(held.tolist(), twin[firsts[held]].tolist(), strict=True)) | twins
    for a, b in near.numbers():
        for held_row, other in ((a, b), (b, a)):
            if sides.held[held_row] and sides.learnt[other]:
                twins.setdefault(held_row, other)
    return twins


def _firsts_of(keys: "np.ndarray") -> "np.ndarray":
    import numpy as np

    _, firsts, groups = np.unique(keys, return_index=True, return_inverse=True)
    return firsts[groups]


def _links(firsts: "np.ndarray") -> list[tuple[int, int]]:
    """(row, first row like it), but for rows that are the first."""
    import numpy as np

    rows = np.flatnonzero(firsts != np.arange(len(firsts)))
    return list(zip(rows.tolist(), firsts[rows].tolist(), strict=True))


def _joined(edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Rows that hang together by any number of edges, each group in order (union-find)."""
    above: dict[int, int] = {}

    def top(row: int) -> int:
        while above.setdefault(row, row) != row:
            above[row] = row = above[above[row]]
        return row

    for one, other in edges:
        a, b = top(one), top(other)
        above[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for row in sorted(above):
        groups.setdefault(top(row), []).append(row)
    return list(groups.values())


def _needing_one(groups: list[list[int]], keys: "np.ndarray") -> list[list[int]]:
    """Groups of more than one family, counted from 1, as far as there is room."""
    room, families = ROWS_KEPT, []
    for group in groups:
        if len(set(keys[group].tolist())) > 1 and len(group) <= room:
            room -= len(group)
            families.append([row + 1 for row in group])
    return families
