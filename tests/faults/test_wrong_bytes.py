"""A checkpoint whose bytes went wrong on the disk: found by its hashes, though every file has its full size."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from backend import training
from backend.checkpoints import MANIFEST, is_proven, is_whole, whole_checkpoints
from backend.data.versions import Card
from backend.runs import Run
from backend.sampling import Sampling
from backend.workspace import Workspace
from tests.backend.test_training import curve, go, spec_for, told, trained


def flip_a_byte(file: Path, dice: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


@pytest.fixture
def two_checkpoints(workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Path, Path]:
    """A run with its newest checkpoint and the one before."""
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=8))
    run = Run.create(workspace, spec_for(dataset))
    go(run, stop_after=2)
    go(run, stop_after=3)
    newer, older = whole_checkpoints(run.checkpoints)
    return run, older, newer


@pytest.mark.fault("one byte of a checkpoint is wrong")
def test_one_wrong_byte_makes_resume_fall_back_to_the_checkpoint_before_and_say_so(
    two_checkpoints: tuple[Run, Path, Path], tell: Callable[..., None]
) -> None:
    run, older, newer = two_checkpoints
    untouched = trained(run.workspace, run.spec)
    flip_a_byte(newer / "optimizer.pt", random.Random(6))
    made = int(newer.name.removeprefix("step-")) - int(older.name.removeprefix("step-"))
    assert go(run) == "done"
    resumed = [event for event in run.events.read()[0] if event["kind"] == "started"][-1]
    assert f"step-{resumed['resumed_from']}" == older.name
    (warning,) = told(run, "warned")
    assert f"The checkpoint of {newer.name.replace('-', ' ')} is missing or damaged; going on from {older.name.replace('-', ' ')}" in warning["message"]
    assert curve(run) == curve(untouched)
    tell(tried=1, lost=f"{made} steps made again")


@pytest.mark.fault("one byte of a checkpoint is wrong")
def test_a_wrong_byte_is_found_in_every_file(two_checkpoints: tuple[Run, Path, Path], tell: Callable[..., None]) -> None:
    _, _, newer = two_checkpoints
    files = [file for file in newer.iterdir() if file.name != MANIFEST]
    assert is_proven(newer) and len(files) > 5
    for file in files:
        before = file.read_bytes()
        flip_a_byte(file, random.Random(file.name))
        assert is_whole(newer) and not is_proven(newer), file.name
        file.write_bytes(before)
    assert is_proven(newer)
    tell(tried=len(files))


def test_a_checkpoint_saved_before_there_were_hashes_is_judged_by_its_sizes(two_checkpoints: tuple[Run, Path, Path]) -> None:
    _, _, newer = two_checkpoints
    manifest = json.loads((newer / MANIFEST).read_text())
    (newer / MANIFEST).write_text(json.dumps({"v": 1, "bytes": manifest["bytes"]}))
    assert is_proven(newer)
    (newer / "optimizer.pt").write_bytes(b"short")
    assert not is_proven(newer)
