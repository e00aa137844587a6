"""Files of one JSON object a line that are only ever appended to, and survive being cut off in the middle of a line."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backend.errors import UserError


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows in one go, on the disk before returning. Raises `UserError` where the disk is full."""
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(errors="replace")
    try:
        with path.open("ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":  # a kill may have left half a line; keep it, but start a fresh one
                data = b"\n" + data
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path.name} cannot be written to ({error.strerror or error}). Make room on the disk, then go on.") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows, without the torn line of a killed process."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
