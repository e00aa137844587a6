"""Files of gigabytes: brought to the disk, hashed, and written without filling the system's memory with them. No torch.

What is written to a file waits in memory, and stays there for whoever reads it next. The gigabytes that only a resume would
read serve nobody there, and where that memory has first to be found (a virtual machine, a laptop that is nearly full), finding
it takes several times as long as the disk: 1.1 GB were written and hashed in 0.8 s rather than 2.9 where this was measured.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

PIECE = 8 << 20  # bytes: enough at once for the disk's full speed, few enough to be forgotten early


class WriteThrough:
    """A file that is on the disk as it is written, piece by piece, and hashed on the way; `torch.save` takes it for a file.

    What the disk refuses is kept until the file is closed and raised there, an `OSError`: PyTorch's writer would go on after it
    and tell of something else.
    """

    def __init__(self, file: Path) -> None:
        self.path, self._file, self._sha256 = file, file.open("wb", buffering=0), hashlib.sha256()
        self._beside = ThreadPoolExecutor(1)  # one core hashes while the other waits for the disk
        self._waiting = 0
        self._refused: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Returns how many bytes were written: all of them."""
        content = memoryview(content).cast("B")
        for start in range(0, len(content), PIECE):
            self._write(content[start : start + PIECE])
        return len(content)

    def flush(self) -> None:
        """Nothing waits long."""

    @property
    def sha256(self) -> str:
        """Of what has been written so far, as hexadecimal digits."""
        return self._sha256.hexdigest()

    def __enter__(self) -> "WriteThrough":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._beside.shutdown()
        with self._file:
            self._attempt(self._bring_to_disk)
        if self._refused:
            raise self._refused

    def _write(self, piece: memoryview) -> None:
        hashed = self._beside.submit(self._sha256.update, piece)
        self._attempt(lambda: _write_all(self._file, piece))
        self._waiting += len(piece)
        if self._waiting >= PIECE:
            self._attempt(self._bring_to_disk)
        hashed.result()

    def _bring_to_disk(self) -> None:
        os.fsync(self._file.fileno())
        forget(self._file.fileno())
        self._waiting = 0

    def _attempt(self, do: Callable[[], object]) -> None:
        if not self._refused:
            try:
                do()
            except OSError as error:
                self._refused = error


def _write_all(file: BinaryIO, piece: memoryview) -> None:
    while piece:
        piece = piece[file.write(piece) :]


def sha256_of(file: Path, *, from_disk: bool = False) -> str:
    """A file's hash as hexadecimal digits; `from_disk` what it has there, whatever memory remembers, and nothing stays in memory."""
    sha256, read, room = hashlib.sha256(), 0, memoryview(bytearray(PIECE))
    with file.open("rb", buffering=0) as content:
        if from_disk:
            forget(content.fileno())
        while count := content.readinto(room):
            sha256.update(room[:count])
            read += count
            if from_disk:
                forget(content.fileno(), read)
    return sha256.hexdigest()


def bring_to_disk(file: Path) -> None:
    """Returns once the system has handed the file to the disk. Raises `OSError`."""
    with file.open("r+b") as content:  # Windows brings only what is open for writing
        os.fsync(content.fileno())


def forget(descriptor: int, count: int = 0) -> None:
    """Let go of what the system has in memory of an open file's first bytes, or of all of them, where it can be told so."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # it is a hint: some file systems take none
            os.posix_fadvise(descriptor, 0, count, os.POSIX_FADV_DONTNEED)
