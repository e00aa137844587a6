"""The whole story of a run. The same on the engine's worker and headless: its only ties to the outside are a spec,
a run's folder, `emit` and `should_stop`."""

import copy
import gc
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from backend import models
from backend.checkpoints import best_of, copy_model, is_whole, newest_checkpoint, put_in_place, remove_outdated
from backend.data.tokens import encode_prompts
from backend.data.versions import Datasets
from backend.device import describe, device, dtype, memory
from backend.errors import OutOfMemory, Stopped, UserError
from backend.evaluation import in_order, measure
from backend.events import Status
from backend.fast import quicken
from backend.generation import answers
from backend.inference import share_weights
from backend.loading import asking
from backend.loss import RewardScorer, Scorer, scorer_of
from backend.memory import trim_memory
from backend.plan import Rows, Schedule, gigabytes, make_rows, schedule, start_folder, trainable_parameters
from backend.policy_trainer import PolicyTrainer
from backend.reference import refer
from backend.rewards import Judge, RewardSettings, in_margins
from backend.runs import Run, Runs, true_events
from backend.sampling import Sampling
from backend.specs import RunSpec
from backend.trainer import Borrow, Diverged, Lend, Reporter, StudioTrainer, Turn
from backend.workspace import Workspace

PROBE = Sampling(max_tokens=64)
torch.serialization.set_crc32_options(False)  # half the time of writing an optimiser, and a manifest has SHA-256 of every file
log = logging.getLogger(__name__)


@dataclass
class Ready:
    """Everything a run trains with."""

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    rows: Rows
    schedule: Schedule
    probes: list[str]

    @property
    def pad(self) -> int:
        """The token that fills batches up."""
        return self.tokenizer.pad_token_id


def train(
    spec: RunSpec, run: Run, emit: Callable[..., Any], should_stop: Callable[[], bool],
    *, turn: Turn = nullcontext, lend: Lend = lambda model, tokenizer: nullcontext(), borrow: Borrow | None = None,
    put_away: Callable[[], None] = lambda: None,
) -> Status:
    """Train a run from its start, or from its newest checkpoint; returns how it ended. Never raises for the run's faults.

    `turn` makes the context under which the device is used, for one micro-step at a time, and `lend` one during which the
    model may answer others, in turns of their own: with no gradients and no dropout, so that the curve stays what it is.
    `borrow` gives the base that chat answers with, so that both stand on one copy of its weights; `put_away` makes chat forget
    what it keeps, where memory has run out.
    """
    report = Reporter(emit, should_stop, turn, lend, borrow, put_away)
    outcome: dict[str, Any]
    try:
        outcome = _train(spec, run, report)
    except Stopped:
        outcome = {"status": "stopped", "message": "Stopped before the first step."}
    except UserError as error:
        if isinstance(error, OutOfMemory):
            report.put_away()
        outcome = {"status": "failed", "message": str(error)}
    except Diverged as error:
        outcome = {"status": "failed", "message": _advice_on_divergence(spec, run, str(error))}
    except Exception as error:
        log.exception("run %s failed", run.id)
        if models.is_out_of_memory(error):
            report.put_away()
        outcome = {"status": "failed", "message": _in_plain_words(error)}
    finally:
        release_memory()
    _clear_half_written(run)
    _tell_the_end(run, emit, {**outcome, "peak_memory_bytes": report.peak_memory_bytes})
    if outcome["status"] == "done":  # and told so: a kill before that needs what is left to resume from
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    else:
        remove_outdated(run.checkpoints)
    return outcome["status"]


def _clear_half_written(run: Run) -> None:
    """What a save that failed left behind. On a full disk that makes room for the last words."""
    for half in (run.checkpoints / ".writing", run.checkpoints / ".best.partial", run.folder / ".result.partial"):
        shutil.rmtree(half, ignore_errors=True)


def _tell_the_end(run: Run, emit: Callable[..., Any], outcome: dict[str, Any]) -> None:
    """Where not even that can be written, the run counts as interrupted, and is resumed like one."""
    try:
        emit("finished", **outcome)
    except OSError as error:
        log.error("the end of run %s could not be written (%s): %s", run.id, error, outcome["message"])


def _train(spec: RunSpec, run: Run, report: Reporter) -> dict[str, Any]:
    run.checkpoints.mkdir(exist_ok=True)
    pieces, checkpoint = _pieces(run), _newest_checkpoint(run, report)
    _tell_start(spec, report, checkpoint, pieces)
    ready = _make_ready(spec, run, report)
    ready.schedule = ready.schedule.in_pieces(pieces)
    while True:
        try:
            return _attempt(spec, run, ready, report, checkpoint)
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is one of the latter
            if not models.is_out_of_memory(error) or ready.schedule.at_once(spec.objective) == 1:
                raise
        report.put_away()
        release_memory()
        ready.schedule = ready.schedule.with_smaller_batches()
        checkpoint = _last_clean_state(run, report)
        report.emit("warned", message=_smaller(spec, ready.schedule, checkpoint))
        _tell_start(spec, report, checkpoint, ready.schedule.pieces)


def _tell_start(spec: RunSpec, report: Reporter, checkpoint: Path | None, pieces: int) -> None:
    precision = str(dtype(spec.training.precision))[6:]
    report.emit("started", resumed_from=_step_of(checkpoint), device=describe(), precision=precision, pieces=pieces)


def _pieces(run: Run) -> int:
    """Into how many pieces this run's batches had to be cut when it last went: it would run out of memory again."""
    return next((event.get("pieces", 1) for event in reversed(run.events.read()[0]) if event["kind"] == "started"), 1)  # type: ignore[typeddict-item]


def _last_clean_state(run: Run, report: Reporter) -> Path | None:
    """The checkpoint to go on from after memory ran out; where there is none, nothing of the first try is left."""
    checkpoint = _newest_checkpoint(run, report)
    if checkpoint is None:
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        run.checkpoints.mkdir()
    return checkpoint


def _smaller(spec: RunSpec, steps: Schedule, checkpoint: Path | None) -> str:
    begun = f"Going on from step {_step_of(checkpoint)}" if checkpoint else "Started again from clean weights"
    at_once = steps.at_once(spec.objective)
    pieces = (
        f"{at_once} answers learnt from at once" if spec.objective.loop == "rollouts"
        else f"{at_once} rows at once and {steps.accumulation} times accumulated"
    )  # fmt: skip
    return f"Memory ran out. {begun} with {pieces}: the same step, smaller pieces."


def _make_ready(spec: RunSpec, run: Run, report: Reporter) -> Ready:
    """Find the model, read the rows, lay out the steps."""
    folder = start_folder(spec, run.workspace)
    tokenizer = models.load_tokenizer(folder)
    assert spec.data.id is not None, "headless runs import their file before they get here"
    records = Datasets(run.workspace).proven(spec.data.id, spec.data.version, before_each=report.stop_if_asked)
    rows = make_rows(spec, records, tokenizer, before_each=report.stop_if_asked)
    if not rows.train:
        raise UserError("No row is left to learn from. Raise the maximum length, or choose other data.")
    steps = schedule(spec.training, len(rows.train))
    shape = models.shape(folder)
    report.emit(
        "prepared", rows=len(rows.train), validation_rows=len(rows.validation), tokens_per_epoch=rows.tokens_per_epoch,
        total_steps=steps.total_steps, trainable_parameters=trainable_parameters(spec, shape),
        parameters=shape.parameters, left_out=rows.left_out, cut=rows.cut,
    )
    report.stop_if_asked()
    return Ready(folder, tokenizer, rows, steps, list(spec.training.probes) or rows.probes if spec.objective.head == "language" else [])


def _attempt(spec: RunSpec, run: Run, ready: Ready, report: Reporter, checkpoint: Path | None) -> dict[str, Any]:
    """One go at the whole training with one size of batch."""
    products = dtype(spec.training.precision)
    weights = spec.method.weight_dtype(products)
    torch.manual_seed(spec.training.seed)  # a head that is not there yet is drawn
    with asking(report.should_stop):
        model = _loaded(spec, ready.folder, report)
    if not spec.training.stock:
        quicken(model)  # already for what is read before the method is attached: with the parts it is read with after
    reference = _reference(model, spec, run, ready) if spec.objective.loop == "rollouts" else None
    if spec.start_from:
        model = _taken_up(model, ready.tokenizer, spec, run.workspace)
    report.stop_if_asked()
    autocast = products if weights != products else None
    if spec.objective.needs_reference:
        ready.rows = refer(
            model, spec, ready.rows, run.folder, pad=ready.pad, batch_size=ready.schedule.batch_size, autocast=autocast, report=report
        )
    base_is_seen_later = _keeps_its_base(spec)
    if checkpoint is None and spec.objective.loop == "batches" and not base_is_seen_later:
        _look_at_the_base(scorer_of(model, model, spec.objective.head), spec, ready, report, autocast, report.turn)
    report.stop_if_asked()
    torch.manual_seed(spec.training.seed)
    if not spec.start_from:
        model = spec.method.attach(model, ready.tokenizer)
    if not spec.training.stock:
        for part in filter(None, (model, reference)):
            quicken(part)
    trainer = _trainer(model, spec, run, ready, report, autocast, reference)
    if base_is_seen_later and not _has_seen_the_base(run):
        assert isinstance(trainer, StudioTrainer) and isinstance(trainer.scorer, Scorer)
        trainer.after_first_step = partial(_look_beneath, trainer.scorer, spec, ready, report, autocast)
    if isinstance(trainer, PolicyTrainer) and not _has_seen_the_base(run):
        trainer.evaluate(base=True)
    with report.lend(model, ready.tokenizer) if spec.objective.head == "language" else nullcontext():
        trainer.train() if checkpoint is None else trainer.resume(checkpoint)
        return _finish(run, ready, trainer)  # lent until its result can be loaded: whoever chats with it finds one or the other


def _loaded(spec: RunSpec, folder: Path, report: Reporter) -> PreTrainedModel:
    """What the run begins with; where there is no memory for it, chat puts away what it keeps, and it is tried once more."""
    try:
        return _load(spec, folder, report)
    except OutOfMemory:
        pass  # what was half loaded is let go of with the exception
    report.put_away()
    release_memory()
    report.emit("warned", message="Memory ran out while loading. What chat had loaded is put away, and loading begins once more.")
    return _load(spec, folder, report)


def _load(spec: RunSpec, folder: Path, report: Reporter) -> PreTrainedModel:
    """What the run begins with: where it is only read, in the type chat reads it in, the weights that chat has too."""
    products = dtype(spec.training.precision)
    weights, packing = spec.method.weight_dtype(products), spec.method.quantization(products)
    is_only_read = spec.method.name != "full" and spec.objective.head == "language" and not packing
    if report.borrow and is_only_read and weights == dtype("auto"):
        base = report.borrow(folder)
        with report.turn():  # whoever answers with it has hooks on it for as long as a turn lasts
            return share_weights(base)
    return models.load(folder, weights, device=device(), quantization=packing, head=spec.objective.head)


def _trainer(
    model: torch.nn.Module, spec: RunSpec, run: Run, ready: Ready, report: Reporter, autocast: torch.dtype | None,
    reference: torch.nn.Module | None,
) -> StudioTrainer | PolicyTrainer:
    """What the objective learns with: from rows, or from the model's own answers to them."""
    common: dict[str, Any] = {
        "train": ready.rows.train, "validation": ready.rows.validation, "report": report, "checkpoints": run.checkpoints, "autocast": autocast,
    }  # fmt: skip
    if spec.objective.loop == "rollouts":
        return PolicyTrainer(
            model, spec, ready.schedule, tokenizer=ready.tokenizer, reference=reference, judge=_judge(spec, run, report), **common
        )
    return StudioTrainer(model, spec, ready.schedule, pad=ready.pad, probe=lambda step: _probe(model, ready, report, step), **common)


def _reference(model: PreTrainedModel, spec: RunSpec, run: Run, ready: Ready) -> torch.nn.Module | None:
    """The model a run begins with, to be kept beside the one that learns; None where that is it with its adapter off."""
    if spec.method.name == "full":
        return copy.deepcopy(model).requires_grad_(False)
    if spec.start_from:
        return _taken_up(share_weights(model), ready.tokenizer, spec, run.workspace).requires_grad_(False).eval()
    return None


def _judge(spec: RunSpec, run: Run, report: Reporter) -> Judge | None:
    """The reward model the objective asks, if it asks one."""
    assert isinstance(spec.objective, RewardSettings)
    if spec.objective.reward_run is None:
        return None
    from backend.judging import Judge as RewardModel

    judge = Runs(run.workspace).get(spec.objective.reward_run)
    with asking(report.should_stop):
        model = RewardModel(judge)
    return in_margins(partial(model.rewards, turn=report.turn), judge.progress().held_out.get("margin", 1.0))


def _taken_up(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: RunSpec, workspace: Workspace
) -> torch.nn.Module:
    """The model with what an earlier run learnt, ready to learn on. A full run's weights are the model's own already."""
    attached = spec.method.attach(model, tokenizer)
    if spec.method.name != "full":
        assert spec.start_from is not None
        result = Runs(workspace).get(spec.start_from).result
        models.check_adapter(result)
        learnt = load_peft_weights(str(result), device=str(device()))
        set_peft_model_state_dict(attached, learnt)  # PEFT's own loading refuses to go on learning a soft prompt
    return attached


def _keeps_its_base(spec: RunSpec) -> bool:
    """Whether what a run is measured against is still there once it learns: then its first step need not wait for a look at it."""
    return spec.method.name != "full" and not spec.start_from and spec.objective.loop == "batches" and spec.objective.head == "language"


def _has_seen_the_base(run: Run) -> bool:
    return any(event.get("base") for event in true_events(run.events.read()[0]))


def _look_beneath(
    scorer: Scorer, spec: RunSpec, ready: Ready, report: Reporter, autocast: torch.dtype | None
) -> None:
    """A look at the base of a model that has begun to learn, through an adapter that is switched off: for each turn on the device
    alone, since in between others are answered by what the run has learnt."""
    model = scorer.model
    assert isinstance(model, PeftModel)

    @contextmanager
    def beneath() -> Iterator[None]:
        with report.turn(), model.disable_adapter():
            yield

    _look_at_the_base(scorer, spec, ready, report, autocast, beneath)


def _look_at_the_base(
    scorer: Scorer | RewardScorer, spec: RunSpec, ready: Ready, report: Reporter, autocast: torch.dtype | None, turn: Turn
) -> None:
    """Held-out loss and probe answers of the untouched model: what the run is measured against. Nothing, if told to stop on the way."""
    batches = [spec.objective.collate(rows, ready.pad) for rows in in_order(ready.rows.validation, ready.schedule.batch_size)]
    measured = measure(
        spec.objective, scorer, batches, autocast=autocast, turn=turn, should_stop=report.should_stop,
    )
    if measured is not None and not math.isfinite(measured.loss):
        raise UserError(_damaged(f"The loss of the base model is {measured.loss}"))
    said = _said(scorer.model, ready, report, turn)
    if report.should_stop():
        return
    if measured is not None:
        report.emit("evaluated", step=0, loss=measured.loss, base=True, seconds=0.0)
    _tell(said, report, 0, base=True)


def _probe(model: torch.nn.Module, ready: Ready, report: Reporter, step: int) -> None:
    """Let the model answer the probe prompts, and tell; nothing, if told to stop on the way."""
    said = _said(model, ready, report, report.turn)
    if not report.should_stop():
        _tell(said, report, step)


def _said(model: torch.nn.Module, ready: Ready, report: Reporter, turn: Turn) -> dict[str, str]:
    """What the model answers to each probe prompt, shorter if told to stop."""
    prompts = encode_prompts([[{"role": "user", "content": probe}] for probe in ready.probes], ready.tokenizer)
    said = answers(model, ready.tokenizer, prompts, PROBE, turn=turn, should_stop=report.should_stop)
    return dict(zip(ready.probes, said, strict=True))


def _tell(said: dict[str, str], report: Reporter, step: int, base: bool = False) -> None:
    for prompt, answer in said.items():
        report.emit("sampled", step=step, prompt=prompt, answer=answer, base=base)


def _finish(run: Run, ready: Ready, trainer: StudioTrainer | PolicyTrainer) -> dict[str, Any]:
    """Keep the best weights as the result, tidy up, and say how it went."""
    stopped = trainer.report.should_stop() and trainer.step < ready.schedule.total_steps and not trainer.ended_early
    best, last = best_of(run.checkpoints, trainer.best_step), run.checkpoints / f"step-{trainer.step}"
    partial = run.folder / ".result.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if is_whole(best) and trainer.spec.training.early_stopping:
        copy_model(best, partial)
    elif is_whole(last):
        copy_model(last, partial)
    else:
        trainer.write_weights(partial)
    ready.tokenizer.save_pretrained(partial)
    put_in_place(partial, run.result)
    return {
        "status": "stopped" if stopped else "done",
        "message": "" if stopped else trainer.ended_early,
        "step": trainer.step, "best_loss": trainer.best_loss, "best_step": trainer.best_step,
        "seconds": round(trainer.seconds, 3),
    }


def _newest_checkpoint(run: Run, report: Reporter) -> Path | None:
    """Where to go on from. Says so when a newer checkpoint was damaged and an older one has to do."""
    newest, saved = newest_checkpoint(run.checkpoints), run.saved_step
    if _step_of(newest) < saved:
        report.emit("warned", message=(
            f"The checkpoint of step {saved} is missing or damaged; going on from step {_step_of(newest)} instead."
        ))
    return newest


def _step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.removeprefix("step-")) if checkpoint else 0


def _damaged(what: str) -> str:
    return f"{what} before any training: its weights are damaged. Download it again."


def _advice_on_divergence(spec: RunSpec, run: Run, what: str) -> str:
    if what.startswith("the loss") and not any(event["kind"] == "step" for event in run.events.read()[0]):
        return _damaged(what.replace("the loss", "The loss of the base model", 1))
    kept = " The best weights so far are kept." if any(run.checkpoints.glob("best-*")) else ""
    return (
        f"Training went astray: {what}. The learning rate of {spec.learning_rate:g} is probably too high; "
        f"try {spec.learning_rate / 3:.1g}.{kept}"
    )


def _in_plain_words(error: BaseException) -> str:
    if models.is_out_of_memory(error):
        return (
            f"Memory ran out even with one row at once ({gigabytes(memory().free)} is free now). Lower the maximum length, "
            "choose LoRA or QLoRA, or close other programs."
        )
    disk_full = "no space left" in str(error).lower() or "PytorchStreamWriter" in str(error)
    if disk_full or (isinstance(error, OSError) and error.errno == 28):
        return "The disk is full, so the run ended; its last whole checkpoint is kept. Free some space, then resume."
    return f"The run ended by a fault of the studio ({type(error).__name__}). The details are in the log; resume goes on from the last checkpoint."


def release_memory() -> None:
    """Give back what a finished or failed attempt held."""
    gc.collect()
    trim_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


