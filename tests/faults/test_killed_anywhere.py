"""A run that is killed again and again, at any step and inside any save, ends as if nobody had touched it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backend import training
from backend.data.versions import Card
from backend.reference import FILE
from backend.runs import Run
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.workspace import Workspace
from tests.backend.test_training import curve, evaluations, same_weights, spec_for, trained
from tests.faults.conftest import ROOT
from tests.faults.survival import LONG

SEED = 6
OBJECTIVES: dict[str, Any] = {"sft": "sft", "dpo": "dpo", "ppo": {"name": "ppo", "contains": ["e"], "answer_tokens": 4, "samples": 2}}
PLACES = {
    "sft": (".writing", "", "by us", ".best.partial"), "dpo": (FILE, ".writing", "by us", ".best.partial"),
    "ppo": (".writing", "by us", "", ".best.partial"),
}  # fmt: skip


class Lives(NamedTuple):
    """How many there are, and how many steps: more than all of them get through."""

    anywhere: int
    finishing: int
    steps: int


SHORT = {"sft": Lives(4, 1, 40)}
LIVES = {"sft": Lives(54, 6, 500), "dpo": Lives(16, 4, 400), "ppo": Lives(16, 4, 400)} if LONG else SHORT

LIFE = """
import os, signal, sys
from pathlib import Path
from backend import headless, training
from backend.sampling import Sampling

workspace, run, place, operations = sys.argv[1:]
training.PROBE = Sampling(max_tokens=8)
folder, left, reached = str(Path(workspace) / "runs" / run), int(operations), not place

def die_in_time(event, arguments):
    global left, reached
    named = [str(each) for each in arguments[:2] if isinstance(each, (str, os.PathLike)) and folder in str(each)]
    reached = reached or any(place in each for each in named)
    if reached and (named or event in ("os.remove", "os.rmdir")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die_in_time)
sys.exit(headless.resume(run, Path(workspace)))
"""  # Python tells its audit hooks of every file it is about to open, rename or remove


class Death(NamedTuple):
    """By its own hand so many operations on files of the run after one that names `place`, or else by ours."""

    place: str
    operations: int
    steps: int  # told in this life; then, after so many seconds, we do it
    seconds: float


def deaths(objective: str, dice: random.Random) -> Iterator[Death]:
    lives = LIVES[objective]
    for number in range(lives.anywhere):
        place = PLACES[objective][number % 4]
        operations = dice.randrange(3 if place == FILE else 40)  # it is opened, renamed, and its name kept
        yield Death(place, operations, dice.randrange(8) if place == "by us" else 12, dice.uniform(0, 0.3))
    for _ in range(lives.finishing):
        yield Death("/result", dice.randrange(16), lives.steps, 60)


@pytest.fixture
def untouched(objective: str, workspace: Workspace, dataset: Card, pairs: Card, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same run, left alone."""
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=8))
    spec = spec_for(pairs if objective == "dpo" else dataset, max_steps=LIVES[objective].steps)
    return trained(workspace, parse_spec({**spec.model_dump(), "objective": OBJECTIVES[objective]}))


@pytest.mark.fault("the process is killed at any step, in any save")
@pytest.mark.parametrize("objective", LIVES)
def test_a_run_killed_anywhere_ends_as_if_nobody_had_touched_it(
    objective: str, workspace: Workspace, untouched: Run, tell: Callable[..., None]
) -> None:
    run, lives = Run.create(workspace, untouched.spec), LIVES[objective]
    kills, within_saves = [], 0
    for death in deaths(objective, random.Random(SEED)):
        before = half_written(run)
        if run.status != "done" and live(run, death) == -signal.SIGKILL:
            kills.append(time.time())
            within_saves += bool(half_written(run) - before)
    assert len(kills) >= lives.anywhere, "the run came to its end too soon"
    assert within_saves >= lives.anywhere // 8, "few of them fell into a save"
    if run.status != "done":
        assert live(run, Death("never", 0, lives.steps, 600)) == 0

    assert [step for step, *_ in curve(run)] == list(range(1, lives.steps + 1))
    assert curve(run) == curve(untouched) and evaluations(run) == evaluations(untouched)
    assert same_weights(run, untouched)
    lost = steps_made_again(run)
    told = f"at most {max(lost)} steps made again; {within_saves} of the kills fell into a save"
    tell(tried=len(kills), lost=told, seconds=recoveries(run, kills))


def live(run: Run, death: Death) -> int:
    """One process that goes on with the run until it is killed or done; its exit code."""
    before = len(steps_told(run))
    command = [sys.executable, "-c", LIFE, str(run.workspace.root), run.id, death.place, str(death.operations)]
    life = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while life.poll() is None and len(steps_told(run)) - before <= death.steps:
        time.sleep(0.02)
    try:
        life.wait(death.seconds)
    except subprocess.TimeoutExpired:
        life.kill()
    _, complaint = life.communicate()
    assert life.returncode in (0, -signal.SIGKILL), complaint.decode()[-2000:]
    return life.returncode


def half_written(run: Run) -> set[tuple[Path, int]]:
    """What a kill within a save has left, and when it was written to."""
    places = (run.checkpoints / ".writing", run.checkpoints / ".best.partial", run.folder / ".result.partial", *run.folder.glob(f".{FILE}.*"))
    return {(file, file.stat().st_mtime_ns) for place in places for file in (place, *place.rglob("*")) if file.exists()}


def steps_told(run: Run) -> list[Any]:
    """Every step that was ever told, those that were made again too."""
    return [event for event in run.events.read()[0] if event["kind"] == "step"]


def steps_made_again(run: Run) -> list[int]:
    """For each time the run was taken up: the steps it had told since the checkpoint it went on from.

    That is the newest one told of, or one just put in place and not yet told of.
    """
    lost, step, saved = [], 0, 0
    for event in run.events.read()[0]:
        match event["kind"]:
            case "step":
                step = event["step"]
            case "saved" if not event["best"]:
                saved = event["step"]
            case "started":
                assert saved <= event["resumed_from"] <= step, "more was lost than since the last checkpoint"
                lost.append(step - event["resumed_from"])
                step = saved = event["resumed_from"]
    return lost


def recoveries(run: Run, kills: list[float]) -> list[float]:
    """Seconds from each kill to the next step that was told."""
    steps = [step["at"] for step in steps_told(run)]
    return [min(later) - kill for kill in kills if (later := [at for at in steps if at > kill])]
