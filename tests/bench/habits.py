"""What the methods learn: every method's default run on the starter model and data, measured and printed as a table.

    python3 launch.py habits [--methods lora,full]

Held-out loss is of the validation rows, base against best; the habit is counted on 24 prompts kept apart, answered
greedily. Takes about half an hour on two CPU cores.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from backend.data.starter import HELD_OUT, THREE_LINES, keeps_three_lines
from backend.data.tokens import encode_prompt
from backend.generation import answers
from backend.headless import describe_event
from backend.inference import Shelf, Speaker
from backend.methods import all_methods
from backend.models import STARTER
from backend.plan import with_saved_data
from backend.runs import Run
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.training import train
from backend.workspace import Workspace


def held_out_prompts() -> list[str]:
    """The 24 prompts no run learns from."""
    rows = map(json.loads, HELD_OUT.read_text(encoding="utf-8").splitlines())
    return [row["messages"][0]["content"] for row in rows]


def habit(shelf: Shelf, speaker: Speaker) -> int:
    """On how many held-out prompts a model keeps the three lines, answering greedily."""
    model, tokenizer = shelf.get(speaker)
    prompts = [encode_prompt([{"role": "user", "content": prompt}], tokenizer) for prompt in held_out_prompts()]
    said = answers(model, tokenizer, prompts, Sampling(max_tokens=128))
    return sum(map(keeps_three_lines, said))


def run_method(name: str, workspace: Workspace, training: dict[str, object]) -> Run:
    """One default run."""
    values = {"name": f"habit {name}", "base_model": STARTER, "data": {"path": str(THREE_LINES)}, "method": {"name": name}}
    spec = with_saved_data(parse_spec({**values, "training": training}), workspace)
    run = Run.create(workspace, spec)

    def emit(kind, **fields):  # noqa: ANN001, ANN003
        event = run.events.append(kind, **fields)
        if kind != "sampled":
            print("   ", describe_event(event), file=sys.stderr, flush=True)
        return event

    train(spec, run, emit, lambda: False)
    return run


def row(run: Run, kept: int) -> str:
    """The table's line of a run."""
    events = run.events.read()[0]
    base = next(event["loss"] for event in events if event["kind"] == "evaluated" and event.get("base"))
    end = next(event for event in events if event["kind"] == "finished")
    prepared = next(event for event in events if event["kind"] == "prepared")
    best, minutes = end["best_loss"], end["seconds"] / 60
    share = prepared["trainable_parameters"] / prepared["parameters"]
    return (
        f"| {run.spec.method.title} | {share:.3%} | {run.spec.learning_rate:g} | {end['step']} | {minutes:.1f} | "
        f"{base:.3f} | {best:.3f} | {1 - best / base:.0%} lower | {kept} of 24 |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(all_methods()))
    parser.add_argument("--training", default="{}", help="training settings as JSON, to try others than the defaults")
    parser.add_argument("--workspace", type=Path, help="where the starter model lies unpacked; the runs go elsewhere")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder)).prepare()
        starter = arguments.workspace and arguments.workspace.absolute() / "models" / STARTER
        if starter and starter.is_dir():
            (workspace.models / STARTER).symlink_to(starter)
        shelf = Shelf(workspace)
        lines = [f"The base model keeps the form on {habit(shelf, Speaker('base', STARTER))} of 24.", ""]
        lines.append("| method | trained | learning rate | steps | minutes | base loss | best loss | | habit |")
        lines.append("|---|---|---|---|---|---|---|---|---|")
        for name in arguments.methods.split(","):
            print(name, file=sys.stderr, flush=True)
            run = run_method(name, workspace, json.loads(arguments.training))
            lines.append(row(run, habit(shelf, Speaker("run", run.id))))
            print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
