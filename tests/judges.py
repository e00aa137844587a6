"""A real reward model, small enough to train in a few seconds: it prefers the starter's answers to their first lines."""

from typing import Any

from backend import training
from backend.data.versions import Card, Datasets
from backend.runs import Run
from backend.specs import DatasetRef, parse_spec
from backend.workspace import Workspace
from tests.conftest import starter_rows


def preference_rows(count: int) -> list[dict[str, Any]]:
    """The starter's answers, and their first lines, which are worse."""
    rows = []
    for row in starter_rows(count):
        question, answer = row["messages"]
        short = {"role": "assistant", "content": answer["content"].split("\n")[0]}
        rows.append({"prompt": [question], "answers": [[answer], [short]], "ranks": [1, 2]})
    return rows


def save_preferences(workspace: Workspace, rows: list[dict[str, Any]], *, name: str = "pairs") -> Card:
    return Datasets(workspace).save(rows, name=name, record="preferences", source={"made": "for tests"})


def train_judge(workspace: Workspace, card: Card | DatasetRef, *, steps: int = 30, name: str = "plain answers", share: float = 0.25) -> Run:
    """A run of the reward objective, done."""
    spec = parse_spec({
        "name": name, "data": {"id": card.id, "version": card.version}, "objective": {"name": "reward", "use_margin": False}, "method": "lora",
        "training": {
            "max_steps": steps, "batch_size": 4, "evaluate_every": steps, "early_stopping": False, "validation_share": share, "precision": "fp32",
            "learning_rate": 3e-3,
        },
    })  # fmt: skip
    run = Run.create(workspace, spec)
    assert training.train(spec, run, run.events.append, lambda: False) == "done", run.events.last()
    return run
