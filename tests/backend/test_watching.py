"""The watcher, with real processes that really die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.watching import MOST_RESTARTS, watch

ROOT = Path(__file__).parents[2]
STUDIO = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
with open({told!r}, "a") as told: told.write(f"{{os.getpid()}} {{' '.join(sys.argv[1:])}}\\n")
{does}
"""


def studio(folder: Path, does: str) -> list[str]:
    """A command that notes that it was started, and then does something."""
    file = folder / "studio.py"
    file.write_text(STUDIO.format(root=str(ROOT), told=str(folder / "told"), does=does))
    return [sys.executable, str(file)]


def told(folder: Path) -> list[str]:
    return (folder / "told").read_text().splitlines() if (folder / "told").exists() else []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(("death", "cause"), [
    ("SIGKILL", "killed by the system, most often because memory ran out"), ("SIGSEGV", "a fault inside a library, signal 11"),
    ("SIGABRT", "a fault inside a library, signal 6"),
])
def test_a_studio_that_dies_is_started_again_without_another_browser_and_told_why(
    tmp_path: Path, death: str, cause: str, capfd: pytest.CaptureFixture
) -> None:
    hears = f"from backend.watching import cause_of_death; open({str(tmp_path / 'heard')!r}, 'w').write(cause_of_death())\n"
    dies_once = f"if open({str(tmp_path / 'told')!r}).read().count('\\n') == 1: os.kill(os.getpid(), signal.{death})"
    assert watch(studio(tmp_path, hears + dies_once)) == 0
    assert (tmp_path / "heard").read_text() == cause
    assert [line.partition(" ")[2] for line in told(tmp_path)] == ["", "--no-browser"]
    assert "Starting it again" in capfd.readouterr().err


def test_one_that_always_dies_is_given_up(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert watch(studio(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")) == 1
    assert len(told(tmp_path)) == MOST_RESTARTS + 1
    assert "not started again" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize("code", [0, 1, 2])
def test_one_that_ends_by_itself_has_ended(tmp_path: Path, code: int) -> None:
    assert watch(studio(tmp_path, f"sys.exit({code})")) == code
    assert len(told(tmp_path)) == 1


def watcher(folder: Path, does: str) -> subprocess.Popen:
    command = studio(folder, does)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from backend.watching import watch; sys.exit(watch({command!r}) % 256)"
    return subprocess.Popen([sys.executable, "-c", code])


def test_asking_the_watcher_to_end_ends_the_studio(tmp_path: Path) -> None:
    process = watcher(tmp_path, "time.sleep(60)")
    wait_for(lambda: told(tmp_path))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    assert len(told(tmp_path)) == 1 and not is_alive(int(told(tmp_path)[0]))


@pytest.mark.skipif(os.name != "posix", reason="only there does a process outlive the one that started it so")
def test_a_studio_whose_watcher_is_killed_ends_too(tmp_path: Path) -> None:
    looks = tmp_path / "looks"  # is there once the studio knows who its watcher is
    does = f"from backend.watching import end_with_watcher; end_with_watcher(); open({str(looks)!r}, 'w'); time.sleep(60)"
    process = watcher(tmp_path, does)
    wait_for(looks.exists)
    process.kill()
    process.wait()
    wait_for(lambda: not is_alive(int(told(tmp_path)[0])))
