"""Memory runs out anywhere but in a training step: it ends in a sentence with a remedy, is given back, and chat answers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from app.label.desk import judge_at_work
from app.studio import Studio
from backend import models, reference, training
from backend.answering.answering import make_answering
from backend.answering.settings import parse_answering
from backend.data.versions import Card
from backend.engine import Engine
from backend.errors import OutOfMemory
from backend.generating.generation import make_generation
from backend.generating.settings import parse_generation
from backend.inference import Playground, Speaker
from backend.jobs import Job
from backend.rewriting import make_rewriting, parse_rewriting
from backend.runs import Run
from backend.sampling import Sampling
from backend.workspace import Workspace
from tests.backend.test_alignment import spec_of
from tests.backend.test_engine import idle, wait_for
from tests.backend.test_training import curve, go, spec_for, told

BASE = Speaker("base", "starter")
TOO_LITTLE = "CUDA out of memory (made up)"
Tell = Callable[..., None]


@pytest.fixture
def engine(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=8))
    engine = Engine(workspace)
    engine.start()
    engine.wait_until_ready()
    yield engine
    idle(engine)
    engine._studio_lock.release()


def run_out(*_: Any) -> None:
    raise torch.OutOfMemoryError(TOO_LITTLE)


def chat_answers(engine: Engine) -> bool:
    *_, last = Playground(engine.workspace, engine.turns, engine.shelf).stream(BASE, [{"role": "user", "content": "Why?"}], Sampling(max_tokens=2))
    return last.tokens > 0


def a_generation(workspace: Workspace, dataset: Card) -> Job:
    settings = {"wanted": 1, "most_attempts": 1}
    return make_generation(workspace, parse_generation({"seeds": {"id": dataset.id}, "settings": settings}))


def a_rewriting(workspace: Workspace, dataset: Card) -> Job:
    return make_rewriting(workspace, parse_rewriting({"name": "x", "data": {"id": dataset.id}, "settings": {"prompts": 2}}))


def an_answering(workspace: Workspace, dataset: Card) -> Job:
    prompts = {"kind": "data", "data": {"id": dataset.id}, "number": 2}
    return make_answering(workspace, parse_answering({"prompts": prompts, "answerers": [{"speaker": "base:starter", "max_tokens": 4, "draws": 2}]}))


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize("made", [a_generation, a_rewriting, an_answering])
def test_a_job_that_runs_out_says_what_to_do_and_goes_on_when_it_is_resumed(
    made: Callable[..., Job], engine: Engine, workspace: Workspace, dataset: Card, tell: Tell
) -> None:
    model, _ = engine.shelf.get(BASE)
    model.model.register_forward_pre_hook(run_out)
    job = made(workspace, dataset)
    engine.put(job)
    idle(engine)
    (finished,) = (event for event in job.events.read()[0] if event["kind"] == "finished")
    assert (finished["status"], finished["message"]) == (
        "failed", 'There was not enough memory, so what was loaded for chat is put away again. Lower "Prompts at once" in a new one, or choose a smaller model.'
    )  # fmt: skip
    assert not engine.shelf.holds(BASE) and chat_answers(engine)
    engine.resume(job.id)
    idle(engine)
    assert job.status == "done"
    tell(tried=1, lost="nothing")


@pytest.mark.fault("out of memory")
def test_a_run_that_finds_no_memory_to_load_has_chat_put_away_what_it_keeps_and_tries_again(
    engine: Engine, dataset: Card, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    real, tries = models.load, []

    def load(*args: Any, **kwargs: Any) -> Any:
        tries.append(engine.shelf.holds(BASE))
        if tries[-1]:
            raise OutOfMemory("There is not enough memory to load starter. Close other programs, or choose a smaller model.")
        return real(*args, **kwargs)

    engine.shelf.get(BASE)
    monkeypatch.setattr(training.models, "load", load)
    run = engine.runs.get(engine.submit(spec_for(dataset, method="full", max_steps=2, evaluate_every=2)))
    idle(engine)
    assert run.status == "done" and tries[:2] == [True, False]
    assert "What chat had loaded is put away" in told(run, "warned")[0]["message"]
    tell(tried=1, lost="nothing")


@pytest.mark.fault("out of memory")
def test_a_run_that_finds_none_the_second_time_either_says_so_and_chat_answers(
    engine: Engine, dataset: Card, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "to", run_out)
        run = engine.runs.get(engine.submit(spec_for(dataset, max_steps=2, evaluate_every=2)))
        idle(engine)
    assert run.status == "failed" and told(run, "finished")[0]["message"].startswith("There is not enough memory to load starter. Close other programs")
    assert chat_answers(engine)
    tell(tried=1, lost="the run, told in a sentence")


@pytest.mark.fault("out of memory")
def test_after_a_run_that_failed_for_want_of_memory_nothing_is_kept_and_chat_answers(engine: Engine, dataset: Card, tell: Tell) -> None:
    model, _ = engine.shelf.get(BASE)
    model.model.register_forward_pre_hook(run_out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "quicken", run_out)
        run = engine.runs.get(engine.submit(spec_for(dataset, method="full", max_steps=2, evaluate_every=2)))
        idle(engine)
    assert run.status == "failed" and told(run, "finished")[0]["message"].startswith("Memory ran out even with one row at once")
    assert not engine.shelf.holds(BASE) and chat_answers(engine)
    tell(tried=1, lost="the run, told in a sentence")


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize(("module", "name"), [(training, "measure"), (reference, "_logprobs")], ids=["a look at the base", "the reference"])
def test_what_is_only_read_is_read_again_in_smaller_pieces(
    module: Any, name: str, workspace: Workspace, pairs: Card, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    real, tries = getattr(module, name), []

    def once(*args: Any, **kwargs: Any) -> Any:
        tries.append(1)
        return run_out() if len(tries) == 1 else real(*args, **kwargs)

    whole = Run.create(workspace, spec_of(pairs, "dpo", max_steps=2, evaluate_every=2))
    assert go(whole) == "done"
    monkeypatch.setattr(module, name, once)
    run = Run.create(workspace, whole.spec)
    assert go(run) == "done" and len(tries) > 1
    assert "the same step, smaller pieces" in told(run, "warned")[0]["message"]
    assert [loss for _, _, loss, *_ in curve(run)] == pytest.approx([loss for _, _, loss, *_ in curve(whole)], abs=1e-3)
    tell(tried=1, lost="nothing")


@pytest.mark.fault("out of memory")
def test_a_reward_models_opinion_that_runs_out_says_so_and_is_had_afterwards(
    workspace: Workspace, pairs: Card, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    judge = Run.create(workspace, spec_of(pairs, "reward", max_steps=1, evaluate_every=1))
    assert go(judge) == "done"
    studio = Studio.open(workspace.root)
    wait_for(lambda: studio.engine.status().state == "ready")
    conversation = [[{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]]
    with pytest.raises(OutOfMemory, match="There was not enough memory, so what was loaded for chat is put away again"), judge_at_work(studio, judge.id) as model:
        model.model.register_forward_pre_hook(run_out)
        model.rewards(conversation)
    with judge_at_work(studio, judge.id) as model:
        assert len(model.rewards(conversation)) == 1
    assert chat_answers(studio.engine)
    studio.engine._studio_lock.release()
    tell(tried=1, lost="nothing")
