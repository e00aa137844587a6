"""Other jobs than runs on the engine's queue: a generation waits, works, stops, resumes, and survives a restart as a run does."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.data.versions import Card
from backend.engine import KINDS, Engine
from backend.errors import UserError
from backend.generating.generation import Generation, make_generation
from backend.generating.settings import parse_generation
from backend.runs import Run
from backend.specs import parse_spec
from backend.workspace import Workspace

ROOT = Path(__file__).parents[2]


def wait_for(condition: Callable[[], object], *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)


def idle(engine: Engine) -> None:
    wait_for(lambda: engine.status().state == "ready" and engine.status().queued == 0)


@pytest.fixture
def engine(workspace: Workspace) -> Iterator[Engine]:
    engine = Engine(workspace)
    engine.start()
    engine.wait_until_ready()
    yield engine
    for id in list(engine._stops):
        engine.stop(id)
    idle(engine)
    engine._studio_lock.release()


def generation_from(card: Card, workspace: Workspace, **settings: Any) -> Generation:
    values = {"wanted": 100_000, "most_attempts": 4, "max_tokens": 24, **settings}
    return make_generation(workspace, parse_generation({"name": "more", "seeds": {"id": card.id}, "settings": values}))


def begin(engine: Engine, card: Card, **settings: Any) -> Generation:
    generation = generation_from(card, engine.workspace, **settings)
    engine.put(generation)
    return generation


def run_spec(card: Card) -> Any:
    return parse_spec({"data": {"id": card.id, "version": card.version}, "training": {"max_steps": 1, "batch_size": 4, "probes": ["Why?"]}})


def test_a_model_in_memory_writes_and_every_prompt_leaves_a_trace(engine: Engine, dataset: Card) -> None:
    generation = begin(engine, dataset)
    wait_for(lambda: generation.status == "done")
    idle(engine)
    candidates = generation.candidates()
    assert [each.attempt for each in candidates] == sorted(each.attempt for each in candidates)
    assert {each.attempt for each in candidates} == {0, 1, 2, 3}
    assert generation.standing().seconds > 0 and engine.shelf._loaded  # chat finds the same model in memory


def test_jobs_of_all_kinds_wait_for_each_other_in_one_queue(engine: Engine, dataset: Card) -> None:
    with engine.turns.take(quick=True):  # the first stands still
        generation = begin(engine, dataset)
        wait_for(lambda: engine.status().job_id == generation.id)
        status = engine.status()
        assert (status.state, status.doing, status.run_id) == ("working", 'writing "more"', None)
        run = engine.runs.get(engine.submit(run_spec(dataset)))
        second = begin(engine, dataset, most_attempts=1)
        assert engine.status().queued == 2
        with pytest.raises(UserError, match="This generation is still running or queued"):
            engine.delete(second.id)
    idle(engine)
    ends = [(job.status, job.events.read()[0][-1]["at"]) for job in (generation, run, second)]
    assert [status for status, _ in ends] == ["done"] * 3 and ends == sorted(ends, key=lambda end: end[1])
    engine.delete(second.id)
    assert not second.folder.exists()


def test_a_generation_stops_soon_and_goes_on_when_asked(engine: Engine, dataset: Card) -> None:
    generation = begin(engine, dataset, most_attempts=1_000_000, prompts_at_once=1)
    wait_for(generation.candidates)
    engine.stop(generation.id)
    idle(engine)
    written = generation.candidates()
    assert generation.status == "stopped" and written
    engine.resume(generation.id)
    wait_for(lambda: len(generation.candidates()) > len(written))
    assert generation.candidates()[: len(written)] == written
    resumed = [event for event in generation.events.read()[0] if event["kind"] == "started"][-1]
    assert resumed["resumed_from"] == written[-1].attempt + 1


def test_a_generation_that_cannot_begin_fails_with_its_reason_and_the_next_goes_on(engine: Engine, dataset: Card) -> None:
    with engine.turns.take(quick=True):
        first = begin(engine, dataset)
        wait_for(lambda: engine.status().job_id == first.id)
        broken, good = begin(engine, dataset), begin(engine, dataset, most_attempts=1)
        (broken.folder / "spec.json").write_text("{")
    wait_for(lambda: good.status == "done")
    assert broken.status == "failed"
    assert "spec.json of generation" in broken.events.read()[0][-1]["message"]  # type: ignore[typeddict-item]


def test_chat_answers_while_tasks_are_written(engine: Engine, dataset: Card) -> None:
    from backend.inference import Playground, Speaker
    from backend.sampling import Sampling

    generation = begin(engine, dataset, most_attempts=1_000_000, max_tokens=200)
    wait_for(lambda: engine.status().job_id == generation.id and engine.shelf._loaded)
    reply = Playground(engine.workspace, engine.turns, engine.shelf).answer(Speaker("base", "starter"), "Why?", sampling=Sampling(max_tokens=5))
    assert reply.tokens and generation.status == "running"


@pytest.mark.fault("the studio is started again")
def test_after_a_restart_the_queue_holds_every_kind_in_its_old_order(workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr(Engine, "_get_ready", lambda self: hold.wait(60) and None)
    jobs = [Run.create(workspace, run_spec(dataset)), generation_from(dataset, workspace), Run.create(workspace, run_spec(dataset)), generation_from(dataset, workspace)]
    cut_off = generation_from(dataset, workspace)
    cut_off.events.append("started", resumed_from=0)
    cut_off.events.append("step", step=1)
    for place, job in enumerate((jobs[3], jobs[0], jobs[1], jobs[2])):
        job.events.path.write_text(f'{{"kind": "queued", "at": {1000.0 + place}}}\n')
    engine = Engine(workspace)
    engine.start()
    assert list(engine._queue.queue) == [jobs[3].id, jobs[0].id, jobs[1].id, jobs[2].id]
    assert cut_off.status == "interrupted"
    assert cut_off.standing().message == "The studio ended while this generation was writing. Resume it to go on from where it was left."
    engine.resume(cut_off.id)
    assert cut_off.status == "queued"
    for id in list(engine._stops):
        engine.stop(id)
    hold.set()
    engine._studio_lock.release()


def test_no_job_loads_torch_before_it_is_performed() -> None:
    code = "import backend.engine, backend.generating.writing, backend.generating.review, sys; print({'torch', 'numpy', 'rapidfuzz', 'httpx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def test_every_kind_of_job_has_a_place_of_its_own_and_says_what_it_does() -> None:
    assert len({kind.place for kind in KINDS}) == len(KINDS)
    assert all(kind.noun and kind.doing.endswith("ing") and kind.found_in for kind in KINDS)
