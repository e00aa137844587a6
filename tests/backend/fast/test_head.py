"""The head and its loss, some tokens at a time, against full logits."""

import pytest
import torch
import torch.nn.functional as F

from backend.fast import head
from backend.fast.head import HeadLogprobs, HeadLoss

SIZES = ((1, 1), (3, 2), (8, 8), (21, 5), (1000, 4), (1000, 1000))  # tokens in one product, and in fp32 at the same time


def some_at_a_time(monkeypatch: pytest.MonkeyPatch, together: int, at_once: int) -> None:
    monkeypatch.setitem(head.TOGETHER, "cpu", together * 50 * 4)  # bytes, of 50 entries in fp32
    monkeypatch.setattr(head, "FEWEST", 1)
    monkeypatch.setitem(head.AT_ONCE, "cpu", at_once)
    monkeypatch.setitem(head.LEARNT_AT_ONCE, "cpu", 16)


@pytest.fixture
def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("together", "at_once"), SIZES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_value_and_gradients_are_those_of_full_logits(
    together: int, at_once: int, with_bias: bool, numbers: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_at_a_time(monkeypatch, together, at_once)
    hidden, weight = torch.randn(21, 16, generator=numbers), torch.randn(50, 16, generator=numbers)
    bias = torch.randn(50, generator=numbers) if with_bias else None
    targets, weights = torch.randint(0, 50, (21,), generator=numbers), torch.rand(21, generator=numbers)
    inputs = [tensor.requires_grad_() for tensor in (hidden, weight, bias) if tensor is not None]

    expected = (F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="none") * weights).sum()
    actual = HeadLoss.apply(hidden, weight, bias, targets, weights)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    wanted = torch.autograd.grad(expected * 0.37, inputs)
    for ours, theirs in zip(torch.autograd.grad(actual * 0.37, inputs), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_what_is_frozen_gets_no_gradient(frozen: str, numbers: torch.Generator) -> None:
    hidden, weight = torch.randn(5, 8, generator=numbers), torch.randn(9, 8, generator=numbers)
    learning = weight if frozen == "hidden" else hidden
    learning.requires_grad_()
    HeadLoss.apply(hidden, weight, None, torch.arange(5), torch.ones(5)).backward()
    assert learning.grad is not None
    assert (hidden if frozen == "hidden" else weight).grad is None


def test_very_large_logits_stay_finite() -> None:
    hidden = torch.full((3, 4), 1e4, requires_grad=True)
    weight = torch.eye(4)
    value = HeadLoss.apply(hidden, weight, None, torch.tensor([0, 1, 2]), torch.ones(3))
    value.backward()
    assert value.isfinite() and hidden.grad is not None and hidden.grad.isfinite().all()


def test_nothing_to_learn_costs_nothing(numbers: torch.Generator) -> None:
    hidden = torch.randn(0, 8, requires_grad=True)
    value = HeadLoss.apply(hidden, torch.randn(9, 8, generator=numbers), None, torch.empty(0, dtype=torch.long), torch.empty(0))
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize(("together", "at_once"), SIZES)
def test_log_probabilities_and_their_gradients_are_those_of_full_logits(
    together: int, at_once: int, numbers: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_at_a_time(monkeypatch, together, at_once)
    hidden, weight, bias = (torch.randn(*size, generator=numbers).requires_grad_() for size in ((9, 16), (50, 16), (50,)))
    targets, upstream = torch.randint(0, 50, (9,), generator=numbers), torch.randn(9, generator=numbers)
    theirs = F.linear(hidden, weight, bias).log_softmax(-1)[torch.arange(9), targets]
    ours = HeadLogprobs.apply(hidden, weight, bias, targets)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    wanted = torch.autograd.grad((theirs * upstream).sum(), [hidden, weight, bias])
    for mine, their in zip(torch.autograd.grad((ours * upstream).sum(), [hidden, weight, bias]), wanted, strict=True):
        torch.testing.assert_close(mine, their, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weights_in", [torch.bfloat16, torch.float32])
def test_in_bf16_the_gradient_is_as_near_as_that_of_full_logits(weights_in: torch.dtype, numbers: torch.Generator) -> None:
    hidden, weight = torch.randn(40, 64, generator=numbers), torch.randn(300, 64, generator=numbers)
    targets, weights = torch.randint(0, 300, (40,), generator=numbers), torch.rand(40, generator=numbers)
    rounded = [hidden.bfloat16().requires_grad_(), weight.bfloat16().to(weights_in).requires_grad_()]
    exact = [each.detach().float().requires_grad_() for each in rounded]
    with torch.autocast("cpu", torch.bfloat16, enabled=weights_in != torch.bfloat16):
        ours = HeadLoss.apply(*rounded, None, targets, weights)
    theirs = (F.cross_entropy(F.linear(*exact), targets, reduction="none") * weights).sum()
    torch.testing.assert_close(ours, theirs, rtol=5e-3, atol=0)
    for mine, their in zip(torch.autograd.grad(ours, rounded), torch.autograd.grad(theirs, exact), strict=True):
        assert (mine.float() - their).norm() < 0.01 * their.norm()


@pytest.mark.parametrize("with_bias", [True, False])
def test_in_bf16_log_probabilities_are_nearly_exact_however_large_the_logits(with_bias: bool, numbers: torch.Generator) -> None:
    """A logit of 20 is known to 0.06 there; what the sums of long answers are off by would be mostly that."""
    hidden, weight = torch.randn(40, 64, generator=numbers) / 2, torch.randn(300, 64, generator=numbers)
    hidden[:, 0], weight[:, 0] = 32, 1  # as in trained models most logits are large, and not far from each other
    hidden, weight = hidden.bfloat16(), weight.bfloat16()
    bias = torch.randn(300, generator=numbers) if with_bias else None
    logits = F.linear(hidden.float(), weight.float(), bias)
    targets = logits.topk(2).indices[:, 1]  # likely ones, as in a text that somebody wrote, and not the likeliest
    theirs = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    ours = HeadLogprobs.apply(hidden, weight, bias, targets)
    rounded = (F.linear(hidden, weight).float() + (bias if bias is not None else 0)).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert logits.mean() > 20 and (rounded - theirs).abs().mean() > 0.05
    assert (ours - theirs).abs().mean() < 0.005
    loss = HeadLoss.apply(hidden, weight, bias, targets, torch.ones(40))
    assert abs(loss + theirs.sum()) < 40 * 0.005


def test_of_a_large_vocabulary_still_many_tokens_are_multiplied_at_once(numbers: torch.Generator) -> None:
    made = [len(logits) for _, logits in head.Through(torch.randn(300, 2, generator=numbers), torch.randn(300_000, 2, generator=numbers), None).tiles()]
    assert sum(made) == 300 and max(made) == head.AT_ONCE["cpu"]
    assert head.Through(torch.randn(1, 2), torch.empty(300_000, 2), None).together == head.FEWEST
