"""What a measurement finds, as a line of the bench's table, and what every measurement is given."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.data.starter import THREE_LINES
from backend.models import STARTER
from backend.plan import with_saved_data
from backend.runs import Run
from backend.specs import parse_spec
from backend.training import train
from backend.workspace import Workspace

HEAD = f"| what | measured: median (lowest to highest) | to reach | |\n|{'---|' * 4}"


@dataclass(frozen=True)
class Finding:
    """One line of the table. Where more is better, `at_least` says so."""

    what: str
    values: Sequence[float]
    unit: str  # "s", "ms", "%", "times"
    aim: float
    at_least: bool = False
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def reached(self) -> bool:
        return self.median >= self.aim if self.at_least else self.median <= self.aim

    def line(self) -> str:
        measured = f"{self.median:.3g} {self.unit} ({min(self.values):.3g} to {max(self.values):.3g})"
        aim = f"{'at least' if self.at_least else 'at most'} {self.aim:g} {self.unit}"
        noted = f"; {self.note}" if self.note else ""
        return f"| {self.what} | {measured}{noted} | {aim} | {'reached' if self.reached else 'missed'} |"


@dataclass(frozen=True)
class Place:
    """Where a measurement works."""

    folder: Path  # of its own
    model: Path  # the starter model, unpacked
    times: int  # how often each thing is measured

    def workspace(self, name: str) -> Workspace:
        """A fresh workspace with the starter model in it."""
        workspace = Workspace(self.folder / name).prepare()
        (workspace.models / STARTER).symlink_to(self.model.absolute())
        return workspace


def lora_run(workspace: Workspace) -> Run:
    """A run one can chat with: two steps of LoRA on the starter data."""
    training = {"max_steps": 2, "batch_size": 2, "validation_share": 0, "evaluate_every": 2, "probes": ["Hello!"]}
    spec = parse_spec({"name": "lora", "data": {"path": str(THREE_LINES)}, "method": {"name": "lora"}, "training": training})
    run = Run.create(workspace, with_saved_data(spec, workspace))
    status = train(run.spec, run, run.events.append, lambda: False)
    assert status == "done", run.events.last()
    return run
