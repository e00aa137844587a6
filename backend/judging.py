"""A trained reward model at work: one number for each conversation, higher for what people prefer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

import backend.tuners.bottleneck  # noqa: F401  registers the adapter kind, so that PEFT can load it
from backend import models
from backend.data.records import Message
from backend.data.tokens import encode_messages
from backend.device import device, dtype
from backend.errors import UserError
from backend.evaluation import in_order
from backend.examples import collate, example_of
from backend.generation import evaluating
from backend.loss import RewardScorer
from backend.runs import Run
from backend.trainer import is_whole

AT_ONCE = 16  # conversations in a batch


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

    def rewards(
        self, conversations: Sequence[list[Message]], *, turn: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> list[float]:
        """The reward of each conversation's last answer, in their order."""
        encoded = [encode_messages(messages, self.tokenizer) for messages in conversations]
        examples = [example_of(each, cut=0, row=number) for number, each in enumerate(encoded)]
        rewards = [0.0] * len(examples)
        for part in in_order(examples, AT_ONCE):
            batch = collate(part, self.tokenizer.pad_token_id)  # type: ignore[arg-type]
            with turn(), evaluating(self.model):
                values = self.scorer.rewards(batch["input_ids"].to(device()), batch["lengths"].to(device()))
            for example, value in zip(part, values.tolist(), strict=True):
                rewards[example.row] = value
        return rewards


def _load(run: Run) -> torch.nn.Module:
    from peft import PeftModel

    weights = dtype("auto")
    if run.spec.method.name == "full":
        return models.load(run.result, weights, device=device(), head="scalar")
    base = models.load(models.locate(run.spec.base_model, run.workspace), weights, device=device(), head="scalar")
    return PeftModel.from_pretrained(base, str(run.result), use_safetensors=True).eval()
