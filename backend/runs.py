"""Runs: folders that hold everything about one training. Copy the folder and you have copied the run.

    runs/<id>/
      spec.json        what was asked for (frozen)
      label.json       what the user calls it now, and their note
      events.jsonl     what happened
      checkpoints/     step-<n>/, whole or not there
      result/          the adapter in PEFT's format, or the model; tokenizer and chat template with it
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backend.events import RunEvent
from backend.jobs import Job, Jobs, Means
from backend.progress import Progress
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace


@dataclass(frozen=True)
class Summary:
    """One line of the runs table."""

    id: str
    name: str
    note: str
    spec: RunSpec
    progress: Progress


class Run(Job):
    """One run's folder."""

    place, noun, doing, found_in = "runs", "run", "training", "the Runs tab"

    @property
    def spec(self) -> RunSpec:
        """Raises `UserError` where it is damaged or of a newer studio."""
        return parse_spec(self.spec_values())

    def perform(self, means: Means) -> None:
        """Train, from the last checkpoint on."""
        from backend.training import train

        train(self.spec, self, self.events.append, means.should_stop, turn=means.turns.take, lend=partial(means.shelf.lend, self.id))

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def has_result(self) -> bool:
        return self.result.is_dir()

    def summary(self) -> Summary:
        """What the table shows, read off the spec and the events."""
        label = self.label
        return Summary(self.id, label["name"], label["note"], self.spec, self.progress())

    def progress(self) -> Progress:
        """Where the run stands."""
        return Progress.of(true_events(self.events.read()[0]))


def true_events(events: list[RunEvent]) -> list[RunEvent]:
    """The events that stand: a run resumed from step n makes those after n anew, and the old ones are dropped.

    A fresh start makes all of them anew, the look at the base model (step 0) too.
    """
    kept: list[RunEvent] = []
    for event in events:
        if event["kind"] == "started" and (resumed_from := event.get("resumed_from")) is not None:
            stands = resumed_from or -1
            kept = [old for old in kept if old.get("step", -1) <= stands or old["kind"] in ("warned", "finished")]
        kept.append(event)
    return kept


class Runs(Jobs[Run]):
    """All runs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace, Run)

    def summaries(self, *, offset: int = 0, limit: int = 50) -> list[Summary]:
        """A page of the table, newest first; runs whose spec cannot be read are passed over."""
        return [run.summary() for run in map(self.get, self.ids()[offset : offset + limit]) if run.is_readable()]

    def with_result(self) -> list[Run]:
        """Runs one can chat with, newest first."""
        return self._with_head("language")

    def judges(self) -> list[Run]:
        """Runs that made a reward model, newest first."""
        return self._with_head("scalar")

    def _with_head(self, head: str) -> list[Run]:
        return [run for run in map(self.get, self.ids()) if run.has_result and run.is_readable() and run.spec.objective.head == head]
