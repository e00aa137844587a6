"""From a few rows to more of them: the starter model writes tasks, a person reviews them by keyboard, and a run learns them."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import engine_is_ready, fill, picture, to_tab, train, unfold


def passed(page: Page) -> int:
    """How many tasks passed the filter; all of them wait to be reviewed."""
    count = re.search(r"(\d+) passed the filter", page.locator("#generation-progress").inner_text())
    assert count
    expect(page.locator(".review-counts")).to_have_text(f"{count[1]} left to review · 0 accepted · 0 rejected", timeout=60_000)
    return int(count[1])


@pytest.mark.browser
def test_tasks_are_generated_reviewed_and_learnt(visit) -> None:
    page = visit()
    engine_is_ready(page)
    to_tab(page, "Data")
    page.locator("#data-generate").click()
    unfold(page.locator("#data-generate-page"), "Advanced", "generate-max_tokens")
    fill(page, "generate-name", "in my manner")
    fill(page, "generate-wanted", "2")
    fill(page, "generate-max_tokens", "64")
    fill(page, "generate-prompts_at_once", "1")
    page.locator("#generate-seeds input").click()  # of what other journeys leave behind, no new task may come
    page.get_by_role("option", name="three lines").first.click()
    page.locator("#generate-answers input").click()
    page.get_by_role("option", name="continuation").click()  # short answers, so that the journey is
    page.locator("#generate-start").click()
    expect(page.locator("#generation-progress")).to_contain_text("in my manner", timeout=60_000)
    expect(page.locator("#studio-header")).to_contain_text('writing "in my manner"', timeout=60_000)
    expect(page.locator("#generation-progress .status")).to_have_text("done", timeout=300_000)
    before = passed(page)
    assert before >= 2
    page.keyboard.press("a")
    expect(page.locator(".review-counts")).to_contain_text(f"{before - 1} left", timeout=60_000)
    picture(page, "review")

    page.reload()
    engine_is_ready(page)
    page.locator("#data-generate").click()
    expect(page.locator(".review-counts")).to_contain_text(f"{before - 1} left to review · 1 accepted", timeout=60_000)
    for key, remaining in (("r", before - 2), ("u", before - 1), ("a", before - 2)):
        page.keyboard.press(key)
        expect(page.locator(".review-counts")).to_contain_text(f"{remaining} left", timeout=60_000)
    page.locator("#generation-save").click()
    expect(page.locator("#data-sets")).to_contain_text("in my manner · v1 · 2 rows", timeout=60_000)
    page.get_by_role("button", name="Train on this").click()
    train(page, "LoRA", steps=2, name="learns what was generated")
