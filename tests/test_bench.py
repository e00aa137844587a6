"""When the bench says that something cannot be left as it is."""

from dataclasses import replace

import pytest

from tests.bench.speed import Pair, Result, Truth
from tests.bench.workloads import WORKLOADS, Measured, Workload

LORA = WORKLOADS["lora"]


def measured(tokens_per_second: float) -> Measured:
    return Measured(int(100 * tokens_per_second), 80, 100, 200, 10**9, [1.0], [0.1])


def result(workload: Workload, *ratios: float, off: float = 0.0, norm: float = 0.1) -> Result:
    return Result(workload, [Pair(measured(100), measured(100 * ratio), floor=1500) for ratio in ratios], Truth(off, norm))


def test_half_as_fast_as_it_was_known_to_be_is_a_failure() -> None:
    known = LORA.known or 0
    assert result(LORA, known / 2 + 0.1).failures == []
    assert result(LORA, 1, known, known).failures == []  # the median counts
    (failure,) = result(LORA, known, 1, known / 2 - 0.1).failures
    assert "half of" in failure and failure.startswith("LoRA: ")
    assert result(replace(LORA, known=None), LORA.aim / 2 - 0.1).failures


@pytest.mark.parametrize("wrong", [{"off": 0.021}, {"norm": 0.0}])
def test_no_speed_counts_where_the_losses_differ_or_no_gradient_flows(wrong: dict[str, float]) -> None:
    assert "losses" in result(LORA, 20, **wrong).failures[0]
    assert "the losses differ" in result(LORA, 20, **wrong).line()
    assert "reached" in result(LORA, 20).line() and "reached" not in result(LORA, LORA.aim - 1).line()
