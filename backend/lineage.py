"""Where a run comes from and what came of it: base model, runs it went on from, reward models it asked. Imports no torch.

All of it stands in the specs. A spec never changes, so each is read once, however many runs there are.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backend.data.versions import Datasets
from backend.errors import UserError
from backend.objectives import ObjectiveSettings
from backend.runs import Runs
from backend.specs import RunSpec

DELETED = "(deleted)"
Kind = Literal["model", "run", "deleted"]
MOST_CHILDREN = 12  # of a run, drawn; the rest is counted


@dataclass(frozen=True)
class Parents:
    """What a run stands on, by id."""

    base_model: str
    start_from: str | None = None
    reward_run: str | None = None

    @property
    def runs(self) -> list[str]:
        """The runs among them."""
        return [run for run in (self.start_from, self.reward_run) if run]


@dataclass(frozen=True)
class Member:
    """One place in the graph: a base model, a run, or a run that is no more."""

    id: str  # of a run; of a model, its name behind "model:"
    kind: Kind
    name: str
    taught: str = ""  # what it learnt and by which method
    data: str = ""  # and from which data
    column: int = 0  # how many steps it is from the first base model


@dataclass(frozen=True)
class Tie:
    """One thing made of another: a run from what it started from, or with the reward model it asked."""

    parent: str
    child: str
    kind: Literal["starts from", "rewarded by"]


@dataclass(frozen=True)
class Lineage:
    """A run with all it comes from and its children. What is made of something stands behind it in `members`."""

    run: str
    members: list[Member]
    ties: list[Tie]
    more_children: int = 0  # that are not drawn


class Family:
    """Who comes from whom, among all runs of a workspace."""

    def __init__(self, runs: Runs, datasets: Datasets) -> None:
        self.runs, self.datasets = runs, datasets
        self._parents: dict[str, Parents | None] = {}  # None where a spec cannot be read

    def children(self, run_id: str) -> list[str]:
        """The runs that went on from a run, or asked it for rewards, the newest first."""
        return [child for child in self._known() if (parents := self._parents[child]) and run_id in parents.runs]

    def names_of_children(self, run_id: str) -> list[str]:
        """What people call them."""
        return [self.runs.get(child).label["name"] for child in self.children(run_id)]

    def lineage(self, run_id: str) -> Lineage:
        """A run, all it comes from, and what came of it. Raises `UserError` where there is no such run."""
        self.runs.get(run_id)
        children = self.children(run_id)
        drawn = children[:MOST_CHILDREN]
        ties = list(dict.fromkeys([*self._ties_above(run_id, frozenset()), *(tie for child in drawn for tie in self._ties(child))]))
        ids = list(dict.fromkeys([*(tie.parent for tie in ties), run_id, *drawn]))
        columns = {id: _steps_from_base(id, ties) for id in ids}
        members = [self._member(id, columns[id]) for id in sorted(ids, key=lambda id: columns[id])]
        return Lineage(run_id, members, ties, len(children) - len(drawn))

    def _known(self) -> Iterator[str]:
        """Every run there is, its parents read."""
        for run_id in self.runs.ids():
            if run_id not in self._parents:
                self._parents[run_id] = _parents(self.runs.path(run_id) / "spec.json")
            yield run_id

    def _ties_above(self, run_id: str, below: frozenset[str]) -> list[Tie]:
        """What a run comes from, and what that comes from."""
        if run_id in below:  # a spec written by hand may name itself
            return []
        ties = self._ties(run_id)
        return [*ties, *(tie for parent in ties for tie in self._ties_above(parent.parent, below | {run_id}))]

    def _ties(self, run_id: str) -> list[Tie]:
        parents = self._parents_of(run_id)
        if parents is None:
            return []
        start = parents.start_from or f"model:{parents.base_model}"
        asked = [Tie(parents.reward_run, run_id, "rewarded by")] if parents.reward_run else []
        return [Tie(start, run_id, "starts from"), *asked]

    def _parents_of(self, id: str) -> Parents | None:
        if not self.runs.has(id):
            return None
        if id not in self._parents:
            self._parents[id] = _parents(self.runs.path(id) / "spec.json")
        return self._parents[id]

    def _member(self, id: str, column: int) -> Member:
        if id.startswith("model:"):
            return Member(id, "model", Path(id.removeprefix("model:")).name, "the model itself", column=column)
        try:
            run = self.runs.get(id)
            spec = run.spec
        except UserError:
            return Member(id, "deleted", DELETED, f"once {id}", column=column)
        taught = f"{what_it_learnt(spec.objective)}, {spec.method.title}"
        return Member(id, "run", run.label["name"], taught, self._data(spec), column)

    def _data(self, spec: RunSpec) -> str:
        try:
            card = self.datasets.card(spec.data.id or "", spec.data.version)
        except UserError:
            return f"data {DELETED}"
        return f"{card.name} v{card.version}"


def what_it_learnt(objective: ObjectiveSettings) -> str:
    """An objective in a word or two: "SFT", "reward model"."""
    return {"pretraining": "continued pre-training", "reward": "reward model"}.get(objective.name, objective.name.upper())


def _parents(spec: Path) -> Parents | None:
    """Read off the file as it stands: no run is too old or too odd to have parents."""
    try:
        values: dict[str, Any] = json.loads(spec.read_bytes())
        return Parents(str(values.get("base_model", "starter")), values.get("start_from"), _judge(values.get("objective")))
    except (OSError, ValueError, AttributeError):
        return None


def _judge(objective: Any) -> str | None:
    return objective.get("reward_run") if isinstance(objective, dict) else None


def _steps_from_base(id: str, ties: list[Tie], seen: frozenset[str] = frozenset()) -> int:
    """The longest way from a base model, in steps."""
    above = [tie.parent for tie in ties if tie.child == id and tie.parent not in seen and tie.parent != id]
    return max((_steps_from_base(parent, ties, seen | {id}) + 1 for parent in above), default=0)
