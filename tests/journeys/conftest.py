"""A real studio with the real starter model, in a real Chromium; nothing in between is pretended.

One studio serves all journeys: unpacking the model takes 20 s. `STUDIO_SCREENSHOTS=DIR` keeps a picture of every tab.
"""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 180
FILLING_SECONDS = 10
REST = "(_, milliseconds) => new Promise(over => setTimeout(over, milliseconds))"  # by the page's clock: as long as it is at work
expect.set_options(timeout=30_000)  # milliseconds; a busy machine is no fault of the page


@dataclass
class Studio:
    """A studio in a process of its own."""

    url: str
    workspace: Path
    process: subprocess.Popen
    seconds_to_page: float


def start_studio(workspace: Path, *, log: IO[str] | None = None) -> Studio:
    """Start the studio as a user does, in the environment the tests run in. `log` is where its complaints go, if not to ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, ROOT / "launch.py", "--no-venv", "--no-browser", "--no-watcher", "--port", str(port), "--workspace", workspace]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    begun = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
    url = f"http://127.0.0.1:{port}/"
    while not answers(url):
        assert process.poll() is None, "the studio ended before its page answered"
        assert time.monotonic() - begun < 60, "the page did not answer within a minute"
    return Studio(url, workspace, process, time.monotonic() - begun)


def answers(url: str) -> bool:
    """Whether a page is served there; waits up to a second for it."""
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except OSError:
        time.sleep(0.2)
        return False


def end(studio: Studio) -> None:
    studio.process.terminate()
    studio.process.wait(timeout=30)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Studio]:
    studio = start_studio(tmp_path_factory.mktemp("journeys") / "workspace")
    yield studio
    end(studio)


@pytest.fixture
def visit(chromium: Browser, studio: Studio) -> Iterator:
    """Opens the studio in a fresh browser session; fails if the page had a fault or asked anything of another host."""
    contexts, faults = [], []

    def open_page(*, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: None if is_local(request.url) else faults.append(f"request to {request.url}"))
        page.goto(studio.url)
        expect(page.get_by_role("heading", name="Fine-Tuning Studio")).to_be_visible(timeout=30_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def is_local(url: str) -> bool:
    return re.match(r"(http|ws)://127\.0\.0\.1[:/]|data:|blob:|about:", url) is not None


def to_tab(page: Page, name: str) -> None:
    """Go to a tab of the studio."""
    page.locator("#tabs").get_by_role("tab", name=name, exact=True).first.click()


def engine_is_ready(page: Page) -> None:
    """Wait until the libraries are loaded and the starter model is unpacked."""
    expect(page.locator("#studio-header .chip-getting-ready")).to_have_count(0, timeout=READY_SECONDS * 1000)


def fill(page: Page, elem_id: str, value: str) -> None:
    """Type into a setting of the form, and again where Gradio fills it a moment later over what was typed."""
    field = page.locator(f"#{elem_id} textarea, #{elem_id} input").first
    until = time.monotonic() + FILLING_SECONDS
    while True:
        field.fill(value)
        field.evaluate(REST, 300)
        if field.input_value() == value:
            return
        assert time.monotonic() < until, f"#{elem_id} does not keep what is typed into it"


def unfold(page: Page | Locator, part: str, field: str) -> None:
    """Open the part of a form that has a setting."""
    if page.locator(f"#{field}").is_visible():
        return
    page.get_by_role("button", name=part).last.click()
    expect(page.locator(f"#{field}")).to_be_visible()
    page.locator(f"#{field}").evaluate(REST, 1000)  # Gradio fills what has just been unfolded a moment later


def train(page: Page, method: str, *, steps: int, name: str) -> None:
    """Set a short run up by clicks, start it, and wait until it is done."""
    to_tab(page, "Train")
    another = page.locator("#another-run")
    if another.is_visible():
        another.click()
    page.get_by_role("radio", name=method, exact=True).check()
    unfold(page, "Training settings", "training-max_steps")
    unfold(page, "Advanced", "training-evaluate_every")
    fill(page, "training-evaluate_every", str(steps))  # the probes' answers take longer than the steps
    fill(page, "training-batch_size", "2")  # what is shown is that it trains, not what it learns
    fill(page, "training-validation_share", "0.01")
    fill(page, "training-max_steps", str(steps))
    fill(page, "run-name", name)
    expect(page.locator("#plan")).to_contain_text(f"{steps}, that is", timeout=60_000)
    expect(page.locator("#start-run")).to_be_enabled(timeout=60_000)
    page.locator("#start-run").click()
    expect(page.locator("#run-progress")).to_contain_text(name, timeout=60_000)
    expect(page.locator("#run-progress .status")).to_have_text("done", timeout=300_000)


def ask_both(page: Page, question: str) -> None:
    """Ask, and wait until both sides have answered to the end."""
    expect(page.locator("#chat-prompt")).to_be_visible()
    unfold(page, "How answers are made", "chat-left-max_tokens")
    fill(page, "chat-left-max_tokens", "12")
    fill(page, "chat-prompt", question)
    page.locator("#chat-send").click()
    for side in ("left", "right"):
        said = page.locator(f"#chat-{side}")
        expect(said).to_contain_text(question)
        expect(said).to_contain_text("tok/s", timeout=120_000)
        expect(said).to_contain_text("first after")


def points(page: Page, plot: str, metric: str = "loss") -> int:
    """How many points the longest line of a chart has."""
    return page.evaluate(
        """([plot, metric]) => Math.max(0, ...(document.querySelector(`#${plot} [data-chart="${metric}"]`)?.data ?? [])
             .filter(trace => trace.name).map(trace => trace.x.length))""",
        [plot, metric],
    )


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page, where somebody asked for pictures."""
    if folder := os.environ.get("STUDIO_SCREENSHOTS"):
        page.wait_for_timeout(600)  # for fonts and the last frame of a chart; nothing is asserted after it
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
