"""The trainer every objective shares: transformers' Trainer, with the few places replaced where the stock code loses.

Ours: how batches are made (like lengths together), how the loss is computed (only where something is learnt), when
to evaluate, how a checkpoint is written (whole or not at all), and what happens on NaN and on stop.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME

from backend.checkpoints import best_of, is_whole, remove_outdated, require_room, write_best, write_checkpoint
from backend.device import device, process_memory_bytes, several_may_read
from backend.disk import WriteThrough
from backend.errors import Stopped
from backend.evaluation import Measured, Sums, in_order, measure
from backend.examples import AnyExample, LikeLengths
from backend.loss import RewardScorer, Scorer, scorer_of
from backend.memory import trim_memory
from backend.plan import Schedule
from backend.specs import RunSpec

Emit = Callable[..., Any]
Turn = Callable[[], AbstractContextManager[None]]
Lend = Callable[[torch.nn.Module, PreTrainedTokenizerBase], AbstractContextManager[None]]
Borrow = Callable[[Path], PreTrainedModel]  # a folder's model as it is, in the type chat has it in; only to be read
SAVING_SHARE = 0.05  # of the time: checkpoints are skipped while writing them would take more


class Diverged(Exception):
    """The loss or a gradient is no longer a number."""


class StepBrokenOff(Exception):
    """Somebody asked the run to stop between two micro-batches of a step, or there are no more steps to make."""


class Reporter:
    """Where a run's trainer tells what happens and asks whether to go on, lends what it trains, borrows what others have loaded
    and has that put away where memory is short."""

    def __init__(
        self, emit: Emit, should_stop: Callable[[], bool], turn: Turn = nullcontext, lend: Lend = lambda model, tokenizer: nullcontext(),
        borrow: Borrow | None = None, put_away: Callable[[], None] = lambda: None,
    ) -> None:
        self.emit, self.should_stop, self.turn, self.lend, self.borrow, self.put_away = emit, should_stop, turn, lend, borrow, put_away
        self.peak_memory_bytes = 0

    def stop_if_asked(self) -> None:
        """Raises `Stopped` where somebody wants the run to end."""
        if self.should_stop():
            raise Stopped

    def note_memory(self) -> None:
        self.peak_memory_bytes = max(self.peak_memory_bytes, process_memory_bytes())


class StudioTrainer(Trainer):
    """Trains one model on examples towards one objective, telling a `Reporter` of every step."""

    def __init__(
        self, model: torch.nn.Module, spec: RunSpec, schedule: Schedule, *, train: Sequence[AnyExample],
        validation: Sequence[AnyExample], pad: int, report: Reporter, checkpoints: Path, autocast: torch.dtype | None,
        probe: Callable[[int], None],
    ) -> None:
        self.spec, self.schedule, self.report, self.checkpoints = spec, schedule, report, checkpoints
        self.train_examples, self.autocast, self.probe = train, autocast, probe
        self.collate = partial(spec.objective.collate, pad=pad)
        self.validation = [self.collate(batch) for batch in in_order(validation, schedule.batch_size)]
        self.batches = LikeLengths([example.length for example in train], schedule.batch_size, seed=spec.training.seed, pieces=schedule.pieces)
        self.best_loss: float | None = None
        self.best_step = 0
        self.worse_in_a_row = 0
        self.evaluated_step = 0
        self.seconds_before = 0.0  # trained before this process took the run up
        self.seconds_saving = 0.0
        self.began = self.step_began = time.perf_counter()
        self.step_tokens = 0
        self.step_sums = Sums()
        self.after_first_step: Callable[[], None] | None = None  # what can wait until there is a first point to look at
        self.scorer = scorer_of(model, model, spec.objective.head)  # now: it tries the model, and nobody else asks it yet
        self.dice: list[torch.Tensor] | None = None  # as they lay after the last whole step this process made
        self.loss_is_scaled_for_ga = True
        super().__init__(model, _arguments(spec, schedule, checkpoints), callbacks=[_Conductor(self)])
        self.loss_is_scaled_for_ga = True

    def train(self, resume_from_checkpoint: str | None = None) -> None:
        """Train to the end or to where it is stopped. Raises `Stopped` where that is before the first step."""
        try:
            super().train(resume_from_checkpoint=resume_from_checkpoint)
        except StepBrokenOff:
            if self.step == 0:
                raise Stopped from None
            self._keep_last_whole_step()

    def _keep_last_whole_step(self) -> None:
        """A checkpoint as if the step that was broken off had never begun; nothing of it has reached the weights."""
        if self.dice is not None and not is_whole(self.checkpoints / f"step-{self.step}"):
            _lay_dice(self.dice)
            self.model.zero_grad()  # what was summed up so far: its memory serves for the saving
            self._save_checkpoint(self.model, None)

    # -- batches and loss

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        loader = torch.utils.data.DataLoader(self.train_examples, batch_sampler=self.batches, collate_fn=self.collate)
        return self.accelerator.prepare(loader)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """What the step's summed loss is divided by, over all its micro-batches and all processes."""
        weight = torch.tensor(sum(map(self.spec.objective.batch_weight, batch_samples)), device=device)
        return self.accelerator.gather(weight).sum() if self.args.world_size > 1 else weight

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if self.report.should_stop() or self.step == self.schedule.total_steps or self.ended_early:  # the Trainer looks only after a step
            raise StepBrokenOff
        self.step_tokens += int(inputs["lengths"].sum())
        with self.report.turn():
            loss = super().training_step(model, inputs, num_items_in_batch)
        self.report.note_memory()
        if not torch.isfinite(loss):
            raise Diverged(f"the loss is {loss.item()}")
        return loss

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        with torch.autocast(device().type, dtype=self.autocast, enabled=self.autocast is not None):
            scored = self.spec.objective.score(self._scorer_of(model), inputs)
        self.step_sums.add(scored.loss, scored.metrics, self.spec.objective.batch_weight(inputs))
        return scored.loss / num_items_in_batch * self.args.world_size  # gradients are averaged over processes

    def _scorer_of(self, model: torch.nn.Module) -> Scorer | RewardScorer:
        if model is not self.scorer.model:  # Accelerate has put something around it
            self.scorer = scorer_of(model, self.accelerator.unwrap_model(model), self.spec.objective.head)
        return self.scorer

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and not math.isfinite(norm):
            raise Diverged(f"the gradient's norm is {float(norm)}")  # before the optimiser takes it up
        return norm

    # -- what is told

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" not in logs:
            return  # the Trainer's closing statistics; ours are in the events
        now = time.perf_counter()
        self.report.emit(
            "step", step=self.state.global_step, epoch=round(self.state.epoch or 0, 4), loss=logs["loss"],
            learning_rate=logs["learning_rate"], grad_norm=logs.get("grad_norm"), seconds=round(self.seconds, 3),
            tokens_per_second=round(self.step_tokens / max(now - self.step_began, 1e-9), 1), **self._watched(self.step_sums.means()),
        )
        self.step_began, self.step_tokens, self.step_sums = now, 0, Sums()
        self._see_to_what_waited()

    def _watched(self, measured: Measured | None) -> dict[str, Any]:
        """What an objective watches beside the loss, as fields of an event."""
        if not (measured and measured.metrics):
            return {}
        return {"metrics": measured.metrics} | ({"margins": measured.margins} if measured.margins else {})

    @property
    def step(self) -> int:
        """Steps made so far."""
        return self.state.global_step

    @property
    def seconds(self) -> float:
        """Of training so far, over every process that had this run."""
        return self.seconds_before + time.perf_counter() - self.began

    @property
    def ended_early(self) -> str:
        """Why there are no more steps to make, also where a stop came just after; empty where there are."""
        is_over = self.spec.training.early_stopping and self.worse_in_a_row >= self.spec.training.patience
        return "Stopped early: the held-out loss no longer fell." if is_over else ""

    def _see_to_what_waited(self) -> None:
        if self.after_first_step and not self.report.should_stop():
            self.after_first_step()
            self.after_first_step = None
            self.step_began = time.perf_counter()

    # -- evaluation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Held-out loss and probe answers; keeps the best weights, and stops early if asked to."""
        step = self.state.global_step
        measured = self._held_out()
        if measured is not None:
            self.report.emit(
                "evaluated", step=step, loss=measured.loss, seconds=round(self.seconds, 3), **self._watched(measured),
                units=measured.units,
            )
            self._judge(measured.loss, step)
        if measured is not None or not self.validation:
            self.evaluated_step = step
        if not self.report.should_stop():
            self.probe(step)
        if self.report.should_stop():
            self.control.should_training_stop = self.control.should_save = True
        if self.seconds_saving <= SAVING_SHARE * self.seconds:
            self.control.should_save = True
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, {})
        trim_memory()
        self.step_began = time.perf_counter()
        return {}

    def _held_out(self) -> Measured | None:
        """How the model does on the held-out examples; None without any, or if told to stop on the way."""
        measured = measure(
            self.spec.objective, self.scorer, self.validation, autocast=self.autocast, turn=self.report.turn,
            should_stop=self.report.should_stop,
        )
        if measured is not None and not math.isfinite(measured.loss):
            raise Diverged(f"the held-out loss is {measured.loss}")
        return measured

    def _judge(self, loss: float, step: int) -> None:
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.best_step, self.worse_in_a_row = loss, step, 0
            write_best(self.checkpoints, step, self.write_weights)
            self.report.emit("saved", step=step, folder=f"checkpoints/best-{step}", best=True)
            return
        self.worse_in_a_row += 1
        if self.ended_early:
            self.control.should_training_stop = True

    # -- checkpoints

    def write_weights(self, folder: Path) -> None:
        """PEFT's own format, or safetensors of the model. No pickled arguments."""
        extra = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(str(folder), **extra)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """All that resuming needs, written aside and then put in place; outdated ones go once this one is proven, or, so that
        nobody who stops a run waits for that, once it is over."""
        begun = time.perf_counter()
        require_room(self.checkpoints, self._learnt_bytes())
        step = self.state.global_step
        place = self.checkpoints / f"step-{step}"
        alike = best_of(self.checkpoints, step) if step == self.best_step else None
        write_checkpoint(place, self.write_weights, self._write_state, alike=alike, side_by_side=several_may_read())
        self.report.emit("saved", step=step, folder=f"checkpoints/{place.name}", best=False)
        if not self.report.should_stop():
            remove_outdated(self.checkpoints)
        self.seconds_saving += time.perf_counter() - begun
        self.step_began = time.perf_counter()

    def _write_state(self, folder: Path) -> dict[str, str]:
        """All of a checkpoint but the weights, as transformers' Trainer looks for it; returns the hash of what is large."""
        with WriteThrough(folder / OPTIMIZER_NAME) as file:
            torch.save(self.optimizer.state_dict(), file)
        torch.save(self.lr_scheduler.state_dict(), folder / SCHEDULER_NAME)
        self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
        (folder / "progress.json").write_text(json.dumps(self._progress()))
        return {file.path.name: file.sha256}

    def _learnt_bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self.model.parameters() if parameter.requires_grad)

    def _progress(self) -> dict[str, Any]:
        return {"v": 1, "best_loss": self.best_loss, "best_step": self.best_step, "worse_in_a_row": self.worse_in_a_row,
                "evaluated_step": self.evaluated_step, "seconds": self.seconds}

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint, on the same curve."""
        progress = json.loads((checkpoint / "progress.json").read_text())
        self.best_loss, self.best_step = progress["best_loss"], progress["best_step"]
        self.worse_in_a_row, self.seconds_before = progress["worse_in_a_row"], progress["seconds"]
        self.evaluated_step = progress["evaluated_step"]
        self.train(resume_from_checkpoint=str(checkpoint))


class _Conductor(TrainerCallback):
    """Decides after each step whether to evaluate, to stop, and to save."""

    def __init__(self, trainer: StudioTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.trainer.began = self.trainer.step_began = time.perf_counter()
        if state.global_step > self.trainer.evaluated_step and self._is_due(state):
            self.trainer.evaluate()  # a stop came before it

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.trainer.dice = _dice()
        if self.trainer.report.should_stop():
            control.should_training_stop = control.should_save = True
        elif self._is_due(state):
            control.should_evaluate = True

    def _is_due(self, state: TrainerState) -> bool:
        return state.global_step % self.trainer.schedule.evaluate_every == 0 or state.global_step == state.max_steps


def _dice() -> list[torch.Tensor]:
    """How the dice of dropout lie: of the CPU, then of each GPU."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def _lay_dice(dice: list[torch.Tensor]) -> None:
    torch.set_rng_state(dice[0])
    if dice[1:]:
        torch.cuda.set_rng_state_all(dice[1:])


def _arguments(spec: RunSpec, schedule: Schedule, checkpoints: Path) -> TrainingArguments:
    training = spec.training
    return TrainingArguments(
        output_dir=str(checkpoints), max_steps=schedule.total_steps, per_device_train_batch_size=schedule.batch_size,
        gradient_accumulation_steps=schedule.accumulation, learning_rate=spec.learning_rate,
        lr_scheduler_type=training.schedule, warmup_steps=round(training.warmup_share * schedule.total_steps),
        weight_decay=training.weight_decay, max_grad_norm=training.max_grad_norm, seed=training.seed,
        data_seed=training.seed, logging_steps=1, logging_nan_inf_filter=False, eval_strategy="no", save_strategy="no",
        report_to=[], use_cpu=device().type == "cpu", disable_tqdm=True, remove_unused_columns=False,
        dataloader_pin_memory=False, optim="adamw_torch_fused",
    )
