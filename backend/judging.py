"""A trained reward model at work: one number for each conversation, higher for what people prefer.

    judge = shelf.judge(run_id)                 kept in memory with the models of chat
    judge.rewards([[*prompt, *answer], ...])
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

import backend.tuners.bottleneck  # noqa: F401  registers the adapter kind, so that PEFT can load it
from backend import models
from backend.checkpoints import is_whole
from backend.data.records import Message
from backend.data.tokens import encode_conversations
from backend.device import device, dtype
from backend.errors import UserError
from backend.examples import Example, collate, example_of
from backend.generation import evaluating
from backend.loss import RewardScorer
from backend.runs import Run

AT_ONCE = 16  # conversations in a batch

Turn = Callable[[], AbstractContextManager[None]]


class Judge:
    """The reward model a run has made, loaded and ready."""

    def __init__(self, run: Run) -> None:
        """Raises `UserError` where the run has made none."""
        name = run.label["name"]
        if run.spec.objective.head != "scalar":
            raise UserError(f"{name} is no reward model. Choose a run that learnt what people prefer.")
        if not run.has_result or not is_whole(run.result):
            raise UserError(f"{name} has no result to judge with, or it is damaged. Train or resume it first.")
        self.tokenizer = models.load_tokenizer(run.result)
        self.model = _load(run)
        self.scorer = RewardScorer(self.model, self.model)

    @property
    def context(self) -> int:
        """Tokens of the longest conversation it can read."""
        return self.model.config.max_position_embeddings

    def encoded(self, conversations: Sequence[Sequence[Message]]) -> list[Example]:
        """Conversations as they are read: all of each, for its end is what is judged."""
        return [example_of(each, cut=0, row=1) for each in encode_conversations(conversations, self.tokenizer)]

    def rewards(self, conversations: Sequence[list[Message]], *, turn: Turn = nullcontext) -> list[float]:
        """The reward of each conversation's last answer, in their order."""
        return self.rewards_of(self.encoded(conversations), turn=turn)

    def rewards_of(self, examples: Sequence[Example], *, turn: Turn = nullcontext) -> list[float]:
        """The same of conversations that are tokens already."""
        rewards = dict(self.as_they_come(examples, turn=turn))
        return [rewards[place] for place in range(len(examples))]

    def as_they_come(self, examples: Sequence[Example], *, turn: Turn = nullcontext) -> Iterator[tuple[int, float]]:
        """(place among the examples, reward), a batch of like lengths at a time; nothing is held in between."""
        order = sorted(range(len(examples)), key=lambda place: examples[place].length)
        for at in range(0, len(order), AT_ONCE):
            places = order[at : at + AT_ONCE]
            batch = collate([examples[place] for place in places], self.tokenizer.pad_token_id)  # type: ignore[arg-type]
            with turn(), evaluating(self.model):
                values = self.scorer.rewards(batch["input_ids"].to(device()), batch["lengths"].to(device())).tolist()
            yield from zip(places, values, strict=True)


def _load(run: Run) -> torch.nn.Module:
    from peft import PeftModel

    weights = dtype("auto")
    if run.spec.method.name == "full":
        return models.load(run.result, weights, device=device(), head="scalar")
    base = models.load(models.locate(run.spec.base_model, run.workspace), weights, device=device(), head="scalar")
    models.check_adapter(run.result)
    return PeftModel.from_pretrained(base, str(run.result)).eval()
