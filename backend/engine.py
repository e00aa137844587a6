"""The engine: one worker in this process owns the device, runs queue for it. Imports no torch until it is started.

A run belongs to the engine and to its folder, never to a browser tab. What the engine knows it can read back from the
folders: after a restart the queue stands in its old order, and a run cut off is marked interrupted.
"""

import logging
import queue
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from backend.errors import UserError
from backend.events import ENDED
from backend.models import STARTER, hush_libraries, locate
from backend.runs import Run, Runs
from backend.specs import RunSpec
from backend.workspace import Workspace

if TYPE_CHECKING:
    from backend.device import Turns

State = Literal["getting ready", "ready", "training", "out of order"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineStatus:
    """What the header shows."""

    state: State
    doing: str  # while getting ready: what exactly; out of order: why
    device: str  # empty until known
    run_id: str | None
    queued: int


class Engine:
    """Queue, start, stop, resume. `turns` is the device's lock, shared with chat."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.runs = workspace, Runs(workspace)
        self.ready = threading.Event()
        self._failure = ""
        self._doing, self._device = "loading the libraries", ""
        self._queue: queue.Queue[str] = queue.Queue()
        self._stops: dict[str, threading.Event] = {}
        self._current: str | None = None
        self._lock = threading.RLock()
        self._studio_lock = FileLock(workspace.root / "studio.lock")

    def start(self) -> None:
        """Take the workspace, recover what a crash left, and begin to work. Raises `UserError` if it is taken."""
        try:
            self._studio_lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"Another studio works in {self.workspace.root}. Use that one, close it, or choose another --workspace."
            ) from error
        self._recover()
        threading.Thread(target=self._work, name="engine", daemon=True).start()

    def submit(self, spec: RunSpec) -> str:
        """Check a spec, make its run and put it on the queue; returns the run's id. Raises `UserError`."""
        self.wait_until_ready()
        from backend.plan import plan, with_saved_data

        spec = with_saved_data(spec, self.workspace)
        plan(spec, self.workspace)
        return self._enqueue(Run.create(self.workspace, spec))

    def resume(self, run_id: str) -> None:
        """Put a run that was stopped, interrupted or failed back on the queue; it goes on from its last checkpoint."""
        run = self.runs.get(run_id)
        self._let_go_of(run_id)
        with self._lock:
            if run.status not in ("stopped", "interrupted", "failed") or run_id in self._stops:
                raise UserError(f"{run.label['name']} is {run.status}: there is nothing to resume.")
            run.events.append("queued")
            self._enqueue(run)

    def _let_go_of(self, run_id: str) -> None:
        """Wait the moment between a run's last event and the worker's being free of it."""
        deadline = time.monotonic() + 5
        while self._current == run_id and self.runs.get(run_id).status in ENDED and time.monotonic() < deadline:
            time.sleep(0.02)

    def stop(self, run_id: str) -> None:
        """Ask a run to stop; harmless whenever and however often. A run that still waits is taken off the queue."""
        run = self.runs.get(run_id)
        with self._lock:
            asked = self._stops.get(run_id)
            if asked is None or asked.is_set():
                return
            asked.set()
            if run_id != self._current:
                self._stops.pop(run_id)
                run.events.append("finished", status="stopped", message="Taken off the queue before it began.")

    def stopping(self, run_id: str) -> bool:
        """Whether a run has been asked to stop and has not ended yet."""
        asked = self._stops.get(run_id)
        return asked is not None and asked.is_set()

    def delete(self, run_id: str) -> None:
        """Remove a run's folder. Raises `UserError` while it is trained or waits."""
        with self._lock:
            if run_id in self._stops:
                raise UserError("This run is still running or queued. Stop it first, then delete it.")
            self.runs.delete(run_id)

    def status(self) -> EngineStatus:
        with self._lock:
            waiting = len(self._stops) - (self._current is not None)
        state: State = "out of order" if self._failure else "getting ready" if not self.ready.is_set() else "ready"
        if state == "ready" and self._current:
            state = "training"
        return EngineStatus(state, self._failure or self._doing, self._device, self._current, waiting)

    def wait_until_ready(self) -> None:
        """Block until the libraries are loaded. Raises `UserError` if they could not be."""
        while not self.ready.wait(0.1):
            if self._failure:
                raise UserError(self._failure)

    @property
    def turns(self) -> "Turns":
        """The device's lock, shared by training and chat."""
        self.wait_until_ready()
        return self._turns

    def _enqueue(self, run: Run) -> str:
        with self._lock:
            self._stops[run.id] = threading.Event()
            self._queue.put(run.id)
        return run.id

    def _recover(self) -> None:
        """After a crash: runs nobody trains any more are interrupted; the queue stands as it was."""
        waiting = []
        for run_id in self.runs.ids():
            run = self.runs.get(run_id)
            status = run.status
            if status in ENDED:
                continue
            if status == "queued":
                events = run.events.last()
                waiting.append((events[-1]["at"] if events else 0.0, run))
            elif not run.is_held():
                run.events.append("finished", status="interrupted", message="The studio ended while this run was training.")
        for _, run in sorted(waiting, key=lambda entry: entry[0]):
            self._enqueue(run)

    def _work(self) -> None:
        """The worker's life: get ready, then train one run after the other."""
        try:
            self._get_ready()
        except UserError as error:
            self._failure = str(error)
            return
        except Exception as error:
            log.exception("the engine could not start")
            self._failure = f"The engine could not start ({type(error).__name__}). Run `python3 launch.py doctor` to see what is missing."
            return
        while True:
            run_id = self._queue.get()
            with self._lock:
                if run_id not in self._stops:
                    continue  # taken off the queue
                self._current = run_id
            try:
                self._train(self.runs.get(run_id))
            except Exception as error:
                log.error("the worker met a fault with run %s\n%s", run_id, traceback.format_exc())
                self._give_up(run_id, error)
            finally:
                with self._lock:
                    self._current = None
                    self._stops.pop(run_id, None)

    def _give_up(self, run_id: str, error: Exception) -> None:
        """Write the end of a run that could not even begin, or else it would wait for ever."""
        why = str(error) if isinstance(error, UserError) else f"The run could not begin ({type(error).__name__}). The details are in the log."
        try:
            self.runs.get(run_id).events.append("finished", status="failed", message=why)
        except (UserError, OSError):
            log.warning("the end of run %s could not be written", run_id)  # its folder is gone, or the disk is full

    def _get_ready(self) -> None:
        """Load the libraries and unpack the starter model. Without that model the rest still works."""
        hush_libraries()
        from backend import training  # noqa: F401  torch, transformers and peft come with it
        from backend.device import Turns, describe

        self._turns, self._device = Turns(), describe()
        try:
            locate(STARTER, self.workspace, self._say)
        except UserError as error:
            log.warning("%s", error)  # said again, where it matters, to whoever picks the starter model
        self.ready.set()

    def _say(self, message: str) -> None:
        self._doing = message

    def _train(self, run: Run) -> None:
        from backend.training import train

        with run.lock():
            train(run.spec, run, run.events.append, self._stops[run.id].is_set, turn=self._turns.take)
