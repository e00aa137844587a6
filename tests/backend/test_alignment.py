"""Whole runs that learn from preferences, on a tiny model: DPO and a reward model, stopped, resumed and started from a run."""

import math
import shutil
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from backend import policy_trainer, reference, training
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.judging import Judge
from backend.loss import Scorer
from backend.plan import plan
from backend.progress import MARGIN_EDGES
from backend.runs import Run, Runs, true_events
from backend.sampling import Sampling
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace
from tests.conftest import save_conversations, starter_rows
from tests.faults.survival import LONG


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=4))


def spec_of(card: Card, objective: Any, *, method: Any = "lora", start_from: str | None = None, **training: Any) -> RunSpec:
    return parse_spec({
        "data": {"id": card.id, "version": card.version}, "objective": objective, "method": method, "start_from": start_from,
        "training": {
            "max_steps": 8, "batch_size": 4, "evaluate_every": 4, "early_stopping": False, "validation_share": 0.2, "precision": "fp32",
            **training,
        },
    })  # fmt: skip


def go(run: Run, *, stop_after: int | None = None) -> str:
    told = 0

    def emit(kind: Any, **fields: Any) -> Any:
        nonlocal told
        told += kind == "step"
        return run.events.append(kind, **fields)

    return training.train(run.spec, run, emit, lambda: stop_after is not None and told >= stop_after)


def trained(workspace: Workspace, spec: RunSpec) -> Run:
    run = Run.create(workspace, spec)
    assert go(run) == "done", events(run, "finished")
    return run


def events(run: Run, kind: str) -> list[Any]:
    return [event for event in true_events(run.events.read()[0]) if event["kind"] == kind]


def curve(run: Run) -> list[tuple[Any, ...]]:
    """All that is told of steps and evaluations but their speed; compared to the last bit."""
    return [
        tuple(event.get(key) for key in ("kind", "step", "loss", "grad_norm", "learning_rate", "metrics", "margins"))
        for kind in ("step", "evaluated") for event in events(run, kind)
    ]  # fmt: skip


def test_pairs_come_back_as_they_were_saved(workspace: Workspace, pairs: Card) -> None:
    first = next(Datasets(workspace).iterate(pairs.id))
    assert (pairs.record, first["ranks"], first["margin"]) == ("preferences", [1, 2], 0.5)
    assert first["prompt"] == starter_rows(1)[0]["messages"][:1]


@pytest.mark.parametrize("method", ["full", "lora", "prefix", "prompt", "adapter"])
def test_every_method_learns_preferences_directly(method: str, workspace: Workspace, pairs: Card) -> None:
    run = trained(workspace, spec_of(pairs, "dpo", method=method, max_steps=24, learning_rate=1e-3 if method in ("full", "lora") else None))
    steps, held_out = events(run, "step"), events(run, "evaluated")
    assert held_out[0]["base"] and held_out[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # the model against itself
    assert steps[-1]["metrics"].keys() == {"accuracy", "margin", "reward of the better", "reward of the worse"}
    if method in ("full", "lora"):
        assert steps[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
        assert held_out[-1]["loss"] < 0.6 and held_out[-1]["metrics"]["accuracy"] == 1.0 and held_out[-1]["metrics"]["margin"] > 0.2


def test_what_the_answers_were_worth_before_is_asked_once_however_often_a_run_is_taken_up(
    workspace: Workspace, pairs: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, logprobs = [], reference._logprobs
    monkeypatch.setattr(reference, "_logprobs", lambda *what, **how: asked.append(len(what[2])) or logprobs(*what, **how))
    run = Run.create(workspace, spec_of(pairs, "dpo"))
    assert go(run, stop_after=2) == "stopped" and asked == [19, 5]  # those learnt from, and those held out
    (kept,) = run.folder.rglob(reference.FILE)
    made = kept.read_bytes()
    assert go(run, stop_after=4) == "stopped" and go(run) == "done"
    assert asked == [19, 5] and kept.read_bytes() == made


@pytest.mark.parametrize("objective", ["reward", "dpo", "kto", "ppo"])
def test_preferences_are_learnt_beside_a_base_in_4_bits(objective: str, workspace: Workspace, pairs: Card, dataset: Card) -> None:
    few: dict[str, Any] = {"method": "qlora", "max_steps": 2, "evaluate_every": 2}
    spec = by_trying(dataset, **few) if objective == "ppo" else spec_of(pairs, objective, **few)
    for step in events(trained(workspace, spec), "step"):
        assert math.isfinite(step["loss"]) and math.isfinite(step["grad_norm"]) and step["grad_norm"] > 0


@pytest.mark.parametrize("method", ["full", "lora", "adapter"])
def test_a_reward_model_learns_what_is_preferred_and_keeps_its_head(method: str, workspace: Workspace, pairs: Card) -> None:
    run = trained(workspace, spec_of(pairs, {"name": "reward", "use_margin": False}, method=method, max_steps=60, learning_rate=3e-3))
    measured = events(run, "evaluated")[-1]
    assert sum(measured["margins"]) == measured["units"] and len(measured["margins"]) == len(MARGIN_EDGES) + 1
    assert sum(measured["margins"][4:]) == pytest.approx(measured["metrics"]["accuracy"] * measured["units"])  # those above nought
    assert measured["metrics"]["accuracy"] == 1.0 and measured["units"] == 5
    assert any("score" in name for name in load_file(next(run.result.glob("*.safetensors"))))
    conversations = [[*row["prompt"], *answer] for row in Datasets(workspace).rows(pairs.id) for answer in row["answers"]]
    rewards = Judge(run).rewards(conversations)
    assert sum(better > worse for better, worse in zip(rewards[::2], rewards[1::2], strict=True)) >= 23


@pytest.mark.parametrize("method", ["full", "lora", "prompt"])
def test_a_run_goes_on_from_another_and_is_measured_from_there(method: str, workspace: Workspace, pairs: Card) -> None:
    answers = save_conversations(workspace, starter_rows(24))
    taught = trained(workspace, spec_of(answers, "sft", method=method))
    child = trained(workspace, spec_of(pairs, "dpo", method=method, start_from=taught.id))
    assert events(child, "evaluated")[0]["loss"] == pytest.approx(0.6931, abs=1e-4)  # the reference is where it started
    again = trained(workspace, spec_of(answers, "sft", method=method, start_from=taught.id))
    assert events(again, "evaluated")[0]["loss"] == pytest.approx(events(taught, "evaluated")[-1]["loss"], rel=1e-3)


def test_what_cannot_work_is_said_before_the_start(workspace: Workspace, pairs: Card, dataset: Card) -> None:
    with pytest.raises(UserError, match="A reward model is not learnt by Prompt"):
        plan(spec_of(pairs, "reward", method="prompt"), workspace)
    with pytest.raises(UserError, match="learns from preferences, and questions holds conversations"):
        plan(spec_of(dataset, "dpo"), workspace)
    taught = trained(workspace, spec_of(dataset, "sft", method="prompt"))
    with pytest.raises(UserError, match="was trained by Prompt"):
        plan(spec_of(pairs, "dpo", start_from=taught.id), workspace)
    with pytest.raises(UserError, match="is no reward model"):
        Judge(taught)


@pytest.mark.fault("an adapter of another base, or without its weights")
def test_an_adapter_is_not_taken_up_on_another_base(workspace: Workspace, dataset: Card, tiny_model: Path) -> None:
    other = shutil.copytree(tiny_model, workspace.models / "other")
    taught = trained(workspace, spec_of(dataset, "sft", max_steps=1))
    spec = spec_of(dataset, "sft", start_from=taught.id).model_copy(update={"base_model": str(other)})
    with pytest.raises(UserError, match="was trained by LoRA on starter, with its own settings. Choose the same model"):
        plan(spec, workspace)


def test_good_and_bad_answers_are_told_apart_without_pairs(workspace: Workspace, pairs: Card) -> None:
    run = trained(workspace, spec_of(pairs, "kto", max_steps=24, learning_rate=1e-3))
    held_out = events(run, "evaluated")
    assert held_out[0]["loss"] == pytest.approx(0.5, abs=1e-3) and held_out[-1]["loss"] < 0.485
    assert held_out[-1]["units"] == 10 and held_out[-1]["metrics"]["accuracy"] > 0.8


def test_the_plan_counts_both_answers(workspace: Workspace, pairs: Card, tmp_path: Path) -> None:
    found = plan(spec_of(pairs, "dpo"), workspace)
    assert (found.rows, found.train_rows, found.validation_rows) == (24, 19, 5)
    assert found.tokens_per_epoch > 19 * 60


# ---- by trying


def by_trying(card: Card, **settings: Any) -> RunSpec:
    objective = {"name": "ppo", "contains": ["e"], "answer_tokens": 8, **settings.pop("objective", {})}
    return spec_of(card, objective, **{"max_length": 256, "batch_size": 4, "max_steps": 6, "evaluate_every": 3, **settings})


WATCHED = {"reward", "KL", "entropy", "clipped", "answer tokens", "KL coefficient"}


@pytest.mark.parametrize(("method", "objective"), [
    *((method, "ppo") for method in ("full", "lora", "prefix", "prompt", "adapter")), ("lora", "rloo"), ("full", "grpo"), ("prompt", "grpo"),
])  # fmt: skip
def test_every_method_learns_by_trying(method: str, objective: str, workspace: Workspace, dataset: Card) -> None:
    run = trained(workspace, by_trying(dataset, method=method, objective={"name": objective}))
    steps = events(run, "step")
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[0]["metrics"].keys() == WATCHED | ({"value error"} if objective == "ppo" else set())
    if method in ("full", "lora", "adapter"):
        assert steps[0]["metrics"]["KL"] == pytest.approx(0, abs=1e-4)  # nothing learnt, nowhere gone
    assert abs(steps[-1]["metrics"]["KL"]) > 1e-5
    assert [event["step"] for event in events(run, "evaluated")] == [0, 3, 6]
    assert all("reward" in event for event in events(run, "sampled"))


@pytest.mark.parametrize("objective", ["ppo", "rloo", "grpo"])
def test_what_is_rewarded_becomes_likelier(objective: str, workspace: Workspace, dataset: Card) -> None:
    """The tiny model learns to hold a letter it holds in two of three answers."""
    settings = {"name": objective, "answer_tokens": 6, "samples": 4, "passes": 2, "kl_coefficient": 0.0, "most_kl": None}
    spec = by_trying(dataset, objective=settings, method="full", max_steps=24, batch_size=8, evaluate_every=24, learning_rate=3e-3)
    rewards = [step["metrics"]["reward"] for step in events(trained(workspace, spec), "step")]
    assert statistics.mean(rewards[:3]) < 0.8 < 0.85 < statistics.mean(rewards[-5:]), rewards


FITTING = [
    (objective, method) for objective in ("pretraining", "dpo", "kto", "reward", "ppo", "rloo", "grpo")
    for method in ("full", "lora", "qlora", "prefix", "prompt", "adapter") if objective != "reward" or method not in ("prefix", "prompt")
]  # fmt: skip
SHORT = {
    ("pretraining", "full"), ("dpo", "lora"), ("dpo", "prefix"), ("kto", "prompt"), ("reward", "adapter"), ("ppo", "lora"), ("ppo", "full"), ("rloo", "prefix"),
    ("grpo", "qlora"),
}  # fmt: skip


@pytest.mark.fault("stop, and go on")
@pytest.mark.parametrize(("objective", "method"), [pair for pair in FITTING if LONG or pair in SHORT])
def test_whatever_is_learnt_by_whatever_method_goes_on_as_if_it_had_not_been_stopped(
    objective: str, method: str, workspace: Workspace, pairs: Card, dataset: Card, texts: Card
) -> None:
    spec = short_spec(objective, method, pairs, dataset, texts)
    whole, broken = trained(workspace, spec), Run.create(workspace, spec)
    assert go(broken, stop_after=2) == "stopped" and go(broken) == "done"
    assert_the_same(broken, whole)


ELSEWHERE = FITTING if LONG else [("dpo", "prefix"), ("ppo", "full")]


@pytest.mark.fault("stop, and go on", tries=len(ELSEWHERE))
def test_what_was_stopped_goes_on_in_another_process_as_if_it_had_not_been(
    workspace: Workspace, pairs: Card, dataset: Card, texts: Card
) -> None:
    """Nothing that counts is left in the memory of the one that began it."""
    specs = [short_spec(*each, pairs, dataset, texts) for each in ELSEWHERE]
    wholes, broken = [trained(workspace, spec) for spec in specs], [Run.create(workspace, spec) for spec in specs]
    assert {go(run, stop_after=2) for run in broken} == {"stopped"}
    life = "import sys; from tests.backend.test_alignment import go_on; go_on(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", life, str(workspace.root), *(run.id for run in broken)], check=True, timeout=600, capture_output=True)
    for ours, theirs in zip(broken, wholes, strict=True):
        assert_the_same(ours, theirs)


def go_on(root: str, *ids: str) -> None:
    """Of a process of its own: go on with these runs, one after the other."""
    training.PROBE = Sampling(max_tokens=4)
    runs = Runs(Workspace(Path(root)))
    for id in ids:
        go(runs.get(id))


def short_spec(objective: str, method: str, pairs: Card, dataset: Card, texts: Card) -> RunSpec:
    """Four steps, with dropout where the method has it."""
    dropout = {"dropout": 0.1} if "lora" in method else {}
    settings: dict[str, Any] = {"method": {"name": method, **dropout}, "max_steps": 4, "evaluate_every": 4}
    if objective == "pretraining":
        return spec_of(texts, objective, max_length=64, **settings)
    if objective in ("dpo", "kto", "reward"):
        return spec_of(pairs, objective, **settings)
    return by_trying(dataset, objective={"name": objective, "kl_target": 1.0}, **settings)


def assert_the_same(ours: Run, theirs: Run) -> None:
    assert curve(ours) == curve(theirs)
    one, other = (load_file(next(run.result.glob("*.safetensors"))) for run in (ours, theirs))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.fault("NaN or infinite loss or gradient")
@pytest.mark.parametrize("method", ["full", "lora"])
def test_trying_that_goes_astray_ends_in_words_and_goes_on_from_before(
    method: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = by_trying(dataset, method=method, max_steps=3, evaluate_every=1)
    monkeypatch.setattr(policy_trainer, "SAVING_SHARE", 1)  # a checkpoint after each round
    whole, run = trained(workspace, spec), Run.create(workspace, spec)
    updates, tokens = [], Scorer.tokens

    def astray(scorer: Scorer, input_ids: torch.Tensor, labels: torch.Tensor) -> Any:
        logprobs, hidden = tokens(scorer, input_ids, labels)
        if torch.is_grad_enabled():
            updates.append(len(input_ids))
        return (logprobs * math.nan if len(updates) == 3 else logprobs), hidden  # in the third round

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "tokens", astray)
        assert go(run) == "failed"
    (finished,) = events(run, "finished")
    assert finished["message"].startswith("Training went astray: the loss is nan") and "learning rate" in finished["message"]
    assert "best weights so far are kept" in finished["message"] and len(events(run, "step")) == 2
    assert go(run) == "done" and curve(run) == curve(whole)


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize("objective", ["ppo", "rloo", "grpo"])
def test_memory_that_runs_out_while_learning_from_answers_makes_smaller_pieces_of_the_same_updates(
    objective: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = by_trying(dataset, objective={"name": objective, "minibatch": 8, "samples": 4}, learning_rate=1e-3, precision="fp32")
    enough, learnt_at_once, tokens = trained(workspace, spec), [], Scorer.tokens

    def too_little(scorer: Scorer, input_ids: torch.Tensor, labels: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            learnt_at_once.append(len(input_ids))
            if len(input_ids) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory (made up)")
        return tokens(scorer, input_ids, labels)

    monkeypatch.setattr(Scorer, "tokens", too_little)
    run = trained(workspace, spec)
    assert learnt_at_once == [8, 4] + [2] * 48  # four pieces make each of the two updates of six rounds
    assert "Started again from clean weights with 2 answers learnt from at once" in events(run, "warned")[-1]["message"]
    for ours, theirs in zip(events(run, "step"), events(enough, "step"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5) and ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
        assert ours["metrics"] == pytest.approx(theirs["metrics"], abs=1e-4)


def test_distance_is_measured_from_the_run_one_goes_on_from(workspace: Workspace, dataset: Card) -> None:
    taught = trained(workspace, spec_of(dataset, "sft"))
    child = trained(workspace, by_trying(dataset, start_from=taught.id, max_steps=2, evaluate_every=2))
    assert events(child, "step")[0]["metrics"]["KL"] == pytest.approx(0, abs=1e-4)


def test_a_reward_model_is_asked(workspace: Workspace, pairs: Card, dataset: Card) -> None:
    judge = trained(workspace, spec_of(pairs, "reward", max_steps=4))
    run = trained(workspace, by_trying(dataset, objective={"contains": [], "reward_run": judge.id}, max_steps=2, evaluate_every=2))
    assert all(-5 < step["metrics"]["reward"] < 5 and step["metrics"]["reward"] != 0 for step in events(run, "step"))


def test_the_card_says_how_good_the_reward_model_is(workspace: Workspace, pairs: Card, dataset: Card) -> None:
    judge = trained(workspace, spec_of(pairs, "reward", max_steps=4))
    accuracy = events(judge, "evaluated")[-1]["metrics"]["accuracy"]
    (told,) = [note for note in plan(by_trying(dataset, objective={"reward_run": judge.id}), workspace).notes if "reward model" in note]
    assert f"prefers the better answer in {accuracy:.0%} of 5 held-out pairs" in told
    assert ("little better than a coin" in told) == (accuracy < 0.6)
    with pytest.raises(UserError, match="is no reward model"):
        plan(by_trying(dataset, objective={"reward_run": trained(workspace, spec_of(dataset, "sft", max_steps=2)).id}), workspace)


def test_the_card_counts_the_head_and_the_time_of_answering(workspace: Workspace, pairs: Card, dataset: Card) -> None:
    with_head, without = plan(spec_of(pairs, "reward"), workspace), plan(spec_of(pairs, "dpo"), workspace)
    assert with_head.trainable_parameters == without.trainable_parameters + 64
    assert events(trained(workspace, spec_of(pairs, "reward", max_steps=2)), "prepared")[0]["trainable_parameters"] == with_head.trainable_parameters
    short, long = (plan(by_trying(dataset, objective={"answer_tokens": tokens}), workspace) for tokens in (8, 64))
    assert long.seconds > short.seconds and long.memory_bytes > short.memory_bytes


def test_what_distance_costs_rises_while_answers_are_too_far_away_and_stays_where_nobody_asked(workspace: Workspace, dataset: Card) -> None:
    def costs(**settings: Any) -> list[tuple[float, float]]:
        objective = {"kl_coefficient": 0.05, "most_kl": None, **settings}
        run = trained(workspace, by_trying(dataset, objective=objective, max_steps=6, evaluate_every=6, learning_rate=1e-2))
        return [(step["metrics"]["KL"], step["metrics"]["KL coefficient"]) for step in events(run, "step")]

    adaptive = costs(kl_target=0.01)
    assert adaptive[0][1] == 0.05 and adaptive[-1][1] > 0.05
    for (distance, cost), (_, then) in pairwise(adaptive):
        assert then > cost if distance > 0.01 else then == max(0.05, then) <= cost
    assert {cost for _, cost in costs()} == {0.05}


def test_a_model_that_goes_too_far_is_stopped(workspace: Workspace, dataset: Card) -> None:
    settings = {"most_kl": 0.01, "kl_coefficient": 0.0}
    run = trained(workspace, by_trying(dataset, objective=settings, max_steps=20, evaluate_every=20, learning_rate=1e-2))
    finished = events(run, "finished")[0]
    assert finished["step"] < 20 and "nats from where the run began" in finished["message"]


def test_without_a_reward_there_is_nothing_to_learn(workspace: Workspace, dataset: Card) -> None:
    with pytest.raises(UserError, match="Nothing is rewarded. Choose a reward model, or set a rule"):
        plan(spec_of(dataset, "ppo"), workspace)
    with pytest.raises(UserError, match="is no regular expression"):
        spec_of(dataset, {"name": "ppo", "pattern": "("})
