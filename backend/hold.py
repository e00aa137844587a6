"""Whether the queue waits for the user's word, and why. Kept in the workspace, so that a restart remembers it. No torch."""

import json
import threading
from pathlib import Path

from backend.workspace import write_whole


class Hold:
    """A gate before the next job. Open unless somebody closed it."""

    def __init__(self, file: Path) -> None:
        self._file, self._open = file, threading.Event()
        if not file.exists():
            self._open.set()

    @property
    def why(self) -> str:
        """Why the queue is held; empty where it is not."""
        if self._open.is_set():
            return ""
        try:
            return str(json.loads(self._file.read_text(encoding="utf-8"))["why"])
        except (OSError, ValueError, LookupError, TypeError):
            return "The queue was paused."

    def close(self, why: str) -> None:
        """Let nothing through until `open`; what is worked on now goes on."""
        write_whole(self._file, json.dumps({"v": 1, "why": why}, ensure_ascii=False) + "\n")
        self._open.clear()

    def open(self) -> None:
        """Let the queue go on."""
        self._file.unlink(missing_ok=True)
        self._open.set()

    def wait(self) -> None:
        """Until the gate is open."""
        self._open.wait()
