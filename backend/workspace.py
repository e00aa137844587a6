"""The user's folder: models, data sets and runs. Everything the studio keeps is in here, in plain files.

    workspace/
      workspace.json          {"v": 1}
      models/<name>/          safetensors, config, tokenizer, chat template
      datasets/<id>/          v1.parquet, v1.json (the card), v2.parquet, ...
      runs/<id>/              spec.json, events.jsonl, checkpoints/, result/, opinions/ (what a reward model was asked)
      generations/<id>/       spec.json, events.jsonl, candidates.jsonl, reviews.jsonl
      rewritings/<id>/        spec.json, events.jsonl, rewordings.jsonl
      answerings/<id>/        spec.json, prompts.jsonl, events.jsonl, candidates.jsonl
      templates/              the user's own template sets, JSON or TOML
      exports/                files to be taken away; the only folder the page may hand out files from

There is no global workspace: whoever needs it is handed it.
"""

import json
import os
import re
import secrets
import tempfile
from pathlib import Path

from backend.errors import UserError

WORKSPACE_VERSION = 1


class Workspace:
    """A folder on disk and the paths inside it.

    A confined one is worked in by people on other machines: what they type reaches no file of this one outside it.
    """

    def __init__(self, root: Path, *, confined: bool = False) -> None:
        self.root, self.confined = root.expanduser().absolute(), confined

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def generations(self) -> Path:
        return self.root / "generations"

    @property
    def templates(self) -> Path:
        return self.root / "templates"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    def typed_path(self, text: str) -> Path:
        """The path a person typed. Raises `UserError` where there can be none, or it is not theirs to name."""
        if self.confined:
            raise UserError(
                f'"{text[:80]}" cannot be read: the studio is open to other machines, and names of files and folders mean this one. '
                "Bring the file through the page, or have it imported on the studio's own machine."
            )
        return typed_path(text)

    def prepare(self) -> "Workspace":
        """Make the folders. Raises `UserError` where they cannot be made or belong to a newer studio."""
        try:
            for folder in (self.models, self.datasets, self.runs, self.generations):
                folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()  # folders that are there say nothing of a disk gone read-only
            label = self.root / "workspace.json"
            if not label.exists():
                write_whole(label, json.dumps({"v": WORKSPACE_VERSION}) + "\n")
            version = json.loads(label.read_text())["v"]
        except OSError as error:
            raise UserError(
                f"The workspace {self.root} cannot be written to ({error.strerror}). "
                "Choose another folder with --workspace, or make this one writable."
            ) from error
        if version > WORKSPACE_VERSION:
            raise UserError(f"The workspace {self.root} was made by a newer studio. Update the studio, or choose another folder.")
        return self


def typed_path(text: str) -> Path:
    """The path a person typed, `~` being a home. Raises `UserError` for what no file on this machine could be called."""
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f'The path "{text[:80]}" cannot be used ({getattr(error, "strerror", None) or error}). Check it.') from error
    return path


def new_id(name: str) -> str:
    """A folder name of our own making: readable, unique, harmless whatever the user typed."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32] or "unnamed"
    return f"{readable}-{secrets.token_hex(3)}"


def is_id(text: str) -> bool:
    """Whether `text` could be an id of ours, and so is safe as a folder name."""
    return re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", text) is not None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever is killed."""
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        keep_names(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def keep_names(folder: Path) -> None:
    """Bring the names in a folder to the disk, so that a power cut does not undo a renaming."""
    if os.name == "nt":
        return  # which opens no folders
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
