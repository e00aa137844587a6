"""The header in a real Chromium: it keeps itself up to date, says when nobody answers, and begins anew with another studio."""

from pathlib import Path

import gradio as gr
import pytest
from gradio.context import Context
from playwright.sync_api import Browser, expect

from components.header import Standing, header

HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}"


def served(now: Standing, port: int | None = None) -> tuple[gr.Blocks, str]:
    Context.id = 0  # as in a process of its own, where the same page has the same numbers
    with gr.Blocks(analytics_enabled=False) as page:
        header(Path("my workspace"), lambda: now)
    _, url, _ = page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, ssr_mode=False)
    return page, url


@pytest.mark.browser
def test_the_header_follows_the_studio_through_work_silence_and_a_new_start(chromium: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    now: Standing = {"state": "ready", "words": "ready", "machine": "CPU 2 cores"}
    blocks, url = served(now)
    page = chromium.new_context().new_page()
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(url)
    chip = page.locator(".chip")
    expect(chip).to_have_text("ready", timeout=30_000)
    now.update(state="getting ready", words=f'training "{HOSTILE}" 40%')
    expect(chip).to_have_text(f'training "{HOSTILE}" 40%', timeout=30_000)
    expect(chip).to_have_class("chip chip-getting-ready")
    page.evaluate("window.before = true")
    blocks.close()
    expect(chip).to_have_text("The studio does not answer. Is it running?", timeout=30_000)
    another, _ = served({"state": "ready", "words": "ready again", "machine": ""}, port=int(url.rstrip("/").rsplit(":", 1)[1]))
    page.wait_for_function("window.before === undefined", timeout=30_000)
    expect(chip).to_have_text("ready again", timeout=30_000)
    page.context.close()
    another.close()
