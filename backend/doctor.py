"""What this machine has for the studio, one line each, and what to do about what it lacks: `python3 launch.py doctor`.

Every check stands alone, so that one missing library never hides what the others find.
"""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from backend import models
from backend.workspace import Workspace

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
AFRESH = "Delete the folder .venv, then run: python3 launch.py setup"
COMFORTABLE_MEMORY_GB = 5  # LoRA on the starter model at the default settings peaks just below this
COMFORTABLE_DISK_GB = 3  # the starter model, a few runs and their checkpoints
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


class Finding(NamedTuple):
    """One thing looked at. What is not ok says what to do; what is not `essential` is only worth knowing."""

    name: str
    ok: bool
    text: str
    essential: bool = True

    def __str__(self) -> str:
        return f"{'ok' if self.ok else '!!'}  {self.name:<10} {self.text}"


def main(workspace_dir: Path) -> int:
    """Print every finding; 0 where nothing essential is wrong."""
    healthy = True
    for finding in findings(Workspace(workspace_dir)):
        print(finding, flush=True)
        healthy = healthy and (finding.ok or not finding.essential)
    return 0 if healthy else 1


def findings(workspace: Workspace) -> Iterator[Finding]:
    yield python()
    yield torch()
    yield memory()
    yield disk(workspace.root)
    yield packages(REQUIREMENTS)
    yield starter(workspace)
    yield chromium()


def python() -> Finding:
    return Finding("python", True, f"{platform.python_version()} at {sys.executable}")


def torch() -> Finding:
    """torch, and the device it trains on."""
    try:
        torch = importlib.import_module("torch")
        device = importlib.import_module("backend.device")
    except ImportError as error:
        return Finding("torch", False, f"{error.name or 'torch'} is not installed. {AFRESH}")
    except OSError as error:  # a library inside it that this system cannot load
        return Finding("torch", False, f"torch is damaged ({error}). {AFRESH}")
    text = f"{torch.__version__} on {device.describe()}"
    if device.device().type != "cpu":
        used, total = device.memory()
        return Finding("torch", True, f"{text}, {(total - used) / 1e9:.0f} of {total / 1e9:.0f} GB free")
    if shutil.which("nvidia-smi"):
        advice = f"{text}: this torch cannot use the NVIDIA card. Update the driver."
        return Finding("torch", False, advice, essential=False)
    speed = "with fast bf16" if device.fast_bf16() else "without fast bf16: training takes fp32, more memory and longer"
    return Finding("torch", True, f"{text}, {speed}")


def memory() -> Finding:
    try:
        system = importlib.import_module("psutil").virtual_memory()
    except ImportError:
        return Finding("memory", False, f"psutil is not installed. {AFRESH}")
    text = f"{system.available / 1e9:.1f} of {system.total / 1e9:.1f} GB free"
    if system.available < COMFORTABLE_MEMORY_GB * 1e9:
        return Finding("memory", False, f"{text}. Close other programs, or train with small batches.", essential=False)
    return Finding("memory", True, text)


def disk(folder: Path) -> Finding:
    """Room for the workspace, and whether it can be written to; the folder itself may not be there yet."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_gb = shutil.disk_usage(there).free / 1e9
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding("disk", False, f"{there} cannot be written to. Choose another folder with --workspace.")
    text = f"{free_gb:.1f} GB free for {folder}"
    if free_gb < COMFORTABLE_DISK_GB:
        advice = f"{text}. Make room, or choose another folder with --workspace."
        return Finding("disk", False, advice, essential=free_gb < 1)
    return Finding("disk", True, text)


def packages(requirements: Path) -> Finding:
    """Versions installed, held against the pins."""
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    strangers = [f"{name} {installed(name) or 'missing'}, not {pin}" for name, pin in pins if installed(name) != pin]
    if strangers:
        return Finding("packages", False, f"{'; '.join(strangers)}. {AFRESH}")
    return Finding("packages", True, f"all {len(pins)} at their pinned versions")


def installed(package: str) -> str | None:
    """The version of a package without its build ("2.13.0" for 2.13.0+cpu), or None."""
    try:
        return importlib.metadata.version(package).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def starter(workspace: Workspace) -> Finding:
    packed = models.starter_source()
    if (workspace.models / models.STARTER / "config.json").exists():
        return Finding("starter", True, f"unpacked in {workspace.models / models.STARTER}")
    if packed is None or not packed.exists():
        return Finding("starter", False, f"the starter model is not installed. {AFRESH}")
    return Finding("starter", True, "installed, to be unpacked at its first use (about 20 s)")


def chromium() -> Finding:
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        text = "not found: the browser tests are skipped. To run them, install it (Debian: apt install chromium)."
        return Finding("chromium", False, text, essential=False)
    return Finding("chromium", True, f"{path}, for the browser tests")
