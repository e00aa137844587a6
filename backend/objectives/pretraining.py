"""Continued pre-training: learn every token of plain text, packed into full blocks."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from backend.data.records import Record
from backend.data.tokens import Encoded, encode_all
from backend.examples import IGNORED, Example, LeftOut, example_of
from backend.objectives import Batch, ObjectiveSettings, Scored

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from backend.loss import Scorer


class Pretraining(ObjectiveSettings):
    order: ClassVar[int] = 2
    title: ClassVar[str] = "every word of the text"
    sentence: ClassVar[str] = "Continued pre-training: the loss is taken on every token of plain text, packed into full blocks."
    record: ClassVar[Literal["messages", "text"]] = "text"

    name: Literal["pretraining"] = "pretraining"

    def examples(
        self, records: Iterable[Record], tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> Iterator[Example | LeftOut]:
        """Documents one after the other, each closed by the end token, cut into blocks of `max_length` tokens.

        Nothing is padded and nothing is lost but the last few tokens, if they do not fill a block of two.
        """
        waiting: list[int] = []
        blocks = 0
        for document in encode_all(records, tokenizer):
            waiting += document.ids
            while len(waiting) >= max_length:
                blocks += 1
                yield _block(waiting[:max_length], blocks)
                waiting = waiting[max_length:]
        if len(waiting) > 1:
            yield _block(waiting, blocks + 1)

    def score(self, scorer: "Scorer", batch: Batch) -> Scored:
        """Sum of the losses of a batch's tokens: a scalar."""
        return Scored(scorer.loss(batch["input_ids"], batch["labels"], (batch["labels"] != IGNORED).float()), {})

    def batch_weight(self, batch: Batch) -> float:
        """Tokens that have one before them to be predicted from."""
        return (batch["labels"][:, 1:] != IGNORED).sum().item()


def _block(ids: list[int], number: int) -> Example:
    return example_of(Encoded(ids, [True] * len(ids)), cut=0, row=number)
