"""A checkpoint whose bytes went wrong on the disk: found by its hashes, though every file has its full size."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backend import training
from backend.checkpoints import MANIFEST, is_proven, is_whole, put_in_place, whole_checkpoints
from backend.data.versions import Card
from backend.runs import Run
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.workspace import Workspace
from tests.backend.test_models import DANGEROUS
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


@pytest.mark.fault("a model with code of its own")
@pytest.mark.parametrize(("objective", "name"), [
    ("sft", "optimizer.pt"), ("sft", "scheduler.pt"), ("sft", "rng_state.pth"), ("ppo", "state.pt"),
])  # fmt: skip
def test_a_checkpoint_that_was_made_to_run_code_does_not(
    objective: str, name: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody handed on a run whose state is a pickle, with a list of files that vouches for it."""
    monkeypatch.chdir(tmp_path)
    spec = spec_for(dataset)
    if objective == "ppo":
        spec = parse_spec({**json.loads(spec.model_dump_json()), "objective": {"name": "ppo", "contains": ["e"], "answer_tokens": 4}})
    run = Run.create(workspace, spec)
    assert go(run, stop_after=1) == "stopped"
    (checkpoint,) = whole_checkpoints(run.checkpoints)
    (checkpoint / name).write_bytes(DANGEROUS)
    shutil.copytree(checkpoint, partial := run.folder / "partial")
    put_in_place(partial, checkpoint)
    assert is_proven(checkpoint)
    assert go(run) == "failed" and told(run, "finished")[-1]["message"].startswith("The run ended by a fault of the studio")
    assert not list(tmp_path.rglob("RAN"))


@pytest.mark.fault("one byte of a checkpoint is wrong")
def test_one_wrong_byte_of_what_policy_optimisation_kept_costs_only_the_steps_since_the_checkpoint_before(
    workspace: Workspace, dataset: Card, tell: Callable[..., None]
) -> None:
    values = {**json.loads(spec_for(dataset, max_steps=5).model_dump_json()), "objective": {"name": "ppo", "contains": ["e"], "answer_tokens": 4}}
    untouched = trained(workspace, parse_spec(values))
    run = Run.create(workspace, untouched.spec)
    assert go(run, stop_after=1) == go(run, stop_after=2) == "stopped"
    newer, older = whole_checkpoints(run.checkpoints)
    flip_a_byte(newer / "state.pt", random.Random(7))
    assert go(run) == "done"
    resumed = [event for event in run.events.read()[0] if event["kind"] == "started"][-1]
    assert f"step-{resumed['resumed_from']}" == older.name and len(told(run, "warned")) == 1
    assert curve(run) == curve(untouched)
    tell(tried=1, lost="2 steps made again")
