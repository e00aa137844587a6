"""Our side of the speed bench: a run of the studio's, from its spec to its result, watched while it trains.

Where rows have to come in the file's order, the studio's own grouping by length is put aside.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from backend import training
from backend.events import RunEvent
from backend.models import STARTER, hush_libraries
from backend.plan import with_saved_data
from backend.runs import Run
from backend.specs import parse_spec
from backend.trainer import StudioTrainer
from backend.workspace import Workspace
from tests.bench.workloads import Moment, Task, asked, tell


def main() -> None:
    hush_libraries()
    task = asked()
    with tempfile.TemporaryDirectory() as folder:
        tokens, ends, steps = trained(task, Workspace(Path(folder)).prepare())
    tell(
        task, tokens=tokens, ends=ends, losses=[step["loss"] for step in steps],
        grad_norms=[step["grad_norm"] for step in steps],
    )


def trained(task: Task, workspace: Workspace) -> tuple[list[int], list[Moment], list[RunEvent]]:
    """Tokens of every step, when it ended, and what was told of it."""
    (workspace.models / STARTER).symlink_to(task.model)
    run = Run.create(workspace, with_saved_data(parse_spec(task.values()), workspace))
    tokens = [0] * task.steps
    ends: list[Moment] = []
    steps: list[RunEvent] = []

    class Watched(StudioTrainer):
        """The studio's trainer; says how many tokens it is given, and when a step is over."""

        def get_train_dataloader(self) -> torch.utils.data.DataLoader:
            if not task.of.free_batches:
                self.batches = InOrder(len(self.train_examples), self.schedule.batch_size)
            return super().get_train_dataloader()

        def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
            tokens[self.step] += int(inputs["lengths"].sum())
            return super().training_step(model, inputs, num_items_in_batch)

    def emit(kind: Any, **fields: Any) -> RunEvent:
        event = run.events.append(kind, **fields)
        if kind == "step":
            ends.append(Moment.now())
            steps.append(event)
        return event

    training.StudioTrainer = Watched
    training.train(run.spec, run, emit, lambda: False)
    if len(steps) < task.steps:
        sys.exit(str(run.events.read()[0][-1]))
    return tokens, ends, steps


class InOrder:
    """A batch sampler: rows as they stand in the file."""

    def __init__(self, rows: int, batch_size: int) -> None:
        self.rows, self.batch_size = rows, batch_size

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, self.rows, self.batch_size):
            yield list(range(start, min(start + self.batch_size, self.rows)))


if __name__ == "__main__":
    main()
