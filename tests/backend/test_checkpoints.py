"""Folders of weights that are whole or not there: brought to the disk, proven before an older one goes, never begun without room."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.checkpoints import (
    MANIFEST,
    best_of,
    copy_model,
    is_proven,
    put_in_place,
    remove_outdated,
    require_room,
    whole_checkpoints,
    write_best,
    write_checkpoint,
)
from backend.data.versions import Card
from backend.disk import WriteThrough
from backend.reference import FILE
from backend.workspace import Workspace, write_whole
from tests.backend.test_alignment import spec_of, trained

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="which file a descriptor is of is asked by Linux's means")


def saved(checkpoints: Path, step: int, content: bytes = b"weights") -> Path:
    """A checkpoint as a trainer saves it, of one file."""
    partial = checkpoints / ".writing"
    partial.mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(content)
    place = checkpoints / f"step-{step}"
    put_in_place(partial, place)
    return place


def names(checkpoints: Path) -> list[str]:
    return sorted(path.name for path in checkpoints.iterdir())


@pytest.fixture
def brought_to_disk(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is fsynced, each as its descriptor names it at that moment."""
    paths: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        paths.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


@needs_proc
def test_files_and_their_folder_reach_the_disk_before_the_renaming_and_the_name_after_it(
    tmp_path: Path, brought_to_disk: list[Path]
) -> None:
    partial = tmp_path / ".writing"
    saved(tmp_path, 4)
    assert set(brought_to_disk[:2]) == {partial / "model.safetensors", partial / "manifest.json"}
    assert brought_to_disk[2:] == [partial, tmp_path]


@needs_proc
def test_a_file_that_is_written_whole_reaches_the_disk_with_its_name(tmp_path: Path, brought_to_disk: list[Path]) -> None:
    write_whole(tmp_path / "reference.safetensors", b"log p")
    file, folder = brought_to_disk
    assert file.name.startswith(".reference.safetensors.") and folder == tmp_path


@needs_proc
def test_what_a_run_is_measured_against_reaches_the_disk(workspace: Workspace, pairs: Card, brought_to_disk: list[Path]) -> None:
    run = trained(workspace, spec_of(pairs, "dpo", max_steps=1, evaluate_every=1))
    (at,) = (number for number, path in enumerate(brought_to_disk) if path.name.startswith(f".{FILE}."))
    assert brought_to_disk[at + 1] == run.folder and (run.folder / FILE).exists()


def test_older_checkpoints_go_once_the_newest_is_proven_and_one_to_fall_back_to_stays(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        saved(tmp_path, step)
    remove_outdated(tmp_path)
    assert names(tmp_path) == ["step-10", "step-4"]


@pytest.mark.fault("a checkpoint is damaged or incomplete")
def test_a_newest_checkpoint_that_is_not_what_was_saved_costs_no_older_one(tmp_path: Path) -> None:
    oldest, older, newest = saved(tmp_path, 2), saved(tmp_path, 4), saved(tmp_path, 6)
    (newest / "model.safetensors").write_bytes(b"weighty")  # of the same size
    assert whole_checkpoints(tmp_path)[0] == newest
    remove_outdated(tmp_path)
    assert names(tmp_path) == [oldest.name, older.name]


@pytest.mark.fault("a checkpoint is damaged or incomplete")
def test_damaged_ones_are_removed_with_the_older_ones_and_alone_they_are_left(tmp_path: Path) -> None:
    cut, later = saved(tmp_path, 2), saved(tmp_path, 8)
    for damaged in (cut, later):
        (damaged / "model.safetensors").write_bytes(b"we")
    remove_outdated(tmp_path)
    assert names(tmp_path) == [cut.name, later.name]
    saved(tmp_path, 4)
    remove_outdated(tmp_path)
    assert names(tmp_path) == ["step-4"]


def test_a_result_shares_its_weights_with_the_checkpoint_it_comes_from_and_outlives_it(tmp_path: Path) -> None:
    partial, result = tmp_path / ".result.partial", tmp_path / "result"
    (tmp_path / ".writing").mkdir()
    for resumed_with in ("optimizer.pt", "rng_state.pth", "scheduler.pt", "state.pt", "trainer_state.json", "progress.json"):
        (tmp_path / ".writing" / resumed_with).write_text("only to resume")
    (tmp_path / ".writing" / "config.json").write_text("{}")
    (tmp_path / ".writing" / "model.safetensors").write_bytes(b"weights")
    put_in_place(tmp_path / ".writing", tmp_path / "step-3")
    copy_model(tmp_path / "step-3", partial)
    (partial / "config.json").write_text('{"of": "the result"}')
    put_in_place(partial, result)
    assert names(result) == ["config.json", MANIFEST, "model.safetensors"] and is_proven(result)
    assert (result / "model.safetensors").samefile(tmp_path / "step-3" / "model.safetensors")
    assert is_proven(tmp_path / "step-3")  # the configuration is each folder's own
    shutil.rmtree(tmp_path / "step-3")
    assert is_proven(result)
    (result / "model.safetensors").write_bytes(b"weighty")
    assert not is_proven(result)


def test_where_a_file_system_has_no_links_the_weights_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: str) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    checkpoint = saved(tmp_path, 3)
    copy_model(checkpoint, tmp_path / "partial")
    put_in_place(tmp_path / "partial", tmp_path / "result")
    assert not (tmp_path / "result" / "model.safetensors").samefile(checkpoint / "model.safetensors")
    assert is_proven(tmp_path / "result")


def weights_of(content: bytes) -> Callable[[Path], None]:
    return lambda folder: void((folder / "model.safetensors").write_bytes(content))


def state_of(step: int, best_step: int = 0) -> Callable[[Path], dict[str, str]]:
    def write(folder: Path) -> dict[str, str]:
        (folder / "progress.json").write_text(json.dumps({"step": step, "best_step": best_step}))
        with WriteThrough(folder / "state.pt") as file:
            file.write(b"moments")
        return {file.path.name: file.sha256}

    return write


def void(value: object) -> None:
    """For whoever calls a function for what it does."""


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_checkpoint_is_its_weights_and_all_else_that_a_resume_needs(side_by_side: bool, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "step-4", weights_of(b"weights"), state_of(4), side_by_side=side_by_side)
    assert names(tmp_path) == ["step-4"] and names(tmp_path / "step-4") == [MANIFEST, "model.safetensors", "progress.json", "state.pt"]
    assert is_proven(tmp_path / "step-4", on_disk=True)


@pytest.mark.fault("disk full: a checkpoint")
@pytest.mark.parametrize("refused", ["weights", "all else"])
@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_checkpoint_that_is_only_half_written_is_not_there(refused: str, side_by_side: bool, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "step-2", weights_of(b"weights"), state_of(2))

    def refuse(folder: Path) -> dict[str, str]:
        (folder / f"half.{'safetensors' if refused == 'weights' else 'pt'}").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    weights, state = (refuse, state_of(4)) if refused == "weights" else (weights_of(b"weights"), refuse)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path / "step-4", lambda folder: void(weights(folder)), state, side_by_side=side_by_side)
    assert whole_checkpoints(tmp_path) == [tmp_path / "step-2"] and not (tmp_path / "step-4").exists()


def test_weights_that_are_the_best_are_not_written_again(tmp_path: Path) -> None:
    write_best(tmp_path, 4, weights_of(b"the best"))
    write_checkpoint(tmp_path / "step-4", weights_of(b"written again"), state_of(4, 4), alike=best_of(tmp_path, 4))
    assert (tmp_path / "step-4" / "model.safetensors").samefile(best_of(tmp_path, 4) / "model.safetensors")
    assert is_proven(tmp_path / "step-4")
    write_checkpoint(tmp_path / "step-6", weights_of(b"written"), state_of(6, 4), alike=best_of(tmp_path, 6))  # which is not there
    assert (tmp_path / "step-6" / "model.safetensors").read_bytes() == b"written"


def test_where_a_file_system_has_no_links_a_checkpoint_writes_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy would vouch anew for what the disk has damaged since."""
    write_best(tmp_path, 4, weights_of(b"the best"))
    real, links = os.link, []

    def link_once(file: str, to: str) -> None:
        if links:
            raise PermissionError("no more links here")
        links.append(to)
        real(file, to)

    monkeypatch.setattr(os, "link", link_once)
    (best_of(tmp_path, 4) / "model-2.safetensors").write_bytes(b"of two parts")
    write_checkpoint(tmp_path / "step-4", weights_of(b"written again"), state_of(4, 4), alike=best_of(tmp_path, 4))
    assert links and (tmp_path / "step-4" / "model.safetensors").read_bytes() == b"written again" and is_proven(tmp_path / "step-4")
    assert (best_of(tmp_path, 4) / "model.safetensors").read_bytes() == b"the best", "what is shared is not written into"


def test_best_weights_that_a_checkpoint_speaks_of_stay_and_others_before_go(tmp_path: Path) -> None:
    write_best(tmp_path, 2, weights_of(b"2"))
    write_checkpoint(tmp_path / "step-3", weights_of(b"3"), state_of(3, 2))
    for step in (4, 6):
        write_best(tmp_path, step, weights_of(b"4 or 6"))
    assert names(tmp_path) == ["best-2", "best-6", "step-3"]
    write_checkpoint(tmp_path / "step-6", weights_of(b"6"), state_of(6, 6))
    shutil.rmtree(tmp_path / "step-3")
    write_best(tmp_path, 8, weights_of(b"8"))
    assert names(tmp_path) == ["best-6", "best-8", "step-6"]
    for step in (8, 9):
        write_checkpoint(tmp_path / f"step-{step}", weights_of(b"8"), state_of(step, 8))
    remove_outdated(tmp_path)
    assert names(tmp_path) == ["best-8", "step-8", "step-9"]


@pytest.mark.fault("disk full: a checkpoint")
def test_room_is_not_made_of_older_ones_while_the_newest_is_not_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (2, 4):
        saved(tmp_path, step, b"x" * 10_000)
    (tmp_path / "step-4" / "model.safetensors").write_bytes(b"y" * 10_000)
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=1000))
    with pytest.raises(OSError, match="No space left"):
        require_room(tmp_path, 100)
    assert names(tmp_path) == ["step-2", "step-4"]


@pytest.mark.fault("disk full: a checkpoint")
def test_room_is_asked_for_as_much_as_the_newest_took_and_the_first_time_for_weights_and_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)

    def left(count: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=count))

    left(299)
    with pytest.raises(OSError, match="No space left"):
        require_room(tmp_path, 100)
    left(300)
    require_room(tmp_path, 100)
    newest = saved(tmp_path, 2, b"x" * 1000)
    with pytest.raises(OSError, match="No space left"):
        require_room(tmp_path, 100)
    left(sum(file.stat().st_size for file in newest.iterdir()))
    require_room(tmp_path, 100)


@pytest.mark.fault("disk full: a checkpoint")
def test_what_is_only_there_to_fall_back_to_makes_room_and_no_more_than_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (2, 4, 6):
        saved(tmp_path, step, b"x" * 10_000)
    real = shutil.disk_usage(tmp_path)

    def room_beside(most: int) -> None:
        """On a disk that holds so many checkpoints."""
        monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=12_000 * (most - len(names(tmp_path)))))

    room_beside(4)
    require_room(tmp_path, 100)
    assert len(names(tmp_path)) == 3
    room_beside(3)
    require_room(tmp_path, 100)
    assert names(tmp_path) == ["step-4", "step-6"]
    room_beside(2)
    require_room(tmp_path, 100)
    assert names(tmp_path) == ["step-6"]
    room_beside(1)
    with pytest.raises(OSError, match="No space left"):
        require_room(tmp_path, 100)
    assert names(tmp_path) == ["step-6"]
