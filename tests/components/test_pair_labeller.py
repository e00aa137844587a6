"""The labelling screen in a real Chromium: keys, typing, order by keys and by drag, guidelines, a studio that does not answer."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from components.pair_labeller import SCRIPT, labelling, pair_labeller
from tests.components.serving import Line

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}</textarea><script>alert(4)</script>"


class Desk:
    """Answers the screen as the studio would, and keeps what was asked. `answers`: how many each item has."""

    def __init__(self) -> None:
        self.answers, self.requests, self.broken, self.others = [2, 2, 2], [], False, 0
        self.said, self.turn, self.guidelines, self.length = 0, 0, "", 1

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        if self.broken:
            return {"problems": [f"The disk is full {HOSTILE}"]}
        step = {"vote": 1, "undo": -1}.get(request["do"], 0)
        self.said, self.turn = max(0, self.said + step), self.turn + abs(step)
        if request["do"] == "guide":
            self.guidelines = request["guidelines"]
        return self.state() | {"pace": request["annotator"]}

    def state(self) -> dict[str, Any]:
        total = len(self.answers)
        left = total - self.said
        return {
            "item": self.item(self.said) if left else None, "turn": self.turn, "guidelines": self.guidelines, "done": self.said,
            "skipped": 0, "total": total, "left": left, "with_others": self.others, "progress": f"{self.said} of {total} done",
            "pace": "", "note": "", "problems": [],
        }  # fmt: skip

    def item(self, number: int) -> dict[str, Any]:
        texts = [f"Text {place} of {number} {HOSTILE} " * self.length for place in range(self.answers[number])]
        return {
            "number": number, "answers": [[{"role": "assistant", "content": text}] for text in texts],
            "prompt": [{"role": "user", "content": f"Ask {number} {HOSTILE}"}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "So?"}],
        }  # fmt: skip

    def page(self) -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as page:
            labeller = pair_labeller(self.answer)
            gr.Textbox(label="Name")
            again = gr.Button("Another person")
            page.load(lambda: labelling("made-up", "ada", 1), outputs=labeller)
            again.click(lambda: labelling("made-up", "bob", 2), outputs=labeller)
        return page

    @property
    def votes(self) -> list[Any]:
        return [[request["verdict"], *request["ranks"], *([request["strength"]] if request["strength"] else [])]
                for request in self.requests if request["do"] == "vote"]  # fmt: skip


@pytest.fixture(scope="module")
def served(chromium: Browser) -> Iterator[tuple[Desk, Page, str, list[str]]]:
    """One desk, served to one browser page: (desk, page, its address, the faults the page had)."""
    desk, faults = Desk(), []
    styles = [SCRIPT.with_name("style.css"), SCRIPT.with_name("label.css")]
    blocks = desk.page()
    _, url, _ = blocks.launch(css_paths=styles, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    page = chromium.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    yield desk, page, url, faults
    page.context.close()
    blocks.close(verbose=False)


@pytest.fixture
def desk(served: Any) -> Desk:
    served[0].__init__()
    return served[0]


@pytest.fixture
def visit(served: Any) -> Iterator[Any]:
    """Opens the page anew; fails when it had an error of its own or opened a dialog."""
    _, page, url, faults = served

    def open_page() -> Page:
        page.goto(url)
        expect(page.locator(".labeller-work")).to_be_visible()
        expect(part(page, "progress")).to_contain_text("done")
        return page

    yield open_page
    page.unroute_all()
    assert faults == []


@pytest.fixture
def line(served: Any) -> Line:
    """The line of the page that `visit` opens."""
    return Line(served[1])


def part(page: Page, name: str) -> Locator:
    return page.locator(f'.labeller [data-part="{name}"]')


def at(page: Page, said: int, total: int = 3) -> None:
    expect(part(page, "progress")).to_have_text(f"{said} of {total} done", timeout=15_000)


def press(page: Page, keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_keys_say_what_is_printed_on_the_buttons(visit: Any, desk: Desk) -> None:
    desk.answers = [2] * 6
    page = visit()
    for said, key in enumerate("1234s", 1):
        page.keyboard.press(key)
        at(page, said, 6)
        expect(part(page, "spoken")).to_contain_text(f"{said} of 6 done. The next item is here.")
    press(page, "u")
    at(page, 4, 6)
    press(page, "w1")
    at(page, 5, 6)
    page.get_by_role("button", name="Answer 2 is better").click()
    at(page, 6, 6)
    expect(part(page, "done-words")).to_contain_text("You have seen all there is for you: 6 done. See under Quality")
    press(page, "13")
    assert desk.votes == [["ranked", 1, 2], ["ranked", 2, 1], ["tie"], ["both bad"], ["skipped"], ["ranked", 1, 2, 2], ["ranked", 2, 1]]
    page.keyboard.press("u")
    at(page, 5, 6)
    for name in ("Answer 1 is better", "Equally good", "Both bad", "Skip", "Undo"):
        expect(page.get_by_role("button", name=name).locator("visible=true").locator("kbd")).to_be_visible()


def test_texts_are_shown_letter_by_letter_and_all_turns_of_the_prompt(visit: Any, desk: Desk) -> None:
    page = visit()
    expect(part(page, "answers").locator(".labeller-text p")).to_have_text([f"Text 0 of 0 {HOSTILE}", f"Text 1 of 0 {HOSTILE}"])
    expect(part(page, "prompt").locator("p")).to_have_text([f"Ask 0 {HOSTILE}", "Yes?", "So?"])
    expect(part(page, "prompt").locator(".labeller-role")).to_have_text(["Question", "Answer", "Question"])
    desk.broken = True
    page.keyboard.press("1")
    expect(part(page, "problems")).to_have_text(f"The disk is full {HOSTILE}")
    at(page, 0)
    desk.broken = False
    page.keyboard.press("1")
    expect(part(page, "problems")).to_be_hidden()
    at(page, 1)


@pytest.mark.fault("keys pressed while typing or composing")
def test_keys_pressed_while_typing_composing_or_with_others_say_nothing(visit: Any, desk: Desk) -> None:
    page = visit()
    at(page, 0)
    page.get_by_label("Name").click()
    page.keyboard.type("1234 sug")
    page.get_by_label("Name").blur()
    for keys in ("Control+1", "Alt+2", "Meta+s"):
        page.keyboard.press(keys)
    for event in ("{key: '1', repeat: true", "{key: '1', isComposing: true", "{key: 'Process', code: 'KeyS'"):
        page.evaluate(f"document.body.dispatchEvent(new KeyboardEvent('keydown', {event}, bubbles: true}}))")
    page.evaluate("document.querySelector('.labeller').parentElement.style.display = 'none'")
    page.keyboard.press("1")
    page.evaluate("document.querySelector('.labeller').parentElement.style.display = ''")
    page.keyboard.press("2")
    at(page, 1)
    assert desk.votes == [["ranked", 2, 1]]


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_a_double_click_says_one_thing(line: Line, visit: Any, desk: Desk) -> None:
    page = visit()
    line.holds = True
    page.locator('[data-do="first"]').dblclick()
    press(page, "12")
    page.wait_for_timeout(100)  # the presses are there, and none of them may be sent
    assert len(line.held) == 1
    line.held[0].continue_()
    line.holds = False
    at(page, 1)
    assert desk.votes == [["ranked", 1, 2]]


def test_four_answers_are_put_in_order_by_keys(visit: Any, desk: Desk) -> None:
    desk.answers = [4, 4, 2]
    page = visit()
    confirm = page.locator('[data-do="confirm"]')
    chips = part(page, "order").locator(".labeller-chip")
    press(page, "314")
    expect(chips).to_have_text(["1st  Answer 3", "2nd  Answer 1", "3rd  Answer 4"])
    page.keyboard.press("Enter")  # one is missing
    press(page, "u")
    expect(chips).to_have_count(2)
    press(page, "24")
    expect(confirm).to_have_attribute("aria-disabled", "false")
    page.keyboard.press("=")
    expect(chips).to_have_text(["1st  Answer 3", "2nd  Answer 1", "3rd  Answer 2", "3rd  Answer 4"])
    chips.nth(1).focus()
    page.keyboard.press("ArrowLeft")
    expect(chips).to_have_text(["1st  Answer 1", "2nd  Answer 3", "3rd  Answer 2", "3rd  Answer 4"])
    expect(chips.first).to_be_focused()
    chips.first.blur()
    page.keyboard.press("Enter")
    at(page, 1)
    page.keyboard.press("0")
    at(page, 2)
    page.keyboard.press("1")
    at(page, 3)
    assert desk.votes == [["ranked", 1, 3, 2, 3], ["both bad"], ["ranked", 1, 2]]


def test_three_answers_are_put_in_order_by_dragging(visit: Any, desk: Desk) -> None:
    desk.answers = [3]
    page = visit()
    heads, strip, chips = page.locator(".labeller-answer-head"), part(page, "ranking"), part(page, "order").locator(".labeller-chip")
    heads.nth(1).drag_to(strip, source_position={"x": 20, "y": 10})
    heads.nth(0).drag_to(strip, source_position={"x": 20, "y": 10}, target_position={"x": 900, "y": 20})
    expect(chips).to_have_text(["1st  Answer 2", "2nd  Answer 1"])
    heads.nth(2).drag_to(chips.first, source_position={"x": 20, "y": 10}, target_position={"x": 4, "y": 10})
    expect(chips).to_have_text(["1st  Answer 3", "2nd  Answer 2", "3rd  Answer 1"])
    chips.nth(2).drag_to(chips.nth(0), target_position={"x": 4, "y": 10})
    expect(chips).to_have_text(["1st  Answer 1", "2nd  Answer 3", "3rd  Answer 2"])
    page.get_by_role("button", name="better than").first.click()
    page.get_by_role("button", name="Keep this order").click()
    at(page, 1, 1)
    assert desk.votes == [["ranked", 1, 2, 1]]


def test_guidelines_are_opened_edited_and_kept(visit: Any, desk: Desk) -> None:
    desk.guidelines = f"Be fair. {HOSTILE}"
    page = visit()
    expect(part(page, "guidelines")).to_have_text(f"Be fair. {HOSTILE}")  # whoever begins reads them first
    page.keyboard.press("g")
    expect(part(page, "pane")).to_be_hidden()
    page.keyboard.press("g")
    page.get_by_role("button", name="Edit").click()
    expect(part(page, "written")).to_be_focused()
    page.keyboard.type(" 1234")
    page.keyboard.press("Escape")
    expect(part(page, "guidelines")).to_have_text(f"Be fair. {HOSTILE}")
    page.get_by_role("button", name="Edit").click()
    part(page, "written").fill("Shorter is better.")
    page.keyboard.press("Control+Enter")
    expect(part(page, "guidelines")).to_have_text("Shorter is better.")
    at(page, 0)
    assert [request["guidelines"] for request in desk.requests if request["do"] == "guide"] == ["Shorter is better."]


def test_long_answers_scroll_in_their_box_and_the_buttons_stay_where_they_are(visit: Any, desk: Desk) -> None:
    page = visit()
    at(page, 0)
    button = page.locator('[data-do="first"]')
    before = button.bounding_box()
    desk.length = 120  # more than 10,000 characters
    page.keyboard.press("1")
    at(page, 1)
    assert button.bounding_box() == before
    box = page.locator(".labeller-text").first
    assert box.evaluate("box => box.scrollHeight > 2 * box.clientHeight")
    widths = [page.locator(".labeller-answer").nth(place).bounding_box() for place in (0, 1)]
    assert widths[0] and widths[1] and (widths[0]["width"], widths[0]["height"]) == (widths[1]["width"], widths[1]["height"])
    box.evaluate("box => box.scrollTo(0, 500)")
    page.keyboard.press("2")
    at(page, 2)
    assert page.locator(".labeller-text").first.evaluate("box => box.scrollTop") == 0


def test_a_narrow_window_stacks_the_answers_and_cuts_nothing_off(visit: Any, desk: Desk) -> None:
    page = visit()
    page.set_viewport_size({"width": 480, "height": 900})
    boxes = [page.locator(".labeller-answer").nth(place).bounding_box() for place in (0, 1)]
    assert boxes[0] and boxes[1] and boxes[0]["x"] == boxes[1]["x"] and boxes[0]["width"] == boxes[1]["width"]
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    page.set_viewport_size({"width": 1280, "height": 900})


def test_what_others_look_at_is_told_and_looked_for_again(visit: Any, desk: Desk) -> None:
    desk.answers, desk.others = [], 2
    page = visit()
    expect(part(page, "done-words")).to_contain_text("The last 2 items are in front of somebody else now")
    desk.answers, desk.others = [2], 0
    page.get_by_role("button", name="Look again").click()
    at(page, 0, 1)
    expect(part(page, "answers")).to_be_visible()


def test_another_person_leaves_the_item_of_the_one_before(visit: Any, desk: Desk) -> None:
    page = visit()
    at(page, 0)
    page.get_by_role("button", name="Another person").click()
    expect(part(page, "pace")).to_have_text("bob")
    assert desk.requests[1] == {"do": "look", "left": {"batch": "made-up", "annotator": "ada"}, "batch": "made-up", "annotator": "bob"}


def test_a_studio_that_does_not_answer_is_told_and_nothing_is_lost(line: Line, visit: Any, desk: Desk) -> None:
    page = visit()
    at(page, 0)
    line.cut = True
    page.keyboard.press("1")
    expect(part(page, "problems")).to_contain_text("The studio does not answer", timeout=15_000)
    line.cut = False
    page.keyboard.press("1")
    at(page, 1)
