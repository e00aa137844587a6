"""The table of runs in a real browser: what is picked stays picked, whatever comes late, and lines stay where they are."""

import time
from collections.abc import Iterator

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect

from components.run_table import RunRow, RunTable, run_table, table
from tests.components.serving import served, visited


def rows(status: str, names: tuple[str, ...] = ("first", "second")) -> list[RunRow]:
    return [RunRow(id=name, status=status, cells=[status, name, "LoRA", "poems", "1.6", "60", "today", "<b>x</b>"]) for name in names]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    def look(shown: RunTable) -> RunTable:
        time.sleep(1)  # long enough for a pick
        return table(rows("done"), ticked=shown["ticked"], opened=shown["open"], picks=shown["picks"])

    with gr.Blocks(analytics_enabled=False) as page:
        runs, said = run_table(), gr.Textbox(elem_id="said")
        late, one = gr.Button("Look", elem_id="look"), gr.Button("One", elem_id="one")
        page.load(lambda shown: {**shown, "rows": rows("training")}, runs, runs)
        late.click(look, runs, runs, show_progress="hidden")
        one.click(lambda: table(rows("done", ("second",))), outputs=runs)
        runs.select(
            lambda shown: f"open {shown['open']}, ticked {shown['ticked']}", runs, said, trigger_mode="always_last"
        )
    with served(page) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with visited(chromium, address) as page:
        expect(page.locator(".run-table tbody tr")).to_have_count(2)
        yield page


def said(page: Page, text: str) -> None:
    expect(page.locator("#said textarea, #said input").first).to_have_value(text)


def test_a_run_opened_while_the_table_is_on_its_way_stays_open(page: Page) -> None:
    page.locator("#look").click()
    page.wait_for_timeout(200)
    page.get_by_role("button", name="second").click()
    page.get_by_label("compare first").check()
    expect(page.locator(".run-table .status").first).to_have_text("done")
    said(page, "open second, ticked ['first']")
    expect(page.locator(".run-table tr.open")).to_contain_text("second")
    expect(page.get_by_label("compare first")).to_be_checked()


def test_news_of_a_run_leave_its_line_under_the_mouse_and_the_keyboard(page: Page) -> None:
    button = page.get_by_role("button", name="second")
    button.focus()
    button.evaluate("node => { node.mark = 'the same'; }")
    page.locator("#look").evaluate("node => node.click()")
    expect(page.locator(".run-table .status").first).to_have_text("done")
    assert button.evaluate("node => node.mark") == "the same"
    expect(button).to_be_focused()
    expect(page.locator(".run-table")).to_contain_text("<b>x</b>")


def test_a_table_for_all_pages_closes_what_was_open(page: Page) -> None:
    page.get_by_role("button", name="first").click()
    page.locator("#one").click()
    expect(page.locator(".run-table tbody tr")).to_have_count(1)
    expect(page.locator(".run-table tr.open")).to_have_count(0)
    page.locator("#look").click()
    page.wait_for_timeout(200)
    page.get_by_role("button", name="second").click()
    expect(page.locator(".run-table tbody tr")).to_have_count(2)
    expect(page.locator(".run-table tr.open")).to_contain_text("second")
