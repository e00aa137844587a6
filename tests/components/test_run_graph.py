"""The graph of where a run comes from: what can be pressed, what is only text, and lines that cross no box."""

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from backend.lineage import Lineage, Member, Tie
from components.run_graph import SCRIPT, graph, graph_html, run_graph

BASE, TAUGHT = Member("model:starter", "model", "starter", "the model itself"), Member("taught-1", "run", "taught", "SFT, LoRA", "cats v1", 1)


def test_a_run_is_a_button_and_a_model_or_what_is_gone_is_not() -> None:
    gone = Member("gone-1", "deleted", "(deleted)", "once gone-1")
    html = graph_html(Lineage("taught-1", [BASE, gone, TAUGHT], [Tie("model:starter", "taught-1", "starts from"), Tie("gone-1", "taught-1", "rewarded by")]))
    assert re.findall(r'data-run="([^"]*)"', html) == ["taught-1"] and html.count("<button") == 1
    assert 'aria-current="true" data-run="taught-1"' in html
    assert "starts from starter" in html and "rewarded by (deleted)" in html


def test_a_name_is_text_wherever_it_stands() -> None:
    evil = Member("x-1", "run", '"><img src=x onerror=alert(1)>${1}', "SFT, LoRA", "<b>", 1)
    html = graph_html(Lineage("x-1", [BASE, evil], [Tie("model:starter", "x-1", "starts from")]))
    assert "<img" not in html and "<b>" not in html and "${" not in html


def test_a_line_past_a_column_goes_below_its_boxes() -> None:
    """From the model straight to the third column, where the second has a box in the first row: through its second row."""
    judge, aligned = Member("judge-1", "run", "judge", column=1), Member("ppo-1", "run", "aligned", column=2)
    ties = [Tie("model:starter", "ppo-1", "starts from"), Tie("judge-1", "ppo-1", "rewarded by")]
    html = graph_html(Lineage("ppo-1", [BASE, judge, aligned], ties))
    straight, asked = re.findall(r'<path[^>]*d="([^"]*)"', html)[:2]
    assert straight.count("C") == 2 and " 136L472 136C" in straight  # the middle of the second row, along the box's width
    assert asked.count("C") == 1
    assert 'height="176"' in html  # room for the second row


def test_children_that_are_not_drawn_are_counted() -> None:
    assert "and 1,988 more made of it" in graph_html(Lineage("taught-1", [TAUGHT], [], more_children=1988))


# ---- in the browser


@pytest.fixture
def visit(chromium: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serves a page that goes from run to run and opens it; fails when it had an error of its own."""
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    served, faults = [], []

    def open_page(blocks: gr.Blocks, *, width: int = 1000) -> Page:
        _, url, _ = blocks.launch(css_paths=[SCRIPT.with_name("style.css")], server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
        page = chromium.new_context(viewport={"width": width, "height": 700}).new_page()
        served.append((blocks, page))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        expect(page.locator(".run-graph")).to_be_visible()
        return page

    yield open_page
    for blocks, page in served:
        page.context.close()
        blocks.close(verbose=False)
    assert faults == []


def walking() -> gr.Blocks:
    """The graph of three runs; the pressed one becomes the one that is looked at."""
    child = Member("child-1", "run", "child", column=2)
    ties = [Tie("model:starter", "taught-1", "starts from"), Tie("taught-1", "child-1", "starts from")]

    def look(run: str) -> Any:
        return graph(Lineage(run, [BASE, TAUGHT, child], ties))

    with gr.Blocks(analytics_enabled=False) as page:
        shown = run_graph()
        shown.select(lambda value: look(value["open"]), shown, shown, show_progress="hidden")
        page.load(lambda: look("child-1"), outputs=shown)
    return page


@pytest.mark.browser
def test_the_keyboard_walks_from_run_to_run(visit: Any) -> None:
    page = visit(walking())
    here = page.locator("[aria-current]")
    expect(here).to_contain_text("child")
    page.locator("[data-run=taught-1]").focus()
    page.keyboard.press("Enter")
    expect(here).to_contain_text("taught")
    expect(here).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(here).to_contain_text("child")


@pytest.mark.browser
def test_where_it_is_narrow_words_stand_for_the_lines(visit: Any) -> None:
    page = visit(walking(), width=480)
    expect(page.locator(".run-graph > svg")).to_be_hidden()
    expect(page.locator("[data-run=child-1]")).to_contain_text("starts from taught")
    tops = [page.locator(".run-graph-place").nth(n).bounding_box()["y"] for n in range(3)]
    assert tops == sorted(tops) and page.evaluate("document.documentElement.scrollWidth") <= 480
