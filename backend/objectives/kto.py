"""Kahneman-Tversky optimisation: learn from answers that were each called good or bad, with no need for pairs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.records import RecordKind
from backend.examples import AnyExample, LeftOut, collate_rated
from backend.objectives import Batch, ObjectiveSettings, Scored
from backend.settings import advanced

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from backend.data.records import Record
    from backend.loss import Scorer


class Kto(ObjectiveSettings):
    order: ClassVar[int] = 4
    title: ClassVar[str] = "good and bad (KTO)"
    sentence: ClassVar[str] = "Makes good answers likelier and bad ones less likely, each for itself (arXiv 2402.01306)."
    record: ClassVar[RecordKind] = "preferences"
    needs_reference: ClassVar[bool] = True
    rate_factor: ClassVar[float] = 0.2

    name: Literal["kto"] = "kto"
    beta: float = Field(
        0.1, gt=0, le=10, title="Beta",
        description="How closely the model is held to where it started. Lower lets it move further, and drift sooner.",
    )
    desirable_weight: float = advanced(
        1.0, gt=0, le=100, title="Weight of good answers",
        description="Raise it where good answers are the fewer: both kinds together should weigh about the same.",
    )
    undesirable_weight: float = advanced(
        1.0, gt=0, le=100, title="Weight of bad answers",
        description="Raise it where bad answers are the fewer: both kinds together should weigh about the same.",
    )

    def examples(
        self, records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> Iterator[AnyExample | LeftOut]:
        """One example per answer: good where it is ranked first, bad elsewhere; and each prompt with another's answer."""
        from backend.preferences import rated

        return rated(records, tokenizer, max_length)

    def collate(self, examples: Sequence[AnyExample], pad: int) -> Batch:
        return collate_rated(examples, pad)  # type: ignore[arg-type]

    def score(self, scorer: "Scorer", batch: Batch) -> Scored:
        """1 - sigmoid(beta (log ratio - KL)) for good answers, and the other way round for bad ones; summed over answers.

        KL is how far the model has moved altogether: the mean log ratio of answers that belong to other prompts.
        """
        import torch

        ids, labels, reference, good = batch["input_ids"], batch["labels"], batch["reference"], batch["good"]
        ratios = scorer.logprobs(ids[0::2], labels[0::2]) - reference[0::2]
        with torch.no_grad():
            elsewhere = scorer.logprobs(ids[1::2], labels[1::2]) - reference[1::2]
        kl = elsewhere.mean().clamp(min=0)
        gains = torch.where(good, ratios - kl, kl - ratios)
        weights = torch.where(good, self.desirable_weight, self.undesirable_weight)
        losses = weights * (1 - (self.beta * gains).sigmoid())
        return Scored(losses.sum(), {"accuracy": (gains > 0).float().sum(), "KL": kl * len(good)})

    def batch_weight(self, batch: Batch) -> float:
        """Answers."""
        return float(len(batch["good"]))
