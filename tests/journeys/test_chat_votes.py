"""Two answers compared in chat by keyboard, and the scoreboard that counts it."""

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import engine_is_ready, fill, picture, to_tab, unfold


def ask(page: Page, question: str) -> None:
    """Ask both sides, and wait until both have answered."""
    fill(page, "chat-prompt", question)
    page.keyboard.press("Enter")
    for side in ("left", "right"):
        expect(page.locator(f"#chat-{side}")).to_contain_text(question, timeout=60_000)
    expect(page.locator(".vote-line")).to_contain_text("Which answer is better?", timeout=120_000)


@pytest.mark.browser
def test_votes_cast_in_chat_reach_the_scoreboard(visit) -> None:
    page = visit()
    engine_is_ready(page)
    to_tab(page, "Chat")
    for side in ("left", "right"):  # the same model twice, the right one wilder
        page.locator(f"#chat-{side}-model input").fill("Base · starter")
        page.keyboard.press("Enter")
    unfold(page, "How answers are made", "chat-left-max_tokens")
    page.locator("#chat-same input").click()
    for side, temperature in (("left", "0"), ("right", "2")):
        expect(page.locator(f"#chat-{side}-settings")).to_be_visible()
        fill(page, f"chat-{side}-max_tokens", "6")
        fill(page, f"chat-{side}-temperature", temperature)
    page.keyboard.press("Tab")

    line, said = page.locator(".vote-line"), page.locator("#chat-left .conversation-answer, #chat-right .conversation-answer")
    expect(page.locator(".vote-bar").get_by_role("button", name="Left better")).to_be_disabled()
    ask(page, "How do I descale a kettle?")
    page.keyboard.press("1")
    expect(page.locator("#chat-prompt textarea")).to_have_value("1")  # typed, not taken for a vote
    fill(page, "chat-prompt", "")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(line).to_contain_text("Kept as a preference: left better.")
    page.keyboard.press("u")
    expect(line).to_contain_text("taken back")
    page.keyboard.press("2")
    expect(page.locator('.vote-bar [aria-pressed="true"]')).to_contain_text("Right better")
    winner = said.nth(1).inner_text()
    ask(page, "And how often?")
    expect(said.first).to_have_text(winner)  # both go on from the right answer
    page.locator(".vote-bar").get_by_role("button", name="Right better").click()
    expect(line).to_contain_text("right better.")
    picture(page, "chat-votes")

    to_tab(page, "Label")
    page.locator("#label-tabs").get_by_role("tab", name="Scoreboard", exact=True).click()
    chat = page.locator("#scores-sources").get_by_label("Votes in chat")
    for name in ("This batch", "All batches"):
        page.locator("#scores-sources").get_by_label(name).set_checked(False)
    chat.set_checked(True)
    board = page.locator("#scores-board")
    expect(board).to_contain_text("2 won, 0 ties, 0 lost")
    expect(board).to_contain_text("starter, temperature 2")
    picture(page, "scoreboard")

    to_tab(page, "Chat")
    page.keyboard.press("u")
    expect(line).to_contain_text("taken back")
    to_tab(page, "Label")
    page.locator("#scores-again").click()
    expect(board).to_contain_text("1 won, 0 ties, 0 lost")
