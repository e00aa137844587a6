"""A reward model: one number for a whole answer, higher for the one people prefer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.records import RecordKind
from backend.examples import AnyExample, LeftOut, collate_rankings
from backend.objectives import Batch, ObjectiveSettings, Scored
from backend.settings import advanced

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from backend.data.records import Record
    from backend.loss import RewardScorer
    from backend.methods import MethodSettings


class Reward(ObjectiveSettings):
    order: ClassVar[int] = 5
    title: ClassVar[str] = "a reward model"
    sentence: ClassVar[str] = "Learns to give preferred answers a higher number: Bradley-Terry on pairs (arXiv 2203.02155)."
    record: ClassVar[RecordKind] = "preferences"
    head: ClassVar[Literal["language", "scalar"]] = "scalar"
    rate_factor: ClassVar[float] = 0.2

    name: Literal["reward"] = "reward"
    use_margin: bool = Field(
        True, title="Use the strength of preferences",
        description="Where a pair says how much better one answer is, its reward has to be higher by that much (Llama 2).",
    )
    centring: float = advanced(
        0.0, ge=0, le=1, title="Centring",
        description="Pulls rewards towards zero, so that those of different prompts can be compared; 0.01 is usual (arXiv 2312.09244).",
    )

    def examples(
        self, records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> Iterator[AnyExample | LeftOut]:
        """One ranking per row; a row with an answer longer than `max_length` is left out, for its end is what is judged."""
        from backend.preferences import rankings

        return rankings(records, tokenizer, max_length, whole=True)

    def collate(self, examples: Sequence[AnyExample], pad: int) -> Batch:
        return collate_rankings(examples, pad)  # type: ignore[arg-type]

    def score(self, scorer: "RewardScorer", batch: Batch) -> Scored:  # type: ignore[override]
        """-log sigmoid(r_better - r_worse - margin), per ranking the mean over its pairs; summed over rankings."""
        import torch.nn.functional as F

        rewards = scorer.rewards(batch["input_ids"], batch["lengths"])  # [rows]
        better, worse, share = rewards[batch["better"]], rewards[batch["worse"]], batch["share"]
        margin = batch["margin"] if self.use_margin else 0.0
        losses = -F.logsigmoid(better - worse - margin) + self.centring * (better + worse) ** 2
        return Scored((losses * share).sum(), {
            "accuracy": ((better > worse).float() * share).sum(), "margin": ((better - worse) * share).sum(),
            "reward of the better": (better * share).sum(), "reward of the worse": (worse * share).sum(),
        }, better - worse)

    def batch_weight(self, batch: Batch) -> float:
        """Rankings."""
        return batch["rankings"].item()

    def unfit(self, method: "MethodSettings") -> str:
        """Virtual tokens have no place of their own in a text that is judged by its last token."""
        if method.name in ("prompt", "prefix"):
            return f"A reward model is not learnt by {method.title}. Choose LoRA, QLoRA, an adapter or full fine-tuning."
        return ""
