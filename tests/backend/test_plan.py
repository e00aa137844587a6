"""The truth before the start: steps, what is cut or left out, and all that cannot work at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.train_tab import plan_html
from backend import device
from backend.data.augment import Augmentation, save_augmented
from backend.data.templating.sets import template_sets
from backend.data.versions import Card, Datasets
from backend.device import Memory
from backend.errors import UserError
from backend.examples import hold_out
from backend.fast.packed import packs
from backend.models import load_tokenizer, shape
from backend.plan import Plan, gigabytes, make_rows, memory_bytes, plan, schedule, with_saved_data
from backend.runs import Run
from backend.specs import RunSpec, TrainingSettings, parse_spec
from backend.workspace import Workspace
from tests.conftest import save_conversations, starter_rows


def spec_for(card: Card | None = None, **values: object) -> RunSpec:
    return parse_spec({"data": {"id": card.id if card else "nothing-here"}, **values})


def problems(spec: RunSpec, workspace: Workspace) -> tuple[str, ...]:
    with pytest.raises(UserError) as refusal:
        plan(spec, workspace)
    return refusal.value.problems


# ---- steps


def test_fifty_rows_are_enough_steps_to_see_a_curve() -> None:
    steps = schedule(TrainingSettings(), 50)
    assert steps.total_steps >= 20
    assert steps.evaluate_every <= steps.total_steps / 5


def test_many_rows_are_all_seen_once() -> None:
    steps = schedule(TrainingSettings(), 80_000)
    assert (steps.steps_per_epoch, steps.total_steps) == (10_000, 10_000)


def test_few_rows_are_not_seen_too_often() -> None:
    assert schedule(TrainingSettings(), 8).total_steps == 10


def test_steps_asked_for_are_the_steps_made() -> None:
    assert schedule(TrainingSettings(max_steps=7, epochs=3), 50).total_steps == 7
    assert schedule(TrainingSettings(epochs=3, batch_size=8), 50).total_steps == 21
    assert schedule(TrainingSettings(epochs=0.01), 50).total_steps == 1


def test_accumulated_batches_make_one_step() -> None:
    steps = schedule(TrainingSettings(epochs=1, batch_size=4, accumulation=3), 50)
    assert (steps.batch_size, steps.accumulation, steps.steps_per_epoch) == (4, 3, 5)  # 13 batches


def test_one_row_is_a_batch() -> None:
    steps = schedule(TrainingSettings(accumulation=8), 1)
    assert (steps.batch_size, steps.accumulation, steps.steps_per_epoch, steps.total_steps) == (1, 1, 1, 10)


@given(
    rows=st.integers(1, 500), batch_size=st.integers(1, 64), accumulation=st.integers(1, 16),
    epochs=st.none() | st.floats(0.01, 20), max_steps=st.none() | st.integers(1, 100), every=st.none() | st.integers(1, 1000),
)
def test_every_schedule_steps_and_evaluates(
    rows: int, batch_size: int, accumulation: int, epochs: float | None, max_steps: int | None, every: int | None
) -> None:
    settings = TrainingSettings(
        batch_size=batch_size, accumulation=accumulation, epochs=epochs, max_steps=max_steps, evaluate_every=every
    )
    steps = schedule(settings, rows)
    assert steps.total_steps >= 1 and 1 <= steps.evaluate_every <= steps.total_steps
    assert steps.batch_size <= rows and steps.batch_size * (steps.accumulation - 1) < rows
    assert steps.total_steps == max_steps if max_steps else True


@pytest.mark.parametrize(("batch_size", "rows"), [(8, 20), (6, 40), (2, 3), (7, 30), (3, 9), (5, 11)])
def test_smaller_pieces_make_the_same_steps(batch_size: int, rows: int) -> None:
    steps = schedule(TrainingSettings(batch_size=batch_size), rows)
    smaller = steps.with_smaller_batches()
    assert smaller.batch_size < steps.batch_size
    assert smaller.batch_size * smaller.accumulation == steps.batch_size * steps.accumulation
    assert smaller.total_steps == steps.total_steps


# ---- rows


def test_the_same_prompt_never_stands_on_both_sides() -> None:
    keys = [f"question {n % 17}" for n in range(60)]
    for seed in range(20):
        train, held = hold_out(keys, 0.2, seed=seed)
        assert not {keys[i] for i in train} & {keys[i] for i in held}
        assert sorted([*train, *held]) == list(range(60))
        assert 0 < len(held) < 30


def test_held_out_rows_are_the_same_for_the_same_seed_alone() -> None:
    keys = [str(n) for n in range(100)]
    assert hold_out(keys, 0.1, seed=1) == hold_out(keys, 0.1, seed=1)
    assert hold_out(keys, 0.1, seed=1) != hold_out(keys, 0.1, seed=2)
    assert len(hold_out(keys, 0.1, seed=1)[1]) == 10


@pytest.mark.parametrize(("keys", "share"), [(["a"], 0.5), (["a", "a"], 0.5), (["a", "b"], 0.0), ([], 0.1)])
def test_nothing_is_held_out_where_nothing_can_be(keys: list[str], share: float) -> None:
    assert hold_out(keys, share, seed=0) == (list(range(len(keys))), [])


def test_of_two_prompts_one_is_held_out() -> None:
    train, held = hold_out(["a", "b"], 0.01, seed=0)
    assert len(train) == len(held) == 1


def test_a_prompt_asked_twice_is_not_held_out_from_itself(workspace: Workspace) -> None:
    rows = starter_rows(10)
    again = [{"messages": [rows[0]["messages"][0], {"role": "assistant", "content": f"answer {n}"}]} for n in range(5)]
    card = save_conversations(workspace, [*rows, *again])
    spec = spec_for(card, training={"validation_share": 0.3})
    made = make_rows(spec, list(Datasets(workspace).iterate(card.id)), load_tokenizer(workspace.models / "starter"))
    assert len(made.train) + len(made.validation) == 15
    assert (len(made.train), len(made.validation)) in {(12, 3), (8, 7)}  # 3 of 10 prompts, with or without the repeated one


@pytest.mark.fault("prompts longer than the maximum")
def test_rows_cut_and_left_out_are_counted(workspace: Workspace) -> None:
    def row(prompt_words: int, answer_words: int, n: int) -> dict:
        turns = (("user", f"{n} " + "why " * prompt_words), ("assistant", "so " * answer_words))
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    rows = [*(row(1, 1, n) for n in range(10)), *(row(1, 200, n) for n in range(10, 13)), *(row(200, 1, n) for n in range(13, 17))]
    card = save_conversations(workspace, rows)
    planned = plan(spec_for(card, training={"max_length": 64, "validation_share": 0.0}), workspace)
    assert (planned.rows, planned.train_rows, planned.validation_rows, planned.cut_rows) == (17, 13, 0, 3)
    assert planned.left_out == {"nothing of its answer is left within 64 tokens": 4}


@pytest.mark.fault("prompts longer than the maximum")
def test_when_nothing_is_left_the_reason_is_said(workspace: Workspace, dataset: Card) -> None:
    (problem,) = problems(spec_for(dataset, training={"max_length": 8}), workspace)
    assert "No row is left to learn from" in problem and "rows: nothing of its answer is left within 8 tokens" in problem


# ---- augmented rows


def with_copies(datasets: Datasets, card: Card, *, copies: int) -> Card:
    """The next version of a data set, with augmented copies of every row."""
    return save_augmented(datasets, card.id, card.version, Augmentation(reworded=copies), template_sets().sets["rewording"])


def test_nothing_is_measured_on_augmented_rows_and_no_copy_of_a_held_out_row_is_learnt(workspace: Workspace, dataset: Card) -> None:
    datasets, tokenizer = Datasets(workspace), load_tokenizer(workspace.models / "starter")
    card = with_copies(datasets, dataset, copies=2)
    training = {"validation_share": 0.25}
    rows = make_rows(spec_for(card, training=training), list(datasets.iterate(card.id, 2)), tokenizer)
    plain = make_rows(spec_for(dataset, training=training), list(datasets.iterate(card.id, 1)), tokenizer)
    assert [example.input_ids for example in rows.validation] == [example.input_ids for example in plain.validation]
    assert (len(rows.train), len(rows.validation), rows.augmented) == (18 * 3, 6, 18 * 2)
    assert rows.left_out == {"augmented from a row that is held out": 12}


def test_augmented_rows_are_switched_off(workspace: Workspace, dataset: Card) -> None:
    datasets, tokenizer = Datasets(workspace), load_tokenizer(workspace.models / "starter")
    card = with_copies(datasets, dataset, copies=1)
    spec = spec_for(card, training={"augmented_rows": False})
    rows = make_rows(spec, list(datasets.iterate(card.id, 2)), tokenizer)
    plain = make_rows(spec_for(dataset), list(datasets.iterate(card.id, 1)), tokenizer)
    assert (rows.train, rows.validation, rows.augmented) == (plain.train, plain.validation, 0)
    assert rows.left_out == {"augmented, and switched off in the training settings": 24}


def test_the_card_says_how_many_rows_are_augmented(workspace: Workspace, dataset: Card) -> None:
    card = with_copies(Datasets(workspace), dataset, copies=1)
    planned = plan(spec_for(card), workspace)
    assert (planned.rows, planned.train_rows, planned.validation_rows, planned.augmented_rows) == (48, 44, 2, 22)
    assert "<dt>augmented</dt><dd>22 of 44 rows</dd>" in plan_html(planned)
    first = parse_spec({"data": {"id": dataset.id, "version": 1}})
    assert "augmented" not in plan_html(plan(first, workspace))


# ---- the card


def test_the_card_tells_the_truth(workspace: Workspace, dataset: Card) -> None:
    planned: Plan = plan(spec_for(dataset), workspace)
    assert (planned.rows, planned.train_rows, planned.validation_rows) == (24, 22, 2)
    assert planned.trainable_parameters == 2 * 8 * (128 + 96 + 96 + 128)  # rank x (inputs + outputs), two layers
    assert planned.memory_bytes > 4 * planned.trainable_parameters
    assert planned.seconds > 0 and not planned.measured_speed and planned.estimated_from is None


def test_time_is_told_from_an_earlier_run_where_there_is_one(workspace: Workspace, dataset: Card) -> None:
    spec = spec_for(dataset)
    arithmetic = plan(spec, workspace)
    run = Run.create(workspace, spec)
    for step in range(1, 7):
        run.events.append("step", step=step, tokens_per_second=10.0)
    measured = plan(spec, workspace)
    assert measured.measured_speed and measured.seconds > arithmetic.seconds
    tokens = arithmetic.tokens_per_epoch / arithmetic.train_rows * 8 * arithmetic.schedule.total_steps
    assert measured.seconds > tokens / 10


def test_a_large_set_is_judged_by_a_sample(workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = plan(spec_for(dataset), workspace)
    monkeypatch.setattr("backend.plan.ROWS_LOOKED_AT", 12)
    sampled = plan(spec_for(dataset), workspace)
    assert (sampled.rows, sampled.estimated_from) == (24, 12)
    assert abs(sampled.train_rows - exact.train_rows) <= 1
    assert sampled.tokens_per_epoch == pytest.approx(exact.tokens_per_epoch, rel=0.2)


# ---- learning from one's own answers


def by_trying(card: Card, objective: str, **settings: object) -> RunSpec:
    chosen = {"name": objective, "contains": ["e"], "answer_tokens": 16, **settings}
    return spec_for(card, objective=chosen, training={"max_steps": 4, "evaluate_every": 4})


def test_what_is_learnt_from_at_once_is_so_many_answers_however_many_a_prompt_gets(workspace: Workspace, dataset: Card) -> None:
    few, many = (plan(by_trying(dataset, "grpo", samples=samples), workspace) for samples in (2, 16))
    assert few.memory_bytes == many.memory_bytes and 2 * few.seconds < many.seconds < 8 * few.seconds
    wide = plan(by_trying(dataset, "grpo", minibatch=64), workspace)
    assert wide.memory_bytes > few.memory_bytes


def test_the_reward_model_that_is_asked_takes_memory_too(workspace: Workspace, dataset: Card) -> None:
    spec, tokenizer = by_trying(dataset, "rloo"), load_tokenizer(workspace.models / "starter")
    measured, rows = shape(workspace.models / "starter"), make_rows(spec, list(Datasets(workspace).iterate(dataset.id)), tokenizer)
    judged = by_trying(dataset, "rloo", reward_run="judge-abcdef")
    more = memory_bytes(judged, measured, rows, 8) - memory_bytes(spec, measured, rows, 8)
    assert more == measured.parameters * device.dtype("auto").itemsize


# ---- what cannot work


def test_missing_data_and_a_missing_model_are_said_together(workspace: Workspace) -> None:
    found = problems(spec_for(base_model="/nowhere/at/all"), workspace)
    assert len(found) == 2
    assert any("/nowhere/at/all" in problem for problem in found) and any("nothing-here" in problem for problem in found)


@pytest.mark.fault("a model larger than memory")
def test_too_long_and_too_large_are_said_together(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "memory", lambda: Memory(used=999_000_000, total=1_000_000_000))
    found = problems(spec_for(dataset, training={"max_length": 1000}), workspace)
    assert len(found) == 2
    assert found[0].startswith("The maximum length of 1,000 tokens is more than the 512 this model can read. Lower it.")
    assert found[1].startswith("About ") and "of memory is needed and 1 MB is free" in found[1]


@pytest.mark.fault("disk full: before the start")
def test_a_full_disk_is_seen_before_the_start(workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    (problem,) = problems(spec_for(dataset), workspace)
    assert "of disk and 0 MB is free" in problem


@pytest.mark.parametrize("objective", ["sft", "pretraining"])
def test_the_wrong_kind_of_data_is_refused(objective: str, workspace: Workspace, request: pytest.FixtureRequest) -> None:
    wrong: Callable[..., object] = request.getfixturevalue("texts" if objective == "sft" else "dataset")
    (problem,) = problems(spec_for(wrong, objective={"name": objective}), workspace)  # type: ignore[arg-type]
    assert "Choose other data, or another objective." in problem


def test_each_objective_takes_its_kind(workspace: Workspace, dataset: Card, texts: Card) -> None:
    assert plan(spec_for(dataset), workspace).train_rows == 22
    assert plan(spec_for(texts, objective={"name": "pretraining"}, training={"max_length": 64}), workspace).train_rows > 5


def test_full_fine_tuning_needs_more_memory_than_lora_and_qlora_less_for_weights(workspace: Workspace, dataset: Card) -> None:
    specs = {name: spec_for(dataset, method={"name": name}) for name in ("full", "lora", "qlora")}
    assert plan(specs["full"], workspace).memory_bytes > plan(specs["lora"], workspace).memory_bytes
    weights = {name: spec.method.weight_bytes(shape(workspace.models / "starter"), torch.bfloat16) for name, spec in specs.items()}
    assert weights["full"] > weights["lora"] > weights["qlora"]


def test_a_file_becomes_a_data_set_once(workspace: Workspace, dataset: Card) -> None:
    file = workspace.root / "questions.jsonl"
    spec = parse_spec({"data": {"path": str(file)}})
    first, again = with_saved_data(spec, workspace), with_saved_data(spec, workspace)
    assert first.data == again.data
    assert (first.data.id, first.data.version) == (dataset.id, 1)


def test_a_spec_names_its_version_once_it_runs(workspace: Workspace, dataset: Card) -> None:
    assert with_saved_data(spec_for(dataset), workspace).data.version == 1


@pytest.mark.fault("learning rate, epochs, batch or length that cannot be")
def test_every_problem_of_a_spec_is_named_at_once() -> None:
    with pytest.raises(UserError) as refusal:
        parse_spec({"nmae": "x", "method": {"name": "lora", "rank": 0}, "training": {"epochs": float("nan"), "batch_size": 0}})
    text = "\n".join(refusal.value.problems)
    assert len(refusal.value.problems) == 5
    assert all(word in text for word in ("nmae", "rank", "epochs", "batch_size", "data"))


@pytest.mark.fault("learning rate, epochs, batch or length that cannot be")
@pytest.mark.parametrize(("name", "values"), [
    ("learning_rate", (0, -1e-4, float("nan"), float("inf"), "fast")), ("epochs", (0, -1, float("inf"), "many")),
    ("batch_size", (0, -2, 1.5, "all")), ("max_length", (0, -1, float("nan"), "long")), ("max_steps", (0, -3, "few")),
])  # fmt: skip
def test_a_number_that_cannot_be_is_refused_by_name(name: str, values: tuple[Any, ...], dataset: Card) -> None:
    for value in values:
        with pytest.raises(UserError) as refusal:
            parse_spec({"data": {"id": dataset.id, "version": 1}, "training": {name: value}})
        (problem,) = refusal.value.problems
        assert name in problem and "Traceback" not in problem


def test_a_size_is_told_in_words() -> None:
    assert [gigabytes(n) for n in (1_800_000_000, 1e9, 999_400_000, 0)] == ["1.8 GB", "1.0 GB", "999 MB", "0 MB"]


@pytest.mark.parametrize("method", ["full", "qlora", "lora"])
def test_a_run_that_shares_no_weights_with_chat_says_what_a_second_copy_costs(method: str, workspace: Workspace, dataset: Card, tiny_model: Path) -> None:
    spec = parse_spec({"data": {"id": dataset.id}, "base_model": str(tiny_model), "method": {"name": method}})
    copies = 2 if device.device().type == "cpu" and packs(device.dtype("auto")) else 1
    cost = gigabytes(copies * shape(tiny_model).parameters * device.dtype("auto").itemsize)
    told = [note for note in plan(spec, workspace).notes if note.endswith(f"beside it takes a copy of its own: {cost} more.")]
    assert len(told) == (method != "lora")
