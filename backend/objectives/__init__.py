"""What is optimised: one file per objective, each a settings model that makes examples and scores batches of them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from backend import registry
from backend.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from backend.data.records import Record, RecordKind
    from backend.examples import AnyExample, LeftOut
    from backend.loss import Scorer
    from backend.methods import MethodSettings
    from backend.workspace import Workspace

Batch = dict[str, "torch.Tensor"]


class Scored(NamedTuple):
    """A batch's loss and what else is worth watching: scalars, each summed over the batch's units."""

    loss: "torch.Tensor"
    metrics: "dict[str, torch.Tensor]"
    margins: "torch.Tensor | None" = None  # [pairs], how much more the better answer of each got, where pairs are judged


class Work(NamedTuple):
    """What takes time, in tokens."""

    learnt: float = 0  # gone through forward and backward
    read: float = 0  # forward alone
    written: float = 0  # one after the other


class ObjectiveSettings(Settings):
    """What is optimised. One file per objective in this folder, found by listing it."""

    order: ClassVar[int]  # in the picker
    title: ClassVar[str]
    sentence: ClassVar[str]
    record: "ClassVar[RecordKind]"  # the kind of data set it learns from
    head: ClassVar[Literal["language", "scalar"]] = "language"  # what the model puts out: next tokens, or one number
    loop: ClassVar[Literal["batches", "rollouts"]] = "batches"  # learns from rows, or from its own answers to them
    rate_factor: ClassVar[float] = 1.0  # of the method's own learning rate: preferences are learnt at a slower one
    needs_reference: ClassVar[bool] = False  # whether answers are compared with what the untrained model thinks of them

    name: str

    def examples(
        self, records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> "Iterator[AnyExample | LeftOut]":
        """What is learnt from, row by row, and which rows cannot be, with the reason."""
        raise NotImplementedError

    def collate(self, examples: "Sequence[AnyExample]", pad: int) -> Batch:
        """A batch of examples: by default {"input_ids", "labels": [rows, tokens], "lengths": [rows]}."""
        from backend.examples import collate

        return collate(examples, pad)  # type: ignore[arg-type]

    def score(self, scorer: "Scorer", batch: Batch) -> Scored:
        """The summed loss of a batch; the mean over a step is this divided by its `batch_weight`."""
        raise NotImplementedError

    def batch_weight(self, batch: Batch) -> float:
        """How many units (tokens, answers, rankings) the batch's loss is summed over."""
        raise NotImplementedError

    def rows_at_once(self, batch_size: int) -> int:
        """Texts, or rankings of them, whose activations are in memory together."""
        return batch_size

    def tokens_at_once(self, example: "AnyExample") -> int:
        """Of each of those."""
        return example.length * len(example.sequences)

    def work(self, example: "AnyExample") -> Work:
        """What it takes to learn from an example once."""
        return Work(learnt=self.tokens_at_once(example))

    def measuring(self, held_out: "Sequence[AnyExample]") -> Work:
        """What it takes to measure on examples that are held out."""
        return Work(read=sum(map(self.tokens_at_once, held_out)))

    def notes(self, workspace: "Workspace") -> list[str]:
        """What a person should know before the start. Raises `UserError` for what cannot work."""
        return []

    def unfit(self, method: "MethodSettings") -> str:
        """Why it cannot be learnt by a method, in a sentence; empty where it can."""
        return ""


def all_objectives() -> dict[str, type[ObjectiveSettings]]:
    """Every objective by name, in the order of the picker."""
    return registry.found_in(__name__, ObjectiveSettings)  # type: ignore[return-value]


def parse(value: Any) -> ObjectiveSettings:
    """An objective's settings from plain values."""
    return registry.parse(value, all_objectives(), "objective")  # type: ignore[arg-type,return-value]
