"""Folders of weights that are whole or not there, and which of a run's checkpoints can be gone on from. No torch.

A folder is written aside, brought to the disk with a list of its files, and then renamed into place.
"""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

from backend.workspace import keep_names

MANIFEST = "manifest.json"  # of a finished folder: its files, their sizes and their hashes
KEPT = 2  # checkpoints of a run: one to go on from, and one to fall back to


def put_in_place(partial_folder: Path, place: Path) -> None:
    """Make a finished folder appear under its name, with a list of its files; replaces what is there."""
    (partial_folder / MANIFEST).unlink(missing_ok=True)  # of a folder this one was copied from
    files = sorted(partial_folder.iterdir())
    manifest = {
        "v": 1, "bytes": {file.name: file.stat().st_size for file in files}, "sha256": {file.name: _sha256(file) for file in files},
    }  # fmt: skip
    (partial_folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for file in partial_folder.iterdir():
        with file.open("rb") as content:
            os.fsync(content.fileno())
    keep_names(partial_folder)
    before = place.with_name(f".{place.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if place.exists():
        place.rename(before)  # gone in an instant: a kill while it is cleared away costs nothing
    partial_folder.rename(place)
    keep_names(place.parent)
    shutil.rmtree(before, ignore_errors=True)


def require_room(checkpoints: Path, learnt_bytes: int) -> None:
    """Raises `OSError`, as the disk would, where one more checkpoint has no room: before the disk is full.

    It will be as large as the newest; the first one as the weights that are learnt, with AdamW's two moments of each. What
    only stands to be fallen back to makes room first.
    """
    whole = whole_checkpoints(checkpoints)
    needed = sum(file.stat().st_size for file in whole[0].iterdir()) if whole else 3 * learnt_bytes
    for folder in reversed(whole[1:]):
        if shutil.disk_usage(checkpoints).free < needed:
            shutil.rmtree(folder, ignore_errors=True)
    if shutil.disk_usage(checkpoints).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(checkpoints))


def is_whole(folder: Path) -> bool:
    """Whether every file a folder was saved with is there at its full size. Quick: asked at every look and every save."""
    try:
        sizes = json.loads((folder / MANIFEST).read_text())["bytes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def is_proven(folder: Path) -> bool:
    """Whether every file is, byte for byte, what was saved.

    Reads all of it, gigabytes for a large model and full training, so only a save asks, before an older one goes, and a resume:
    there a wrong byte would go on into every later step. A folder saved before manifests had hashes is judged by its sizes.
    """
    if not is_whole(folder):
        return False
    try:
        hashes = json.loads((folder / MANIFEST).read_text()).get("sha256", {})
        return all(_sha256(folder / name) == digest for name, digest in hashes.items())
    except (OSError, AttributeError):
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
    newest = newest_checkpoint(checkpoints)
    if newest is None:
        return
    whole = whole_checkpoints(checkpoints)
    kept = whole[whole.index(newest) :][:KEPT]
    for folder in checkpoints.glob("step-*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
