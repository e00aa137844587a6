"""The studio's process dies under a page while a run trains and another waits: the page comes back, and both come to their end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client
from playwright.sync_api import expect

from tests.journeys.conftest import ROOT, Studio, answers, engine_is_ready, fill, to_tab, unfold


@pytest.fixture
def watched(tmp_path: Path, studio: Studio) -> Iterator[tuple[str, Path]]:
    """(address, workspace) of a studio with its watcher, as a user starts it. The starter is the other studio's."""
    workspace, port = tmp_path / "workspace", 7960
    (workspace / "models").mkdir(parents=True)
    while not (studio.workspace / "models" / "starter" / "config.json").exists():
        time.sleep(0.5)
    (workspace / "models" / "starter").symlink_to(studio.workspace / "models" / "starter")
    command = [sys.executable, ROOT / "launch.py", "--no-venv", "--no-browser", f"--port={port}", f"--workspace={workspace}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    until = time.monotonic() + 60
    while not answers(url):
        assert time.monotonic() < until
    yield url, workspace
    process.terminate()
    process.wait(30)


def pid_of_the_studio(workspace: Path) -> int:
    """The watched process: the one that was told the workspace and that it is watched."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if f"--workspace={workspace}" in words and "--watched" in words:
            return int(folder.name)
    raise AssertionError("no studio works in this workspace")


@pytest.mark.fault("the studio's process dies under a page")
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the process is found through /proc")
def test_a_killed_studio_comes_back_by_itself(chromium, watched: tuple[str, Path]) -> None:
    url, workspace = watched
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(url)
    engine_is_ready(page)
    to_tab(page, "Train")
    unfold(page, "Training settings", "training-max_steps")
    unfold(page, "Advanced", "training-evaluate_every")
    fill(page, "training-evaluate_every", "12")
    fill(page, "training-max_steps", "12")
    fill(page, "training-batch_size", "2")
    fill(page, "training-validation_share", "0.01")
    fill(page, "run-name", "cut off")
    expect(page.locator("#start-run")).to_be_enabled(timeout=60_000)
    page.locator("#start-run").click()
    expect(page.locator("#run-progress .status")).to_have_text("training", timeout=60_000)
    queue_a_short_run(url, "next in line")
    page.evaluate("window.before = true")
    os.kill(pid_of_the_studio(workspace), signal.SIGSEGV)  # as a fault in a library ends it
    page.wait_for_function("window.before === undefined", timeout=90_000)  # the page has come back by itself
    engine_is_ready(page)
    to_tab(page, "Runs")
    table = page.locator(".run-table")
    expect(table.get_by_role("row", name="cut off")).to_contain_text("interrupted")
    expect(table.get_by_role("row", name="next in line")).to_contain_text("waiting for its turn")
    expect(page.locator("#queue-line")).to_contain_text('The studio ended while it was training "cut off"')
    expect(page.locator("#queue-line")).to_contain_text("1 job waits in the queue.")
    table.get_by_role("button", name="cut off").click()
    expect(page.locator("#run-detail")).to_contain_text("a fault inside a library, signal 11")
    page.locator("#runs-resume").click()
    expect(page.locator("#queue-line")).to_contain_text("2 jobs wait in the queue.")
    page.locator("#queue-go-on").click()
    for name in ("next in line", "cut off"):
        expect(table.get_by_role("row", name=name)).to_contain_text("done", timeout=300_000)
    page.close()


def queue_a_short_run(url: str, name: str) -> None:
    client = Client(url, verbose=False)
    (card, *_) = client.predict(api_name="/list_datasets")
    training = {"max_steps": 2, "batch_size": 2, "evaluate_every": 2, "validation_share": 0.01, "probes": ["Why?"]}
    client.predict(spec={"name": name, "data": {"id": card["id"]}, "training": training}, api_name="/start_run")
