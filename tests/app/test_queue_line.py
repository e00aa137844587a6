"""The line above the runs: what waits, and the way to pause and go on."""

from pathlib import Path

import pytest

from app.queue_line import on_go_on, on_pause, on_tick
from app.studio import Studio
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.runs import Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine has not begun to work, so that what is queued waits."""
    return Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))


def test_nothing_waits_and_nothing_is_shown(studio: Studio) -> None:
    seen, line, *_ = on_tick(studio, None)
    assert (seen, line.visible) == (("", 0), False)
    assert all(each["__type__"] == "update" and "value" not in each for each in on_tick(studio, seen)), "what has not changed is not sent again"


def test_what_waits_is_counted_and_can_be_paused_and_go_on(studio: Studio, dataset: Card) -> None:
    studio.engine.put(Run.create(studio.workspace, parse_spec({"data": {"id": dataset.id}})))
    _, line, words, pause, go_on = on_tick(studio, ("", 0))
    assert line.visible and "1 job waits" in words and pause.visible and not go_on.visible
    _, line, words, pause, go_on = on_pause(studio)
    assert "You paused the queue. 1 job waits" in words and not pause.visible and go_on.visible
    assert Engine(studio.workspace).status().held, "a restart remembers it"
    _, line, words, pause, go_on = on_go_on(studio)
    assert "paused" not in words and pause.visible and not (Path(studio.workspace.root) / "queue.json").exists()
