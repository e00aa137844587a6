"""Jobs: what waits in the engine's queue, each a folder that holds everything about it. Imports no torch.

    <place>/<id>/
      spec.json        what was asked for (frozen)
      label.json       what the user calls it now, and their note
      events.jsonl     what happened

Another kind of job is one new file, with a subclass of `Job` that says how to `perform` it, and its line in
`engine.KINDS`. What a job makes it writes into its own folder, so that it can go on after any end.
"""

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from filelock import AcquireReturnProxy, FileLock, Timeout

from backend.errors import UserError
from backend.events import ENDED, EventLog, Status, status
from backend.loading import asking
from backend.settings import Settings
from backend.workspace import Workspace, is_id, new_id, write_whole

if TYPE_CHECKING:
    from backend.device import Turns
    from backend.inference import Answerer, Shelf, Speaker

HOLDER = "studio.json"  # in the workspace
CLAIM_SECONDS = 1.0  # a script claims a workspace too, for the moment in which it takes a run


@dataclass(frozen=True)
class Means:
    """What the engine lends a job while it works."""

    should_stop: Callable[[], bool]
    turns: "Turns"  # the device's lock, shared with chat
    shelf: "Shelf"  # models in memory, shared with chat

    def load(self, speaker: "Speaker") -> "Answerer":
        """The model and tokenizer of a speaker. Raises `UserError`, and `Stopped` where that is asked for meanwhile."""
        with self.turns.take(), asking(self.should_stop):
            return self.shelf.get(speaker)


class InOtherHands(UserError):
    """Another process works on the job."""


def claim(workspace: Workspace) -> AcquireReturnProxy[FileLock]:
    """The workspace for this process alone, until it is released. Raises `UserError` where a studio has it."""
    try:
        held = FileLock(workspace.root / "studio.lock").acquire(timeout=CLAIM_SECONDS)
    except Timeout as error:
        raise UserError(
            f"A studio works in {workspace.root} already{_holder(workspace)}. Use that one, close it, or choose another --workspace."
        ) from error
    note_holder(workspace)
    return held


def note_holder(workspace: Workspace, address: str = "") -> None:
    """Write down who has claimed a workspace, for whoever is refused. A full disk, which one opens a studio to clear, is no fault."""
    with suppress(OSError):
        write_whole(workspace.root / HOLDER, json.dumps({"v": 1, "process": os.getpid(), "address": address}) + "\n")


def _holder(workspace: Workspace) -> str:
    """Who has claimed a workspace, as part of a sentence; empty where it cannot be told."""
    try:
        note = json.loads((workspace.root / HOLDER).read_text(encoding="utf-8"))
        return f" ({note['address']}, process {note['process']})" if note["address"] else f" (process {note['process']})"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def train_alone(workspace: Workspace) -> AcquireReturnProxy[FileLock]:
    """The right to train in a workspace without a studio, until it is released. Raises `UserError` where another script does."""
    try:
        return FileLock(workspace.root / "script.lock").acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"Another script trains in {workspace.root}, and one at a time does. Wait for it, or choose another --workspace.") from error


class Job(ABC):
    """One job's folder."""

    place: ClassVar[str]  # the folder of the workspace it lies in
    noun: ClassVar[str]  # "run"
    doing: ClassVar[str]  # "training"
    found_in: ClassVar[str]  # where on the screen one looks for it
    spares_memory: ClassVar[str] = "Close other programs, or choose a smaller model."  # what to do where memory ran out

    def __init__(self, workspace: Workspace, id: str) -> None:
        self.workspace, self.id = workspace, id
        self.folder = workspace.root / self.place / id
        self.events = EventLog(self.folder / "events.jsonl")

    @classmethod
    def create(cls, workspace: Workspace, spec: Settings) -> Self:
        """A new folder with the spec in it, its first event "queued". The spec has a `name`."""
        job = cls(workspace, new_id(spec.name))  # type: ignore[attr-defined]
        job.folder.mkdir(parents=True)
        write_whole(job.folder / "spec.json", spec.model_dump_json(indent=2) + "\n")
        job.events.append("queued")
        return job

    @property
    @abstractmethod
    def spec(self) -> Any:
        """What was asked for. Raises `UserError` where it is damaged or of a newer studio."""

    @abstractmethod
    def perform(self, means: Means) -> None:
        """Do the work, from where it was left, telling the events. Raises `UserError` where it cannot begin."""

    def spec_values(self) -> dict[str, Any]:
        """The spec as plain values. Raises `UserError` where the file is damaged."""
        try:
            return json.loads((self.folder / "spec.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"The spec.json of {self.noun} {self.id} is damaged. Put it back, or remove the {self.noun}'s folder."
            ) from error

    def is_readable(self) -> bool:
        """Whether its spec can be read."""
        try:
            return bool(self.spec)
        except UserError:
            return False

    @property
    def label(self) -> dict[str, str]:
        """{"name", "note"} as the user last wrote them."""
        file = self.folder / "label.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"name": self.spec.name, "note": ""}

    @property
    def in_words(self) -> str:
        """What is being done: writing "short stories"."""
        return f'{self.doing} "{self.label["name"]}"' if self.is_readable() else self.doing

    @property
    def left_at(self) -> str:
        """Where it goes on from when it is resumed."""
        return "where it was left"

    def relabel(self, *, name: str, note: str) -> None:
        """Rename the job and change its note."""
        if not name.strip():
            raise UserError(f"A {self.noun} needs a name. Type one.")
        write_whole(self.folder / "label.json", json.dumps({"name": name.strip()[:120], "note": note[:2000]}, ensure_ascii=False))

    @property
    def status(self) -> Status:
        return status(self.events.last())

    def lock(self) -> FileLock:
        """Held by whichever process works on this job, so that nobody else takes it for dead or deletes it."""
        return FileLock(self.folder / f"{self.doing}.lock")

    def take(self) -> AcquireReturnProxy[FileLock]:
        """The lock, held from now on. Raises `InOtherHands` where another process has it."""
        try:
            return self.lock().acquire(timeout=0)
        except Timeout as error:
            raise InOtherHands(f"Another process is {self.in_words}. Wait for it, or stop it there.") from error

    def is_held(self) -> bool:
        """Whether some process works on this job now."""
        try:
            with self.take():
                return False
        except InOtherHands:
            return True


AnyJob = TypeVar("AnyJob", bound=Job)


class Jobs(Generic[AnyJob]):
    """All jobs of one kind in a workspace."""

    def __init__(self, workspace: Workspace, kind: type[AnyJob]) -> None:
        self.workspace, self.kind = workspace, kind

    def ids(self) -> list[str]:
        """Newest first."""
        place = str(self.workspace.root / self.kind.place)  # a path object each would take longer than looking
        begun = {name: when for name in _names_in(place) if (when := written_at(f"{place}/{name}/spec.json")) is not None}
        return sorted(filter(is_id, begun), key=lambda name: begun[name], reverse=True)

    def has(self, id: str) -> bool:
        """Whether there is a job of this id."""
        return is_id(id) and (self.path(id) / "spec.json").exists()

    def path(self, id: str) -> Path:
        """The folder of a job."""
        return self.workspace.root / self.kind.place / id

    def get(self, id: str) -> AnyJob:
        """Raises `UserError` where there is no such job."""
        if not self.has(id):
            raise UserError(f"There is no {self.kind.noun} {id!r}. It may have been deleted; look in {self.kind.found_in}.")
        return self.kind(self.workspace, id)

    def delete(self, id: str) -> None:
        """Remove a job that has ended. Raises `UserError` while it is worked on or waits."""
        job = self.get(id)
        if job.is_held() or job.status not in ENDED:
            raise UserError(f"{job.label['name']} is still running or queued. Stop it first, then delete it.")
        shutil.rmtree(job.folder)


def _names_in(place: str) -> list[str]:
    try:
        return os.listdir(place)
    except FileNotFoundError:
        return []


def written_at(file: str | Path) -> int | None:
    """When a file was last written to, in nanoseconds; None where there is none."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return None
