"""How a model does on examples it does not learn from."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from backend.device import device
from backend.examples import AnyExample
from backend.generation import evaluating
from backend.loss import RewardScorer, Scorer
from backend.objectives import Batch, ObjectiveSettings
from backend.progress import MARGIN_EDGES


@dataclass(frozen=True)
class Measured:
    """Means over the units (tokens, answers, rankings) of some examples."""

    loss: float
    metrics: dict[str, float]
    units: float
    margins: list[int]  # pairs between MARGIN_EDGES; empty where no pairs are judged


def measure(
    objective: ObjectiveSettings, scorer: Scorer | RewardScorer, batches: Iterable[Batch], *, autocast: torch.dtype | None,
    turn: Callable[[], AbstractContextManager[None]], should_stop: Callable[[], bool],
) -> Measured | None:
    """The mean loss and metrics over batches; None without any, or if told to stop on the way."""
    sums = Sums()
    for batch in batches:
        if should_stop():
            return None
        batch = on_device(batch)
        with turn(), evaluating(scorer.model), torch.autocast(device().type, dtype=autocast, enabled=autocast is not None):
            scored = objective.score(scorer, batch)
        sums.add(scored.loss, scored.metrics, objective.batch_weight(batch), scored.margins)
    return sums.means()


class Sums:
    """Losses and metrics added up over batches, without waiting for the device."""

    def __init__(self) -> None:
        self.loss: torch.Tensor | float = 0.0
        self.metrics: dict[str, torch.Tensor] = {}
        self.margins: list[torch.Tensor] = []
        self.units = 0.0

    def add(
        self, loss: torch.Tensor, metrics: dict[str, torch.Tensor], units: float, margins: torch.Tensor | None = None
    ) -> None:
        self.loss = self.loss + loss.detach()
        for name, value in metrics.items():
            self.metrics[name] = self.metrics.get(name, 0.0) + value.detach()
        if margins is not None:
            self.margins.append(margins.detach())
        self.units += units

    def means(self) -> Measured | None:
        """None where nothing was added."""
        if not self.units:
            return None
        metrics = {name: float(value) / self.units for name, value in self.metrics.items()}
        return Measured(float(self.loss) / self.units, metrics, self.units, self._counted())

    def _counted(self) -> list[int]:
        if not self.margins:
            return []
        edges = torch.tensor(MARGIN_EDGES)
        places = torch.bucketize(torch.cat(self.margins).float().cpu(), edges, right=True)
        return torch.bincount(places, minlength=len(MARGIN_EDGES) + 1).tolist()


def in_order(examples: Sequence[AnyExample], batch_size: int) -> list[Sequence[AnyExample]]:
    """Batches of like lengths, the same every time."""
    ordered = sorted(examples, key=lambda example: example.length)
    return [ordered[at : at + batch_size] for at in range(0, len(ordered), batch_size)]


def on_device(batch: Batch) -> Batch:
    return {name: tensor.to(device()) for name, tensor in batch.items()}
