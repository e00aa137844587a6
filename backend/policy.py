"""The arithmetic of policy gradients on answers: advantages, whitening, clipped losses. Every tensor is one token long.

A round's answers are laid end to end: [tokens] over all answers, with the number of tokens of each answer in `lengths`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tokens:
    """What is known of every token of some answers when they have been made: [tokens] each, in fp32."""

    logprobs: torch.Tensor  # under the policy that made them
    values: torch.Tensor  # the reward it expected from there on
    reference: torch.Tensor  # log p under the model the run began with
    advantages: torch.Tensor
    returns: torch.Tensor


def token_rewards(
    rewards: Sequence[float], logprobs: torch.Tensor, reference: torch.Tensor, lengths: Sequence[int], kl_coefficient: float
) -> torch.Tensor:
    """The cost of moving away from the reference at every token, and the answer's reward at its last: [tokens]."""
    each = -kl_coefficient * (logprobs - reference)
    ends = torch.tensor(lengths).cumsum(0) - 1
    each[ends] += torch.tensor(rewards, dtype=each.dtype)
    return each


def advantages_of(
    rewards: torch.Tensor, values: torch.Tensor, lengths: Sequence[int], *, discount: float, smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation, answer by answer, and the returns a value should have guessed: [tokens] both.

    delta_t = r_t + gamma V_{t+1} - V_t; A_t = delta_t + gamma lambda A_{t+1}; nothing comes after an answer's last token
    (Schulman et al. 2016, arXiv 1506.02438, equation 16).
    """
    advantages = torch.empty_like(rewards)
    start = 0
    for length in lengths:
        ahead = following = 0.0
        for at in range(start + length - 1, start - 1, -1):
            delta = rewards[at].item() + discount * following - values[at].item()
            ahead = delta + discount * smoothing * ahead
            advantages[at], following = ahead, values[at].item()
        start += length
    return advantages, advantages + values


def whitened(values: torch.Tensor) -> torch.Tensor:
    """The same values with mean 0 and spread 1; a single one, or equal ones, become 0."""
    return (values - values.mean()) / (values.std(correction=0) + 1e-8)


@dataclass(frozen=True)
class Losses:
    """What one update goes down, and what is told of it: scalars."""

    total: torch.Tensor
    value_error: torch.Tensor
    clip_share: torch.Tensor  # of tokens that moved too far to count
    moved: torch.Tensor  # estimate of KL from the policy that answered: mean of (ratio - 1) - log ratio


def losses(
    logprobs: torch.Tensor, values: torch.Tensor, old: Tokens, *, clip: float, value_weight: float
) -> Losses:
    """PPO's clipped losses over some tokens, their mean (arXiv 1707.06347, equation 7; the value's is clipped alike)."""
    log_ratio = logprobs - old.logprobs
    ratio = log_ratio.exp()
    plain, held = -old.advantages * ratio, -old.advantages * ratio.clamp(1 - clip, 1 + clip)
    near = old.values + (values - old.values).clamp(-clip, clip)
    errors = torch.maximum((values - old.returns) ** 2, (near - old.returns) ** 2)
    total = torch.maximum(plain, held).mean() + value_weight * 0.5 * errors.mean()
    with torch.no_grad():
        clipped = ((ratio - 1).abs() > clip).float().mean()
        moved = (ratio - 1 - log_ratio).mean()
    return Losses(total, ((values - old.returns) ** 2).mean().detach(), clipped, moved)


def next_coefficient(coefficient: float, kl: float, target: float | None, *, gain: float = 0.1) -> float:
    """The cost of KL for the next round: raised where the model is further away than wanted, lowered where it is nearer.

    A proportional controller whose error is held within a fifth (Ziegler et al. 2019, arXiv 1909.08593, section 2.2).
    """
    if target is None:
        return coefficient
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + gain * error)
