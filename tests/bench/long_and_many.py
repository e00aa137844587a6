"""A run of 100,000 steps on the chart, and 10,000 runs in the table, in a real Chromium; the files are made up, and real.

What a tick costs is told twice: what the page waits for, and what the studio's own code takes.
"""

import random
import time
from collections.abc import Callable, Iterator
from functools import partial

from playwright.sync_api import Page

from app.runs_tab import on_refresh
from app.studio import Studio
from backend.data.starter import import_starter
from backend.data.versions import Datasets
from backend.engine import Engine
from backend.runs import Run, Runs
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace
from components.run_table import table
from tests.bench.at_the_page import answered_in, visitor
from tests.bench.findings import Finding, Place
from tests.bench.made_up import a_step, long_run, many_runs
from tests.journeys.conftest import to_tab

STEPS, RUNS = 100_000, 10_000
TICKS = 12  # watched, one a second
AT_REST = 2_000  # milliseconds: what a page asks and loads when it is opened is over
DRAWN = """step => document.querySelector('#runs-plot [data-chart=loss]')?.data?.some(
    trace => trace.name && trace.x.length > 100 && trace.x.at(-1) >= step)"""


def long(place: Place) -> Iterator[Finding]:
    """Its curve opened again and again after a reload of the page, and followed while it goes on."""
    workspace = place.workspace("long")
    with visitor(workspace) as visit:
        run = long_run(workspace, _spec(workspace), steps=STEPS)  # after the studio's start, which would call it interrupted
        with visit.page() as page:
            opened = [_seconds_to_curve(page) for _ in range(place.times)]
            asked: list[float] = []
            answered_in(page, asked)
            looks = list(_looks(run, page))
    asked.sort()
    note = f"95th percentile {asked[int(0.95 * (len(asked) - 1))]:.0f} ms of {len(asked)}"
    yield Finding(f"a run of {STEPS:,} steps: reload, from its opening until the whole curve is drawn", opened, "s", 1)
    yield Finding(f"a run of {STEPS:,} steps: tick, as the page waits for it", asked, "ms", 100, note=note)
    yield Finding(f"a run of {STEPS:,} steps: where it stands, asked after a new step", looks, "ms", 100)


def many(place: Place) -> Iterator[Finding]:
    """The table's first page, as the studio makes it and as the page shows the one behind it after a click."""
    workspace = place.workspace("many")
    many_runs(workspace, _spec(workspace), runs=RUNS, steps=60)
    studio = Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))
    made = [1000 * _seconds(lambda: on_refresh(studio, 0, table([]))) for _ in range(place.times)]
    yield Finding(f"{RUNS:,} runs: the first page of the table, made", made, "ms", 300)
    with visitor(workspace) as visit, visit.page() as page:
        to_tab(page, "Runs")
        page.locator("#run-table button").first.wait_for()
        page.wait_for_timeout(AT_REST)
        turned = [1000 * _seconds(partial(_turn, page, name)) for _ in range(place.times) for name in ("Older", "Newer")]
    yield Finding(f"{RUNS:,} runs: a page of the table, from the click until it is shown", turned, "ms", 300)


def _spec(workspace: Workspace) -> RunSpec:
    datasets = Datasets(workspace)
    if not datasets.list():
        import_starter(datasets)
    (card, *_) = datasets.list()
    return parse_spec({"name": "made up", "data": {"id": card.id, "version": card.version}, "method": {"name": "lora"}})


def _seconds_to_curve(page: Page) -> float:
    page.reload()
    page.locator("#studio-header .chip:not(.chip-getting-ready)").wait_for()
    to_tab(page, "Runs")
    row = page.locator("#run-table button", has_text="made up")
    row.wait_for()
    page.wait_for_timeout(AT_REST)

    def opened() -> None:
        row.click()
        page.wait_for_function(DRAWN, arg=STEPS, polling=20)

    return _seconds(opened)


def _looks(run: Run, page: Page) -> Iterator[float]:
    """Milliseconds to tell where a run stands, after each of some new steps that the page draws too."""
    runs, dice = Runs(run.workspace), random.Random(1)
    runs.progress(run)
    for step in range(STEPS + 1, STEPS + 1 + TICKS):
        event = dict(a_step(step, 2 * STEPS, dice))
        run.events.append(event.pop("kind"), **event)  # type: ignore[arg-type]
        yield 1000 * _seconds(lambda: runs.progress(run))
        page.wait_for_timeout(1_000)
    page.wait_for_function(DRAWN, arg=STEPS + TICKS)


def _turn(page: Page, name: str) -> None:
    first = page.locator("#run-table button").first.inner_text()
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function("first => document.querySelector('#run-table button')?.innerText !== first", arg=first, polling=10)


def _seconds(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun
