"""Training by trying: answer prompts, have the answers rewarded, make likelier what was rewarded (PPO, RLOO, GRPO).

A step is a round: answers to some prompts, then a few passes over them. What an answer counts and how it is learnt from is
the objective's affair. Where that guesses values, they are read off the same body by a head of their own, which begins at
the first answers' mean reward and is kept with the checkpoints, not with the result.
"""

import json
import math
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedTokenizerBase, get_scheduler

from backend.checkpoints import best_of, remove_outdated, require_room, write_best, write_checkpoint
from backend.data.tokens import Encoded
from backend.device import device, several_may_read
from backend.disk import WriteThrough
from backend.errors import Stopped, UserError
from backend.evaluation import on_device
from backend.examples import Example, Prompted, collate, example_of
from backend.generation import Decoder, evaluating
from backend.loss import Scorer
from backend.memory import trim_memory
from backend.models import check_adapter
from backend.plan import Schedule
from backend.policy import Losses, Seen, Tokens, next_coefficient
from backend.rewards import Answered, Judge
from backend.rollouts import ANSWERED_AT_ONCE, HELD_OUT_ASKED, PROBES, RolloutSettings
from backend.sampling import Sampling
from backend.specs import RunSpec
from backend.trainer import SAVING_SHARE, Diverged, Reporter

HEADROOM = 0.75  # of the KL to stay under is aimed at: a controller swings about its aim
GAIN = 1.0  # of the controller of KL: a run here has dozens of rounds, where the paper's 0.1 was for thousands


@dataclass(frozen=True)
class Answer:
    """An answer the policy gave while training."""

    asked: Prompted
    ids: list[int]
    text: str
    finished: bool

    @property
    def example(self) -> Example:
        """Prompt and answer, labels on the answer."""
        prompt = self.asked.prompt.input_ids
        marks = [False] * len(prompt) + [True] * len(self.ids)
        return example_of(Encoded(prompt + self.ids, marks), cut=0, row=self.asked.prompt.row)


@dataclass
class Round:
    """A round's answers, and how far they have been learnt from."""

    answers: list[Answer]
    rewards: list[float]
    tokens: Tokens
    entropy: float  # nats, the mean over the answers' tokens
    began: float  # when, in seconds of training
    told: list[dict[str, float]] = field(default_factory=list)  # of each update made


class PolicyTrainer:
    """Trains one model towards what is rewarded, telling a `Reporter` of every round."""

    def __init__(
        self, model: nn.Module, spec: RunSpec, schedule: Schedule, *, train: Sequence[Prompted], validation: Sequence[Prompted],
        tokenizer: PreTrainedTokenizerBase, report: Reporter, checkpoints: Path, autocast: torch.dtype | None,
        reference: nn.Module | None, judge: Judge | None,
    ) -> None:
        """`reference` is the model the run began with; None where it is `model` with its adapter off."""
        assert isinstance(spec.objective, RolloutSettings)
        self.model, self.spec, self.settings, self.schedule = model, spec, spec.objective, schedule
        self.examples, self.validation = train, validation[:HELD_OUT_ASKED]
        self.tokenizer, self.report, self.checkpoints, self.autocast = tokenizer, report, checkpoints, autocast
        self.reference, self.judge = reference and Scorer(reference, reference), judge
        self.scorer = Scorer(model, model)
        self.value_head = _value_head(self.scorer) if self.settings.guesses_values else None
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.parameters = [*learnt, *(self.value_head.parameters() if self.value_head else ())]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=spec.learning_rate, weight_decay=spec.training.weight_decay, fused=True)
        warmup = round(spec.training.warmup_share * schedule.total_steps)
        self.rate = get_scheduler(spec.training.schedule, self.optimizer, warmup, schedule.total_steps)
        self.learnt_at_once, self.answered_at_once = (max(1, most // schedule.pieces) for most in (self.settings.minibatch, ANSWERED_AT_ONCE))
        self.kl_coefficient = self.settings.kl_coefficient
        self.kl_aim = self.settings.kl_target and HEADROOM * self.settings.kl_target
        self.step = self.best_step = self.worse_in_a_row = self.evaluated_step = 0
        self.best_loss: float | None = None
        self.round: Round | None = None  # the one that is being learnt from
        self.seconds_before = self.seconds_saving = 0.0
        self.began = time.perf_counter()
        self.ended_early = ""

    # -- the run

    def train(self) -> None:
        """Round after round, until all are made, somebody stops it, or the model has gone too far. Raises `Stopped` before the first."""
        self.began = time.perf_counter()
        with suppress(Stopped):
            self._evaluate_where_due()  # a stop came before it
            while self.step < self.schedule.total_steps and not self.report.should_stop() and not self.ended_early:
                self._make_round()
                self._evaluate_where_due()
        if self.report.should_stop():
            if self.step == 0:
                raise Stopped
            self._save_checkpoint()

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint, on the same curve."""
        state = torch.load(checkpoint / "state.pt", weights_only=True)
        self._take_weights(checkpoint)
        if self.value_head:
            self.value_head.load_state_dict(state["value_head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.load_state_dict(state["rate"])
        torch.set_rng_state(state["dice"])
        for name, value in json.loads((checkpoint / "progress.json").read_text()).items():
            setattr(self, name, value)
        self.round = self._taken_up(state["round"]) if state.get("round") else None
        self.train()

    @property
    def seconds(self) -> float:
        """Of training so far, over every process that had this run."""
        return self.seconds_before + time.perf_counter() - self.began

    def _evaluate_where_due(self) -> None:
        is_due = self.step % self.schedule.evaluate_every == 0 or self.step == self.schedule.total_steps
        if is_due and self.step > self.evaluated_step:
            self.evaluate()
            trim_memory()
            if self.seconds_saving <= SAVING_SHARE * self.seconds:
                self._save_checkpoint()

    # -- a round

    def _make_round(self) -> None:
        """Answer, be rewarded, learn. Raises `Stopped` on the way; what is half learnt then is gone on with."""
        self.round = self.round or self._begin_round()
        self._learn(self.round)
        self.rate.step()
        self.step += 1
        self._tell(self.round)
        self.round = None

    def _begin_round(self) -> Round:
        """Answers with all that is known of them before anything is learnt. Raises `Stopped`."""
        began, asked = self.seconds, self._asked()
        sampling = Sampling(
            temperature=self.settings.temperature, top_p=1.0, max_tokens=self.settings.answer_tokens,
            seed=random.Random(f"{self.spec.training.seed} {self.step}").randrange(2**31 - len(asked)),
        )
        answers = self._answers(asked, sampling)
        rewards = self._rewards(answers)
        if self.step == 0:
            self._expect(statistics.mean(rewards))
        seen, entropy = self._looked_at(answers)
        return Round(answers, rewards, self.settings.weighed(seen, rewards, self.kl_coefficient), entropy, began)

    def _asked(self) -> list[Prompted]:
        """The prompts of the next round, each as often as it is answered."""
        return [prompt for prompt in self._prompts() for _ in range(self.settings.samples)]

    def _prompts(self) -> list[Prompted]:
        """The prompts of the next round; every one comes once before any comes again."""
        count = self.schedule.batch_size * self.schedule.accumulation
        first = self.step * count
        return [self._prompt(place) for place in range(first, first + count)]

    def _prompt(self, place: int) -> Prompted:
        time_round, at = divmod(place, len(self.examples))
        order = list(range(len(self.examples)))
        random.Random(f"{self.spec.training.seed} {time_round}").shuffle(order)
        return self.examples[order[at]]

    def _answers(self, asked: Sequence[Prompted], sampling: Sampling, *, model: nn.Module | None = None) -> list[Answer]:
        """An answer to each prompt. Raises `Stopped`."""
        made: list[Answer] = []
        for first in range(0, len(asked), self.answered_at_once):
            part = asked[first : first + self.answered_at_once]
            said: list[list[int]] = [[] for _ in part]
            finished = [False] * len(part)
            drawn = sampling.model_copy(update={"seed": sampling.seed + first})
            decoder = Decoder(model or self.model, self.tokenizer)
            with self._in_products():
                for tokens in decoder.decode(
                    [each.prompt.input_ids for each in part], drawn, turn=self.report.turn, should_stop=self.report.should_stop
                ):
                    self.report.stop_if_asked()
                    for row, token in enumerate(tokens):
                        if token is not None:
                            said[row].append(token)
                        elif not finished[row]:  # to end there was a choice of the model's too
                            said[row].append(self.tokenizer.eos_token_id)
                            finished[row] = True
            made += map(self._answer, part, said, finished)
        return made

    def _answer(self, asked: Prompted, ids: list[int], finished: bool) -> Answer:
        return Answer(asked, ids, self.tokenizer.decode(ids, skip_special_tokens=True), finished)

    def _rewards(self, answers: Sequence[Answer]) -> list[float]:
        answered = [Answered(each.asked.messages, each.text, each.finished, each.asked.wanted) for each in answers]
        rewards = self.settings.judge(answered, self.judge)
        if not all(map(math.isfinite, rewards)):
            raise UserError("The reward model gives rewards that are no numbers: its weights are damaged. Choose another, or train it again.")
        return rewards

    def _looked_at(self, answers: Sequence[Answer]) -> tuple[Seen, float]:
        """What is known of every token before anything is learnt from it, and the mean entropy. Raises `Stopped`."""
        logprobs, values, reference, entropies = [], [], [], []
        for part in _parts(answers, self.learnt_at_once):
            self.report.stop_if_asked()
            batch = self._batch(part)
            with self.report.turn(), evaluating(self.model), self._in_products():
                each, hidden = self.scorer.tokens(batch["input_ids"], batch["labels"])
                entropies.append(self.scorer.entropy(hidden))
                logprobs.append(each)
                values.append(self._values(hidden))
                reference.append(self._reference_logprobs(batch))
            self.report.note_memory()
        logprob, before, value = (torch.cat(parts).cpu() for parts in (logprobs, reference, values))
        return Seen([len(each.ids) for each in answers], logprob, before, value), float(torch.cat(entropies).mean())

    def _reference_logprobs(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """log p of every answer token under the model the run began with."""
        if self.reference is not None:
            return self.reference.tokens(batch["input_ids"], batch["labels"])[0]
        assert isinstance(self.model, PeftModel)
        with self.model.disable_adapter():
            return self.scorer.tokens(batch["input_ids"], batch["labels"])[0]

    # -- learning

    def _learn(self, current: Round) -> None:
        """The updates of a round that are still to be made. Raises `Stopped` before any of them."""
        for part in self._updates(len(current.answers))[len(current.told) :]:
            self.report.stop_if_asked()
            current.told.append(self._update([current.answers[at] for at in part], current.tokens.of(part, device())))

    def _updates(self, answers: int) -> list[Sequence[int]]:
        """Which answers each update learns from, over a few passes."""
        updates: list[Sequence[int]] = []
        for number in range(self.settings.passes):
            order = list(range(answers))
            random.Random(f"{self.spec.training.seed} {self.step} {number}").shuffle(order)
            updates += _parts(order, self.settings.minibatch)
        return updates

    def _update(self, answers: Sequence[Answer], old: Tokens) -> dict[str, float]:
        """One step of the optimiser."""
        pieces = [self._batch(part) for part in _parts(answers, self.learnt_at_once)]
        with self.report.turn():
            self.model.train()
            found = self._losses(pieces[0], old) if len(pieces) == 1 else self._losses_in_pieces(pieces, old)
            norm = nn.utils.clip_grad_norm_(self.parameters, self.spec.training.max_grad_norm)
            for name, value in (("the loss", found.total.item()), ("the gradient's norm", norm.item())):
                if not math.isfinite(value):
                    raise Diverged(f"{name} is {value}")
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.report.note_memory()
        told = {"loss": found.total.item(), "grad_norm": norm.item(), "clipped": found.clip_share.item()}
        return told if found.value_error is None else {**told, "value error": found.value_error.item()}

    def _losses(self, batch: dict[str, torch.Tensor], old: Tokens) -> Losses:
        """What an update goes down, its slope laid into the weights."""
        found = self.settings.losses(*self._policy(batch), old, self.kl_coefficient)
        found.total.backward()
        return found

    def _losses_in_pieces(self, pieces: Sequence[dict[str, torch.Tensor]], old: Tokens) -> Losses:
        """The same where memory holds no more than a piece of the answers: a first pass tells how the losses hang on each token,
        a second one, with the same dice, carries that into the weights (arXiv 2101.06983)."""
        with torch.no_grad(), torch.random.fork_rng():
            logprobs, values = (torch.cat(parts).requires_grad_() for parts in zip(*map(self._policy, pieces), strict=True))
        found = self.settings.losses(logprobs, values, old, self.kl_coefficient)
        found.total.backward()
        slopes = [torch.zeros_like(each) if each.grad is None else each.grad for each in (logprobs, values)]
        first = 0
        for batch in pieces:
            again = self._policy(batch)
            last = first + len(again[0])
            sum((part * slope[first:last]).sum() for part, slope in zip(again, slopes, strict=True)).backward()  # type: ignore[union-attr]
            first = last
        return found

    def _policy(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every answer token its log p and the value of the state before it, as the model has them now: [tokens] each."""
        with self._in_products():
            logprobs, hidden = self.scorer.tokens(batch["input_ids"], batch["labels"])
        return logprobs, self._values(hidden)

    def _values(self, hidden: torch.Tensor) -> torch.Tensor:
        """The reward expected from each state on, nought where nothing is guessed: [states, width] -> [states]."""
        return self.value_head(hidden.float())[:, 0] if self.value_head else torch.zeros(len(hidden), device=hidden.device)

    def _expect(self, reward: float) -> None:
        """So much from every state on. From far off the rewards, GAE would find fault with every late token, whatever came of it."""
        if self.value_head:
            nn.init.constant_(self.value_head.bias, reward)

    def _batch(self, answers: Sequence[Answer]) -> dict[str, torch.Tensor]:
        return on_device(collate([answer.example for answer in answers], self.tokenizer.pad_token_id))  # type: ignore[arg-type]

    def _in_products(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device().type, dtype=self.autocast)

    # -- what is told

    def _tell(self, current: Round) -> None:
        answers, tokens = current.answers, current.tokens
        learnt = {name: statistics.mean(each[name] for each in current.told) for name in current.told[0]}
        kl = (tokens.logprobs - tokens.reference).sum().item() / len(answers)
        metrics = {
            "reward": statistics.mean(current.rewards), "KL": kl, "answer tokens": statistics.mean(len(answer.ids) for answer in answers),
            "entropy": current.entropy, **{name: learnt[name] for name in ("clipped", "value error") if name in learnt},
            "KL coefficient": self.kl_coefficient,
        }
        rounds_per_epoch = len(self.examples) / (self.schedule.batch_size * self.schedule.accumulation)
        self.report.emit(
            "step", step=self.step, epoch=round(self.step / rounds_per_epoch, 4), loss=learnt["loss"],
            learning_rate=self.rate.get_last_lr()[0], grad_norm=learnt["grad_norm"], seconds=round(self.seconds, 3),
            tokens_per_second=round(sum(len(answer.example.input_ids) for answer in answers) / (self.seconds - current.began), 1),
            metrics=metrics,
        )
        self.kl_coefficient = max(
            self.settings.kl_coefficient, next_coefficient(self.kl_coefficient, kl, self.kl_aim, gain=GAIN)
        )  # not below: every run begins at no distance, and would have let go of the reins by the time it counts
        if self.settings.most_kl is not None and kl > self.settings.most_kl:
            self.ended_early = f"Stopped early: answers are {kl:.1f} nats from where the run began, more than the {self.settings.most_kl:g} allowed."

    def evaluate(self, *, base: bool = False) -> None:
        """Mean reward on held-out prompts, answered greedily; keeps the best weights. Raises `Stopped`."""
        asked = self.validation or self.examples[:PROBES]
        greedily = Sampling(temperature=0, max_tokens=self.settings.answer_tokens)
        if base and isinstance(self.model, PeftModel) and self.reference is None:
            with self.model.disable_adapter():
                answers = self._answers(asked, greedily, model=self.model.get_base_model())
        else:
            answers = self._answers(asked, greedily)
        rewards = self._rewards(answers)
        mean = statistics.mean(rewards)
        told = {"base": True} if base else {}
        self.report.emit(
            "evaluated", step=self.step, loss=-mean, seconds=round(self.seconds, 3) if not base else 0.0, units=float(len(answers)),
            metrics={"reward": mean, "answer tokens": statistics.mean(len(answer.ids) for answer in answers)}, **told,
        )
        for answer, reward in list(zip(answers, rewards, strict=True))[:PROBES]:
            self.report.emit(
                "sampled", step=self.step, prompt=answer.asked.messages[-1]["content"], answer=answer.text, base=base, reward=reward
            )
        if not base:
            self.evaluated_step = self.step
            self._keep_if_best(-mean)

    def _keep_if_best(self, loss: float) -> None:
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.best_step, self.worse_in_a_row = loss, self.step, 0
            write_best(self.checkpoints, self.step, self.write_weights)
            self.report.emit("saved", step=self.step, folder=f"checkpoints/best-{self.step}", best=True)
            return
        self.worse_in_a_row += 1
        if self.spec.training.early_stopping and self.worse_in_a_row >= self.spec.training.patience:
            self.ended_early = "Stopped early: the reward no longer rose."

    # -- checkpoints

    def write_weights(self, folder: Path) -> None:
        """PEFT's own format, or safetensors of the model."""
        extra = {"save_embedding_layers": False} if isinstance(self.model, PeftModel) else {}
        self.model.save_pretrained(str(folder), **extra)

    def _save_checkpoint(self) -> None:
        """All that resuming needs, written aside and then put in place; outdated ones go once this one is proven, or, so that
        nobody who stops a run waits for that, once it is over."""
        begun = time.perf_counter()
        require_room(self.checkpoints, sum(parameter.nbytes for parameter in self.parameters))
        place = self.checkpoints / f"step-{self.step}"
        is_best = self.step == self.best_step and self.round is None  # a round half learnt has changed the weights
        alike = best_of(self.checkpoints, self.step) if is_best else None
        write_checkpoint(place, self.write_weights, self._write_state, alike=alike, side_by_side=several_may_read())
        self.report.emit("saved", step=self.step, folder=f"checkpoints/{place.name}", best=False)
        if not self.report.should_stop():
            remove_outdated(self.checkpoints)
        self.seconds_saving += time.perf_counter() - begun

    def _write_state(self, folder: Path) -> dict[str, str]:
        """All of a checkpoint but the weights; returns the hash of what is large."""
        state = {
            "value_head": self.value_head.state_dict() if self.value_head else {}, "optimizer": self.optimizer.state_dict(), "rate": self.rate.state_dict(),
            "dice": torch.get_rng_state(), "round": self.round and _kept(self.round),
        }
        with WriteThrough(folder / "state.pt") as file:
            torch.save(state, file)
        (folder / "progress.json").write_text(json.dumps({
            "step": self.step, "best_loss": self.best_loss, "best_step": self.best_step, "worse_in_a_row": self.worse_in_a_row,
            "evaluated_step": self.evaluated_step, "ended_early": self.ended_early, "kl_coefficient": self.kl_coefficient,
            "seconds_before": self.seconds,
        }))  # fmt: skip
        return {file.path.name: file.sha256}

    def _taken_up(self, kept: dict[str, Any]) -> Round:
        """A round that a stop broke off, as `_kept` has put it down."""
        answers = list(map(self._answer, self._asked(), *zip(*kept["answers"], strict=True)))
        return Round(**{**kept, "answers": answers, "tokens": Tokens(**kept["tokens"])})

    def _take_weights(self, folder: Path) -> None:
        if isinstance(self.model, PeftModel):
            check_adapter(folder)
            set_peft_model_state_dict(self.model, load_peft_weights(str(folder), device=str(device())))
        else:
            found = {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
            self.model.load_state_dict(found, strict=False)  # a tied head is saved once


def _value_head(scorer: Scorer) -> nn.Linear:
    """The same of every state at first: nought, until the first answers have told what rewards are like."""
    head = nn.Linear(scorer.head.weight.shape[1], 1, device=scorer.head.weight.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _kept(current: Round) -> dict[str, Any]:
    """A round as plain values and tensors; what was asked is known from the step."""
    return {**vars(current), "answers": [(answer.ids, answer.finished) for answer in current.answers], "tokens": vars(current.tokens)}


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[at : at + size] for at in range(0, len(items), size)]
