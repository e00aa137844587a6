"""How far the memory a plan names is from what the training then takes, for every method at two lengths.

Each training is `python -m tests.bench.memory ROOT SPEC.json` in a process of its own, which plans, trains three steps
and prints {"planned", "peak"} in bytes. Every row fills the maximum length: what is planned is the worst that can come.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.methods import all_methods
from backend.models import STARTER, hush_libraries
from backend.plan import gigabytes, plan, with_saved_data
from backend.runs import Run
from backend.specs import parse_spec
from backend.training import train
from backend.workspace import Workspace
from tests.bench.findings import Finding, Place
from tests.bench.workloads import HOME, STUDIO

LENGTHS = (128, 512)  # tokens of a row
ROWS, STEPS = 20, 3
AIM = 15  # per cent
LONG = "It rained all day, and nobody in the house went out, so they read. "  # 16 tokens


def memory(place: Place) -> Iterator[Finding]:
    workspace = place.workspace("memory")
    rows = _write_rows(place.folder / "long.jsonl")
    for name, method in all_methods().items():
        for length in LENGTHS:
            said = _in_a_process(workspace, _spec(name, length, rows))
            off = 100 * abs(said["planned"] / said["peak"] - 1)
            note = f"planned {gigabytes(said['planned'])}, taken {gigabytes(said['peak'])}"
            yield Finding(f"memory named before the start, {method.title}, {length} tokens", [off], "% off", AIM, note=note)


def main() -> None:
    hush_libraries()
    workspace, spec = Workspace(Path(sys.argv[1])), parse_spec(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    spec = with_saved_data(spec, workspace)
    planned = plan(spec, workspace).memory_bytes
    run = Run.create(workspace, spec)
    if train(run.spec, run, run.events.append, lambda: False) != "done":
        sys.exit(str(run.events.last()[-1]))
    print(json.dumps({"planned": planned, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def _spec(method: str, length: int, rows: Path) -> dict[str, Any]:
    training = {"max_steps": STEPS, "max_length": length, "evaluate_every": STEPS, "probes": ["Hello!"]}
    return {"name": "memory", "base_model": STARTER, "data": {"path": str(rows)}, "method": {"name": method}, "training": training}


def _write_rows(file: Path) -> Path:
    """Conversations, each with an answer longer than any of the lengths."""
    asked = (f"What happened on day {number}?" for number in range(ROWS))
    rows = ({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": LONG * 60}]} for ask in asked)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _in_a_process(workspace: Workspace, spec: dict[str, Any]) -> dict[str, int]:
    file = workspace.root / "spec.json"
    file.write_text(json.dumps(spec), encoding="utf-8")
    command = [sys.executable, "-m", "tests.bench.memory", str(workspace.root), str(file)]
    done = subprocess.run(command, cwd=HOME, env=os.environ | STUDIO, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{spec['method']['name']} could not be trained:\n{done.stdout[-500:]}{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
