"""How far reading has come, counted in bytes wherever they are read, and told between two rows."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from backend.data.readers.source import CHUNK, Progress

STEP = 0.01  # told again when this share more is done


class Meter:
    """The share of a source that has been read. `is_due` says that it is time to tell it."""

    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._total_bytes = max(total_bytes, 1)
        self._progress = progress
        self._bytes = 0
        self._share = 0.0
        self._next = 0.0  # the share to be told next
        self.is_due = progress is not None

    @contextmanager
    def opened(self, path: Path) -> Iterator[BinaryIO]:
        """A file whose bytes are counted as they are read."""
        with _CountedFile(path, self) as raw, io.BufferedReader(raw, CHUNK) as file:
            yield file

    def count(self, count: int) -> None:
        """So many bytes more have been read."""
        self._bytes += count
        self.reach(self._bytes / self._total_bytes)

    def reach(self, share: float) -> None:
        """Reading has come so far, from 0 to 1."""
        self._share = min(share, 1.0)
        self.is_due = self._progress is not None and self._share >= self._next

    def tell(self) -> None:
        """Tell how far reading has come. Apart from the counting, which may be done in the middle of a library."""
        if self._progress:
            self.is_due = False
            self._next = self._share + STEP
            self._progress(self._share)


class _CountedFile(io.FileIO):
    """A file that tells a meter how many bytes were read of it."""

    def __init__(self, path: Path, meter: Meter) -> None:
        super().__init__(path, "rb")
        self._meter = meter

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = super().readinto(buffer) or 0
        self._meter.count(count)
        return count

    def readall(self) -> bytes:
        content = super().readall()
        self._meter.count(len(content))
        return content
