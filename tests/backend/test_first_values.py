"""What PPO expects of a state before anything has been learnt."""

import pytest

from backend import training
from backend.data.versions import Card
from backend.runs import Run, true_events
from backend.specs import parse_spec
from backend.workspace import Workspace


def test_as_much_is_expected_at_first_as_the_first_answers_were_worth(workspace: Workspace, dataset: Card) -> None:
    """Every answer keeps the rule, so every state is worth 1, and a guess of 1 is off by nothing."""
    spec = parse_spec({
        "data": {"id": dataset.id, "version": dataset.version},
        "objective": {"name": "ppo", "avoids": ["a text that no answer holds"], "answer_tokens": 6, "minibatch": 4},
        "training": {"max_steps": 1, "batch_size": 2, "evaluate_every": 1, "validation_share": 0.2, "precision": "fp32", "warmup_share": 0},
    })
    run = Run.create(workspace, spec)
    assert training.train(spec, run, run.events.append, lambda: False) == "done"
    (step,) = (event for event in true_events(run.events.read()[0]) if event["kind"] == "step")
    assert step["metrics"]["reward"] == 1 and step["metrics"]["value error"] == pytest.approx(0, abs=1e-6)
