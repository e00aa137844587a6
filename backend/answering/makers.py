"""Who made an answer, so that it can be told long after: the model, the very weights of a run, and by what name it went."""

import hashlib
from pathlib import Path

from backend.runs import Run, Runs
from backend.workspace import Workspace

PIECE_BYTES = 2**20


def maker(speaker: str, workspace: Workspace) -> dict[str, str]:
    """`speaker`, `name` and, of a run, `adapter` of an answer's `Made`. Raises `UserError` where there is no such run."""
    kind, _, name = speaker.partition(":")
    if kind != "run":
        return {"speaker": speaker, "name": name.rstrip("/").rsplit("/", 1)[-1]}
    run = Runs(workspace).get(name)
    return {"speaker": speaker, "name": run.label["name"], "adapter": result_hash(run)}


def result_hash(run: Run) -> str:
    """16 hex digits that stand for the weights a run has made: another result, another hash. Empty without a result.

    Of the safetensors files of the result, by name and content (SHA-256).
    """
    files = sorted(run.result.glob("*.safetensors"))
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.name.encode() + b"\0" + _file_hash(file))
    return whole.hexdigest()[:16] if files else ""


def base_of(speaker: str, workspace: Workspace) -> str:
    """The base model that computes a speaker's answers. Raises `UserError` where there is no such run."""
    kind, _, name = speaker.partition(":")
    return Runs(workspace).get(name).spec.base_model if kind == "run" else name


def _file_hash(file: Path) -> bytes:
    found = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(PIECE_BYTES):
            found.update(piece)
    return found.digest()
