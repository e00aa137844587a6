"""Whole runs on a tiny model: as they should go, and stopped, killed, damaged, out of memory, astray."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend import headless, models, policy_trainer, trainer, training
from backend.checkpoints import whole_checkpoints
from backend.data.versions import Card, Datasets
from backend.device import Turns, device, dtype
from backend.errors import UserError
from backend.events import Status
from backend.examples import collate
from backend.fast import quicken
from backend.inference import Playground, Shelf, Speaker, share_weights
from backend.loss import Scorer
from backend.models import load_tokenizer
from backend.plan import make_rows
from backend.runs import Run, Runs, true_events
from backend.sampling import Sampling
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace, write_whole
from tests.conftest import make_workspace, save_conversations, starter_rows

REPOSITORY = Path(__file__).parents[2]
# dropout, so that the dice count; accumulation and 3 steps an epoch, so that a stop falls into the middle of things
SETTINGS: dict[str, Any] = {
    "method": {"name": "lora", "dropout": 0.1},
    "training": {"max_steps": 12, "batch_size": 4, "accumulation": 2, "evaluate_every": 4, "probes": ["Why?"], "early_stopping": False},
}


def spec_for(card: Card, **settings: Any) -> RunSpec:
    """SETTINGS, with some of the training's changed."""
    merged = {**SETTINGS, "data": {"id": card.id, "version": card.version}}
    if method := settings.pop("method", None):
        merged["method"] = {"name": method}
    return parse_spec({**merged, "training": {**SETTINGS["training"], **settings}})


def go(run: Run, *, stop_after: int | None = None) -> Status:
    """Train a run here, asked to stop once `stop_after` more steps are told."""
    told = 0

    def emit(kind: Any, **fields: Any) -> Any:
        nonlocal told
        told += kind == "step"
        return run.events.append(kind, **fields)

    return training.train(run.spec, run, emit, lambda: stop_after is not None and told >= stop_after)


def trained(workspace: Workspace, spec: RunSpec) -> Run:
    run = Run.create(workspace, spec)
    assert go(run) == "done", told(run, "finished")
    return run


def told(run: Run, kind: str) -> list[Any]:
    return [event for event in true_events(run.events.read()[0]) if event["kind"] == kind]


def curve(run: Run) -> list[tuple[Any, ...]]:
    """All that a step tells but its speed; compared to the last bit."""
    return [tuple(step[key] for key in ("step", "epoch", "loss", "grad_norm", "learning_rate")) for step in told(run, "step")]


def evaluations(run: Run) -> list[tuple[int, float]]:
    return [(event["step"], event["loss"]) for event in told(run, "evaluated")]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(next(run.result.glob("*.safetensors")))


def same_weights(one: Run, other: Run) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module", autouse=True)
def _short_answers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "PROBE", Sampling(max_tokens=8))
        yield


@pytest.fixture(scope="module")
def uninterrupted(_short_answers: None, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What every broken-off run is held against. Read it, never write to it."""
    workspace = make_workspace(tmp_path_factory.mktemp("uninterrupted") / "workspace", tiny_model)
    return trained(workspace, spec_for(save_conversations(workspace, starter_rows(24))))


@pytest.fixture
def keep_signals() -> Iterator[None]:
    """Headless runs listen to signals; put back what pytest listens with."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, listener in before.items():
        signal.signal(number, listener)


# ---- as it should go


def test_a_headless_run_from_a_file_to_a_result(workspace: Workspace, tmp_path: Path, keep_signals: None) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in starter_rows(24)))
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({**SETTINGS, "name": "My run", "data": {"path": str(file)}}))
    assert headless.train(spec, workspace.root) == 0

    (run,) = Runs(workspace).with_result()
    assert run.status == "done" and run.id.startswith("my-run-")
    assert {path.name for path in run.folder.iterdir()} >= {"spec.json", "events.jsonl", "result"}
    assert not run.checkpoints.exists() and not run.is_held()
    assert {path.name for path in run.result.iterdir()} >= {
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja", "manifest.json",
    }
    assert not [path for path in run.result.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    assert parse_spec(json.loads((run.folder / "spec.json").read_text())) == run.spec
    model, tokenizer = Shelf(workspace).get(Speaker("run", run.id))
    assert model(input_ids=torch.tensor([tokenizer("Why?")["input_ids"]])).logits.isfinite().all()


def test_events_come_in_their_order(uninterrupted: Run) -> None:
    events = uninterrupted.events.read()[0]
    assert [event["kind"] for event in events[:6]] == ["queued", "started", "prepared", "step", "evaluated", "sampled"]
    assert events[4]["base"] and events[5]["base"]  # the first point does not wait for what lies beneath an adapter
    block = ["step"] * 4 + ["evaluated", "saved", "sampled"]
    kinds = ["step", *(event["kind"] for event in events[6:-1] if not (event["kind"] == "saved" and not event["best"]))]
    assert [kind for kind in kinds if kind != "saved"] == [kind for kind in block * 3 if kind != "saved"]
    assert [step["step"] for step in told(uninterrupted, "step")] == list(range(1, 13))
    assert [event["step"] for event in told(uninterrupted, "evaluated")] == [0, 4, 8, 12]
    assert events[-1]["kind"] == "finished" and events[-1]["status"] == "done" and events[-1]["step"] == 12
    assert events[-1]["peak_memory_bytes"] > 0


def test_what_was_announced_is_what_was_done(uninterrupted: Run) -> None:
    (prepared,) = told(uninterrupted, "prepared")
    assert (prepared["rows"], prepared["validation_rows"], prepared["total_steps"]) == (22, 2, 12)
    assert sum(tensor.numel() for tensor in weights(uninterrupted).values()) == prepared["trainable_parameters"]
    assert told(uninterrupted, "step")[-1]["epoch"] == pytest.approx(4)
    assert max(rate for *_, rate in curve(uninterrupted)) == pytest.approx(1e-3)  # the method's own


def test_training_lowers_the_loss(workspace: Workspace, dataset: Card) -> None:
    run = trained(workspace, spec_for(dataset, max_steps=40, evaluate_every=40, learning_rate=1e-2))
    losses = [step["loss"] for step in told(run, "step")]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.5
    base, learnt = (loss for _, loss in evaluations(run))
    assert learnt < base - 0.5


def test_continued_pretraining_lowers_the_loss(workspace: Workspace, texts: Card) -> None:
    spec = parse_spec({
        "data": {"id": texts.id}, "objective": {"name": "pretraining"}, "method": {"name": "full"},
        "training": {"max_steps": 20, "batch_size": 4, "max_length": 64, "learning_rate": 5e-3, "evaluate_every": 20},
    })
    run = trained(workspace, spec)
    base, learnt = (loss for _, loss in evaluations(run))
    assert learnt < base - 0.5


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(workspace: Workspace, dataset: Card, uninterrupted: Run) -> None:
    again = trained(workspace, spec_for(dataset))
    assert curve(again) == curve(uninterrupted) and evaluations(again) == evaluations(uninterrupted)
    assert same_weights(again, uninterrupted)
    assert curve(trained(workspace, spec_for(dataset, seed=1))) != curve(uninterrupted)


def test_pieces_of_a_step_add_up_to_the_whole(workspace: Workspace) -> None:
    """One step over all 16 rows: in one batch, and in four accumulated ones."""
    card = save_conversations(workspace, starter_rows(16), name="sixteen")
    common: dict[str, Any] = {"validation_share": 0.0, "max_steps": 3, "precision": "fp32", "method": "adapter"}
    whole = trained(workspace, spec_for(card, batch_size=16, accumulation=1, **common))
    pieces = trained(workspace, spec_for(card, batch_size=4, accumulation=4, **common))
    for ours, theirs in zip(curve(pieces), curve(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_base_is_measured_as_it_is(uninterrupted: Run) -> None:
    model = models.load(uninterrupted.workspace.models / "starter", dtype("auto"), device=device())
    assert held_out_loss(model, uninterrupted.workspace, uninterrupted.spec) == pytest.approx(evaluations(uninterrupted)[0][1], rel=1e-3)


def held_out_loss(model: torch.nn.Module, workspace: Workspace, spec: RunSpec) -> float:
    """Computed as a run computes it: in bf16, weights that have gone this far tell otherwise by the stock parts."""
    quicken(model)
    records = list(Datasets(workspace).iterate(spec.data.id or ""))
    tokenizer = load_tokenizer(workspace.models / "starter")
    batch = collate(make_rows(spec, records, tokenizer).validation, tokenizer.pad_token_id)
    with torch.no_grad():
        return spec.objective.score(Scorer(model, model), batch).loss.item() / spec.objective.batch_weight(batch)


def soon_too_far(card: Card) -> RunSpec:
    """Steps so large that the held-out loss soon rises, and the run ends early."""
    return spec_for(
        card, early_stopping=True, patience=2, evaluate_every=1, learning_rate=0.2, max_steps=40, max_grad_norm=1000, schedule="constant"
    )


def test_early_stopping_keeps_the_best_weights_and_not_the_last(workspace: Workspace, dataset: Card) -> None:
    run = trained(workspace, soon_too_far(dataset))
    (finished,) = told(run, "finished")
    losses = {step: loss for step, loss in evaluations(run) if step}
    assert finished["step"] < 40 and finished["message"].startswith("Stopped early")
    assert finished["best_step"] == finished["step"] - 2 == min(losses, key=losses.__getitem__)
    model, _ = Shelf(workspace).get(Speaker("run", run.id))
    assert held_out_loss(model, workspace, run.spec) == pytest.approx(finished["best_loss"], rel=1e-3)


def test_without_early_stopping_the_last_weights_are_kept(workspace: Workspace, dataset: Card) -> None:
    run = trained(workspace, spec_for(dataset, evaluate_every=1, learning_rate=0.2, max_steps=4, max_grad_norm=1000, schedule="constant"))
    (finished,) = told(run, "finished")
    model, _ = Shelf(workspace).get(Speaker("run", run.id))
    assert finished["step"] == 4
    assert held_out_loss(model, workspace, run.spec) == pytest.approx(evaluations(run)[-1][1], rel=1e-3)


# ---- stopped, killed, damaged


@pytest.mark.fault("stop, and go on")
def test_a_stopped_run_answers_in_chat_and_goes_on_along_the_same_curve(
    workspace: Workspace, dataset: Card, uninterrupted: Run, keep_signals: None
) -> None:
    run = Run.create(workspace, spec_for(dataset))
    assert go(run, stop_after=4) == "stopped"
    assert run.status == "stopped" and run.has_result
    assert 4 <= len(curve(run)) < 12
    assert Playground(workspace, Turns()).answer(Speaker("run", run.id), "Why?", sampling=Sampling(temperature=1, max_tokens=8)).tokens
    assert headless.resume(run.id, workspace.root) == 0
    assert Runs(workspace).ids().count(run.id) == 1
    assert curve(run) == curve(uninterrupted)
    assert evaluations(run) == evaluations(uninterrupted)
    assert same_weights(run, uninterrupted)


@pytest.mark.fault("stop, and go on")
@pytest.mark.parametrize("method", ["full", "prefix", "prompt", "qlora", "adapter"])
def test_every_method_goes_on_along_the_same_curve(method: str, workspace: Workspace, dataset: Card) -> None:
    spec = spec_for(dataset, method=method, max_steps=5, evaluate_every=5)
    whole, run = trained(workspace, spec), Run.create(workspace, spec)
    assert go(run, stop_after=2) == "stopped"
    assert go(run) == "done"
    assert curve(run) == curve(whole) and evaluations(run) == evaluations(whole) and same_weights(run, whole)


@pytest.mark.fault("stop, and go on")
def test_continued_pretraining_goes_on_along_the_same_curve(workspace: Workspace, texts: Card) -> None:
    spec = parse_spec({**SETTINGS, "data": {"id": texts.id}, "objective": {"name": "pretraining"}, "training": {**SETTINGS["training"], "max_steps": 5}})
    whole, run = trained(workspace, spec), Run.create(workspace, spec)
    assert go(run, stop_after=2) == "stopped"
    assert go(run) == "done"
    assert curve(run) == curve(whole) and evaluations(run) == evaluations(whole) and same_weights(run, whole)


@pytest.mark.fault("stop, and go on")
def test_a_run_is_stopped_while_its_weights_are_read(
    workspace: Workspace, dataset: Card, uninterrupted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading: list[str] = []

    def load(*args: Any, **settings: Any) -> Any:
        reading.append("begun")
        model = read(*args, **settings)
        reading.append("done")
        return model

    read = models.load
    monkeypatch.setattr(models, "load", load)
    run = Run.create(workspace, spec_for(dataset))
    assert training.train(run.spec, run, run.events.append, lambda: bool(reading)) == "stopped"
    assert reading == ["begun"] and not curve(run)
    assert go(run) == "done" and curve(run) == curve(uninterrupted)


@pytest.mark.fault("stop, and go on")
def test_an_evaluation_a_stop_broke_off_is_made_when_the_run_goes_on(workspace: Workspace, dataset: Card, uninterrupted: Run) -> None:
    run = Run.create(workspace, spec_for(dataset))
    assert go(run, stop_after=8) == "stopped"  # heard of in the eighth step's evaluation
    assert len(curve(run)) == 8 and evaluations(run)[-1][0] == 4
    assert go(run) == "done"
    assert evaluations(run) == evaluations(uninterrupted) and curve(run) == curve(uninterrupted)


@pytest.mark.fault("stop, and go on")
@pytest.mark.parametrize("behind_the_best", [1, 2], ids=["after the last good look", "at the look that ends it"])
def test_a_run_that_goes_on_ends_as_early_as_it_would_have(behind_the_best: int, workspace: Workspace, dataset: Card) -> None:
    """It knows the best loss, and how often in a row others were worse."""
    whole = trained(workspace, soon_too_far(dataset))
    best = told(whole, "finished")[0]["best_step"]
    run = Run.create(workspace, whole.spec)
    assert go(run, stop_after=best + behind_the_best) == "stopped"  # heard of before the look at that step
    assert go(run) == "done"
    assert curve(run) == curve(whole) and evaluations(run) == evaluations(whole) and same_weights(run, whole)
    ends = [told(each, "finished")[-1] for each in (run, whole)]
    assert len({(end["message"], end["step"], end["best_step"], end["best_loss"]) for end in ends}) == 1


@pytest.mark.fault("stop, and go on")
@pytest.mark.parametrize("objective", ["sft", "grpo"])
def test_the_best_weights_of_steps_that_were_lost_are_not_the_result_of_a_run_that_goes_on(
    objective: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with better weights than its checkpoint knows of, and stopped again before it has made them anew."""
    monkeypatch.setattr(trainer.StudioTrainer, "_judge", _better_each_time(trainer.StudioTrainer._judge))
    monkeypatch.setattr(policy_trainer.PolicyTrainer, "_keep_if_best", _better_each_time(policy_trainer.PolicyTrainer._keep_if_best))
    spec = spec_for(dataset, max_steps=7, evaluate_every=2, early_stopping=True, patience=5)
    if objective == "grpo":
        spec = parse_spec({**json.loads(spec.model_dump_json()), "objective": {"name": "grpo", "contains": ["e"], "answer_tokens": 4}})
    run, other = Run.create(workspace, spec), Run.create(workspace, spec)
    assert go(run, stop_after=3) == go(other, stop_after=3) == "stopped"
    with monkeypatch.context() as patch:
        for module in (trainer, policy_trainer):
            patch.setattr(module, "SAVING_SHARE", -1)  # no checkpoint but where it is stopped
        with pytest.raises(Killed):
            training.train(run.spec, run, _killing_at(6, run), lambda: False)
    assert [event["step"] for event in told(run, "saved") if event["best"]][-1] == 4
    assert go(run, stop_after=1) == go(other, stop_after=1) == "stopped"  # heard of before the look at that step
    end = told(run, "finished")[-1]
    assert (end["step"], end["best_step"]) == (4, 2) and same_weights(run, other)
    assert go(run) == "done" and told(run, "finished")[-1]["best_step"] == 7


class Killed(BaseException):
    """Nothing in the studio catches it."""


def _killing_at(step: int, run: Run) -> Callable[..., Any]:
    def emit(kind: Any, **fields: Any) -> Any:
        if kind == "step" and fields["step"] == step:
            raise Killed
        return run.events.append(kind, **fields)

    return emit


def _better_each_time(judge: Callable[..., None]) -> Callable[..., None]:
    """As if each look found a lower loss than the one before."""
    return lambda self, loss, *args: judge(self, -float(self.step), *args)


@pytest.mark.fault("stop, and go on")
def test_a_stop_that_comes_after_the_look_that_ends_a_run_ends_nothing_else(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for while the answers after that look are written."""
    whole = trained(workspace, soon_too_far(dataset))
    run, real, last = Run.create(workspace, whole.spec), training._probe, len(curve(whole))

    def probe(model: Any, ready: Any, report: Any, step: int) -> None:
        if step == last:
            report.should_stop = lambda: True
        real(model, ready, report, step)

    monkeypatch.setattr(training, "_probe", probe)
    assert go(run) == "done"
    assert curve(run) == curve(whole) and told(run, "finished")[-1]["message"] == told(whole, "finished")[-1]["message"]


@pytest.mark.fault("the process is killed at any step, in any save")
@pytest.mark.parametrize("objective", ["sft", "grpo"])
def test_cut_off_while_its_result_is_written_a_run_that_ended_early_makes_no_step_more(
    objective: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (trainer, policy_trainer):
        monkeypatch.setattr(module, "SAVING_SHARE", 1)  # a checkpoint at every look, that which ends the run too
    spec = soon_too_far(dataset)
    if objective == "grpo":
        values = json.loads(spec_for(dataset, max_steps=6, evaluate_every=1, early_stopping=True, patience=1).model_dump_json())
        spec = parse_spec({**values, "objective": {"name": "grpo", "contains": ["no model says this"], "answer_tokens": 4}})
    whole, broken = trained(workspace, spec), Run.create(workspace, spec)
    assert told(whole, "finished")[-1]["message"].startswith("Stopped early")

    def cut_off(partial: Path, place: Path) -> None:
        raise OSError("the result cannot be written (made up)")

    with monkeypatch.context() as patch:
        patch.setattr(training, "put_in_place", cut_off)
        assert go(broken) == "failed" and f"step-{len(curve(whole))}" in {folder.name for folder in broken.checkpoints.glob("step-*")}
    assert go(broken) == "done"
    assert curve(broken) == curve(whole) and told(broken, "finished")[-1]["message"] == told(whole, "finished")[-1]["message"]


@pytest.mark.fault("chat while training")
def test_what_chat_has_loaded_is_taken_over_in_a_turn_of_ones_own(workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads a prompt with it has hooks on it for that long, which the run's own model must not inherit."""
    folder, turns, taken_over = workspace.models / "starter", [], []
    base = models.load(folder, dtype("auto"), device=device())

    @contextmanager
    def turn() -> Iterator[None]:
        turns.append(1)
        yield
        turns.pop()

    def share(model: Any) -> Any:
        taken_over.append(bool(turns))
        return share_weights(model)

    monkeypatch.setattr(training, "share_weights", share)
    report = trainer.Reporter(lambda *_, **__: None, lambda: False, turn, borrow=lambda _: base)
    training._load(spec_for(dataset), folder, report)
    assert taken_over == [True]


@pytest.mark.fault("stop, and go on")
def test_a_run_asked_to_stop_before_its_first_step(workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, spec_for(dataset))
    assert go(run, stop_after=0) == "stopped"
    assert not run.has_result and not told(run, "step")
    assert go(run) == "done"


def test_a_done_run_cannot_be_resumed(uninterrupted: Run) -> None:
    with pytest.raises(UserError, match="nothing to resume"):
        headless.resume(uninterrupted.id, uninterrupted.workspace.root)


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from backend.runs import Runs
from backend.training import train
from backend.workspace import Workspace, write_whole

run = Runs(Workspace(Path(sys.argv[1]))).get(sys.argv[2])

def emit(kind, **fields):
    event = run.events.append(kind, **fields)
    if kind == "step" and fields["step"] == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return event

with run.lock():
    train(run.spec, run, emit, lambda: False)
"""


@pytest.mark.fault("the process is killed at any step, in any save")
def test_a_killed_run_goes_on_along_the_same_curve(
    workspace: Workspace, dataset: Card, uninterrupted: Run, keep_signals: None
) -> None:
    run = Run.create(workspace, spec_for(dataset))
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(workspace.root), run.id, "7"], cwd=REPOSITORY, capture_output=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    assert run.status == "running" and not run.is_held()
    assert len(curve(run)) == 7
    assert headless.resume(run.id, workspace.root) == 0
    resumed = [event for event in run.events.read()[0] if event["kind"] == "started"][-1]
    assert resumed["resumed_from"] == 4
    assert curve(run) == curve(uninterrupted)
    assert evaluations(run) == evaluations(uninterrupted)
    assert same_weights(run, uninterrupted)


@pytest.fixture
def twice_stopped(workspace: Workspace, dataset: Card) -> tuple[Run, Path, Path]:
    """A run with its newest checkpoint and the one before."""
    run = Run.create(workspace, spec_for(dataset))
    go(run, stop_after=2)
    go(run, stop_after=3)
    newer, older = whole_checkpoints(run.checkpoints)
    return run, older, newer


def cut_the_optimizer(checkpoint: Path) -> None:
    file = checkpoint / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.fault("a checkpoint is damaged or incomplete")
@pytest.mark.parametrize("damage", [
    cut_the_optimizer, lambda folder: (folder / "rng_state.pth").unlink(), lambda folder: (folder / "manifest.json").write_text("{"), shutil.rmtree,
], ids=["cut", "a file gone", "no list of files", "all gone"])
def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(
    damage: Callable[[Path], object], twice_stopped: tuple[Run, Path, Path], uninterrupted: Run
) -> None:
    run, older, newer = twice_stopped
    damage(newer)
    assert go(run) == "done"
    resumed = [event for event in run.events.read()[0] if event["kind"] == "started"][-1]
    assert f"step-{resumed['resumed_from']}" == older.name
    (warning,) = told(run, "warned")
    assert newer.name.removeprefix("step-") in warning["message"] and "damaged" in warning["message"]
    assert curve(run) == curve(uninterrupted)


@pytest.mark.fault("a checkpoint is damaged or incomplete")
def test_with_every_checkpoint_damaged_a_run_begins_anew_and_says_so(twice_stopped: tuple[Run, Path, Path], uninterrupted: Run) -> None:
    run, older, newer = twice_stopped
    cut_the_optimizer(older)
    cut_the_optimizer(newer)
    assert go(run) == "done"
    assert len(told(run, "warned")) == 1
    assert curve(run) == curve(uninterrupted) and evaluations(run) == evaluations(uninterrupted)


def test_the_clock_goes_on_where_it_stood(workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, spec_for(dataset))
    go(run, stop_after=4)
    before = told(run, "step")[-1]["seconds"]
    go(run)
    seconds = [step["seconds"] for step in told(run, "step")]
    assert seconds == sorted(seconds) and seconds[-1] > before > 0


# ---- what goes wrong on the way


@pytest.fixture
def on_training_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any, int], None]], None]:
    """Calls a function with the model and the number of rows before each forward pass of training."""
    load = models.load

    def install(function: Callable[[Any, int], None]) -> None:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            if module.training:
                layout = kwargs.get("attention_mask")  # where rows lie end to end; else a row is a row
                function(module, len(kwargs["input_ids"]) if layout is None else layout.shape[-1])

        def hooked(*args: Any, **kwargs: Any) -> Any:
            model = load(*args, **kwargs)
            model.register_forward_pre_hook(hook, with_kwargs=True)
            return model

        monkeypatch.setattr(training.models, "load", hooked)

    return install


@pytest.mark.fault("NaN or infinite loss or gradient")
def test_a_loss_that_is_no_number_ends_the_run_in_words_and_it_goes_on_from_before(
    workspace: Workspace, dataset: Card, uninterrupted: Run, on_training_pass: Callable[[Callable[[Any, int], None]], None]
) -> None:
    passes = []

    def poison(model: Any, rows: int) -> None:
        passes.append(rows)
        if len(passes) == 11:  # in the sixth step
            model.get_input_embeddings().weight.data.fill_(math.nan)

    on_training_pass(poison)
    run = Run.create(workspace, spec_for(dataset))
    assert go(run) == "failed"
    (finished,) = told(run, "finished")
    assert "Training went astray: the loss is nan" in finished["message"]
    assert "0.001 is probably too high; try 0.0003" in finished["message"] and "best weights so far are kept" in finished["message"]
    assert len(curve(run)) == 5
    for line in run.events.path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} among the events"))
    assert go(run) == "done", "what had gone astray is not in the checkpoint"
    assert curve(run) == curve(uninterrupted) and same_weights(run, uninterrupted)


@pytest.mark.fault("NaN or infinite loss or gradient")
def test_a_gradient_that_is_no_number_never_reaches_the_weights(
    workspace: Workspace, dataset: Card, on_training_pass: Callable[[Callable[[Any, int], None]], None]
) -> None:
    passes = []

    def poison(model: Any, rows: int) -> None:
        passes.append(rows)
        if len(passes) == 3:
            tensor = next(p for p in model.parameters() if p.requires_grad)
            tensor.register_hook(lambda grad: grad * math.inf)

    on_training_pass(poison)
    run = Run.create(workspace, spec_for(dataset))
    assert go(run) == "failed"
    (finished,) = told(run, "finished")
    assert "gradient's norm is" in finished["message"]
    assert len(curve(run)) == 1


@pytest.mark.fault("NaN or infinite loss or gradient")
@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_held_out_loss_that_is_no_number_ends_the_run_in_words_and_it_goes_on_from_before(
    broken: float, workspace: Workspace, dataset: Card, uninterrupted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looks = trainer.measure, []

    def measure(objective: Any, scorer: Any, batches: Any, **rest: Any) -> Any:
        looks.append(scorer)
        if len(looks) == 2:  # after the eighth step
            scorer.head.weight.data[0] = broken
        return real(objective, scorer, batches, **rest)

    run = Run.create(workspace, spec_for(dataset))
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "measure", measure)
        assert go(run) == "failed"
    (finished,) = told(run, "finished")
    assert finished["message"].startswith("Training went astray: the held-out loss is ") and "try 0.0003" in finished["message"]
    assert "best weights so far are kept" in finished["message"] and [step for step, _ in evaluations(run)] == [0, 4]
    assert go(run) == "done"
    assert curve(run) == curve(uninterrupted) and evaluations(run) == evaluations(uninterrupted) and same_weights(run, uninterrupted)


@pytest.mark.fault("NaN or infinite loss or gradient")
def test_a_base_model_with_broken_weights_is_named_as_the_cause(workspace: Workspace, dataset: Card) -> None:
    file = workspace.models / "starter" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"].fill_(math.nan)
    save_file(tensors, file, metadata={"format": "pt"})
    run = Run.create(workspace, spec_for(dataset))
    assert go(run) == "failed"
    (finished,) = told(run, "finished")
    assert "base model" in finished["message"] and "learning rate" not in finished["message"]


def too_little_memory_for(limit: int, *, after_passes: int, seen: list[int]) -> Callable[[Any, int], None]:
    """Memory for `limit` rows at once; more go well for the first few passes, as with rows that are short."""

    def check(model: Any, rows: int) -> None:
        seen.append(rows)
        if rows > limit and len(seen) > after_passes:
            raise torch.OutOfMemoryError("CUDA out of memory (made up)")

    return check


@pytest.fixture
def sixteen(workspace: Workspace) -> Card:
    return save_conversations(workspace, starter_rows(16), name="sixteen")


def eight_at_once(card: Card, *, evaluate_every: int) -> RunSpec:
    return spec_for(card, validation_share=0.0, batch_size=8, accumulation=1, max_steps=6, evaluate_every=evaluate_every)


@pytest.mark.fault("the process is killed at any step, in any save")
def test_cut_off_while_its_result_is_written_a_run_makes_no_step_more(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_for(dataset, max_steps=5, evaluate_every=5)  # in the middle of an epoch
    whole, broken = trained(workspace, spec), Run.create(workspace, spec)

    def cut_off(partial: Path, place: Path) -> None:
        raise OSError("the result cannot be written (made up)")

    with monkeypatch.context() as patch:
        patch.setattr(training, "put_in_place", cut_off)
        assert go(broken) == "failed" and not broken.has_result
    assert go(broken) == "done"
    assert curve(broken) == curve(whole) and evaluations(broken) == evaluations(whole) and same_weights(broken, whole)


@pytest.mark.fault("out of memory")
def test_out_of_memory_before_the_first_checkpoint_begins_again_with_smaller_pieces_of_the_same_step(
    workspace: Workspace, sixteen: Card, on_training_pass: Callable[[Callable[[Any, int], None]], None]
) -> None:
    seen: list[int] = []
    on_training_pass(too_little_memory_for(2, after_passes=3, seen=seen))
    run = trained(workspace, eight_at_once(sixteen, evaluate_every=6))
    assert [step for step, *_ in curve(run)] == list(range(1, 7))
    assert seen == [8] * 4 + [4] + [2] * 24  # four passes of two rows make each of the six steps
    assert len(told(run, "warned")) == 2
    assert "Started again from clean weights with 2 rows at once and 4 times accumulated" in told(run, "warned")[-1]["message"]
    assert sum(event["kind"] == "sampled" and event["base"] for event in true_events(run.events.read()[0])) == 1


@pytest.mark.fault("out of memory")
def test_out_of_memory_costs_only_the_steps_since_the_checkpoint_and_is_remembered(
    workspace: Workspace, sixteen: Card, on_training_pass: Callable[[Callable[[Any, int], None]], None]
) -> None:
    seen: list[int] = []
    on_training_pass(too_little_memory_for(4, after_passes=3, seen=seen))
    whole, run = (Run.create(workspace, eight_at_once(sixteen, evaluate_every=2)) for _ in range(2))
    assert go(whole) == "done"
    assert seen == [8] * 4 + [4] * 8  # the checkpoint of step 2 stands
    assert "Going on from step 2 with 4 rows at once and 2 times accumulated" in told(whole, "warned")[0]["message"]
    seen.clear()
    assert go(run, stop_after=4) == "stopped"  # three steps, and the first one made again
    before = len(seen)
    assert go(run) == "done"
    assert seen[before:] == [4] * 6, "it knows that eight rows are too many"
    assert curve(run) == curve(whole) and same_weights(run, whole)


@pytest.mark.fault("out of memory")
def test_steps_in_smaller_pieces_are_the_steps_they_would_have_been(
    workspace: Workspace, sixteen: Card, on_training_pass: Callable[[Callable[[Any, int], None]], None]
) -> None:
    enough = trained(workspace, eight_at_once(sixteen, evaluate_every=2))
    on_training_pass(too_little_memory_for(4, after_passes=3, seen=[]))
    run = trained(workspace, eight_at_once(sixteen, evaluate_every=2))
    losses = [[loss for _, _, loss, *_ in curve(each)] for each in (run, enough)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.fault("out of memory")
def test_out_of_memory_in_an_evaluation_is_retried_with_fewer_rows_at_once(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = trainer.measure, []

    def measure(objective: Any, scorer: Any, batches: Any, **rest: Any) -> Any:
        asked.append(max(len(batch["lengths"]) for batch in batches))
        if asked[-1] > 2 and len(asked) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory (made up)")
        return real(objective, scorer, batches, **rest)

    monkeypatch.setattr(trainer, "measure", measure)
    run = trained(workspace, spec_for(dataset, batch_size=4, accumulation=1, validation_share=0.3, max_steps=6, evaluate_every=2))
    assert asked == [4, 4, 2, 2] and [step for step, _ in evaluations(run)] == [0, 2, 4, 6]
    assert [step for step, *_ in curve(run)] == list(range(1, 7))


@pytest.mark.fault("out of memory")
def test_out_of_memory_with_one_row_at_once_ends_in_words(
    workspace: Workspace, dataset: Card, on_training_pass: Callable[[Callable[[Any, int], None]], None]
) -> None:
    on_training_pass(too_little_memory_for(0, after_passes=0, seen=[]))
    run = Run.create(workspace, spec_for(dataset))
    assert go(run) == "failed"
    (finished,) = told(run, "finished")
    assert finished["message"].startswith("Memory ran out even with one row at once")


@pytest.mark.fault("disk full: a checkpoint")
@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), RuntimeError("[enforce fail] PytorchStreamWriter failed writing file")])
def test_a_full_disk_ends_in_words_and_leaves_nothing_half_written(
    fault: Exception, workspace: Workspace, dataset: Card, uninterrupted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(workspace, spec_for(dataset, evaluate_every=4))
    with monkeypatch.context() as patch:
        saves = []

        def save(value: Any, file: Any, *args: Any, **kwargs: Any) -> None:
            saves.append(file)
            file.write(b"half")
            raise fault

        patch.setattr(torch, "save", save)
        assert go(run) == "failed"
    assert saves
    (finished,) = told(run, "finished")
    assert finished["message"].startswith("The disk is full")
    assert not list(run.checkpoints.glob("step-*"))
    assert go(run) == "done"
    assert curve(run) == curve(uninterrupted)


@pytest.mark.fault("disk full: a checkpoint")
@pytest.mark.parametrize("objective", ["sft", "grpo"])
def test_a_checkpoint_that_would_not_fit_is_not_begun(
    objective: str, workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVING_SHARE", 1)  # a checkpoint at every evaluation
    monkeypatch.setattr(policy_trainer, "SAVING_SHARE", 1)
    spec = spec_for(dataset, max_steps=4, evaluate_every=2)
    if objective == "grpo":
        spec = parse_spec({**json.loads(spec.model_dump_json()), "objective": {"name": "grpo", "contains": ["e"], "answer_tokens": 4}})
    run, real = Run.create(workspace, spec), shutil.disk_usage
    saves: list[Any] = []
    save = torch.save

    def saving(value: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        saves.append(getattr(file, "path", file))
        save(value, file, *args, **kwargs)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1000))

    monkeypatch.setattr(torch, "save", saving)
    assert go(run) == "failed"
    assert told(run, "finished")[0]["message"].startswith("The disk is full, so the run ended; its last whole checkpoint is kept.")
    assert {Path(file).parent.name for file in saves} == {".writing"}
    assert [folder.name for folder in run.checkpoints.glob("step-*")] == ["step-2"]
    if objective == "grpo":
        assert len(saves) == 1


@pytest.mark.fault("disk full: a checkpoint")
def test_not_even_the_first_checkpoint_is_begun_where_it_has_no_room(
    workspace: Workspace, dataset: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All weights in fp32 and their moments take 1.8 MB."""
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1_800_000))
    monkeypatch.setattr(torch, "save", lambda *args, **kwargs: pytest.fail("it was begun"))
    run = Run.create(workspace, spec_for(dataset, method="full", max_steps=2, evaluate_every=2))
    assert go(run) == "failed"
    assert told(run, "finished")[0]["message"].startswith("The disk is full")


def test_a_fault_of_ours_is_told_without_a_trace(
    workspace: Workspace, dataset: Card, on_training_pass: Callable[[Callable[[Any, int], None]], None]
) -> None:
    def fault(model: Any, rows: int) -> None:
        raise KeyError("secret detail")

    on_training_pass(fault)
    run = Run.create(workspace, spec_for(dataset))
    assert go(run) == "failed"
    (finished,) = told(run, "finished")
    assert "KeyError" in finished["message"] and "secret" not in finished["message"] and "Traceback" not in finished["message"]


@pytest.mark.fault("the data set is gone")
def test_missing_data_fails_the_run_in_one_sentence(workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, spec_for(dataset))
    Datasets(workspace).delete(dataset.id)
    assert go(run) == "failed"
    assert dataset.id in told(run, "finished")[0]["message"]


@pytest.mark.fault("the data or the model changed under a run")
def test_rows_that_are_no_longer_those_of_the_version_fail_the_run_in_one_sentence(workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, spec_for(dataset))
    other = save_conversations(workspace, starter_rows(25)[1:], name="others")
    place = Datasets(workspace).root
    (place / other.id / "v1.parquet").replace(place / dataset.id / "v1.parquet")
    assert go(run) == "failed"
    assert "are not those that were saved" in told(run, "finished")[0]["message"] and curve(run) == []


@pytest.mark.fault("the data or the model changed under a run")
def test_a_vanished_model_folder_fails_the_run_in_one_sentence_and_it_goes_on_once_it_is_back(
    workspace: Workspace, dataset: Card, uninterrupted: Run
) -> None:
    run = Run.create(workspace, spec_for(dataset))
    assert go(run, stop_after=3) == "stopped"
    folder = (workspace.models / "starter").rename(workspace.models / "away")
    named = run.spec.model_copy(update={"base_model": str(workspace.models / "starter")})  # "starter" itself is unpacked anew
    write_whole(run.folder / "spec.json", named.model_dump_json())
    assert go(run) == "failed"
    assert "There is no model folder" in told(run, "finished")[-1]["message"]
    folder.rename(workspace.models / "starter")
    assert go(run) == "done"
    assert curve(run) == curve(uninterrupted)


@pytest.mark.fault("any JSON as a run's spec")
@pytest.mark.parametrize(("content", "sentence"), [
    (None, "cannot be read"), ("{", "is not valid JSON"), ('{"dat": 1}', "there is no such setting"),
])
def test_a_spec_that_is_none_is_refused(content: str | None, sentence: str, workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=sentence):
        headless.train(file, workspace.root)
