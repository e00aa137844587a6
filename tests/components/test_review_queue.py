"""The review queue in a real Chromium: keys, typing, editing, more tasks coming, and a studio that does not answer."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from components.review_queue import SCRIPT, review_queue, reviewing
from tests.components.serving import Line

HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}</textarea><script>alert(4)</script>"


class Desk:
    """Answers the queue as the studio would, and keeps what was asked."""

    def __init__(self) -> None:
        self.there, self.requests, self.broken = 3, [], False
        self.decided: list[str] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        if self.broken:
            return {"problems": [f"The disk is full {HOSTILE}"]}
        if request["do"] in ("accept", "reject"):
            self.decided.append(request["do"])
        elif request["do"] == "undo":
            self.decided.pop()
        n = len(self.decided)
        task = {"id": str(n), "instruction": f"Task {n} {HOSTILE}", "input": "", "output": "A wren.", "is_classification": n == 1, "nearest": "", "score": 0.0}
        return {
            "task": task if n < self.there else None, "left": self.there - n, "accepted": self.decided.count("accept"),
            "rejected": self.decided.count("reject"), "more": False, "problems": [],
        }  # fmt: skip

    def page(self) -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as page:
            queue = review_queue(self.answer)
            gr.Textbox(label="Name")
            more, serial, accepted = gr.Button("More"), gr.State(1), gr.Number(0, label="To save")
            page.load(lambda: reviewing("made-up", 1), outputs=queue)
            more.click(lambda serial: (serial + 1, reviewing("made-up", serial + 1)), serial, [serial, queue])
            queue.change(lambda: self.decided.count("accept"), outputs=accepted)
        return page

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["do"] != "look"]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def visit(chromium: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serves a page and opens it; fails when it had an error of its own or opened a dialog."""
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    served, faults = [], []

    def open_page(blocks: gr.Blocks) -> Page:
        _, url, _ = blocks.launch(css_paths=[SCRIPT.with_name("style.css")], server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
        page = chromium.new_context().new_page()
        served.append((blocks, page))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.goto(url)
        expect(page.locator(".review-task")).to_be_visible()
        return page

    yield open_page
    for blocks, page in served:
        page.context.close()
        blocks.close(verbose=False)
    assert faults == []


def counts(page: Page, left: int, accepted: int, rejected: int) -> None:
    expect(page.locator(".review-counts")).to_have_text(f"{left} left to review · {accepted} accepted · {rejected} rejected")


def part(page: Page, name: str) -> Any:
    return page.locator(f'.review [data-part="{name}"]')


@pytest.mark.browser
def test_keys_decide_and_take_back(visit: Any, desk: Desk) -> None:
    page = visit(desk.page())
    counts(page, 3, 0, 0)
    expect(part(page, "undo")).to_be_disabled()
    page.keyboard.press("a")
    counts(page, 2, 1, 0)
    expect(part(page, "kind")).to_be_checked()
    page.keyboard.press("R")
    counts(page, 1, 1, 1)
    page.keyboard.press("u")
    counts(page, 2, 1, 0)
    part(page, "reject").click()
    counts(page, 1, 1, 1)
    page.keyboard.press("a")
    counts(page, 0, 2, 1)
    expect(part(page, "empty")).to_contain_text("All are reviewed. Save what you accepted")
    expect(page.get_by_label("To save")).to_have_value("2")
    for key in ("a", "r", "e"):
        page.keyboard.press(key)
    assert [request["do"] for request in desk.decisions] == ["accept", "reject", "undo", "reject", "accept"]


@pytest.mark.browser
def test_texts_are_shown_letter_by_letter(visit: Any, desk: Desk) -> None:
    page = visit(desk.page())
    expect(part(page, "instruction")).to_have_value(f"Task 0 {HOSTILE}")
    desk.broken = True
    page.keyboard.press("a")
    expect(part(page, "problems")).to_have_text(f"The disk is full {HOSTILE}")
    counts(page, 3, 0, 0)
    desk.broken = False
    page.keyboard.press("a")
    expect(part(page, "problems")).to_be_hidden()
    counts(page, 2, 1, 0)


@pytest.mark.browser
def test_keys_pressed_while_typing_or_with_others_decide_nothing(visit: Any, desk: Desk) -> None:
    page = visit(desk.page())
    page.get_by_label("Name").click()
    page.keyboard.type("are u real")
    page.locator("body").click(position={"x": 2, "y": 2})
    page.keyboard.press("Control+a")
    page.keyboard.press("Alt+r")
    page.evaluate("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', repeat: true, bubbles: true}))")
    page.evaluate("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', isComposing: true, bubbles: true}))")
    page.evaluate("document.querySelector('.review').parentElement.style.display = 'none'")
    page.keyboard.press("a")
    page.evaluate("document.querySelector('.review').parentElement.style.display = ''")
    part(page, "output").click()  # read-only: this is no typing
    page.keyboard.press("r")
    counts(page, 2, 0, 1)
    assert [request["do"] for request in desk.decisions] == ["reject"]


@pytest.mark.browser
def test_an_edited_task_is_accepted_as_edited_or_left_as_it_was(visit: Any, desk: Desk) -> None:
    page = visit(desk.page())
    page.keyboard.press("e")
    expect(part(page, "output")).to_be_focused()
    page.keyboard.type(" are u sure? ")
    page.keyboard.press("Escape")
    expect(part(page, "output")).to_have_value("A wren.")
    expect(part(page, "output")).not_to_be_editable()
    page.keyboard.press("e")
    part(page, "instruction").fill("Name a bird.")
    part(page, "kind").check()
    page.get_by_role("button", name="More").click()  # more tasks come: what is being typed stays
    expect(part(page, "accept")).to_contain_text("Accept as edited")
    expect(part(page, "instruction")).to_have_value("Name a bird.")
    part(page, "instruction").press("Control+Enter")
    counts(page, 2, 1, 0)
    edited = {"instruction": "Name a bird.", "input": "", "output": "A wren.", "is_classification": True}
    assert desk.decisions == [{"do": "accept", "id": "0", "edited": edited, "generation": "made-up"}]
    expect(part(page, "accept")).to_have_text("Accept A")


@pytest.mark.browser
def test_more_tasks_come_without_a_reload(visit: Any, desk: Desk) -> None:
    desk.there = 1
    page = visit(desk.page())
    page.keyboard.press("r")
    expect(part(page, "empty")).to_contain_text("none is accepted")
    desk.there = 2
    page.get_by_role("button", name="More").click()
    counts(page, 1, 0, 1)
    expect(part(page, "instruction")).to_have_value(f"Task 1 {HOSTILE}")


@pytest.mark.browser
def test_a_studio_that_does_not_answer_is_told_and_nothing_is_lost(visit: Any, desk: Desk) -> None:
    page = visit(desk.page())
    line = Line(page)
    page.reload()
    counts(page, 3, 0, 0)
    line.cut = True
    page.keyboard.press("a")
    expect(part(page, "problems")).to_contain_text("The studio does not answer")
    line.cut = False
    page.keyboard.press("a")
    counts(page, 2, 1, 0)
