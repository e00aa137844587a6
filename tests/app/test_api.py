"""The public endpoints, called as a page calls them."""

from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest

from app.api import public_api
from app.studio import Studio
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.runs import Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace


@pytest.fixture
def ask(workspace: Workspace) -> Callable[..., Any]:
    """Calls an endpoint of a studio whose engine has not begun to work."""
    with gr.Blocks(analytics_enabled=False) as page:
        public_api(Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace)))
    endpoints = {function.api_name: function.fn for function in page.fns.values()}
    return lambda endpoint, **values: endpoints[endpoint](**values)


def test_a_script_that_follows_a_run_over_its_resuming_has_no_step_twice(ask: Callable[..., Any], workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, parse_spec({"data": {"id": dataset.id}}))
    events: list[Any] = []
    cursor = 0
    wholes = []

    def follow() -> list[int]:
        """Ask once more; the steps a script has then."""
        nonlocal events, cursor
        answer = ask("run_events", run=run.id, after=cursor)
        events, cursor = answer["events"] if answer["whole"] else events + answer["events"], answer["cursor"]
        wholes.append(answer["whole"])
        return [event["step"] for event in events if event["kind"] == "step"]

    assert follow() == []
    run.events.append("started", resumed_from=0)
    for step in (1, 2):
        run.events.append("step", step=step)
    assert follow() == [1, 2]
    run.events.append("step", step=3)
    assert follow() == [1, 2, 3]
    run.events.append("started", resumed_from=1)
    run.events.append("step", step=2)
    assert follow() == [1, 2]
    run.events.append("step", step=3)
    assert follow() == [1, 2, 3] == [event["step"] for event in ask("run_events", run=run.id)["events"] if event["kind"] == "step"]
    assert wholes == [True, True, False, True, False]
