"""Answers of a real tiny model to real prompts: how each came about, and that neither a stop nor a kill loses or doubles one."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.answering.answering import Answer, Answering, Answerings, make_answering
from backend.answering.makers import result_hash
from backend.answering.settings import parse_answering
from backend.data.versions import Card
from backend.engine import Engine
from backend.errors import UserError
from backend.jobs import Means
from backend.runs import Run
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.workspace import Workspace
from tests.conftest import starter_rows

ROOT = Path(__file__).parents[3]
BASE = "base:starter"
Lend = Callable[..., Means]


def answering_of(workspace: Workspace, card: Card, answerers: list[dict[str, Any]], *, number: int = 6, **more: Any) -> Answering:
    """Prompts of a data set, answered in few tokens."""
    answerers = [{"speaker": BASE, "max_tokens": 12, **each} for each in answerers]
    spec = {"name": "x", "prompts": {"kind": "data", "data": {"id": card.id}, "number": number}, "answerers": answerers, **more}
    return make_answering(workspace, parse_answering(spec))


def run_of(workspace: Workspace, card: Card, *, steps: int = 1) -> Run:
    """A small run, trained."""
    from backend.training import train

    settings = {"max_steps": steps, "batch_size": 2, "max_length": 64, "probes": [], "validation_share": 0.1}
    run = Run.create(workspace, parse_spec({"name": "small", "data": {"id": card.id}, "training": settings}))
    train(run.spec, run, run.events.append, lambda: False)
    return run


def test_every_prompt_is_answered_by_everybody(workspace: Workspace, dataset: Card, means: Lend) -> None:
    job = answering_of(workspace, dataset, [{"draws": 2, "temperature": 1.5}, {"temperature": 0}, {"speaker": "reference"}])
    job.perform(means())
    answers, standing = job.answers(), job.standing()
    assert (standing.status, standing.answers, standing.wanted, standing.faults) == ("done", 24, 24, 0)
    assert Counter(answer.answerer for answer in answers) == {0: 12, 1: 6, 2: 6}
    assert [answer.place for answer in answers] == sorted({answer.place for answer in answers})
    known = {row["messages"][0]["content"]: row["messages"][1]["content"] for row in starter_rows(24)}
    for answer in answers:
        if answer.answerer == 2:
            assert answer.text == known[job.prompts()[answer.prompt].messages[-1]["content"]]


def test_each_answer_keeps_how_it_came_about(workspace: Workspace, dataset: Card, means: Lend) -> None:
    run = run_of(workspace, dataset)
    job = answering_of(workspace, dataset, [{"draws": 1}, {"speaker": f"run:{run.id}", "seed": 3}, {"speaker": "reference"}], number=2)
    job.perform(means())
    base, trained, reference = (answer.made for answer in job.answers()[:3])
    assert base == {
        "speaker": BASE, "name": "starter", "sampling": {"temperature": 0.7, "top_p": 0.95, "max_tokens": 12}, "seed": base["seed"],
        "tokens": base["tokens"], "end": "finished" if base["tokens"] < 12 else "cut off",
    }  # fmt: skip
    assert (trained["speaker"], trained["name"], trained["adapter"]) == (f"run:{run.id}", "small", result_hash(run))
    assert reference == {"speaker": "column:reference", "name": "the answer in the data"}


def test_an_answer_comes_again_in_chat_with_its_seed(workspace: Workspace, dataset: Card, means: Lend) -> None:
    from backend.inference import Playground, Speaker

    job = answering_of(workspace, dataset, [{"draws": 2, "temperature": 2, "top_p": 1}], number=3, at_once=1)
    lent = means()
    job.perform(lent)
    playground = Playground(workspace, lent.turns, lent.shelf)
    for answer in job.answers():
        sampling = Sampling(temperature=2, top_p=1, max_tokens=12, seed=answer.made["seed"])
        *_, last = playground.stream(Speaker.parse(BASE), job.prompts()[answer.prompt].messages, sampling)
        assert (last.text, last.tokens, last.end) == (answer.text, answer.made["tokens"], answer.made["end"])
    assert len({answer.made["seed"] for answer in job.answers()}) == 6


def test_the_hash_of_a_run_changes_with_its_result_alone(workspace: Workspace, dataset: Card) -> None:
    run = run_of(workspace, dataset)
    before = result_hash(run)
    run.relabel(name="renamed", note="")
    (run.result / "README.md").write_text("a note")
    assert result_hash(run) == before and len(before) == 16
    weights = next(run.result.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert result_hash(run) != before


def test_a_prompt_too_long_for_a_model_is_told_and_the_others_are_answered(workspace: Workspace, means: Lend) -> None:
    long = "kettle " * 600
    pasted = {"kind": "pasted", "pasted": f"Why?\n{long}\n{'well ' * 90}\nHow?"}
    job = make_answering(workspace, parse_answering({"prompts": pasted, "answerers": [{"draws": 2, "max_tokens": 8192, "temperature": 3}]}))
    stop_soon = iter(range(10_000))
    job.perform(means(lambda: next(stop_soon) > 3000))
    answers = job.answers()
    assert [bool(answer.fault) for answer in answers] == [False, False, True, True, False, False, False, False]
    assert "tokens long, and starter reads at most 512" in answers[2].fault
    assert all(answer.made["tokens"] <= 512 for answer in answers if not answer.fault)
    assert job.events.last()[-1]["message"] == "6 answers are there. 2 prompts could not be answered."


def test_a_stopped_answering_goes_on_where_it_was_left(workspace: Workspace, dataset: Card, means: Lend) -> None:
    answerers = [{"draws": 2, "temperature": 1.5}, {"temperature": 1.5, "seed": 1}]
    whole, stopped = (answering_of(workspace, dataset, answerers, at_once=4) for _ in range(2))
    whole.perform(means())
    stopped.perform(means(lambda: len(stopped.answers()) >= 8))
    assert stopped.status == "stopped" and len(stopped.answers()) == 8
    assert "Resume goes on" in stopped.standing().message
    stopped.perform(means())
    assert stopped.status == "done" and stopped.answers() == whole.answers()


WORKER = """
import sys, time
from pathlib import Path
from backend.answering import answering
from backend.device import Turns
from backend.inference import Shelf
from backend.jobs import Means
from backend.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
job = answering.Answering(workspace, sys.argv[2])
keep = job.keep
job.keep = lambda answers: (keep(answers), time.sleep(60) if len(job.answers()) >= 8 else None)
job.perform(Means(lambda: False, Turns(), Shelf(workspace)))
"""


@pytest.mark.fault("the process is killed while answers are made")
def test_a_killed_answering_loses_nothing_and_makes_nothing_twice(workspace: Workspace, dataset: Card, means: Lend) -> None:
    answerers = [{"draws": 2, "temperature": 1.5}]
    whole, killed = (answering_of(workspace, dataset, answerers, at_once=4) for _ in range(2))
    whole.perform(means())
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(workspace.root), killed.id], cwd=ROOT)
    until = time.monotonic() + 120
    while len(killed.answers()) < 8 and time.monotonic() < until:
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert len(killed.answers()) == 8 and killed.status == "running"
    there = killed.answers()
    with (killed.folder / "candidates.jsonl").open("ab") as file:
        file.write(b'{"prompt": 4, "answerer": 0, "draw": 0, "te')  # as if it had been killed while writing
    Engine(workspace)._recover()
    assert killed.status == "interrupted"
    written: list[Answer] = []
    keep = killed.keep
    killed.keep = lambda answers: (written.extend(answers), keep(answers))  # type: ignore[method-assign]
    killed.perform(means())
    assert killed.answers() == whole.answers()
    assert {answer.place for answer in written}.isdisjoint(answer.place for answer in there) and len(written) == 4


def test_the_engine_answers_and_stops(workspace: Workspace, dataset: Card) -> None:
    engine = Engine(workspace)
    engine.start()
    engine.wait_until_ready()
    try:
        job = answering_of(workspace, dataset, [{"draws": 2}], number=2)
        engine.put(job)
        until = time.monotonic() + 60
        while job.status != "done" and time.monotonic() < until:
            time.sleep(0.02)
        assert job.standing().answers == 4
        assert [each.id for each in Answerings(workspace).readable()] == [job.id]
    finally:
        engine._studio_lock.release()


def test_a_run_without_a_result_cannot_be_asked(workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, parse_spec({"name": "fresh", "data": {"id": dataset.id}}))
    with pytest.raises(UserError, match="fresh has no result to answer with yet"):
        answering_of(workspace, dataset, [{"speaker": f"run:{run.id}", "draws": 2}])
    with pytest.raises(UserError, match="There is no run"):
        answering_of(workspace, dataset, [{"speaker": "run:gone-123456", "draws": 2}])


def test_what_is_damaged_ends_it_with_a_sentence_and_it_can_go_on(workspace: Workspace, dataset: Card, means: Lend) -> None:
    job = answering_of(workspace, dataset, [{"draws": 2}], number=1)
    prompts = (job.folder / "prompts.jsonl").read_bytes()
    (job.folder / "prompts.jsonl").unlink()
    with pytest.raises(UserError, match="The prompts of these answers are missing"):
        job.perform(means())
    (job.folder / "prompts.jsonl").write_bytes(prompts)
    job.perform(means())
    assert job.status == "done"
