"""Work is done for the tab one looks at, and for no other."""

import gradio as gr

from app.data.desk import BUSY_TABS, Desk, on_turn
from app.data.view import dataset_view, wire_dataset_view
from app.studio import Studio
from backend.data.versions import Datasets
from backend.engine import Engine
from backend.runs import Runs
from backend.workspace import Workspace


def test_only_the_open_tab_is_told_of_something_new() -> None:
    for number, name in enumerate(BUSY_TABS):
        turns = on_turn(name, *range(5))
        assert turns == [number + 1 if place == number else gr.skip() for place in range(5)]
    assert on_turn("rows", *range(5)) == [gr.skip()] * 5


def test_whoever_comes_to_a_busy_tab_has_it_work() -> None:
    with gr.Blocks() as page:
        desk = Desk()
        with gr.Tabs():
            tabs = {name: gr.Tab(name) for name in ("lengths", "about")}
        for name, tab in tabs.items():
            desk.open_on(name, tab)
    to_lengths, to_about = page.fns.values()
    assert to_lengths.outputs == [desk.open_tab, desk.turned["lengths"]] and to_lengths.fn(3) == ("lengths", 4)
    assert to_about.outputs == [desk.open_tab] and to_about.fn() == ("about",)


def test_another_data_set_asks_for_its_rows_and_for_nothing_else(workspace: Workspace) -> None:
    studio = Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))
    with gr.Blocks() as page:
        desk, view = Desk(), dataset_view(studio)
        wire_dataset_view(studio, view, desk, nothing=gr.Column())
    asked = [fn.name for fn in page.fns.values() if (desk.chosen._id, "change") in fn.targets]
    assert asked == ["on_show"]
