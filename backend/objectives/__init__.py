"""What is optimised: one file per objective, each a settings model that makes examples and scores batches of them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from backend import registry
from backend.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from backend.data.records import Record
    from backend.examples import Example, LeftOut
    from backend.loss import Scorer


class ObjectiveSettings(Settings):
    """What is optimised. One file per objective in this folder, found by listing it."""

    order: ClassVar[int]  # in the picker
    title: ClassVar[str]
    sentence: ClassVar[str]
    record: ClassVar[Literal["messages", "text"]]  # the kind of data set it learns from

    name: str

    def examples(
        self, records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> "Iterator[Example | LeftOut]":
        """What is learnt from, row by row, and which rows cannot be, with the reason."""
        raise NotImplementedError

    def batch_loss(self, scorer: "Scorer", batch: "dict[str, torch.Tensor]") -> "torch.Tensor":
        """The summed loss of a batch, a scalar; the mean over a step is this divided by its `batch_weight`."""
        raise NotImplementedError

    def batch_weight(self, batch: "dict[str, torch.Tensor]") -> float:
        """How many units (tokens, answers, pairs) the batch's loss is summed over."""
        raise NotImplementedError


def all_objectives() -> dict[str, type[ObjectiveSettings]]:
    """Every objective by name, in the order of the picker."""
    return registry.found_in(__name__, ObjectiveSettings)  # type: ignore[return-value]


def parse(value: Any) -> ObjectiveSettings:
    """An objective's settings from plain values."""
    return registry.parse(value, all_objectives(), "objective")  # type: ignore[arg-type,return-value]
