"""Where a run stands, asked again and again while it goes on."""

import os
import random

import pytest

from backend.progress import Progress
from backend.runs import REMEMBERED, Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace
from tests.bench.made_up import a_step, long_run

SPEC = parse_spec({"name": "long", "data": {"id": "nothing-here", "version": 1}})


@pytest.fixture
def runs(tmp_path) -> Runs:
    return Runs(Workspace(tmp_path).prepare())


def begun(runs: Runs, *, steps: int = 20) -> Run:
    return long_run(runs.workspace, SPEC, steps=steps)


def more(run: Run, *steps: int) -> None:
    for step in steps:
        event = dict(a_step(step, 40, random.Random(step)))
        run.events.append(event.pop("kind"), **event)


def test_a_second_look_reads_only_what_is_new(runs: Runs) -> None:
    run = begun(runs)
    first = runs.progress(run)
    size = run.events.size
    with run.events.path.open("r+b") as file:
        file.write(b"x" * (size - 1) + b"\n")  # nothing of what was read is there any more
    more(run, 21, 22)
    assert (first.step, runs.progress(run).step, runs.progress(run).total_steps) == (20, 22, 40)


def test_looking_often_finds_what_looking_once_does(runs: Runs) -> None:
    run = begun(runs)
    for step in range(21, 25):
        runs.progress(run)
        more(run, step)
    assert runs.progress(run) == run.progress()


def test_a_resumed_run_stands_where_it_goes_on_from(runs: Runs) -> None:
    run = begun(runs)
    run.events.append("evaluated", step=20, loss=0.1, seconds=30.0)
    assert runs.progress(run).best_loss == 0.1
    run.events.append("started", resumed_from=10, device="CPU", precision="bfloat16")
    more(run, 11)
    found = runs.progress(run)
    assert found.best_loss != 0.1 and found.step == 11 and found == run.progress()


def test_what_was_told_stays_as_it_was_told(runs: Runs) -> None:
    run = begun(runs)
    told = runs.progress(run)
    more(run, 21)
    runs.progress(run)
    assert told.step == 20


def test_more_runs_than_are_remembered_are_read_anew(runs: Runs) -> None:
    made = [begun(runs, steps=1) for _ in range(REMEMBERED + 2)]
    found = [runs.progress(run) for run in made + made]
    assert all(isinstance(each, Progress) and each.step == 1 for each in found)


def test_runs_are_listed_the_newest_first_and_strange_folders_passed_over(runs: Runs) -> None:
    made = [begun(runs, steps=1).id for _ in range(3)]
    for number, id in enumerate(made, 1):  # three made at once may bear one time
        os.utime(runs.path(id) / "spec.json", ns=(number, number))
    (runs.workspace.runs / "Not An Id").mkdir()
    (runs.workspace.runs / "empty-one").mkdir()
    assert runs.ids() == made[::-1]
