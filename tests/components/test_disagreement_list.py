"""The list of disagreements in a real Chromium: texts stay text, a click or a key settles, and the keyboard keeps its place."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from components.disagreement_list import SCRIPT, Disagreement, disagreement_list, disagreements

HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}<script>alert(4)</script>"


def line(item: int, settled: str) -> Disagreement:
    words = {"1 2": "A is better", "2 1": "B is better", "tie": "equally good"}
    return {
        "item": item, "title": f"Item {item + 1}", "prompt": [{"who": "user", "text": f"q {HOSTILE}"}],
        "answers": [{"letter": letter, "text": f"{letter} {HOSTILE}", "made": ""} for letter in "AB"],
        "opinions": [{"words": "A is better", "people": f"ada {HOSTILE}"}, {"words": "B is better", "people": "ben"}],
        "choices": [{"key": key, "words": said, "chosen": key == settled} for key, said in words.items()],
        "settled": f"Settled by cy: {words[settled]}" if settled else "",
    }  # fmt: skip


class Desk:
    """Keeps what was settled, as the studio would."""

    def __init__(self) -> None:
        self.settled: dict[int, str] = {}
        self.asked: list[Any] = []

    def value(self) -> Any:
        return disagreements([line(item, self.settled.get(item, "")) for item in range(2)])

    def on_settle(self, value: Any) -> Any:
        asked = value["asked"]
        self.asked.append(asked)
        self.settled[asked["item"]] = "" if asked["key"] == "reopened" else asked["key"]
        return self.value()

    def page(self) -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as page:
            shown, clear = disagreement_list(), gr.Button("Clear")
            page.load(self.value, outputs=shown)
            shown.select(self.on_settle, shown, shown)
            clear.click(lambda: disagreements([], empty=f"None. {HOSTILE}"), outputs=shown)
        return page


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def page(chromium: Browser, monkeypatch: pytest.MonkeyPatch, desk: Desk) -> Iterator[Page]:
    """The list served and opened; fails when it had an error of its own or opened a dialog."""
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    faults: list[str] = []
    blocks = desk.page()
    _, url, _ = blocks.launch(css_paths=[SCRIPT.with_name("label.css")], server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    page = chromium.new_context().new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.goto(url)
    expect(page.locator(".disagreement")).to_have_count(2)
    yield page
    page.context.close()
    blocks.close(verbose=False)
    assert faults == []


@pytest.mark.browser
def test_what_others_wrote_is_text(page: Page) -> None:
    first = page.locator(".disagreement").first
    expect(first.locator(".disagreement-answer").first).to_contain_text(f"A {HOSTILE}")
    expect(first.locator(".disagreement-prompt")).to_contain_text(HOSTILE)
    expect(first.locator("li").first).to_have_text(f"ada {HOSTILE}: A is better")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".empty")).to_have_text(f"None. {HOSTILE}")


@pytest.mark.browser
def test_a_click_settles_and_opens_again(page: Page, desk: Desk) -> None:
    second = page.locator(".disagreement").nth(1)
    second.get_by_role("button", name="Item 2: B is better").click()
    expect(second.locator(".good")).to_have_text("Settled by cy: B is better")
    expect(second.get_by_role("button", name="Item 2: B is better")).to_have_attribute("aria-pressed", "true")
    second.get_by_role("button", name="Item 2: open it again").click()
    expect(second.locator(".good")).to_have_count(0)
    assert desk.asked == [{"item": 1, "key": "2 1"}, {"item": 1, "key": "reopened"}]


@pytest.mark.browser
def test_the_keyboard_keeps_its_place(page: Page) -> None:
    button = page.get_by_role("button", name="Item 2: equally good")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".disagreement").nth(1).locator(".good")).to_have_text("Settled by cy: equally good")
    expect(button).to_be_focused()
    page.get_by_role("button", name="Item 2: open it again").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Item 2: A is better")).to_be_focused()  # the button pressed is gone
