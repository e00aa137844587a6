"""Supervised fine-tuning: learn the assistant's answers, given what came before them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.records import Record
from backend.data.tokens import encode_all
from backend.examples import IGNORED, Example, LeftOut, example_of
from backend.objectives import Batch, ObjectiveSettings, Scored

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from backend.loss import Scorer


class Sft(ObjectiveSettings):
    order: ClassVar[int] = 1
    title: ClassVar[str] = "the answers only"
    sentence: ClassVar[str] = "Supervised fine-tuning: the loss is taken on the assistant's answers; prompts are only read."
    record: ClassVar[Literal["messages", "text"]] = "messages"

    name: Literal["sft"] = "sft"
    loss: Literal["per_token", "per_example"] = Field(
        "per_token", title="Average the loss",
        description="per_token: every answer token counts the same, so long answers count more. per_example: every answer "
        "counts the same, -(1/n) sum over answers of (1/length) sum over tokens of log p.",
    )

    def examples(
        self, records: Iterable[Record], tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> Iterator[Example | LeftOut]:
        """One example per row, cut to `max_length` tokens; a row with no answer left after the cut is left out."""
        for number, encoded in enumerate(encode_all(records, tokenizer), start=1):
            kept = encoded.cut(max_length)
            if kept.trained_count:
                yield example_of(kept, cut=len(encoded.ids) - len(kept.ids), row=number)
            else:
                yield LeftOut(number, f"nothing of its answer is left within {max_length} tokens")

    def weights(self, labels: "torch.Tensor") -> "torch.Tensor":
        """The weight of every label [rows, tokens]; they sum to what the loss is divided by."""
        trained = (labels != IGNORED).float()
        return trained if self.loss == "per_token" else trained / trained.sum(1, keepdim=True).clamp(min=1)

    def score(self, scorer: "Scorer", batch: Batch) -> Scored:
        """Weighted sum of the losses of a batch: a scalar."""
        return Scored(scorer.loss(batch["input_ids"], batch["labels"], self.weights(batch["labels"])), {})

    def batch_weight(self, batch: Batch) -> float:
        """What the summed loss is divided by: answer tokens, or answers."""
        return self.weights(batch["labels"])[:, 1:].sum().item()
