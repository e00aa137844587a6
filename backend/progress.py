"""Where a run stands, folded from its events one by one: what every view of a run is derived from. Imports no torch."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from backend.events import RunEvent, Status

MARGIN_EDGES = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)  # between which held-out margins are counted


@dataclass(frozen=True)
class Said:
    """An answer to a probe prompt, with what it was rewarded where rewards are learnt from."""

    step: int
    answer: str
    reward: float | None = None


@dataclass
class Probe:
    """One probe prompt: the untouched base's answer, and the model's own as it learnt."""

    base: Said | None = None
    answers: list[Said] = field(default_factory=list)  # oldest first


@dataclass
class Progress:
    """The state of a run after the events folded so far."""

    status: Status = "queued"
    created: float = 0.0  # seconds since the epoch
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)  # what the objective watches, as of the newest step
    held_out: dict[str, float] = field(default_factory=dict)  # and as of the newest evaluation
    held_out_units: float = 0.0  # rows, pairs or answers that was measured on
    held_out_margins: list[int] = field(default_factory=list)  # pairs below the first of MARGIN_EDGES, between each two, above the last
    base_loss: float | None = None
    best_loss: float | None = None
    best_step: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    prepared: dict[str, Any] = field(default_factory=dict)  # the fields of the event of that name
    device: str = ""
    message: str = ""
    warnings: list[str] = field(default_factory=list)
    peak_memory_bytes: int = 0
    probes: dict[str, Probe] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[RunEvent]) -> "Progress":
        progress = cls()
        progress.fold(events)
        return progress

    def fold(self, events: Iterable[RunEvent]) -> None:
        """Take up further events, in order."""
        for event in events:
            getattr(self, f"_{event['kind']}", lambda event: None)(event)

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before the first step."""
        return self.seconds / self.step * (self.total_steps - self.step) if self.step else None

    def _queued(self, event: Any) -> None:
        self.status, self.created = "queued", self.created or event["at"]

    def _started(self, event: Any) -> None:
        self.status, self.device, self.message = "running", event["device"], ""
        for probe in self.probes.values():  # a resumed run makes what came after its checkpoint anew
            probe.answers = [said for said in probe.answers if said.step <= event["resumed_from"]]

    def _prepared(self, event: Any) -> None:
        self.prepared, self.total_steps = event, event["total_steps"]

    def _step(self, event: Any) -> None:
        self.status = "running"
        self.step, self.epoch, self.loss, self.seconds = event["step"], event["epoch"], event["loss"], event["seconds"]
        self.tokens_per_second = event["tokens_per_second"]
        self.metrics = event.get("metrics", {})

    @property
    def best_reward(self) -> float | None:
        """The highest held-out reward, of a run that learns from rewards: what it goes down is their negative."""
        return None if self.best_loss is None or "reward" not in self.held_out else -self.best_loss

    def _evaluated(self, event: Any) -> None:
        self.held_out, self.held_out_units = event.get("metrics", {}), event.get("units", 0.0)
        self.held_out_margins = event.get("margins", [])
        if event.get("base"):
            self.base_loss = event["loss"]
        elif self.best_loss is None or event["loss"] < self.best_loss:
            self.best_loss, self.best_step = event["loss"], event["step"]

    def _sampled(self, event: Any) -> None:
        probe = self.probes.setdefault(event["prompt"], Probe())
        said = Said(event["step"], event["answer"], event.get("reward"))
        if event.get("base"):
            probe.base = said
        else:
            probe.answers.append(said)

    def _warned(self, event: Any) -> None:
        self.warnings.append(event["message"])

    def _finished(self, event: Any) -> None:
        self.status, self.message = event["status"], event.get("message", "")
        self.peak_memory_bytes = event.get("peak_memory_bytes", 0)
