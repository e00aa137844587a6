"""Examples and how they become batches: like lengths together, padded on the right as little as can be."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from backend.data.records import Message
from backend.data.tokens import Encoded

if TYPE_CHECKING:
    import torch

IGNORED = -100  # label of a token nothing is learnt from, as everywhere in this field
WINDOW = 16  # batches whose rows are sorted by length together; few enough that an epoch's order stays random


@dataclass(frozen=True)
class Example:
    """One row ready to be learnt from. `labels` equal `input_ids` where trained, else IGNORED."""

    input_ids: list[int]
    labels: list[int]
    cut: int  # tokens the length limit took off
    row: int  # 1-based number among the rows of its side (of the block, for packed text)

    @property
    def length(self) -> int:
        """Tokens of its longest sequence."""
        return len(self.input_ids)

    @property
    def sequences(self) -> "tuple[Example, ...]":
        return (self,)


@dataclass(frozen=True)
class Ranking:
    """Several answers to one prompt, and which is better than which; a pair is a ranking of two."""

    sequences: tuple[Example, ...]  # prompt and answer, labels on the answer alone
    ranks: tuple[int, ...]  # 1 is the best; equal ranks are a tie
    row: int
    margin: float = 0.0  # how much better the better one has to be
    reference: tuple[float, ...] = ()  # log p of each answer before training, where the objective asks for it

    @property
    def length(self) -> int:
        """Tokens of its longest sequence."""
        return max(len(sequence.input_ids) for sequence in self.sequences)

    @property
    def cut(self) -> int:
        return max(sequence.cut for sequence in self.sequences)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) for every two answers that are not tied: K (K - 1) / 2 of them at most."""
        places = range(len(self.ranks))
        return [(a, b) for a in places for b in places if self.ranks[a] < self.ranks[b]]


@dataclass(frozen=True)
class Rated:
    """An answer that was called good or bad; and the same prompt with an answer that belongs to another one."""

    sequences: tuple[Example, Example]
    good: bool
    row: int
    reference: tuple[float, ...] = ()  # log p of both before training

    @property
    def length(self) -> int:
        """Tokens of its longer sequence."""
        return max(len(sequence.input_ids) for sequence in self.sequences)

    @property
    def cut(self) -> int:
        return self.sequences[0].cut


@dataclass(frozen=True)
class Prompted:
    """A prompt to be answered while training, and the answer the data has for it."""

    prompt: Example  # nothing in it is learnt from
    messages: list[Message]
    wanted: str

    @property
    def sequences(self) -> tuple[Example, ...]:
        return (self.prompt,)

    @property
    def length(self) -> int:
        return self.prompt.length

    @property
    def cut(self) -> int:
        return 0


AnyExample = Example | Ranking | Rated | Prompted


@dataclass(frozen=True)
class LeftOut:
    """A row that cannot be learnt from, and why."""

    row: int
    reason: str


def example_of(encoded: Encoded, *, cut: int, row: int) -> Example:
    """An encoded row as an example."""
    labels = [token if trained else IGNORED for token, trained in zip(encoded.ids, encoded.trained, strict=True)]
    return Example(encoded.ids, labels, cut, row)


def collate(examples: Sequence[Example], pad: int) -> dict[str, "torch.Tensor"]:
    """{"input_ids": [rows, tokens], "labels": [rows, tokens], "lengths": [rows]}, padded on the right to the longest."""
    import torch

    width = max(len(example.input_ids) for example in examples)
    input_ids = torch.full((len(examples), width), pad)
    labels = torch.full((len(examples), width), IGNORED)
    for row, example in enumerate(examples):
        input_ids[row, : len(example.input_ids)] = torch.tensor(example.input_ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    lengths = torch.tensor([len(example.input_ids) for example in examples])
    return {"input_ids": input_ids, "labels": labels, "lengths": lengths}


def collate_rankings(rankings: Sequence[Ranking], pad: int) -> dict[str, "torch.Tensor"]:
    """The answers of all rankings as rows, and their pairs.

    As `collate`, [rows, tokens]; and {"better", "worse": [pairs], places among the rows; "share": [pairs], the part of
    its ranking that a pair is; "margin": [pairs]; "reference": [rows]; "rankings": scalar}.
    """
    import torch

    batch = collate([sequence for ranking in rankings for sequence in ranking.sequences], pad)
    better, worse, share, margin, first = [], [], [], [], 0
    for ranking in rankings:
        pairs = ranking.pairs
        better += [first + a for a, _ in pairs]
        worse += [first + b for _, b in pairs]
        share += [1 / len(pairs)] * len(pairs)
        margin += [ranking.margin] * len(pairs)
        first += len(ranking.sequences)
    reference = [value for ranking in rankings for value in ranking.reference or (0.0,) * len(ranking.sequences)]
    return {
        **batch, "better": torch.tensor(better), "worse": torch.tensor(worse), "share": torch.tensor(share),
        "margin": torch.tensor(margin), "reference": torch.tensor(reference), "rankings": torch.tensor(len(rankings)),
    }


def collate_rated(answers: Sequence[Rated], pad: int) -> dict[str, "torch.Tensor"]:
    """Each answer as a row, and behind it the mismatched one; and {"good": [answers], "reference": [rows]}."""
    import torch

    batch = collate([sequence for answer in answers for sequence in answer.sequences], pad)
    reference = [value for answer in answers for value in answer.reference or (0.0, 0.0)]
    good = torch.tensor([answer.good for answer in answers])
    return {**batch, "good": good, "reference": torch.tensor(reference)}


class LikeLengths:
    """A batch sampler: every row once an epoch, in an order that only the seed and the epoch decide.

    With `pieces`, batches of so many times the size are made and each is cut into so many: steps keep their rows.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, *, seed: int, pieces: int = 1) -> None:
        self.lengths, self.whole, self.pieces, self.seed = lengths, batch_size * pieces, pieces, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(len(self.lengths), self.whole)
        return full * self.pieces + min(rest, self.pieces)

    def __iter__(self) -> Iterator[list[int]]:
        order = random.Random(f"{self.seed} {self.epoch}")
        rows = list(range(len(self.lengths)))
        order.shuffle(rows)
        window = self.whole * WINDOW
        batches = [batch for at in range(0, len(rows), window) for batch in self._of_like_length(rows[at : at + window])]
        order.shuffle(batches)
        for batch in batches:
            yield from self._cut(batch)

    def _of_like_length(self, rows: list[int]) -> list[list[int]]:
        rows = sorted(rows, key=lambda row: self.lengths[row])
        return [rows[at : at + self.whole] for at in range(0, len(rows), self.whole)]

    def _cut(self, batch: list[int]) -> Iterator[list[int]]:
        """As many pieces as there are to be, so that a step begins where it would; fewer only of a batch with fewer rows."""
        count = min(self.pieces, len(batch))
        edges = [len(batch) * piece // count for piece in range(count + 1)]
        return (batch[begin:end] for begin, end in pairwise(edges))


def hold_out(rows: Sequence[str], share: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to validate on. Rows with the same key (their prompt) stay on the same side.

    At least one row is held out if `share` is above zero and there are two different keys.
    """
    keys = sorted(set(rows))
    random.Random(seed).shuffle(keys)
    count = min(len(keys) - 1, max(1, round(share * len(keys)))) if share > 0 and len(keys) > 1 else 0
    held = set(keys[:count])
    train = [index for index, key in enumerate(rows) if key not in held]
    return train, [index for index, key in enumerate(rows) if key in held]
