"""The parts of a mixture in a real browser: weighed, capped and taken out, with names that stay text."""

import json
import re
from collections.abc import Iterator

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from components.mix_table import Bar, MixPart, mix_table, shares
from tests.components.serving import served, visited

HOSTILE = '<img src=x onerror="document.title=1">${1}{{2}}'


def part(id: str, name: str, **values: object) -> MixPart:
    return {"id": id, "name": name, "versions": {"1": 10, "2": 1200}, "version": "2", "weight": "1", "cap": "", "fixed": False, "share": "", **values}  # type: ignore[typeddict-item,return-value]


PARTS = [part("a", "cats"), part("b", HOSTILE), part("c", "general", fixed=True, share="5")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with gr.Blocks(analytics_enabled=False) as page:
        table, said, fill = mix_table(), gr.Textbox(elem_id="said"), gr.Button("Fill", elem_id="fill")
        fill.click(lambda: PARTS, outputs=table)
        table.input(json.dumps, table, said)
    with served(page) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with visited(chromium, address) as page:
        expect(page.locator("#mix-parts .empty")).to_be_visible()
        page.locator("#fill").click()
        expect(page.locator(".mix-part")).to_have_count(3)
        yield page


def said(page: Page, *fields: str) -> list[list[str]]:
    """The fields of each part, as the server was told last."""
    return [[part[field] for field in fields] for part in json.loads(page.locator("#said textarea, #said input").first.input_value())]


def told(page: Page, word: str) -> None:
    expect(page.locator("#said textarea, #said input").first).to_have_value(re.compile(word), timeout=20_000)


def test_what_is_typed_is_told_and_the_caret_stays(page: Page) -> None:
    weight = page.get_by_label("Weight").first
    weight.click()
    page.keyboard.press("End")
    page.keyboard.type("2")
    told(page, '"12"')
    page.keyboard.type(".5")
    told(page, r"12\.5")
    assert said(page, "weight", "fixed", "share") == [["12.5", False, ""], ["1", False, ""], ["1", True, "5"]]
    expect(weight).to_be_focused()
    page.get_by_label("Fixed share, %").fill("7")
    told(page, '"7"')
    page.get_by_role("group", name="cats").get_by_label("Version").select_option("1")
    told(page, '"version": "1"')
    assert said(page, "version", "share") == [["1", ""], ["2", ""], ["2", "7"]]


def test_a_part_is_taken_out_by_the_keyboard(page: Page) -> None:
    page.get_by_role("button", name="take cats out").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".mix-part")).to_have_count(2)
    told(page, "general")
    assert said(page, "id") == [["b"], ["c"]]
    expect(page.locator(".mix-remove").first).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#mix-parts .empty")).to_be_visible()


def test_names_are_text(page: Page) -> None:
    expect(page.locator(".mix-part strong").nth(1)).to_have_text(HOSTILE)
    assert page.locator(".mix-parts img").count() == 0 and page.title() != "1"


def test_shares_say_in_words_what_the_bars_show() -> None:
    html = shares([Bar(HOSTILE, 950, 0.95, 0.5, 1.0), Bar("few", 50, 0.05, None, 2.5)])
    assert "95 %" in html and "5 %" in html and "each 2.5 times" in html and html.count("each") == 1
    assert "<img" not in html and "${" not in html
    assert shares([]) == ""
