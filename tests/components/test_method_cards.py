"""Method cards in a real browser: what is picked stays picked, whatever comes late."""

import time
from collections.abc import Iterator

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from components.method_cards import Card, Cards, method_cards
from tests.components.serving import served, visited


def card(name: str, trains: str) -> Card:
    return {"name": name, "title": name.title(), "sentence": "Learns.", "trains": trains, "memory": "1 GB", "arithmetic": "", "paper": "https://arxiv.org"}


def cards(chosen: str, trains: str, picks: int | None = None) -> Cards:
    return {"chosen": chosen, "picks": picks, "cards": [card("lora", trains), card("full", trains), card("prompt", trains)]}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    def look(value: Cards) -> Cards:
        time.sleep(1)  # long enough for another pick
        return cards(value["chosen"], "known by now", value["picks"] or 0)

    with gr.Blocks(analytics_enabled=False) as page:
        methods, said = method_cards(cards("lora", "…")), gr.Textbox(elem_id="said")
        late, fill = gr.Button("Look", elem_id="look"), gr.Button("Fill", elem_id="fill")
        late.click(look, methods, methods, show_progress="hidden")
        fill.click(lambda: cards("prompt", "filled"), outputs=methods)
        methods.change(lambda value: value["chosen"], methods, said)
    with served(page) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with visited(chromium, address) as page:
        expect(page.get_by_role("radio", name="Lora", exact=True)).to_be_checked()
        yield page


def test_what_was_asked_before_a_pick_and_comes_after_it_leaves_it_picked(page: Page) -> None:
    page.locator("#look").click()
    page.wait_for_timeout(200)
    page.get_by_role("radio", name="Full", exact=True).check()
    expect(page.locator(".method-facts").first).to_contain_text("known by now")
    expect(page.get_by_role("radio", name="Full", exact=True)).to_be_checked()
    page.get_by_role("radio", name="Prompt", exact=True).check()
    page.get_by_role("radio", name="Full", exact=True).check()
    expect(page.locator("#said textarea, #said input").first).to_have_value("full")


def test_a_form_that_is_filled_in_anew_picks_what_it_holds(page: Page) -> None:
    page.get_by_role("radio", name="Full", exact=True).check()
    page.locator("#fill").click()
    expect(page.get_by_role("radio", name="Prompt", exact=True)).to_be_checked()
    expect(page.locator(".method-facts").first).to_contain_text("filled")
