"""Direct preference optimisation: make the better answer likelier than the worse one, measured from where one started."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.records import RecordKind
from backend.examples import IGNORED, AnyExample, LeftOut, collate_rankings
from backend.objectives import Batch, ObjectiveSettings, Scored
from backend.settings import advanced

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from backend.data.records import Record
    from backend.loss import Scorer


class Dpo(ObjectiveSettings):
    order: ClassVar[int] = 3
    title: ClassVar[str] = "preferences (DPO)"
    sentence: ClassVar[str] = "Makes preferred answers likelier than rejected ones, without a reward model (arXiv 2305.18290)."
    record: ClassVar[RecordKind] = "preferences"
    needs_reference: ClassVar[bool] = True
    rate_factor: ClassVar[float] = 0.2

    name: Literal["dpo"] = "dpo"
    beta: float = Field(
        0.1, gt=0, le=10, title="Beta",
        description="How closely the model is held to where it started. Lower lets it move further, and drift sooner.",
    )
    loss: Literal["sigmoid", "ipo", "hinge"] = Field(
        "sigmoid", title="Loss",
        description="sigmoid: DPO as published. ipo: stops pushing once the margin is 1 / (2 beta), so it overfits less "
        "(arXiv 2310.12036). hinge: stops at a margin of 1 (SLiC, arXiv 2305.10425).",
    )
    sft_weight: float = Field(
        0.0, ge=0, le=10, title="Pull towards the better answer",
        description="How much the better answer itself is learnt, as in fine-tuning on it, beside being told from the worse one. "
        "0: DPO as published, which may make both less likely. arXiv 2404.19733, 2407.21783.",
    )
    label_smoothing: float = advanced(
        0.0, ge=0, lt=0.5, title="Label smoothing",
        description="The share of pairs you expect to be labelled the wrong way round. Works with the sigmoid loss.",
    )

    def examples(
        self, records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> Iterator[AnyExample | LeftOut]:
        """One ranking per row, each answer cut to `max_length` tokens together with its prompt."""
        from backend.preferences import rankings

        return rankings(records, tokenizer, max_length)

    def collate(self, examples: Sequence[AnyExample], pad: int) -> Batch:
        return collate_rankings(examples, pad)  # type: ignore[arg-type]

    def score(self, scorer: "Scorer", batch: Batch) -> Scored:
        """Per ranking, the mean loss over its pairs; summed over rankings."""
        logprobs = scorer.logprobs(batch["input_ids"], batch["labels"])  # [rows]
        ratios = logprobs - batch["reference"]
        better, worse, share = batch["better"], batch["worse"], batch["share"]
        losses = self._losses(ratios, batch) - self.sft_weight * (logprobs / _tokens(batch))[better]
        loss = (losses * share).sum()
        rewards = self.beta * ratios
        margins = rewards[better] - rewards[worse]
        return Scored(loss, {
            "accuracy": ((margins > 0).float() * share).sum(), "margin": (margins * share).sum(),
            "reward of the better": (rewards[better] * share).sum(), "reward of the worse": (rewards[worse] * share).sum(),
        })

    def batch_weight(self, batch: Batch) -> float:
        """Rankings."""
        return batch["rankings"].item()

    def _losses(self, ratios: "torch.Tensor", batch: Batch) -> "torch.Tensor":
        """The loss of each pair: [pairs]."""
        import torch.nn.functional as F

        if self.loss == "ipo":  # per token, as its authors confirmed to TRL: sums would grow with the answers' lengths
            ratios = ratios / _tokens(batch)
            return (ratios[batch["better"]] - ratios[batch["worse"]] - 1 / (2 * self.beta)) ** 2
        delta = self.beta * (ratios[batch["better"]] - ratios[batch["worse"]])
        if self.loss == "hinge":
            return (1 - delta).relu()
        return -(1 - self.label_smoothing) * F.logsigmoid(delta) - self.label_smoothing * F.logsigmoid(-delta)


def _tokens(batch: Batch) -> "torch.Tensor":
    """Tokens of each answer: [rows]."""
    return (batch["labels"] != IGNORED).sum(1).clamp(min=1)
