"""Batches: every row once an epoch, like lengths together, in an order that only seed and epoch decide."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from backend.examples import IGNORED, Example, LikeLengths, collate


def batches(lengths: list[int], size: int, *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    sampler = LikeLengths(lengths, size, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@given(lengths=st.lists(st.integers(1, 100), min_size=1, max_size=300), size=st.integers(1, 9), epoch=st.integers(0, 3))
def test_every_row_comes_once_an_epoch(lengths: list[int], size: int, epoch: int) -> None:
    made = batches(lengths, size, epoch=epoch)
    assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
    assert len(made) == len(LikeLengths(lengths, size, seed=0))
    assert max(map(len, made)) <= size


@given(lengths=st.lists(st.integers(1, 100), min_size=1, max_size=200), size=st.integers(1, 4), pieces=st.integers(2, 4))
def test_pieces_of_a_batch_hold_its_rows(lengths: list[int], size: int, pieces: int) -> None:
    cut = LikeLengths(lengths, size, seed=0, pieces=pieces)
    made = list(cut)
    assert len(made) == len(cut) and all(made) and max(map(len, made)) <= size
    assert [row for batch in made for row in batch] == [row for batch in batches(lengths, size * pieces) for row in batch]
    full = [batch for batch in batches(lengths, size * pieces) if len(batch) >= pieces]
    assert len(made) == len(full) * pieces + (len(lengths) % (size * pieces) if len(lengths) % (size * pieces) < pieces else 0)


def test_only_seed_and_epoch_decide_the_order() -> None:
    lengths = [7 * n % 50 for n in range(200)]
    torch.manual_seed(1)
    first = batches(lengths, 8)
    torch.manual_seed(2)
    assert batches(lengths, 8) == first
    assert batches(lengths, 8, epoch=1) != first != batches(lengths, 8, seed=1)


def test_like_lengths_stand_together() -> None:
    lengths = [7 * n % 97 for n in range(400)]

    def padding(made: list[list[int]]) -> int:
        return sum(max(lengths[row] for row in batch) - lengths[other] for batch in made for other in batch)

    in_order = [list(range(at, at + 8)) for at in range(0, 400, 8)]
    assert padding(batches(lengths, 8)) < padding(in_order) / 4


def test_a_batch_is_padded_on_the_right_and_nothing_is_learnt_there() -> None:
    batch = collate([Example([5, 6, 7], [IGNORED, 6, 7], 0, 1), Example([8], [8], 0, 2)], 9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]
    assert batch["lengths"].tolist() == [3, 1]
