"""A run without a screen: `python3 launch.py train SPEC.json` and `resume RUN`. Prints progress; returns an exit code."""

import json
import signal
import threading
from pathlib import Path
from typing import Any

from backend.errors import UserError
from backend.events import RunEvent
from backend.jobs import claim, train_alone
from backend.runs import Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace

EXIT = {"done": 0, "stopped": 3, "failed": 1, "interrupted": 1}


def train(spec_path: Path, workspace_dir: Path) -> int:
    """Train what a spec file says. 0: done, 1: failed, 3: stopped. Raises `UserError` if it cannot start."""
    try:
        values = json.loads(spec_path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The spec {spec_path} cannot be read ({error.strerror}). Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"The spec {spec_path} is not valid JSON: {error}. Mend that line.") from error
    from backend.plan import plan, with_saved_data

    workspace = Workspace(workspace_dir).prepare()
    with train_alone(workspace):
        claim(workspace).lock.release()  # what is refused anyway is refused before the work of planning it
        spec = with_saved_data(parse_spec(values), workspace)
        plan(spec, workspace)
        with claim(workspace):  # a studio that opened before the run is held would put it on its queue
            run = Run.create(workspace, spec)
            held = run.take()
        print(f"run {run.id} in {run.folder}", flush=True)
        with held:
            return _go(run)


def resume(run_id: str, workspace_dir: Path) -> int:
    """Go on with a run that was stopped, interrupted or failed, in the same folder."""
    workspace = Workspace(workspace_dir).prepare()
    run = Runs(workspace).get(run_id)
    with claim(workspace):
        held = run.take()
    with held, train_alone(workspace):
        if run.status == "done":
            raise UserError(f"{run.id} is done: there is nothing to resume.")
        run.events.append("queued")  # so that a studio that opens while the libraries load sees it is not over
        return _go(run)


def _go(run: Run) -> int:
    from backend.models import hush_libraries

    hush_libraries()
    from backend.training import train as train_run

    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def emit(kind: Any, **fields: Any) -> RunEvent:
        event = run.events.append(kind, **fields)
        if line := describe_event(event):
            print(line, flush=True)
        return event

    return EXIT[train_run(run.spec, run, emit, stop.is_set)]


def describe_event(event: Any) -> str:
    """One line of a run's log; empty for what is not worth one."""
    match event["kind"]:
        case "started":
            return f"started on {event['device']}" + (f", from step {event['resumed_from']}" if event["resumed_from"] else "")
        case "prepared":
            return (
                f"{event['rows']} rows to learn from, {event['validation_rows']} held out, {event['total_steps']} steps, "
                f"{event['trainable_parameters']:,} of {event['parameters']:,} parameters"
            )
        case "step":
            return f"step {event['step']}  loss {event['loss']:.4f}  {event['tokens_per_second']:.0f} tokens/s"
        case "evaluated":
            return f"held-out loss {event['loss']:.4f}" + (" (base model)" if event.get("base") else f" at step {event['step']}")
        case "sampled":
            who = "base" if event.get("base") else f"step {event['step']}"
            return f"{who}: {event['prompt']!r} -> {event['answer']!r}"
        case "saved":
            return f"saved {event['folder']}"
        case "warned":
            return f"note: {event['message']}"
        case "finished":
            return " ".join(filter(None, (event["status"], event.get("message", ""))))
    return ""
