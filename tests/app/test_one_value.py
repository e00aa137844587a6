"""A form that is sent as one value, in a real browser: what is typed last is what is sent, wherever it stands."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from app.one_value import OneValue
from tests.components.serving import served, visited


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    def on_change(studio: None, **values: Any) -> str:
        return f"changed: {values}"

    def on_send(studio: None, **values: Any) -> str:
        return f"sent: {values}"

    with gr.Blocks(analytics_enabled=False) as page:
        name = gr.Textbox(label="Name", elem_id="name")
        with gr.Accordion("More", open=False):
            steps, kind = gr.Textbox("7", label="Steps"), gr.Radio(["a", "b"], value="a", label="Kind")
        send, fill = gr.Button("Send", elem_id="send"), gr.Button("Fill", elem_id="fill")
        changed, sent = gr.Textbox(elem_id="changed"), gr.Textbox(elem_id="sent")
        filled = OneValue({"name": name, "steps": steps, "kind": kind})
        change, handle = filled.to(on_change), filled.to(on_send)
        filled.value.change(lambda values: change(None, values), filled.value, changed, trigger_mode="always_last")
        filled.gather(send.click).then(lambda values: handle(None, values), filled.value, sent)
        fill.click(lambda: ("from the server", "9"), outputs=[name, steps])
    with served(page) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with visited(chromium, address) as page:
        expect(page.locator("#send")).to_be_visible()
        yield page


def shown(page: Page, where: str) -> Any:
    return expect(page.locator(f"#{where} textarea"))


def test_a_click_sends_what_has_just_been_typed_and_what_is_folded_away(page: Page) -> None:
    page.evaluate("""() => {
        const field = document.querySelector('#name textarea');
        field.value = 'typed';
        field.dispatchEvent(new Event('input', {bubbles: true}));
        document.querySelector('#send').click();
    }""")
    shown(page, "sent").to_have_value("sent: {'name': 'typed', 'steps': '7', 'kind': 'a'}")


def test_every_change_is_told_by_hand_or_by_the_server(page: Page) -> None:
    page.locator("#name textarea").fill("by hand")
    shown(page, "changed").to_have_value("changed: {'name': 'by hand', 'steps': '7', 'kind': 'a'}")
    page.locator("#fill").click()
    shown(page, "changed").to_have_value("changed: {'name': 'from the server', 'steps': '9', 'kind': 'a'}")


def test_what_was_there_at_first_is_sent_where_nothing_was_touched(page: Page) -> None:
    page.locator("#send").click()
    shown(page, "sent").to_have_value("sent: {'name': '', 'steps': '7', 'kind': 'a'}")
