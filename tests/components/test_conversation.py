"""A conversation in a real Chromium: an answer is seen to grow, and what the page is told at its end is what stays."""

import time
from collections.abc import Iterator

import gradio as gr
import pytest
from playwright.sync_api import Browser, expect

from components.conversation import Shown, Turn, conversation, shown
from tests.components.serving import served, visited

SEEN = """() => {
  const answer = document.querySelector('.conversation-answer');
  window.seen = [];
  new MutationObserver(() => window.seen.push(answer.textContent)).observe(answer, {childList: true, characterData: true, subtree: true});
}"""
HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}"


@pytest.mark.browser
def test_an_answer_is_seen_to_grow_and_nothing_comes_after_its_end(chromium: Browser) -> None:
    so_far: dict[str, list[str]] = {"first": [HOSTILE], "second": []}
    asked: list[str] = []

    def look(key: str) -> dict[str, str] | None:
        asked.append(key)
        words = so_far.get(key)
        return words and shown([Turn("q", " ".join(words), line=f"{len(words)} words")], empty="")["turns"][-1]

    def stream() -> Iterator[Shown]:
        for number in range(3):
            yield shown([Turn("q", line=f"older {number}")], empty="", busy=True, growing="second")
            time.sleep(0.7)
        yield shown([Turn("q", "in the end")], empty="")

    with gr.Blocks(analytics_enabled=False) as blocks:
        said = conversation(label="Left conversation", empty="Ask something.", elem_id="talk", look=look)
        gr.Button("Ask").click(lambda: shown([Turn("q", line="asking…")], empty="", busy=True, growing="first"), outputs=said)
        gr.Button("End").click(lambda: shown([Turn("q", "whole", line="finished")], empty=""), outputs=said)
        gr.Button("Stream").click(stream, outputs=said)
        gr.Button("More").click(lambda: shown([Turn("q", "whole"), Turn("r")], empty="", busy=True, growing="gone"), outputs=said)
    with served(blocks) as address, visited(chromium, address) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        answer = page.locator(".conversation-answer")
        expect(page.locator(".conversation-log")).to_have_attribute("data-empty", "Ask something.", timeout=30_000)
        page.get_by_role("button", name="Ask").click()
        expect(answer).to_have_text(HOSTILE)
        so_far["first"].append("and more")
        expect(answer).to_have_text(f"{HOSTILE} and more")
        expect(page.locator(".conversation-line")).to_have_text("2 words")
        page.get_by_role("button", name="End").click()
        expect(answer).to_have_text("whole")
        page.wait_for_timeout(600)
        asked.clear()
        page.wait_for_timeout(600)
        assert asked == [], "what is over is not asked for"
        expect(answer).to_have_text("whole")
        so_far["second"] = ["streamed"]
        page.get_by_role("button", name="Stream").click()
        expect(answer).to_have_text("streamed")
        page.evaluate(SEEN)
        expect(answer).to_have_text("in the end")
        assert page.evaluate("window.seen") == ["in the end"], "what an event brings of an answer that is asked for is older"
        page.get_by_role("button", name="More").click()
        expect(answer).to_have_count(2)
        page.wait_for_timeout(1000)
        assert asked[-1] == "gone" and asked.count("gone") == 1, "of what is over the page asks once"
