"""Folders of weights that are whole or not there, and which of a run's checkpoints can be gone on from. No torch.

A folder is written aside, brought to the disk with a list of its files, and then renamed into place.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from backend.disk import bring_to_disk, sha256_of
from backend.workspace import keep_names

MANIFEST = "manifest.json"  # of a finished folder: its files, their sizes and their hashes
KEPT = 2  # checkpoints of a run: one to go on from, and one to fall back to
TO_RESUME = ("*.pt", "*.pth", "progress.json", "trainer_state.json")  # of a checkpoint: what is not the model
SIDE_BY_SIDE = 4  # files read or brought to the disk at once: two large ones on two cores, and the disk's work meanwhile


def write_checkpoint(
    place: Path, write_weights: Callable[[Path], None], write_state: Callable[[Path], dict[str, str]], *, alike: Path | None = None,
    side_by_side: bool = True,
) -> None:
    """A checkpoint under its name: its weights and, written beside them or after, all else that resuming needs.

    `write_state` returns the hashes, by name, of the files it has written through. `alike` is a finished folder of the same
    weights, which are not written again where the file system has links. Raises what any of the writing raises.
    """
    partial_folder = place.with_name(".writing")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir()

    def weights_on_disk() -> dict[str, str]:
        if not (alike and is_whole(alike) and _share_model(alike, partial_folder)):
            write_weights(partial_folder)
        return _hashed_on_disk(set(partial_folder.glob("*.safetensors")) - set(_shared(partial_folder)))

    with ThreadPoolExecutor(1) as beside:
        weights = beside.submit(weights_on_disk)
        if not side_by_side:
            weights.result()
        hashes = write_state(partial_folder) | weights.result()
    put_in_place(partial_folder, place, hashes)


def put_in_place(partial_folder: Path, place: Path, hashes: Mapping[str, str] = MappingProxyType({})) -> None:
    """Make a finished folder appear under its name, with a list of its files; replaces what is there.

    Files whose `hashes` are known are on the disk already.
    """
    known = {**{file.name: sha256 for file, sha256 in _shared(partial_folder).items()}, **hashes}
    (partial_folder / MANIFEST).unlink(missing_ok=True)
    files = sorted(partial_folder.iterdir())
    sizes = {file.name: file.stat().st_size for file in files}
    sha256 = known | _hashed_on_disk(file for file in files if file.name not in known)
    (partial_folder / MANIFEST).write_text(json.dumps({"v": 1, "bytes": sizes, "sha256": sha256}, indent=1))
    bring_to_disk(partial_folder / MANIFEST)
    keep_names(partial_folder)
    before = place.with_name(f".{place.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if place.exists():
        place.rename(before)  # gone in an instant: a kill while it is cleared away costs nothing
    partial_folder.rename(place)
    keep_names(place.parent)
    shutil.rmtree(before, ignore_errors=True)


def write_best(checkpoints: Path, step: int, write_weights: Callable[[Path], None]) -> None:
    """The best weights so far, kept apart from the checkpoints, whole or not there.

    Those before go, but for what a checkpoint speaks of: whoever goes on from it has them as the best again.
    """
    partial_folder = checkpoints / ".best.partial"
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir()
    write_weights(partial_folder)
    put_in_place(partial_folder, best_of(checkpoints, step))
    _remove_best_but(checkpoints, step)


def best_of(checkpoints: Path, step: int) -> Path:
    """Where the weights are that were the best ones at a step."""
    return checkpoints / f"best-{step}"


def _remove_best_but(checkpoints: Path, step: int) -> None:
    """Best weights go, but for those of this step and those that a checkpoint speaks of."""
    kept = {best_of(checkpoints, each) for each in (step, *map(_best_step, whole_checkpoints(checkpoints)))}
    for folder in {*checkpoints.glob("best-*"), *checkpoints.glob(".best-*.before")} - kept:
        shutil.rmtree(folder, ignore_errors=True)


def _newest_best(checkpoints: Path) -> int:
    return max((int(folder.name.removeprefix("best-")) for folder in checkpoints.glob("best-*")), default=0)


def require_room(checkpoints: Path, learnt_bytes: int) -> None:
    """Raises `OSError`, as the disk would, where one more checkpoint has no room: before the disk is full.

    It will be as large as the newest; the first one as the weights that are learnt, with AdamW's two moments of each. What
    only stands to be fallen back to makes room first, once the newest proves to be what was saved.
    """
    whole = whole_checkpoints(checkpoints)
    needed = sum(file.stat().st_size for file in whole[0].iterdir()) if whole else 3 * learnt_bytes
    for folder in reversed(whole[1:]):
        if shutil.disk_usage(checkpoints).free < needed and is_proven(whole[0], on_disk=True):
            shutil.rmtree(folder, ignore_errors=True)
            _remove_best_but(checkpoints, _newest_best(checkpoints))
    if shutil.disk_usage(checkpoints).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(checkpoints))


def is_whole(folder: Path) -> bool:
    """Whether every file a folder was saved with is there at its full size. Quick: asked at every look and every save."""
    sizes = _listed(folder, "bytes")
    try:
        return sizes is not None and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False


def is_proven(folder: Path, *, on_disk: bool = False) -> bool:
    """Whether every file is, byte for byte, what was saved; `on_disk`, whatever memory remembers of it.

    Reads all of it, gigabytes for a large model and full training, so it is asked only before an older one goes, and by a resume:
    there a wrong byte would go on into every later step. A folder saved before manifests had hashes is judged by its sizes.
    """
    if not is_whole(folder):
        return False
    listed = _listed(folder, "sha256") or {}
    try:
        return _hashes((folder / name for name in listed), from_disk=on_disk) == listed
    except OSError:
        return False


def whole_checkpoints(checkpoints: Path) -> list[Path]:
    """Checkpoints that are there at their full size, newest first."""
    folders = sorted(checkpoints.glob("step-*"), key=lambda folder: int(folder.name.removeprefix("step-")), reverse=True)
    return [folder for folder in folders if is_whole(folder)]


def newest_checkpoint(checkpoints: Path) -> Path | None:
    """The newest one that can be resumed from; older ones are read only where newer ones prove damaged."""
    return next(filter(is_proven, whole_checkpoints(checkpoints)), None)


def remove_outdated(checkpoints: Path) -> None:
    """Keep the newest checkpoint and the one before it, once the newest has been read back and proves to be what was saved.

    The one before is what a resume falls back to where the disk damages the newest later on.
    """
    whole = whole_checkpoints(checkpoints)
    newest = next((place for place, folder in enumerate(whole) if is_proven(folder, on_disk=True)), None)
    if newest is None:
        return
    kept = whole[newest : newest + KEPT]
    for folder in checkpoints.glob("step-*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    _remove_best_but(checkpoints, _newest_best(checkpoints))


def copy_model(folder: Path, to: Path) -> None:
    """The model of a finished folder, without what only a resume needs, in a folder that is to be finished.

    Where the file system has links its weights are not written again: both folders have the same file, which nobody changes.
    """
    if not _share_model(folder, to):
        shutil.copytree(folder, to, ignore=shutil.ignore_patterns(*TO_RESUME), dirs_exist_ok=True)


def _share_model(folder: Path, to: Path) -> bool:
    """Whether the file system has the links that takes; the rest is copied."""
    try:
        shutil.copytree(folder, to, ignore=shutil.ignore_patterns(*TO_RESUME), copy_function=_link_weights, dirs_exist_ok=True)
    except OSError:  # shutil's own is one
        for file in to.glob("*.safetensors"):
            file.unlink()  # what was linked before the first refusal is not to be written into
        return False
    return True


def _link_weights(file: str, to: str) -> None:
    (os.link if file.endswith(".safetensors") else shutil.copy2)(file, to)


def _shared(folder: Path) -> dict[Path, str]:
    """The files of a folder that is to be finished which it shares with a finished one, with their hashes, as that one's list has them."""
    listed = _listed(folder, "sha256") or {}
    return {folder / name: sha256 for name, sha256 in listed.items() if (folder / name).exists() and (folder / name).stat().st_nlink > 1}


def _best_step(checkpoint: Path) -> int:
    """The step whose weights were the best ones when a checkpoint was written; 0 where it does not say."""
    try:
        return int(json.loads((checkpoint / "progress.json").read_text())["best_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _listed(folder: Path, what: Literal["bytes", "sha256"]) -> dict[str, Any] | None:
    """The sizes or the hashes of a folder's files by name, as its manifest has them; None where it has none or is damaged."""
    try:
        return dict(json.loads((folder / MANIFEST).read_text())[what])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hashed_on_disk(files: Iterable[Path]) -> dict[str, str]:
    """The files' SHA-256 by name, once all of them are on the disk. Raises `OSError`."""
    files = list(files)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        brought = pool.map(bring_to_disk, files)
        hashes = _hashes(files)
        list(brought)  # what the disk refused is raised here
    return hashes


def _hashes(files: Iterable[Path], *, from_disk: bool = False) -> dict[str, str]:
    """The files' SHA-256 by name."""
    files = list(files)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return dict(zip([file.name for file in files], pool.map(partial(sha256_of, from_disk=from_disk), files), strict=True))
