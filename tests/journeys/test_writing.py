"""Five rows are written, the studio is killed, and all five are there when it starts again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import make_workspace
from tests.journeys.conftest import Studio, end, picture, start_studio

ROWS = [(f"What does a cat do at {hour} o'clock?", f"It sleeps, as it did at {hour - 1}.") for hour in range(1, 6)]


@pytest.mark.browser
def test_five_rows_written_by_keyboard_outlive_a_killed_studio(tmp_path: Path, tiny_model: Path, chromium: Browser) -> None:
    workspace = make_workspace(tmp_path / "workspace", tiny_model).root
    studio = start_studio(workspace)
    on_page(chromium, studio, write_rows)
    studio.process.kill()
    studio.process.wait(timeout=30)
    studio = start_studio(workspace)
    try:
        on_page(chromium, studio, find_and_save_rows)
    finally:
        end(studio)


def on_page(chromium: Browser, studio: Studio, do: Callable[[Page], None]) -> None:
    """Do something on a page of the studio."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(studio.url)
    expect(page.get_by_role("heading", name="Fine-Tuning Studio")).to_be_visible(timeout=30_000)
    page.locator("#data-write").click()
    do(page)
    context.close()


def write_rows(page: Page) -> None:
    """Five rows, without the mouse; nothing is pressed to save them."""
    page.locator("#write-new-name textarea, #write-new-name input").fill("Cats by the hour")
    page.locator("#write-begin").click()
    page.locator("[data-part=add]").press("Enter")
    for number, (question, answer) in enumerate(ROWS, start=1):
        expect(page.locator(".row-card")).to_have_count(number, timeout=30_000)
        expect(page.locator(".row-turn-user textarea").nth(number - 1)).to_be_focused()
        page.keyboard.type(question)
        page.keyboard.press("Tab")
        page.keyboard.type(answer)
        if number < len(ROWS):
            page.keyboard.press("Control+Enter")
    expect(page.locator("[data-part=saved]")).to_have_text("saved")
    picture(page, "write")


def find_and_save_rows(page: Page) -> None:
    """All five are in the draft, and make a version."""
    expect(page.locator("#write-drafts")).to_contain_text("Cats by the hour · 5 rows", timeout=30_000)
    page.locator("#write-go-on").click()
    expect(page.locator(".row-card")).to_have_count(len(ROWS), timeout=30_000)
    for role, texts in (("user", [question for question, _ in ROWS]), ("assistant", [answer for _, answer in ROWS])):
        assert [field.input_value() for field in page.locator(f".row-turn-{role} textarea").all()] == texts
    page.get_by_role("button", name="Save version").click()
    expect(page.locator("#data-heading")).to_contain_text("version 1 · 5 rows", timeout=60_000)
