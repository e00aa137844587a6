"""Which port the page gets, and what is said where it gets none."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend import ports
from backend.errors import UserError
from backend.workspace import Workspace

ROOT = Path(__file__).parents[2]


@contextmanager
def busy(port: int = 0) -> Iterator[int]:
    """Somebody listens on a port, on any free one if none is named."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            assert port, "there is a free one"  # somebody else listens there
        yield port or listener.getsockname()[1]


def opening(workspace: Workspace, *options: str) -> subprocess.Popen:
    command = [sys.executable, ROOT / "launch.py", "--no-venv", "--no-browser", "--no-watcher", "--workspace", workspace.root, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.fault("the port is busy")
def test_a_busy_port_ends_in_a_sentence_that_says_what_to_do(workspace: Workspace) -> None:
    with busy() as port:
        studio = opening(workspace, f"--port={port}")
        _, said = studio.communicate(timeout=120)
    assert studio.returncode == 1
    assert re.fullmatch(rf"Port {port} cannot be opened \(.*\)\. Choose another with --port\.", said.strip().splitlines()[-1])
    assert "Traceback" not in said


@pytest.mark.fault("the port is busy")
def test_where_no_port_was_asked_for_the_next_free_one_is_taken_and_told(workspace: Workspace) -> None:
    with busy(ports.FIRST_PORT):
        studio = opening(workspace)
        assert studio.stdout
        told, page = studio.stdout.readline(), studio.stdout.readline()
        studio.terminate()
        studio.communicate(timeout=60)
    taken = re.fullmatch(rf"Port {ports.FIRST_PORT} is busy; using (\d+)\.\n", told)
    assert taken and f"http://127.0.0.1:{taken[1]} " in page


@pytest.mark.fault("the port is busy")
def test_where_all_are_busy_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with busy() as port:
        monkeypatch.setattr(ports, "FIRST_PORT", port)
        monkeypatch.setattr(ports, "LAST_PORT", port)
        with pytest.raises(UserError, match=f"Ports {port} to {port} are all busy. Choose one with --port."):
            ports.free_port("127.0.0.1")
