"""Training by trying that is stopped in the middle of something: it stops at once, and goes on as if it had not been."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from backend import training
from backend.data.versions import Card
from backend.loss import Scorer
from backend.policy_trainer import PolicyTrainer
from backend.runs import Run, true_events
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace

STOP, NAN = pytest.mark.fault("stop, in any phase"), pytest.mark.fault("NaN or infinite loss or gradient")


def spec_of(card: Card, *, method: Any = "lora", objective: str = "ppo", **training: Any) -> RunSpec:
    """Six rounds of eight answers, each learnt from in four updates, looked at after the third and the last."""
    return parse_spec({
        "data": {"id": card.id, "version": card.version}, "method": method,
        "objective": {"name": objective, "contains": ["e"], "answer_tokens": 8, "samples": 2, "minibatch": 4, "passes": 2, "kl_target": 1.0},
        "training": {
            "max_steps": 6, "batch_size": 4, "evaluate_every": 3, "validation_share": 0.2, "max_length": 256, "precision": "fp32",
            "early_stopping": False, **training,
        },
    })  # fmt: skip


def go(run: Run, should_stop: Callable[[], bool] = lambda: False) -> str:
    return training.train(run.spec, run, run.events.append, should_stop)


def told(run: Run, kind: str) -> list[Any]:
    """Events of a kind, without the clock's fields."""
    events = [event for event in true_events(run.events.read()[0]) if event["kind"] == kind]
    return [{name: value for name, value in event.items() if name not in ("at", "seconds", "tokens_per_second")} for event in events]


def assert_the_same(ours: Run, theirs: Run) -> None:
    for kind in ("step", "evaluated", "sampled"):
        assert told(ours, kind) == told(theirs, kind)
    one, other = (load_file(next(run.result.glob("*.safetensors"))) for run in (ours, theirs))
    assert all(torch.equal(one[name], other[name]) for name in other)


class StopAfter:
    """Asks for a stop once a method of the trainer's has been called so often."""

    def __init__(self, name: str, calls: int, patch: pytest.MonkeyPatch) -> None:
        self.made, self.calls = 0, calls
        method = getattr(PolicyTrainer, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.made += 1
            return method(*args, **kwargs)

        patch.setattr(PolicyTrainer, name, counted)

    def __call__(self) -> bool:
        return self.made >= self.calls


@STOP
@pytest.mark.parametrize(("method", "objective"), [({"name": "lora", "dropout": 0.1}, "ppo"), ("full", "grpo")])
@pytest.mark.parametrize("rounds", [1, 3], ids=["after a round", "after the best weights were kept"])
def test_a_stop_between_two_updates_of_a_round_is_heard_at_once_and_the_round_is_gone_on_with(
    rounds: int, method: Any, objective: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(dataset, method=method, objective=objective)
    whole, broken = Run.create(workspace, spec), Run.create(workspace, spec)
    assert go(whole) == "done"
    with monkeypatch.context() as patch:
        stop = StopAfter("_update", 4 * rounds + 3, patch)
        assert go(broken, stop) == "stopped"
    assert stop.made == 4 * rounds + 3, "no further update was made"
    assert len(told(broken, "step")) == rounds
    assert go(broken) == "done"
    assert_the_same(broken, whole)


@STOP
def test_a_look_that_a_stop_broke_off_is_made_up_for(workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(dataset)
    whole, broken = Run.create(workspace, spec), Run.create(workspace, spec)
    assert go(whole) == "done"
    with monkeypatch.context() as patch:
        assert go(broken, StopAfter("evaluate", 2, patch)) == "stopped"  # the first is the look at the base
    assert [event["step"] for event in told(broken, "evaluated")] == [0] and len(told(broken, "step")) == 3
    assert go(broken) == "done"
    assert_the_same(broken, whole)


@STOP
def test_stopped_while_the_base_is_looked_at_it_begins_anew(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(dataset)
    whole, broken = Run.create(workspace, spec), Run.create(workspace, spec)
    assert go(whole) == "done"
    with monkeypatch.context() as patch:
        assert go(broken, StopAfter("evaluate", 1, patch)) == "stopped"
    assert not told(broken, "evaluated") and not broken.has_result
    assert go(broken) == "done"
    assert_the_same(broken, whole)


@STOP
def test_a_stop_is_heard_before_anything_is_learnt_from_the_answers(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(workspace, spec_of(dataset))
    with monkeypatch.context() as patch:
        updates = StopAfter("_update", 1, patch)
        assert go(run, StopAfter("_rewards", 2, patch)) == "stopped"  # the base's, then the first round's
    assert updates.made == 0


@NAN
@pytest.mark.parametrize(("spoilt", "said"), [("the gradient", "went astray: the gradient's norm is"), ("the loss", "The loss of the base model is nan")])
def test_what_is_no_number_in_a_round_ends_the_run_in_words(
    spoilt: str, said: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Scorer.tokens

    def spoil(scorer: Scorer, input_ids: torch.Tensor, labels: torch.Tensor) -> Any:
        logprobs, hidden = tokens(scorer, input_ids, labels)
        if logprobs.requires_grad and spoilt == "the gradient":
            logprobs.register_hook(lambda slope: slope * math.inf)
        return (logprobs * math.nan if logprobs.requires_grad and spoilt == "the loss" else logprobs), hidden

    monkeypatch.setattr(Scorer, "tokens", spoil)
    run = Run.create(workspace, spec_of(dataset))
    assert go(run) == "failed"
    assert said in told(run, "finished")[0]["message"]


@NAN
def test_rewards_that_are_no_numbers_end_the_run_in_a_sentence(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(workspace, spec_of(dataset))
    monkeypatch.setattr(type(run.spec.objective), "judge", lambda *_: [math.nan] * 8)
    assert go(run) == "failed"
    assert "rewards that are no numbers" in told(run, "finished")[0]["message"]
