"""Runs: folders that hold everything about one training. Copy the folder and you have copied the run.

    runs/<id>/
      spec.json        what was asked for (frozen)
      label.json       what the user calls it now, and their note
      events.jsonl     what happened
      checkpoints/     step-<n>/, whole or not there
      result/          the adapter in PEFT's format, or the model; tokenizer and chat template with it
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from backend.errors import UserError
from backend.events import ENDED, EventLog, RunEvent, Status, status
from backend.progress import Progress
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace, is_id, new_id, write_whole


@dataclass(frozen=True)
class Summary:
    """One line of the runs table."""

    id: str
    name: str
    note: str
    spec: RunSpec
    progress: Progress


class Run:
    """One run's folder."""

    def __init__(self, workspace: Workspace, run_id: str) -> None:
        self.workspace, self.id = workspace, run_id
        self.folder = workspace.runs / run_id
        self.events = EventLog(self.folder / "events.jsonl")

    @classmethod
    def create(cls, workspace: Workspace, spec: RunSpec) -> "Run":
        """A new folder with the spec in it, its first event "queued"."""
        run = cls(workspace, new_id(spec.name))
        run.folder.mkdir(parents=True)
        write_whole(run.folder / "spec.json", spec.model_dump_json(indent=2) + "\n")
        run.events.append("queued")
        return run

    @property
    def spec(self) -> RunSpec:
        """Raises `UserError` where it is damaged or of a newer studio."""
        try:
            return parse_spec(json.loads((self.folder / "spec.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UserError(f"The spec.json of run {self.id} is damaged. Put it back, or remove the run's folder.") from error

    def is_readable(self) -> bool:
        """Whether its spec can be read."""
        try:
            return bool(self.spec)
        except UserError:
            return False

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def has_result(self) -> bool:
        return self.result.is_dir()

    @property
    def label(self) -> dict[str, str]:
        """{"name", "note"} as the user last wrote them."""
        file = self.folder / "label.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"name": self.spec.name, "note": ""}

    def relabel(self, *, name: str, note: str) -> None:
        """Rename the run and change its note."""
        if not name.strip():
            raise UserError("A run needs a name. Type one.")
        write_whole(self.folder / "label.json", json.dumps({"name": name.strip()[:120], "note": note[:2000]}, ensure_ascii=False))

    @property
    def status(self) -> Status:
        return status(self.events.last())

    def lock(self) -> FileLock:
        """Held by whichever process trains this run, so that nobody else takes it for dead or deletes it."""
        return FileLock(self.folder / "training.lock")

    def is_held(self) -> bool:
        """Whether some process trains this run now."""
        try:
            with self.lock().acquire(timeout=0):
                return False
        except Timeout:
            return True

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


class Runs:
    """All runs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def ids(self) -> list[str]:
        """Newest first."""
        specs = [file for file in self.workspace.runs.glob("*/spec.json") if is_id(file.parent.name)]
        return [file.parent.name for file in sorted(specs, key=lambda file: file.stat().st_mtime_ns, reverse=True)]

    def get(self, run_id: str) -> Run:
        """Raises `UserError` where there is no such run."""
        run = Run(self.workspace, run_id)
        if not is_id(run_id) or not (run.folder / "spec.json").exists():
            raise UserError(f"There is no run {run_id!r}. It may have been deleted; look in the Runs tab.")
        return run

    def summaries(self, *, offset: int = 0, limit: int = 50) -> list[Summary]:
        """A page of the table, newest first; runs whose spec cannot be read are passed over."""
        return [run.summary() for run in map(self.get, self.ids()[offset : offset + limit]) if run.is_readable()]

    def with_result(self) -> list[Run]:
        """Runs one can chat with, newest first."""
        return [run for run in map(self.get, self.ids()) if run.has_result and run.is_readable()]

    def delete(self, run_id: str) -> None:
        """Remove a run that has ended. Raises `UserError` while it is trained or waits."""
        run = self.get(run_id)
        if run.is_held() or run.status not in ENDED:
            raise UserError(f"{run.label['name']} is still running or queued. Stop it first, then delete it.")
        shutil.rmtree(run.folder)
