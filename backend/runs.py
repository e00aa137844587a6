"""Runs: folders that hold everything about one training. Copy the folder and you have copied the run.

    runs/<id>/
      spec.json        what was asked for (frozen)
      label.json       what the user calls it now, and their note
      events.jsonl     what happened
      checkpoints/     step-<n>/, whole or not there
      result/          the adapter in PEFT's format, or the model; tokenizer and chat template with it
"""

import threading
from collections import OrderedDict
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from backend.events import RunEvent
from backend.jobs import Job, Jobs, Means, written_at
from backend.progress import Progress
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace

REMEMBERED = 200  # runs of which it is kept where they stand: more than a page of the table
SPECS_REMEMBERED = 16_384


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
        return _spec_of(self.workspace, self.id, written_at(self.folder / "spec.json"))

    def perform(self, means: Means) -> None:
        """Train, from the last checkpoint on."""
        from backend.training import train

        train(
            self.spec, self, self.events.append, means.should_stop,
            turn=means.turns.take, lend=partial(means.shelf.lend, self.id), borrow=means.shelf.base, put_away=means.shelf.clear,
        )

    @property
    def left_at(self) -> str:
        """Its newest checkpoint, if there is one."""
        return f"step {step}" if (step := self.saved_step) else "its beginning"

    @property
    def saved_step(self) -> int:
        """The step of the newest checkpoint that was told of; 0 where there is none."""
        saved = [event for event in true_events(self.events.read()[0]) if event["kind"] == "saved" and not event.get("best")]
        return saved[-1]["step"] if saved else 0  # type: ignore[typeddict-item]

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def has_result(self) -> bool:
        return self.result.is_dir()

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


@lru_cache(maxsize=SPECS_REMEMBERED)
def _spec_of(workspace: Workspace, run_id: str, written: int | None) -> RunSpec:
    """A spec, which never changes, is read once, however many runs there are."""
    return parse_spec(Run(workspace, run_id).spec_values())


class Runs(Jobs[Run]):
    """All runs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace, Run)
        self._standings = Standings()

    def progress(self, run: Run) -> Progress:
        """Where a run stands. Asked again and again, it reads only what is new since."""
        return self._standings.of(run)

    def summaries(self, *, offset: int = 0, limit: int = 50) -> list[Summary]:
        """A page of the table, newest first; runs whose spec cannot be read are passed over."""
        return [self._summary(run) for run in map(self.get, self.ids()[offset : offset + limit]) if run.is_readable()]

    def _summary(self, run: Run) -> Summary:
        """What the table shows, read off the spec and the events."""
        label = run.label
        return Summary(run.id, label["name"], label["note"], run.spec, self.progress(run))

    def with_result(self) -> list[Run]:
        """Runs one can chat with, newest first."""
        return self._with_head("language")

    def judges(self) -> list[Run]:
        """Runs that made a reward model, newest first."""
        return self._with_head("scalar")

    def _with_head(self, head: str) -> list[Run]:
        return [run for run in (Run(self.workspace, id) for id in self.ids()) if run.has_result and run.is_readable() and run.spec.objective.head == head]


class Standings:
    """Where runs stand, each with the byte of its events up to which it was read: 100,000 steps are not read at every look."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Progress, int]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run: Run) -> Progress:
        with self._lock:
            known = self._known.pop(run.id, None)
            progress, cursor = (known and _caught_up(run, *known)) or _read_whole(run)
            self._known[run.id] = progress, cursor
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return copy(progress)


def _caught_up(run: Run, progress: Progress, cursor: int) -> tuple[Progress, int] | None:
    """The progress with what is new; None where it was begun again or resumed, so that some of the old may be void."""
    events, reached = run.events.read(cursor)
    if reached < cursor or any(event["kind"] == "started" for event in events):
        return None
    progress.fold(events)
    return progress, reached


def _read_whole(run: Run) -> tuple[Progress, int]:
    events, cursor = run.events.read()
    return Progress.of(true_events(events)), cursor
