"""The studio speaks to no other machine: a whole run and a chat, with Python telling of every address that is asked for."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client

from tests.conftest import any_port, make_workspace

ROOT = Path(__file__).parents[2]
OURS = ("127.0.0.1", "localhost", "::1", None)
TOLD = """
import json, sys

file = open(sys.argv[1], "a", buffering=1)

def note(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        file.write(json.dumps(address[0] if isinstance(address, tuple) else None) + "\\n")  # others are names of files
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        file.write(json.dumps(arguments[0]) + "\\n")

sys.addaudithook(note)
import launch
sys.exit(launch.main(sys.argv[2:]))
"""


@pytest.fixture
def watched(tmp_path: Path, tiny_model: Path) -> Iterator[tuple[str, Path]]:
    """(address of a studio, the file of hosts it asks for)"""
    workspace, asked, port = make_workspace(tmp_path / "workspace", tiny_model), tmp_path / "asked", any_port()
    options = ("--no-venv", "--no-browser", "--no-watcher", f"--port={port}", f"--workspace={workspace.root}")
    command = [sys.executable, "-c", TOLD, str(asked), *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "0"})
    assert process.stdout and "http" in process.stdout.readline()
    yield f"http://127.0.0.1:{port}/", asked
    process.terminate()
    process.wait(30)


@pytest.mark.fault("no internet")
def test_a_run_and_a_chat_ask_for_no_other_machine(watched: tuple[str, Path]) -> None:
    url, asked = watched
    client = connected(url)
    (card, *_) = client.predict(api_name="/list_datasets")
    training = {"max_steps": 2, "batch_size": 2, "evaluate_every": 2, "validation_share": 0.1, "probes": ["Why?"]}
    run = client.predict(spec={"name": "quiet", "data": {"id": card["id"]}, "training": training}, api_name="/start_run")
    while (last := client.predict(run=run, api_name="/run_events")["events"][-1])["kind"] != "finished":
        time.sleep(0.2)
    assert last["status"] == "done"
    said = client.predict(prompt="Why?", left="base:starter", right=f"run:{run}", settings={"max_tokens": 4}, api_name="/compare")
    assert said["left"]["tokens"] and said["right"]["tokens"]
    hosts = {json.loads(line) for line in asked.read_text().splitlines()}
    assert hosts <= set(OURS), hosts


def connected(url: str) -> Client:
    """A client, once the page is served."""
    until = time.monotonic() + 60
    while True:
        try:
            return Client(url, verbose=False)
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
