"""Who answers, in a real browser: lines changed, added and taken out, with names that stay text."""

import json
import re
from collections.abc import Iterator

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from backend.answering.settings import MOST_ANSWERERS, Answerer
from components.answerer_table import answerer_table, answerers
from tests.components.serving import served, visited

HOSTILE = '<img src=x onerror="document.title=1">${1}{{2}}'
SPEAKERS = [("Base · starter", "base:starter"), (HOSTILE, "run:x"), ("The answer in the data set", "reference")]
CHOSEN = [Answerer(draws=2), Answerer(speaker="run:gone", temperature=1.5, seed=7)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with gr.Blocks(analytics_enabled=False) as page:
        table, said, fill = answerer_table(), gr.Textbox(elem_id="said"), gr.Button("Fill", elem_id="fill")
        fill.click(lambda: answerers(CHOSEN, SPEAKERS), outputs=table)
        table.input(json.dumps, table, said)
    with served(page) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with visited(chromium, address) as page:
        page.locator("#fill").click()
        expect(page.locator(".answerer")).to_have_count(2)
        yield page


def said(page: Page, word: str) -> list[dict[str, str]]:
    """The lines as the server was told last, once it was told a word."""
    box = page.locator("#said textarea, #said input").first
    expect(box).to_have_value(re.compile(word), timeout=20_000)
    return json.loads(box.input_value())["lines"]


def test_what_is_typed_is_told_and_the_caret_stays(page: Page) -> None:
    second = page.get_by_role("group", name="answerer 2")
    seed = second.get_by_label("Seed")
    seed.click()
    page.keyboard.press("End")
    page.keyboard.type("5")
    lines = said(page, '"seed": "75"')
    assert lines[1] == {"speaker": "run:gone", "draws": "1", "temperature": "1.5", "top_p": "0.95", "max_tokens": "256", "seed": "75"}
    expect(seed).to_be_focused()
    second.get_by_label("Who answers").select_option("reference")
    assert said(page, '"speaker": "reference"')[1]["speaker"] == "reference"
    expect(seed).to_be_disabled()


def test_another_line_has_a_seed_of_its_own_and_can_be_taken_out(page: Page) -> None:
    page.get_by_role("button", name="Add who answers").press("Enter")
    third = page.get_by_role("group", name="answerer 3")
    expect(third.get_by_label("Who answers")).to_be_focused()
    assert [line["seed"] for line in said(page, '"seed": "8"')] == ["0", "7", "8"]
    page.get_by_role("button", name="take answerer 1 out").press("Enter")
    expect(page.locator(".answerer")).to_have_count(2)
    expect(page.get_by_role("button", name="take answerer 1 out")).to_be_focused()
    for _ in range(MOST_ANSWERERS - 2):
        page.get_by_role("button", name="Add who answers").click()
    expect(page.get_by_role("button", name="Add who answers")).to_be_disabled()


def test_names_are_text_and_help_stands_once(page: Page) -> None:
    assert page.locator("select").first.locator("option").all_text_contents() == [SPEAKERS[0][0], HOSTILE, SPEAKERS[2][0], "run:gone (gone)"]
    assert page.locator(".answerers img").count() == 0 and page.title() != "1"
    expect(page.locator(".answerer small")).to_have_count(6)
