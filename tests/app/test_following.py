"""What a page that follows a run is told, and that it learns of the end whatever came in between."""

import threading
from typing import Any

import gradio as gr
import pytest

from app import runs_tab, train_tab
from app.following import BEAT, BEGINNING, BEGUN, IN_FULL, PARTINGS, REST, SLOWEST, STEADY, Following
from app.studio import Studio
from app.train_tab import _show, on_behind, on_tick
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.runs import Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    return Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))


@pytest.fixture
def run(studio: Studio, dataset: Card) -> Run:
    run = Run.create(studio.workspace, parse_spec({"name": "watched", "data": {"id": dataset.id, "version": 1}}))
    run.events.append("started", resumed_from=0, device="CPU", precision="float32")
    return run


def step(run: Run, number: int, *, seconds: float = 1.0) -> None:
    run.events.append("step", step=number, epoch=0.1, loss=2.0, learning_rate=1e-3, grad_norm=1.0, seconds=seconds, tokens_per_second=10.0)


def told(answer: tuple[Any, ...]) -> str:
    """The line of progress in a tick's answer; empty where nothing travels."""
    _, _, _, progress, *_ = answer
    return progress if isinstance(progress, str) else ""


def test_a_tick_tells_what_is_new_and_nothing_twice(studio: Studio, run: Run) -> None:
    following = _show(studio, run.id)[4]
    assert told(on_tick(studio, run.id, following)) == ""
    step(run, 1)
    assert "status-running" in told(on_tick(studio, run.id, following))
    assert told(on_tick(studio, run.id, following)) == ""


def test_the_end_is_told_a_few_times_and_then_all_is_quiet(studio: Studio, run: Run) -> None:
    """What the page is told by one event may be overtaken by what it was told before by another."""
    following = _show(studio, run.id)[4]
    run.events.append("finished", status="done", message="")
    for _ in range(PARTINGS):
        assert "status-done" in told(on_tick(studio, run.id, following))
    assert told(on_tick(studio, run.id, following)) == ""


def test_the_page_asks_seldom_where_nothing_can_come_and_often_again_where_something_does(studio: Studio, run: Run) -> None:
    def pace(run_id: str | None, following: Following | None) -> float | None:
        return on_tick(studio, run_id, following)[0].get("value")

    assert pace(None, None) == REST
    following = _show(studio, run.id)[4]
    assert pace(run.id, following) is None
    step(run, 1)
    assert pace(run.id, following) == BEAT
    for number in range(2, BEGUN):
        step(run, number)
        assert pace(run.id, following) is None, "it is as it was"
    step(run, BEGUN)
    assert pace(run.id, following) == BEGINNING, "the curve has begun"
    for number, (seconds, beat) in enumerate({45.0: 4, 70.0: STEADY, 420.0: 7, 7200.0: SLOWEST}.items(), start=1):
        step(run, BEGUN + number, seconds=seconds)
        assert pace(run.id, following) == beat
    run.events.append("finished", status="done", message="")
    assert [pace(run.id, following) for _ in range(PARTINGS + 1)] == [BEAT] * PARTINGS + [REST]


def test_only_what_has_changed_travels_and_now_and_then_everything(studio: Studio, run: Run) -> None:
    following = _show(studio, run.id)[4]
    answers = []
    for number in range(2 * IN_FULL):
        step(run, BEGUN + number)
        clock, chart, _, _, probes, *buttons = on_tick(studio, run.id, following)
        assert chart["series"]
        answers.append([clock, probes, *buttons])
    is_full = [all(part != gr.skip() for part in answer) for answer in answers]
    is_empty = [all(part == gr.skip() for part in answer) for answer in answers]
    assert is_full == [number in (1, IN_FULL, 2 * IN_FULL) for number in range(1, 2 * IN_FULL + 1)]
    assert is_empty == [not full for full in is_full]


def test_a_button_that_changes_travels_at_once(studio: Studio, run: Run) -> None:
    following = _show(studio, run.id)[4]
    for number in (1, 2):
        step(run, number)
        on_tick(studio, run.id, following)
    studio.engine._stops[run.id] = threading.Event()
    studio.engine._stops[run.id].set()
    stop = on_tick(studio, run.id, following)[5]
    assert stop["interactive"] is False


def test_an_end_that_was_read_for_the_chart_is_told_all_the_same(studio: Studio, run: Run) -> None:
    _show(studio, run.id)
    step(run, 1)
    run.events.append("finished", status="done", message="")
    _, following = on_behind(studio, run.id)
    assert "status-done" in told(on_tick(studio, run.id, following))


def test_a_run_that_is_resumed_is_followed_anew(studio: Studio, run: Run) -> None:
    following = _show(studio, run.id)[4]
    run.events.append("finished", status="stopped", message="")
    assert "status-stopped" in told(on_tick(studio, run.id, following))
    run.events.append("started", resumed_from=0, device="CPU", precision="float32")
    assert "status-running" in told(on_tick(studio, run.id, following)) and not following.is_over
    assert following.partings == PARTINGS


def test_whose_end_is_awaited_is_asked_after_every_second_again(studio: Studio, run: Run) -> None:
    for stop in (train_tab.on_stop, runs_tab.on_stop):
        button, timer = stop(studio, run.id)
        assert button["interactive"] is False
        assert timer.value == BEAT
