"""The head and what is made of its logits, some tokens at a time, with no more of them in memory than a few tokens' worth.

Products like many tokens at once, what is done to each logit likes few: those that fit into a core's cache. So logits are made
for many, turned into their gradient a few at a time and in their own place, and multiplied again from there. Value and gradients
of 1,300 tokens of a vocabulary of 49,152 and a width of 576, in bf16 on two cores, in ms: 240 where the head is frozen, 375 where it
learns; with 128 tokens for both, 280 and 670. The products alone take about 200 and 300.

A logit of 20 is known to 0.06 in bf16, and half of the variance of what an answer's log p is off by comes from there. So each token's
logits are made less the one of its target: those that carry its probability are then near 0, where bf16 is fine. The product adds that
in fp32, before it rounds, and takes an eighth longer. Sums of some 400 tokens of the starter are off by 0.59 nats instead of 0.75.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

TOGETHER = {"cpu": 30 << 20, "cuda": 400 << 20}  # bytes of logits that are made in one product; the C library keeps up to 32 MB for the next step
FEWEST = 128  # tokens of one product, however large the vocabulary: with fewer the head is read more than it is multiplied
AT_ONCE = {"cpu": 16}  # tokens of them whose logits are in fp32 at the same time; elsewhere all
LEARNT_AT_ONCE = {"cpu": 4096}  # entries of the vocabulary whose gradient is added in one product; elsewhere all


class HeadLoss(torch.autograd.Function):
    """Weighted cross-entropy of a linear head, with gradients made in the forward pass, which can be gone back through once."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        """hidden [N, D], weight [V, D], bias [V], targets [N], weights [N] -> scalar."""
        through = Through(hidden, weight, bias, ctx.needs_input_grad[:3], targets=targets)
        total = torch.zeros((), device=hidden.device)
        for rows, logits in through.tiles():
            picked, top = _picked(logits, targets[rows]), logits.amax(-1, keepdim=True)
            shares = logits.sub_(top).exp_()  # in proportion to the probabilities
            sums = shares.sum(-1)
            total += ((sums.log() + top[:, 0] - picked) * weights[rows]).sum()
            if through.learns:
                shares.mul_((weights[rows] / sums)[:, None])  # d loss / d logits = weight x (probabilities - one hot)
                shares[torch.arange(len(shares), device=shares.device), targets[rows]] -= weights[rows]
        ctx.grads = through.grads
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grads, ctx.grads = ctx.grads, None
        return (*(None if grad is None else grad.mul_(upstream) for grad in grads), None, None)


class HeadLogprobs(torch.autograd.Function):
    """log p of each target under a linear head. The logits are made again for the gradient rather than kept."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
    ) -> torch.Tensor:
        """hidden [N, D], weight [V, D], bias [V], targets [N] -> [N], in fp32."""
        through = Through(hidden, weight, bias, targets=targets)
        picked, sums = (torch.empty(len(hidden), device=hidden.device) for _ in range(2))
        for rows, logits in through.tiles():
            picked[rows], sums[rows] = _picked(logits, targets[rows]), logits.logsumexp(-1)
        ctx.save_for_backward(hidden, weight, bias, targets, sums)
        ctx.products = through.head.dtype
        return picked - sums

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, sums = ctx.saved_tensors
        through = Through(hidden, weight, bias, ctx.needs_input_grad[:3], targets=targets, products=ctx.products)
        for rows, logits in through.tiles():  # d log p / d logits = one hot - probabilities
            logits.sub_(sums[rows, None]).exp_().mul_(-upstream[rows, None])
            logits[torch.arange(len(logits), device=logits.device), targets[rows]] += upstream[rows]
        return (*through.grads, None)


class Through:
    """One way of some tokens through a linear head: to their logits and, from what is made of them, back to the gradients."""

    def __init__(
        self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, wanted: Sequence[bool] = (False, False, False),
        *, targets: torch.Tensor | None = None, products: torch.dtype | None = None,
    ) -> None:
        """hidden [N, D], weight [V, D], bias [V]; of which of them gradients are wanted; targets [N], whose logits become the zero of
        their token's; in which type products run."""
        kind = hidden.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        self.hidden, self.head, self.bias = hidden, weight.to(products or autocast or weight.dtype), bias
        self.targets = targets if self.head.itemsize < 4 else None  # wider types need no help
        self.together = max(FEWEST, TOGETHER.get(kind, TOGETHER["cuda"]) // (len(weight) * self.head.itemsize))
        self.at_once, self.learnt_at_once = AT_ONCE.get(kind, self.together), LEARNT_AT_ONCE.get(kind, len(weight))
        self.learns = any(wanted)
        self.grad_hidden = torch.empty_like(hidden) if wanted[0] else None
        self.grad_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
        self.grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and wanted[2] else None

    @property
    def grads(self) -> tuple[torch.Tensor | None, ...]:
        """Of hidden, weight and bias."""
        return self.grad_hidden, self.grad_weight, self.grad_bias

    def tiles(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """(rows, their logits [some, V] in fp32). Where gradients are wanted, whoever goes through turns logits into theirs, in place."""
        logits = self.head.new_empty(min(self.together, len(self.hidden)), len(self.head))
        for together in _slices(len(self.hidden), self.together):
            states = self.hidden[together].to(self.head.dtype)
            made = self._product(states, together, out=logits[: len(states)])
            for few in _slices(len(made), self.at_once):
                tile = made[few].float()
                if self.bias is not None:
                    tile += self.bias
                yield slice(together.start + few.start, together.start + few.stop), tile
                if self.grad_bias is not None:
                    self.grad_bias += tile.sum(0)
                if self.learns:
                    made[few].copy_(tile)
            if self.grad_hidden is not None:
                self.grad_hidden[together] = (made @ self.head).to(self.hidden.dtype)
            if self.grad_weight is not None:
                for entries in _slices(len(self.head), self.learnt_at_once):
                    self.grad_weight[entries] += made[:, entries].t() @ states

    def _product(self, states: torch.Tensor, rows: slice, *, out: torch.Tensor) -> torch.Tensor:
        if self.targets is None:
            return torch.mm(states, self.head.t(), out=out)
        zeros = (states.float() * self.head[self.targets[rows]].float()).sum(-1).to(out.dtype)
        return torch.addmm(-zeros[:, None], states, self.head.t(), out=out)


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _picked(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return logits.gather(1, targets[:, None])[:, 0]
