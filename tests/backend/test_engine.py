"""The engine: one run at a time, in the order they came, whatever is stopped, deleted or restarted."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.data.versions import Card
from backend.engine import Engine
from backend.errors import UserError
from backend.jobs import train_alone
from backend.runs import Run, Runs
from backend.specs import RunSpec, parse_spec
from backend.watching import DIED
from backend.workspace import Workspace

ROOT = Path(__file__).parents[2]


def spec_for(card: Card, *, name: str = "run", **training: Any) -> RunSpec:
    settings = {"max_steps": 2, "batch_size": 4, "evaluate_every": 2, "probes": ["Why?"], **training}
    return parse_spec({"name": name, "data": {"id": card.id, "version": card.version}, "training": settings})


def wait_for(condition: Callable[[], object], *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)


@pytest.fixture
def engine(workspace: Workspace) -> Iterator[Engine]:
    """A working engine. At the end all its runs are stopped, so that no thread trains on into the next test."""
    engine = Engine(workspace)
    engine.start()
    engine.wait_until_ready()
    yield engine
    for run_id in engine.runs.ids():
        engine.stop(run_id)
    idle(engine)
    engine._studio_lock.release()


def idle(engine: Engine) -> None:
    wait_for(lambda: engine.status().state == "ready" and engine.status().queued == 0)


class Pause:
    """Holds the device, so that a run stands still at its next micro-step for as long as a test needs."""

    def __init__(self, engine: Engine) -> None:
        self.stack = ExitStack()
        self.turn: AbstractContextManager[None] = engine.turns.take(quick=True)

    def __enter__(self) -> "Pause":
        self.stack.enter_context(self.turn)
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.close()


def kinds(run: Run) -> list[str]:
    return [event["kind"] for event in run.events.read()[0]]


def message(run: Run) -> str:
    return run.events.read()[0][-1]["message"]  # type: ignore[typeddict-item]


def starts(engine: Engine, *run_ids: str) -> list[str]:
    """The runs in the order in which they began."""
    began = {run_id: next(e["at"] for e in engine.runs.get(run_id).events.read()[0] if e["kind"] == "started") for run_id in run_ids}
    return sorted(began, key=began.__getitem__)


def test_a_run_goes_from_the_click_to_its_result(engine: Engine, dataset: Card) -> None:
    run = engine.runs.get(engine.submit(spec_for(dataset, name="First")))
    wait_for(lambda: run.status == "done")
    idle(engine)
    assert run.has_result
    assert engine.status().run_id is None
    assert "CPU" in engine.status().device or engine.status().device


def test_libraries_are_set_aside_and_whatever_comes_later_is_collected(engine: Engine) -> None:
    assert gc.isenabled() and gc.get_freeze_count() > 100_000
    begun = time.thread_time()  # others may have the processor meanwhile
    gc.collect()
    assert time.thread_time() - begun < 0.15  # of 0.35 s with everything to be gone through


@pytest.mark.fault("two starts at once")
def test_of_runs_that_are_submitted_at_once_one_trains_and_the_others_wait(engine: Engine, dataset: Card) -> None:
    """As from several tabs and scripts: all in the same moment."""
    together, submitted = threading.Barrier(4), []

    def submit() -> None:
        together.wait()
        submitted.append(engine.submit(spec_for(dataset)))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    with Pause(engine):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: engine.status().state == "training")
        assert len(set(submitted)) == 4 and engine.status().queued == 3
        assert [engine.runs.get(run_id).status for run_id in submitted if run_id != engine.status().run_id] == ["queued"] * 3
    idle(engine)
    lives = [engine.runs.get(run_id).events.read()[0] for run_id in submitted]
    spans = sorted((next(e["at"] for e in events if e["kind"] == "started"), events[-1]["at"]) for events in lives)
    assert all(events[-1]["status"] == "done" for events in lives)  # type: ignore[typeddict-item]
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False)), "one at a time"


@pytest.mark.fault("two starts at once")
def test_of_two_runs_one_trains_and_the_other_waits(engine: Engine, dataset: Card) -> None:
    with Pause(engine):
        first, second = (engine.submit(spec_for(dataset)) for _ in range(2))
        wait_for(lambda: engine.status().run_id == first)
        assert (engine.status().state, engine.status().queued) == ("training", 1)
        assert engine.runs.get(second).status == "queued"
    idle(engine)
    assert engine.runs.get(first).status == engine.runs.get(second).status == "done"
    assert starts(engine, first, second) == [first, second]
    first_end = engine.runs.get(first).events.read()[0][-1]["at"]
    second_start = next(e["at"] for e in engine.runs.get(second).events.read()[0] if e["kind"] == "started")
    assert first_end <= second_start


def test_what_cannot_work_makes_no_run(engine: Engine, dataset: Card) -> None:
    with pytest.raises(UserError, match="maximum length"):
        engine.submit(spec_for(dataset, max_length=100_000))
    assert engine.runs.ids() == []


@pytest.mark.fault("stop, in any phase")
def test_a_run_stopped_before_its_turn_never_begins(engine: Engine, dataset: Card) -> None:
    with Pause(engine):
        first, second = (engine.submit(spec_for(dataset)) for _ in range(2))
        wait_for(lambda: engine.status().run_id == first)
        engine.stop(second)
        assert engine.runs.get(second).status == "stopped"
        assert engine.status().queued == 0
    idle(engine)
    assert engine.runs.get(first).status == "done"
    assert kinds(engine.runs.get(second)) == ["queued", "finished"]


def test_a_stopped_run_ends_soon_and_goes_on_when_asked(engine: Engine, dataset: Card) -> None:
    run = engine.runs.get(engine.submit(spec_for(dataset, max_steps=2000, evaluate_every=2000)))
    wait_for(lambda: "step" in kinds(run))
    with Pause(engine):
        engine.stop(run.id)
        assert engine.stopping(run.id)
    idle(engine)
    assert run.status == "stopped" and run.has_result and not engine.stopping(run.id)
    steps = kinds(run).count("step")
    assert steps < 2000
    engine.resume(run.id)
    wait_for(lambda: kinds(run).count("step") > steps)
    resumed = [event for event in run.events.read()[0] if event["kind"] == "started"][-1]
    assert resumed["resumed_from"] == steps


@pytest.mark.fault("stop, in any phase")
def test_stopping_is_harmless_whenever_and_however_often(engine: Engine, dataset: Card) -> None:
    with Pause(engine):
        first, second = (engine.submit(spec_for(dataset)) for _ in range(2))
        for _ in range(3):
            engine.stop(second)
            engine.stop(first)
    idle(engine)
    engine.stop(first)
    engine.stop(second)
    for run_id in (first, second):
        assert engine.runs.get(run_id).status == "stopped"
        assert kinds(engine.runs.get(run_id)).count("finished") == 1
    with pytest.raises(UserError, match="There is no run"):
        engine.stop("nothing-here")


def test_a_run_taken_off_the_queue_and_put_back_trains_once(engine: Engine, dataset: Card) -> None:
    with Pause(engine):
        first, second = (engine.submit(spec_for(dataset)) for _ in range(2))
        wait_for(lambda: engine.status().run_id == first)
        engine.stop(second)
        engine.resume(second)
        assert engine.runs.get(second).status == "queued"
    idle(engine)
    assert engine.runs.get(second).status == "done"
    assert kinds(engine.runs.get(second)).count("started") == 1


def test_only_what_has_ended_short_can_be_resumed(engine: Engine, dataset: Card) -> None:
    with Pause(engine):
        run_id = engine.submit(spec_for(dataset))
        with pytest.raises(UserError, match="nothing to resume"):
            engine.resume(run_id)
    idle(engine)
    with pytest.raises(UserError, match="is done: there is nothing to resume"):
        engine.resume(run_id)


@pytest.mark.fault("a run is deleted while it trains or waits")
def test_nothing_is_deleted_while_it_trains_or_waits(engine: Engine, dataset: Card) -> None:
    with Pause(engine):
        first, second = (engine.submit(spec_for(dataset)) for _ in range(2))
        wait_for(lambda: engine.status().run_id == first)
        for run_id in (first, second):
            with pytest.raises(UserError, match="Stop it first"):
                engine.delete(run_id)
    idle(engine)
    engine.delete(first)
    assert engine.runs.ids() == [second]
    assert not engine.runs.get(second).folder.with_name(first).exists()


def test_a_failed_run_does_not_stop_the_queue(engine: Engine, dataset: Card, workspace: Workspace) -> None:
    with Pause(engine):
        first, second, third = (engine.submit(spec_for(dataset)) for _ in range(3))
        wait_for(lambda: engine.status().run_id == first)
        (engine.runs.get(second).folder / "spec.json").write_text("{")
    wait_for(lambda: engine.runs.get(third).status == "done")
    idle(engine)
    assert engine.runs.get(second).status == "failed"
    assert "spec.json" in message(engine.runs.get(second))


def test_a_fault_of_ours_in_a_job_is_one_sentence(engine: Engine, dataset: Card, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "perform", lambda *_: 1 / 0)
    run = engine.runs.get(engine.submit(spec_for(dataset)))
    idle(engine)
    assert (run.status, message(run)) == ("failed", "The run met a fault (ZeroDivisionError). The details are in the log; resume to try again.")


@pytest.mark.fault("two studios on one workspace")
def test_a_second_studio_on_the_same_workspace_is_refused(engine: Engine, workspace: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path; from backend.engine import Engine; from backend.errors import UserError\n"
        "from backend.workspace import Workspace\n"
        "try: Engine(Workspace(Path(sys.argv[1]))).start()\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(workspace.root)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"A studio works in {workspace.root} already (process {os.getpid()}). Use that one, ")
    with pytest.raises(UserError, match="A studio works in"):
        Engine(workspace).start()


def launch(workspace: Workspace, *words: str) -> subprocess.Popen:
    """A command of the entry in a process of its own."""
    command = [sys.executable, ROOT / "launch.py", "--no-venv", "--workspace", workspace.root, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.fault("two processes train in one workspace")
def test_a_script_beside_an_open_studio_is_refused(engine: Engine, workspace: Workspace, dataset: Card, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(spec_for(dataset).model_dump_json())
    engine.hold()
    queued = engine.submit(spec_for(dataset))
    before = engine.runs.get(queued).events.path.read_bytes()
    for words in (("train", str(spec)), ("resume", queued)):
        script = launch(workspace, *words)
        _, said = script.communicate(timeout=60)
        assert script.returncode == 1
        assert said == f"A studio works in {workspace.root} already (process {os.getpid()}). Use that one, close it, or choose another --workspace.\n"
    assert engine.runs.ids() == [queued] and engine.runs.get(queued).events.path.read_bytes() == before


@pytest.mark.fault("two processes train in one workspace")
def test_of_two_scripts_that_resume_a_run_at_once_one_is_told_that_the_other_trains_it(workspace: Workspace, dataset: Card) -> None:
    run = left_behind(workspace, dataset, "started", "finished")
    scripts = [launch(workspace, "resume", run.id) for _ in range(2)]
    ends = sorted((script.wait(120), *script.communicate()) for script in scripts)
    assert [code for code, *_ in ends] == [0, 1]
    assert ends[1][2] == 'Another process is training "run". Wait for it, or stop it there.\n'
    assert run.status == "done" and kinds(run).count("step") == 2


@pytest.mark.fault("two processes train in one workspace")
def test_of_two_scripts_that_train_at_once_one_is_told_that_the_other_does(workspace: Workspace, dataset: Card, tmp_path: Path) -> None:
    spec, old = tmp_path / "spec.json", left_behind(workspace, dataset, "started", "finished")
    spec.write_text(spec_for(dataset).model_dump_json())
    scripts = [launch(workspace, "train", str(spec)) for _ in range(2)]
    ends = sorted((script.wait(120), *script.communicate()) for script in scripts)
    refused = f"Another script trains in {workspace.root}, and one at a time does. Wait for it, or choose another --workspace.\n"
    assert [code for code, *_ in ends] == [0, 1] and ends[1][2] == refused
    with train_alone(workspace):
        script = launch(workspace, "resume", old.id)
        assert script.communicate(timeout=60)[1] == refused and script.returncode == 1
    assert kinds(old)[-1] == "finished" and len(Runs(workspace).ids()) == 2


ELSEWHERE = """
import sys
from pathlib import Path
from backend.runs import Runs
from backend.workspace import Workspace

run = Runs(Workspace(Path(sys.argv[1]))).get(sys.argv[2])
with run.take():
    print("taken", flush=True)
    if sys.stdin.readline():
        run.events.append("finished", status="done")
"""


@contextmanager
def another_process_has(run: Run) -> Iterator[subprocess.Popen]:
    """A process that has a run until it is told that the run is done, or is killed."""
    command = [sys.executable, "-c", ELSEWHERE, str(run.workspace.root), run.id]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "taken\n"
        yield process
        process.kill()


@pytest.mark.fault("two processes train in one workspace")
def test_a_run_that_another_process_has_is_passed_over(engine: Engine, dataset: Card) -> None:
    engine.hold()
    first, second = (engine.runs.get(engine.submit(spec_for(dataset))) for _ in range(2))
    with another_process_has(first):
        engine.go_on()
        wait_for(lambda: second.status == "done")
    assert kinds(first) == ["queued"]


@pytest.mark.fault("two processes train in one workspace")
def test_a_run_that_is_done_by_its_turn_is_not_trained_again(engine: Engine, dataset: Card) -> None:
    engine.hold()
    run = engine.runs.get(engine.submit(spec_for(dataset)))
    with another_process_has(run) as process:
        process.communicate("done\n")
    engine.go_on()
    idle(engine)
    assert kinds(run) == ["queued", "finished"]


# ---- after a restart


def left_behind(workspace: Workspace, card: Card, *events: str) -> Run:
    """A run as a studio that has died left it."""
    run = Run.create(workspace, spec_for(card))
    for kind in events:
        run.events.append(kind, resumed_from=0, device="", status="stopped", message="", step=3, loss=1.0)  # type: ignore[arg-type]
    return run


@pytest.fixture
def recovered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Engine]]:
    """Starts an engine that takes stock of the folder and then stands still, so that one can look."""
    hold = threading.Event()
    monkeypatch.setattr(Engine, "_get_ready", lambda self: hold.wait(60) and None)
    engines: list[Engine] = []

    def start() -> Engine:
        engine = Engine(workspace)
        engines.append(engine)
        engine.start()
        return engine

    yield start
    for engine in engines:
        for run_id in list(engine._stops):
            engine.stop(run_id)
        engine._studio_lock.release()
    hold.set()


@pytest.mark.fault("the studio is started again")
@pytest.mark.parametrize(("last", "place"), [("started", "its beginning"), ("step", "its beginning"), ("saved", "step 3"), ("sampled", "its beginning")])
@pytest.mark.parametrize("cause", ["", "a fault inside a library, signal 11"])
def test_a_run_cut_off_is_marked_interrupted_with_what_is_known_of_it(
    last: str, place: str, cause: str, workspace: Workspace, dataset: Card, recovered: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIED, cause)
    run = left_behind(workspace, dataset, "started", last)
    recovered()
    assert run.status == "interrupted"
    ended = f"The studio ended ({cause})" if cause else "The studio ended"
    assert message(run) == f"{ended} while this run was training. Resume it to go on from {place}."


def test_what_had_ended_is_left_as_it_was(workspace: Workspace, dataset: Card, recovered: Callable[[], Engine]) -> None:
    run = left_behind(workspace, dataset, "started", "step", "finished")
    before = run.events.path.read_bytes()
    recovered()
    assert run.events.path.read_bytes() == before


def test_a_run_that_another_process_trains_is_left_alone(workspace: Workspace, dataset: Card, recovered: Callable[[], Engine]) -> None:
    run = left_behind(workspace, dataset, "started", "step")
    with run.lock():
        engine = recovered()
        assert run.status == "running"
        with pytest.raises(UserError):
            Runs(workspace).delete(run.id)
        with pytest.raises(UserError, match='Another process is training "run". Wait for it, or stop it there.'):
            engine.stop(run.id)


@pytest.mark.fault("two processes train in one workspace")
def test_what_waits_begins_when_another_process_has_ended(workspace: Workspace, dataset: Card, request: pytest.FixtureRequest) -> None:
    there, waiting = left_behind(workspace, dataset, "started", "step"), left_behind(workspace, dataset)
    with another_process_has(there):
        engine: Engine = request.getfixturevalue("engine")
        status = engine.status()
        assert (status.state, status.doing, status.queued) == ("working", 'another process is training "run"', 1)
        time.sleep(0.5)
        assert (there.status, waiting.status) == ("running", "queued")
    wait_for(lambda: waiting.status == "done")
    assert there.status == "interrupted"
    assert message(there) == "The other process ended while this run was training. Resume it to go on from its beginning."


@pytest.mark.fault("the studio is started again")
def test_the_queue_stands_in_its_old_order(workspace: Workspace, dataset: Card, recovered: Callable[[], Engine]) -> None:
    runs = [left_behind(workspace, dataset) for _ in range(4)]
    cut_off = left_behind(workspace, dataset, "started")
    for place, run in enumerate((runs[2], runs[0], runs[3], runs[1])):  # the order in which they were queued
        run.events.path.write_text(f'{{"kind": "queued", "at": {1000.0 + place}}}\n')
    engine = recovered()
    assert list(engine._queue.queue) == [runs[2].id, runs[0].id, runs[3].id, runs[1].id]
    assert engine.status().queued == 4 and cut_off.status == "interrupted"


def test_queued_runs_are_trained_after_a_restart(workspace: Workspace, dataset: Card, request: pytest.FixtureRequest) -> None:
    run = left_behind(workspace, dataset)
    engine: Engine = request.getfixturevalue("engine")
    wait_for(lambda: run.status == "done")
    idle(engine)


@pytest.mark.fault("the studio is started again")
def test_after_a_crash_what_waits_begins_when_told(workspace: Workspace, dataset: Card, request: pytest.FixtureRequest) -> None:
    waiting, cut_off = left_behind(workspace, dataset), left_behind(workspace, dataset, "started", "step")
    engine: Engine = request.getfixturevalue("engine")
    time.sleep(0.5)
    assert (waiting.status, cut_off.status) == ("queued", "interrupted")
    assert "The studio ended while it was training" in engine.status().held
    engine.go_on()
    wait_for(lambda: waiting.status == "done")
    idle(engine)
    assert engine.status().held == ""


@pytest.mark.fault("the studio is started again")
def test_a_paused_queue_is_paused_after_a_restart_and_ends_no_run(workspace: Workspace, dataset: Card, recovered: Callable[[], Engine]) -> None:
    waiting = left_behind(workspace, dataset)
    first = recovered()
    first.hold()
    first._studio_lock.release()
    again = recovered()
    assert again.status().held == "You paused the queue." and again.status().queued == 1
    again.stop(waiting.id)
    assert waiting.status == "stopped" and again.status().queued == 0


@pytest.mark.fault("the studio is started again")
def test_a_queue_that_was_told_to_go_on_goes_on_after_a_restart(workspace: Workspace, dataset: Card, recovered: Callable[[], Engine]) -> None:
    waiting = left_behind(workspace, dataset)
    first = recovered()
    first.hold()
    first.go_on()
    first._studio_lock.release()
    again = recovered()
    assert again.status().held == "" and list(again._queue.queue) == [waiting.id]


def test_a_folder_that_is_no_run_harms_nobody(workspace: Workspace, dataset: Card, recovered: Callable[[], Engine]) -> None:
    (workspace.runs / "empty").mkdir()
    (workspace.runs / ".hidden").mkdir()
    broken = left_behind(workspace, dataset, "started")
    (broken.folder / "spec.json").write_text("{")
    good = left_behind(workspace, dataset)
    engine = recovered()
    assert list(engine._queue.queue) == [good.id]
    assert good.id in {summary.id for summary in engine.runs.summaries()}


def test_an_engine_that_cannot_get_ready_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "backend.device", None)  # as if torch were not there
    engine = Engine(workspace)
    engine.start()
    with pytest.raises(UserError, match="The engine could not start .* doctor"):
        engine.wait_until_ready()
    assert engine.status().state == "out of order" and "doctor" in engine.status().doing
    engine._studio_lock.release()


def test_without_a_starter_model_others_still_train(workspace: Workspace, dataset: Card, request: pytest.FixtureRequest) -> None:
    (workspace.models / "starter").rename(workspace.models / "mine")
    (workspace.models / "starter").mkdir()
    (workspace.models / "starter" / "config.json").write_text("{")
    engine: Engine = request.getfixturevalue("engine")
    with pytest.raises(UserError, match="config.json of starter is damaged"):
        engine.submit(spec_for(dataset))
    spec = spec_for(dataset).model_copy(update={"base_model": str(workspace.models / "mine")})
    run = engine.runs.get(engine.submit(spec))
    wait_for(lambda: run.status == "done")
