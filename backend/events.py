"""What happens in a run, one JSON line each in `runs/<id>/events.jsonl`. Imports no torch.

A run's status, its curves and its log are all read off these lines, so nothing is ever stored twice.
"""

import json
import os
import time
from pathlib import Path
from typing import Any, Literal, TypedDict

import orjson

Kind = Literal["queued", "started", "prepared", "step", "evaluated", "sampled", "saved", "warned", "doing", "finished"]
Status = Literal["queued", "running", "done", "stopped", "failed", "interrupted"]
TAIL_BYTES = 65_536
ENDED: tuple[Status, ...] = ("done", "stopped", "failed", "interrupted")


class RunEvent(TypedDict, total=False):
    """Something that happened. Beside `kind` and `at` each kind carries its own fields:

    queued     -
    started    resumed_from: step the run goes on from (0 for a fresh start), device, precision, pieces (micro-batches made of one, once memory had run out)
    prepared   rows, validation_rows, tokens_per_epoch, total_steps, trainable_parameters, parameters, left_out
    step       step, epoch, loss, learning_rate, grad_norm, tokens_per_second, seconds (of training so far)
    evaluated  step, loss (held-out), base (true for the untouched base model), seconds, units (rows, pairs), metrics,
               margins (how many pairs lie between `progress.MARGIN_EDGES`, of a run that judges pairs)
    sampled    step, prompt, answer, base (true for the base model's answer), reward (of a run that learns from rewards)
    saved      step, folder (inside the run folder), best
    warned     message
    doing      message (what goes on now, where a step takes long)
    finished   status, message, step, best_loss, best_step, seconds, peak_memory_bytes
    """

    kind: Kind
    at: float  # seconds since the epoch


class EventLog:
    """The append-only file of one run's events. One writer; any number of readers, in this process or another."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: Kind, **fields: Any) -> RunEvent:
        """Write one event, flushed to the system before returning."""
        event: RunEvent = {"kind": kind, "at": round(time.time(), 3), **fields}  # type: ignore[typeddict-item]
        line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
        with self.path.open("ab") as file:
            if _ends_mid_line(self.path):  # a kill may have left half a line; keep it, but start a fresh one
                file.write(b"\n")
            file.write(line.encode())
            file.flush()
            if kind in ("queued", "saved", "finished"):
                os.fsync(file.fileno())
        return event

    def read(self, after: int = 0) -> tuple[list[RunEvent], int]:
        """Events behind byte `after`, and the cursor to ask with next time. Half-written lines wait for their end."""
        try:
            with self.path.open("rb") as file:
                file.seek(after)
                data = file.read()
        except FileNotFoundError:
            return [], 0
        whole = data[: data.rfind(b"\n") + 1]
        return [event for line in whole.splitlines() if (event := _parse(line))], after + len(whole)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def last(self, tail_bytes: int = TAIL_BYTES) -> list[RunEvent]:
        """The newest events, without reading a long file whole; enough to tell how a run stands."""
        return self.read(after=max(0, self.size - tail_bytes))[0] or self.read()[0]


def _ends_mid_line(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _parse(line: bytes) -> RunEvent | None:
    try:
        event = orjson.loads(line)
    except ValueError:
        return None  # the torn line of a killed process
    return event if isinstance(event, dict) and "kind" in event else None


def status(events: list[RunEvent]) -> Status:
    """What a run is doing, by its last telling event."""
    for event in reversed(events):
        if event["kind"] == "finished":
            return event["status"]  # type: ignore[typeddict-item]
        if event["kind"] in ("started", "prepared", "step", "evaluated", "sampled", "saved"):
            return "running"
        if event["kind"] == "queued":
            return "queued"
    return "queued"
