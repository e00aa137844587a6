"""Runs that nobody trained, in the studio's own files: one of very many steps, or very many of them."""

import json
import math
import random
from pathlib import Path

from backend.events import RunEvent
from backend.runs import Run
from backend.specs import RunSpec
from backend.workspace import Workspace

BEGUN = 1_760_000_000.0  # seconds since the epoch
STEP_SECONDS = 1.5


def long_run(workspace: Workspace, spec: RunSpec, *, steps: int) -> Run:
    """A run in training that has made so many steps, measured a hundred times on the way."""
    run = Run.create(workspace, spec)
    dice = random.Random(0)
    events = [_started(), _prepared(2 * steps), _evaluated(0, base=True)]
    for step in range(1, steps + 1):
        events.append(a_step(step, 2 * steps, dice))
        if step % max(1, steps // 100) == 0:
            events += [_evaluated(step), _sampled(step)]
    _write(run.events.path, events)
    return run


def many_runs(workspace: Workspace, spec: RunSpec, *, runs: int, steps: int) -> None:
    """Runs that are done, each of so many steps. A result with no weights in it makes them ones that could be chatted with."""
    dice = random.Random(0)
    events = [_started(), _prepared(steps), _evaluated(0, base=True)]
    events += [a_step(step, steps, dice) for step in range(1, steps + 1)]
    end: RunEvent = {  # type: ignore[typeddict-unknown-key]
        "kind": "finished", "at": BEGUN, "status": "done", "message": "", "step": steps, "best_loss": 2.5, "best_step": steps,
        "seconds": steps * STEP_SECONDS,
    }  # fmt: skip
    for number in range(runs):
        run = Run.create(workspace, spec.model_copy(update={"name": f"run {number}"}))
        _write(run.events.path, [*events, end])
        run.result.mkdir()


def a_step(step: int, total: int, dice: random.Random) -> RunEvent:
    """What the trainer tells of a step, as far along as `step` of `total`."""
    loss = 1 + 2 * math.exp(-4 * step / total) + 0.2 * dice.random()
    return {  # type: ignore[typeddict-unknown-key]
        "kind": "step", "at": round(BEGUN + step * STEP_SECONDS, 3), "step": step, "epoch": round(step / 20, 4), "loss": loss,
        "learning_rate": 1e-3 * (1 - step / total), "grad_norm": 0.5 + dice.random(), "seconds": round(step * STEP_SECONDS, 3),
        "tokens_per_second": round(900 + 100 * dice.random(), 1),
    }  # fmt: skip


def _started() -> RunEvent:
    return {"kind": "started", "at": BEGUN, "resumed_from": 0, "device": "CPU 2 cores bf16", "precision": "bfloat16"}  # type: ignore[typeddict-unknown-key]


def _prepared(total_steps: int) -> RunEvent:
    return {  # type: ignore[typeddict-unknown-key]
        "kind": "prepared", "at": BEGUN, "rows": 158, "validation_rows": 18, "tokens_per_epoch": 20_000, "total_steps": total_steps,
        "trainable_parameters": 921_600, "parameters": 134_515_008, "left_out": {}, "cut": 0,
    }  # fmt: skip


def _evaluated(step: int, *, base: bool = False) -> RunEvent:
    loss = 3.0 if base else 1 + 2 * math.exp(-step / 1e5)
    return {"kind": "evaluated", "at": BEGUN + step * STEP_SECONDS, "step": step, "loss": loss, "base": base, "seconds": step * STEP_SECONDS}  # type: ignore[typeddict-unknown-key]


def _sampled(step: int) -> RunEvent:
    answer = f"At step {step} it is still this: water runs downhill, and the rivers of the north run to the sea."
    return {"kind": "sampled", "at": BEGUN + step * STEP_SECONDS, "step": step, "prompt": "Where do rivers go?", "answer": answer, "base": False}  # type: ignore[typeddict-unknown-key]


def _write(path: Path, events: list[RunEvent]) -> None:
    """Behind what is there already, the event "queued"."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
