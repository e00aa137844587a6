"""What one waits for at the studio's own page, in a real Chromium: the first point of a curve, the first word of an answer;
and what a page that is open costs the training it shows.

Each studio runs in a process of its own, as a user starts it.
"""

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradio_client import Client
from playwright.sync_api import Browser, Page, Request, sync_playwright

from backend.data.starter import THREE_LINES
from backend.events import ENDED
from backend.runs import Run, Runs
from backend.workspace import Workspace
from tests.bench.findings import Finding, Place
from tests.bench.memory import LONG
from tests.journeys.conftest import Studio, end, fill, is_local, points, start_studio, to_tab, unfold

WAIT = 600_000  # milliseconds, on a machine that does much else
POLLS = ("component_server", "/run/")  # of the page's requests, those that ask what is new
WINDOW = 36  # steps, with a page or without
RELOADS = 5
CURVE = "document.querySelector('#train-plot [data-chart=loss]')?.data?.some(trace => trace.name && trace.x.length >= 2)"
ALIKE = 128  # tokens of every row, so that all steps take as long


@dataclass(frozen=True)
class Visitor:
    """A studio and a browser to see it with."""

    studio: Studio
    browser: Browser

    @property
    def runs(self) -> Runs:
        return Runs(Workspace(self.studio.workspace))

    @contextmanager
    def page(self) -> Iterator[Page]:
        context = self.browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(self.studio.url)
        page.locator("#studio-header .chip:not(.chip-getting-ready)").wait_for()
        yield page
        context.close()


@contextmanager
def visitor(workspace: Workspace) -> Iterator[Visitor]:
    """A studio on a workspace, and a Chromium beside it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        studio = start_studio(workspace.root)
        try:
            yield Visitor(studio, browser)
        finally:
            end(studio)
            browser.close()


def start(place: Place) -> Iterator[Finding]:
    """Default settings on the starter data; the first time is not counted, since the studio is to be warm."""
    with visitor(place.workspace("start")) as visit, visit.page() as page:
        waits = [_seconds_to_first_point(page, f"start {number}") for number in range(place.times + 1)]
    yield Finding("Start clicked until the first point on the curve, default settings, studio warm", waits[1:], "s", 4)


def first_token(place: Place) -> Iterator[Finding]:
    """From the click on Send until there is text in the pane of the base model, which is loaded."""
    with visitor(place.workspace("page_first_token")) as visit, visit.page() as page:
        to_tab(page, "Chat")
        unfold(page, "How answers are made", "chat-left-max_tokens")
        fill(page, "chat-left-max_tokens", "8")
        waits = [_seconds_to_first_word(page) for _ in range(place.times + 1)]
    yield Finding("chat: Send clicked until the first word on the page, both panes the base, loaded", waits[1:], "s", 0.4)


def poll(place: Place) -> Iterator[Finding]:
    """One run; the page open for a while, closed for a while, open again: what it asks, and how fast the steps come."""
    workspace = place.workspace("poll")
    with visitor(workspace) as visit:
        run = _start_run(visit, place)
        _wait_for_step(run, 3)
        ratios, asked = [], list[float]()
        for number in range(place.times):
            order = (True, False) if number % 2 == 0 else (False, True)
            seconds = {is_open: _step_seconds(visit, run, asked if is_open else None) for is_open in order}
            ratios.append(100 * (seconds[True] / seconds[False] - 1))
    asked.sort()
    p95 = asked[int(0.95 * (len(asked) - 1))]
    note = f"of {len(asked)} questions, median {statistics.median(asked):.0f} ms"
    yield Finding("page while training: what the page asks is answered, 95th percentile", [p95], "ms", 50, note=note)
    yield Finding("page while training: steps slower with the page open", ratios, "%", 3)


def reload(place: Place) -> Iterator[Finding]:
    """The page loaded anew, at the tab it was at: with a run that trains, and with none."""
    with visitor(place.workspace("reload")) as visit, visit.page() as page:
        to_tab(page, "Train")
        page.locator("#start-run").wait_for()
        idle = [_seconds_to_reload(page, "document.querySelector('#start-run')?.offsetHeight > 0") for _ in range(RELOADS * place.times)]
        run = _start_run(visit, place)
        _wait_for_step(run, 3)
        page.reload()
        page.wait_for_function(CURVE)
        training = [_seconds_to_reload(page, CURVE) for _ in range(RELOADS * place.times)]
    yield Finding("page reloaded while a run trains, until its curve is there again", training, "s", 2)
    yield Finding("page reloaded while nothing trains, until the form of the Train tab is there", idle, "s", 2)


def _seconds_to_reload(page: Page, is_back: str) -> float:
    begun = time.perf_counter()
    page.reload(wait_until="commit")
    page.wait_for_function(is_back)
    seconds = time.perf_counter() - begun
    page.wait_for_timeout(1_500)  # whatever else comes with a page is over
    return seconds


def answered_in(page: Page, asked: list[float]) -> None:
    """Write down how long each of the page's questions takes, in milliseconds, from sending to the whole answer."""

    def note(request: Request) -> None:
        if is_local(request.url) and request.method == "POST" and any(part in request.url for part in POLLS):
            asked.append(request.timing["responseEnd"] - request.timing["requestStart"])

    page.on("requestfinished", note)


def _seconds_to_first_point(page: Page, name: str) -> float:
    to_tab(page, "Train")
    if page.locator("#another-run").is_visible():
        page.locator("#another-run").click()
    fill(page, "run-name", name)
    page.locator("#plan").get_by_text("steps", exact=True).wait_for()
    page.wait_for_timeout(3_000)  # until the card is drawn for the name too
    page.locator("#start-run").click()
    begun = time.perf_counter()
    page.locator("#run-progress").get_by_text(name).wait_for()
    while points(page, "train-plot") < 1:
        time.sleep(0.01)
    seconds = time.perf_counter() - begun
    page.locator("#stop-run").click()
    page.locator("#run-progress .status").get_by_text("stopped").wait_for()
    return seconds


def _seconds_to_first_word(page: Page) -> float:
    fill(page, "chat-prompt", "Why is the sky blue?")
    page.evaluate(FIRST_WORD)
    page.locator("#chat-send").click()
    page.wait_for_function("window.saidAfter !== null")
    page.wait_for_function("['left', 'right'].every(side => document.querySelector(`#chat-${side}`).innerText.includes('tok/s'))")
    seconds = page.evaluate("window.saidAfter / 1000")
    page.locator("#chat-clear").click()
    page.wait_for_function("!document.querySelector('#chat-left .conversation-answer')")
    return seconds


FIRST_WORD = """() => {
  window.saidAfter = null;
  let clicked = 0;
  document.querySelector('#chat-send').addEventListener('click', () => { clicked = performance.now(); }, {once: true, capture: true});
  const look = () => {
    const said = document.querySelector('#chat-left .conversation-answer')?.innerText.trim();
    if (clicked && said) window.saidAfter = performance.now() - clicked;
    else requestAnimationFrame(look);
  };
  look();
}"""


def _start_run(visit: Visitor, place: Place) -> Run:
    """A run whose steps are all alike, started as a script would, and long enough."""
    file = place.folder / "alike.jsonl"
    with THREE_LINES.open(encoding="utf-8") as lines, file.open("w", encoding="utf-8") as alike:
        alike.writelines(line.replace("In short", f"{LONG * 10}In short") for line in lines)
    client = Client(visit.studio.url, verbose=False)
    card = client.predict(path=str(file), name="alike", api_name="/import_dataset")
    training: dict[str, Any] = {"max_steps": 100_000, "evaluate_every": 100_000, "max_length": ALIKE, "batch_size": 4, "validation_share": 0}
    spec = {"name": "watched", "data": {"id": card["id"]}, "method": {"name": "lora"}, "training": {**training, "probes": ["Hello!"]}}
    return visit.runs.get(client.predict(spec=spec, api_name="/start_run"))


def _step_seconds(visit: Visitor, run: Run, asked: list[float] | None) -> float:
    """Mean seconds of a step over a window, with the page open on the run where `asked` is to be filled."""
    if asked is None:
        return _window(run)
    with visit.page() as page:
        to_tab(page, "Train")
        page.locator("#run-progress .status").wait_for()
        page.wait_for_timeout(10_000)  # what opening a page costs is over
        answered_in(page, asked)
        return _window(run)


def _window(run: Run) -> float:
    first = _wait_for_step(run, 0) + 2  # what opening or closing the page cost is over by then
    _wait_for_step(run, first + WINDOW)
    ends = [event["seconds"] for event in run.events.read()[0] if event["kind"] == "step"][first - 1 : first + WINDOW]  # type: ignore[typeddict-item]
    return (ends[-1] - ends[0]) / WINDOW


def _wait_for_step(run: Run, step: int) -> int:
    """The newest step, once it is that far."""
    while True:
        progress = run.progress()
        assert progress.status not in ENDED, progress.message
        if progress.step >= max(step, 1):
            return progress.step
        time.sleep(0.1)
