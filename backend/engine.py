"""The engine: one worker in this process owns the device, jobs queue for it. Imports no torch until it is started.

A job, be it a run or a generation, belongs to the engine and to its folder, never to a browser tab. What the engine
knows it can read back from the folders: after a restart the queue stands in its old order, and a job cut off is marked
interrupted.
"""

import errno
import gc
import logging
import queue
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backend.answering.answering import Answering
from backend.errors import UserError
from backend.events import ENDED
from backend.generating.generation import Generation
from backend.hold import Hold
from backend.jobs import InOtherHands, Job, Jobs, Means, claim
from backend.memory import trim_memory
from backend.models import STARTER, hush_libraries, locate
from backend.rewriting import Rewriting
from backend.runs import Run, Runs
from backend.specs import RunSpec
from backend.watching import cause_of_death
from backend.workspace import Workspace

if TYPE_CHECKING:
    from backend.device import Turns
    from backend.inference import Shelf

KINDS: tuple[type[Job], ...] = (Run, Generation, Rewriting, Answering)  # of jobs, each of which knows its folder and how it is performed
State = Literal["getting ready", "ready", "training", "working", "out of order"]  # "working" on another job than a run
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineStatus:
    """What the header shows."""

    state: State
    doing: str  # while getting ready: what exactly; out of order: why; training or working: on what
    device: str  # empty until known
    run_id: str | None  # of the run that trains
    queued: int
    job_id: str | None = None  # of the job that is worked on, be it a run or another
    held: str = ""  # why the queue waits for the user's word; empty where it does not


class Engine:
    """Queue, start, stop, resume. `turns` is the device's lock and `shelf` the models in memory, both shared with chat."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.runs = workspace, Runs(workspace)
        self.ready = threading.Event()
        self._failure = ""
        self._doing, self._device = "loading the libraries", ""
        self._queue: queue.Queue[str] = queue.Queue()
        self._hold = Hold(workspace.root / "queue.json")
        self._stops: dict[str, threading.Event] = {}
        self._current: Job | None = None
        self._elsewhere: list[Job] = []  # what other processes worked on as the studio opened, and still do
        self._lock = threading.RLock()

    def start(self) -> None:
        """Take the workspace, recover what a crash left, and begin to work. Raises `UserError` if it is taken."""
        self._studio_lock = claim(self.workspace).lock
        self._recover()
        threading.Thread(target=self._work, name="engine", daemon=True).start()

    def submit(self, spec: RunSpec) -> str:
        """Check a spec, make its run and put it on the queue; returns the run's id. Raises `UserError`."""
        self.wait_until_ready()
        from backend.plan import plan, with_saved_data

        spec = with_saved_data(spec, self.workspace)
        plan(spec, self.workspace)
        return self._enqueue(Run.create(self.workspace, spec))

    def put(self, job: Job) -> str:
        """Put a job that was just made on the queue; returns its id."""
        return self._enqueue(job)

    def resume(self, job_id: str) -> None:
        """Put a job that was stopped, interrupted or failed back on the queue; it goes on from where it was left."""
        job = self._job(job_id)
        self._let_go_of(job)
        with self._lock:
            if job.status not in ("stopped", "interrupted", "failed") or job_id in self._stops:
                raise UserError(f"{job.label['name']} is {job.status}: there is nothing to resume.")
            job.events.append("queued")
            self._enqueue(job)

    def _let_go_of(self, job: Job) -> None:
        """Wait the moment between a job's last event and the worker's being free of it."""
        deadline = time.monotonic() + 5
        while self._works_on(job.id) and job.status in ENDED and time.monotonic() < deadline:
            time.sleep(0.02)

    def stop(self, job_id: str) -> None:
        """Ask a job to stop; harmless whenever and however often. A job that still waits is taken off the queue.

        Raises `InOtherHands` where another process works on it.
        """
        job = self._job(job_id)
        with self._lock:
            asked = self._stops.get(job_id)
            if asked is None:
                job.take().lock.release()  # raises where there is something to stop, and only another process can
                return
            if asked.is_set():
                return
            asked.set()
            if not self._works_on(job_id):
                self._stops.pop(job_id)
                job.events.append("finished", status="stopped", message="Taken off the queue before it began.")

    def hold(self, why: str = "You paused the queue.") -> None:
        """Begin no further job until told to go on; what is worked on now is finished. A restart remembers it."""
        self._hold.close(why)

    def go_on(self) -> None:
        """Work on what waits."""
        self._hold.open()

    def stopping(self, job_id: str) -> bool:
        """Whether a job has been asked to stop and has not ended yet."""
        asked = self._stops.get(job_id)
        return asked is not None and asked.is_set()

    def live(self) -> Run | None:
        """The run that trains now, where it can be asked meanwhile: with its weights as they are."""
        current = self._current
        return current if isinstance(current, Run) and self._shelf.is_live(current.id) else None

    def delete(self, job_id: str) -> None:
        """Remove a job's folder. Raises `UserError` while it is worked on or waits."""
        job = self._job(job_id)
        with self._lock:
            if job_id in self._stops:
                raise UserError(f"This {job.noun} is still running or queued. Stop it first, then delete it.")
            Jobs(self.workspace, type(job)).delete(job_id)

    def status(self) -> EngineStatus:
        with self._lock:
            current, waiting = self._current, len(self._stops) - (self._current is not None)
        state: State = "out of order" if self._failure else "getting ready" if not self.ready.is_set() else "ready"
        if state == "ready" and (elsewhere := next(iter(self._elsewhere), None)):
            return EngineStatus("working", f"another process is {elsewhere.in_words}", self._device, None, waiting, held=self._hold.why)
        if state != "ready" or current is None:
            return EngineStatus(state, self._failure or self._doing, self._device, None, waiting, held=self._hold.why)
        run_id = current.id if isinstance(current, Run) else None
        state = "training" if run_id else "working"
        return EngineStatus(state, current.in_words, self._device, run_id, waiting, current.id, self._hold.why)

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

    @property
    def shelf(self) -> "Shelf":
        """The models in memory, shared by chat and by jobs that ask a model."""
        self.wait_until_ready()
        return self._shelf

    def _jobs(self) -> Iterator[Job]:
        """Every job there is, of every kind."""
        for kind in KINDS:
            jobs = Jobs(self.workspace, kind)
            yield from map(jobs.get, jobs.ids())

    def _job(self, id: str) -> Job:
        """A job of whichever kind. Raises `UserError` where there is none."""
        places = [Jobs(self.workspace, kind) for kind in KINDS]
        return next((place for place in places if place.has(id)), places[0]).get(id)

    def _works_on(self, id: str) -> bool:
        current = self._current
        return current is not None and current.id == id

    def _enqueue(self, job: Job) -> str:
        with self._lock:
            self._stops[job.id] = threading.Event()
            self._queue.put(job.id)
        return job.id

    def _recover(self) -> None:
        """After a crash: jobs nobody works on any more are interrupted; the queue stands as it was, and waits for a word."""
        waiting, cut_off = [], []
        for job in self._jobs():
            status = job.status
            if status in ENDED:
                continue
            if job.is_held():
                self._elsewhere.append(job)
            elif status == "queued":
                events = job.events.last()
                waiting.append((events[-1]["at"] if events else 0.0, job))
            else:
                _tell_cut_off(job, f"The studio ended ({cause})" if (cause := cause_of_death()) else "The studio ended")
                cut_off.append(job)
        if cut_off and waiting:
            self.hold(f'The studio ended while it was {cut_off[0].in_words}. What waits begins when you say so.')
        for _, job in sorted(waiting, key=lambda entry: entry[0]):
            self._enqueue(job)

    def _work(self) -> None:
        """The worker's life: get ready, then do one job after the other."""
        try:
            self._get_ready()
            self._wait_for_others()
        except UserError as error:
            self._failure = str(error)
            return
        except Exception as error:
            log.exception("the engine could not start")
            self._failure = f"The engine could not start ({type(error).__name__}). Run `python3 launch.py doctor` to see what is missing."
            return
        from backend.device import dismiss_helpers

        while True:
            dismiss_helpers()  # until there is work here, chat has the cores to itself
            job_id = self._queue.get()
            self._hold.wait()
            self._do(job_id)
            trim_memory()

    def _wait_for_others(self) -> None:
        """One process trains at a time: begin nothing before what was begun elsewhere has ended."""
        while self._elsewhere:
            job = self._elsewhere[0]
            with job.lock():
                if job.status not in ENDED:
                    _tell_cut_off(job, "The other process ended")
            self._elsewhere.pop(0)

    def _do(self, job_id: str) -> None:
        """One job from its turn to its end, whatever befalls it."""
        try:
            job = self._job(job_id)
        except UserError:
            log.warning("%s was deleted while it waited", job_id)
            self._stops.pop(job_id, None)
            return
        with self._lock:
            if job_id not in self._stops:
                return  # taken off the queue
            self._current = job
        try:
            self._perform(job, Means(self._stops[job_id].is_set, self._turns, self._shelf))
        finally:
            with self._lock:
                self._current = None
                self._stops.pop(job_id, None)

    def _perform(self, job: Job, means: Means) -> None:
        """A job to its end, unless another process works on it or has brought it there."""
        try:
            with job.take():
                if job.status not in ENDED:
                    with means.shelf.giving_way(job.spares_memory):
                        job.perform(means)
        except InOtherHands as error:
            log.warning("%s", error)
            return
        except Exception as error:
            log.error("the worker met a fault with %s %s\n%s", job.noun, job.id, traceback.format_exc())
            _give_up(job, error)
        self._see_to_its_end(job)

    def _see_to_its_end(self, job: Job) -> None:
        """Where the disk was too full to write a job's end, wait for room and write it: the next job needs room too."""
        while job.status not in ENDED:
            try:
                message = f"The disk was full, so the end of this {job.noun} could not be written. Resume it: there is room again."
                job.events.append("finished", status="interrupted", message=message)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    return  # its folder is gone
                self._failure = f"The disk of {self.workspace.root} is full. Make room, and the studio goes on by itself."
                time.sleep(1)
        self._failure = ""

    def _get_ready(self) -> None:
        """Load the libraries and unpack the starter model. Without that model the rest still works."""
        with _uncollected():
            hush_libraries()
            from backend import training  # noqa: F401  torch, transformers and peft come with it
            from backend.device import Turns, describe
            from backend.inference import Shelf

        self._turns, self._shelf, self._device = Turns(), Shelf(self.workspace), describe()
        try:
            locate(STARTER, self.workspace, self._say)
        except UserError as error:
            log.warning("%s", error)  # said again, where it matters, to whoever picks the starter model
        trim_memory()  # what unpacking took
        self.ready.set()

    def _say(self, message: str) -> None:
        self._doing = message


@contextmanager
def _uncollected() -> Iterator[None]:
    """Load libraries without a search for garbage, of which there is none: it takes a quarter of the time. What they consist of
    is set aside for good, for each later search among it would stop everything, steps and answers, for a third of a second."""
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
        gc.enable()


def _give_up(job: Job, error: Exception) -> None:
    """Write the end of a job that could not write it itself, or else it would wait for ever."""
    fault = f"The {job.noun} met a fault ({type(error).__name__}). The details are in the log; resume to try again."
    why = str(error) if isinstance(error, UserError) else fault
    try:
        job.events.append("finished", status="failed", message=why)
    except (UserError, OSError):
        log.warning("the end of %s %s could not be written", job.noun, job.id)  # its folder is gone, or the disk is full


def _tell_cut_off(job: Job, what: str) -> None:
    """Write the end of a job that nobody works on any more, and how one goes on with it."""
    message = f"{what} while this {job.noun} was {job.doing}. Resume it to go on from {job.left_at}."
    job.events.append("finished", status="interrupted", message=message)
