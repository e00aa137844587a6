"""The arithmetic of policy gradients on answers: advantages, whitening, clipped losses.

A round's answers are laid end to end: [tokens] over all answers, with the number of tokens of each answer in `lengths`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Seen:
    """What is known of a round's answers before they are weighed: [tokens] each, in fp32."""

    lengths: list[int]  # tokens of each answer
    logprobs: torch.Tensor  # under the policy that made them
    reference: torch.Tensor  # log p under the model the run began with
    values: torch.Tensor  # the reward it expected from there on; nought where nothing is guessed

    def on_tokens(self, each: torch.Tensor) -> torch.Tensor:
        """What holds of answers, at every token of theirs: [answers] -> [tokens]."""
        return each.repeat_interleave(torch.tensor(self.lengths))

    def weighed(self, advantages: torch.Tensor, returns: torch.Tensor | None = None) -> "Tokens":
        """With what each token counts, and what its value should have been, where values are guessed: [tokens] both."""
        returns = self.values if returns is None else returns
        return Tokens(self.lengths, self.logprobs, self.reference, self.values, advantages, returns)


@dataclass(frozen=True)
class Tokens(Seen):
    """What some answers are learnt from with: [tokens] each, in fp32."""

    advantages: torch.Tensor
    returns: torch.Tensor

    def of(self, answers: Sequence[int], device: torch.device) -> "Tokens":
        """The same of some answers alone, in that order, on a device."""

        def taken(values: torch.Tensor) -> torch.Tensor:
            parts = values.split(self.lengths)
            return torch.cat([parts[answer] for answer in answers]).to(device)

        lengths = [self.lengths[answer] for answer in answers]
        each = (self.logprobs, self.reference, self.values, self.advantages, self.returns)
        return Tokens(lengths, *map(taken, each))


def per_answer(each: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Sums over each answer's tokens: [tokens] -> [answers]."""
    return torch.stack([part.sum() for part in each.split(list(lengths))])


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


def standardised(values: torch.Tensor) -> torch.Tensor:
    """As whitened, with the spread of a sample (n - 1) and the room below it that TRL leaves."""
    return (values - values.mean()) / (values.std() + 1e-4)


def left_one_out(rewards: torch.Tensor, samples: int) -> torch.Tensor:
    """Each reward less the mean of its group's others: [answers], the `samples` of a prompt one after the other.

    Ahmadian et al. 2024, arXiv 2402.14740.
    """
    grouped = rewards.view(-1, samples)
    others = (grouped.sum(1, keepdim=True) - grouped) / (samples - 1)
    return (grouped - others).view(-1)


def relative_to_group(rewards: torch.Tensor, samples: int, *, scale: Literal["group", "batch", "none"]) -> torch.Tensor:
    """Each reward less its group's mean, over the spread of the group, of the round, or of nothing: [answers].

    Shao et al. 2024, arXiv 2402.03300, section 4.1.2; unscaled: Liu et al. 2025, arXiv 2503.20783.
    """
    grouped = rewards.view(-1, samples)
    ahead = grouped - grouped.mean(1, keepdim=True)
    if scale != "none":
        ahead = ahead / ((grouped.std(1, keepdim=True) if scale == "group" else rewards.std()) + 1e-4)
    return ahead.view(-1)


@dataclass(frozen=True)
class Losses:
    """What one update goes down, and what is told of it: scalars."""

    total: torch.Tensor
    clip_share: torch.Tensor  # of tokens (RLOO: of answers) that moved too far to count
    value_error: torch.Tensor | None = None  # where values are guessed


def ppo_losses(logprobs: torch.Tensor, values: torch.Tensor, old: Tokens, *, clip: float, value_weight: float) -> Losses:
    """PPO's clipped losses over some tokens, their mean (arXiv 1707.06347, equation 7; the value's is clipped alike)."""
    ratio = (logprobs - old.logprobs).exp()
    near = old.values + (values - old.values).clamp(-clip, clip)
    errors = torch.maximum((values - old.returns) ** 2, (near - old.returns) ** 2)
    total = _held_back(ratio, old.advantages, clip).mean() + value_weight * 0.5 * errors.mean()
    return Losses(total, _share_clipped(ratio, clip), ((values - old.returns) ** 2).mean().detach())


def rloo_losses(logprobs: torch.Tensor, old: Tokens, *, clip: float) -> Losses:
    """The ratio of whole answers times their advantage, the mean over answers (arXiv 2402.14740).

    Clipped as in PPO and in TRL, for a round is learnt from in several updates.
    """
    ratio = per_answer(logprobs - old.logprobs, old.lengths).exp()  # [answers]
    advantages = torch.stack([part[0] for part in old.advantages.split(old.lengths)])  # all tokens of an answer have the same
    return Losses(_held_back(ratio, advantages, clip).mean(), _share_clipped(ratio, clip))


def grpo_losses(
    logprobs: torch.Tensor, old: Tokens, *, clip: float, kl_coefficient: float, unbiased: bool = True, longest: int | None = None
) -> Losses:
    """The clipped loss of every token and the cost of its distance from the start (arXiv 2402.03300, equations 3 and 4).

    The mean of each answer's mean; with `longest`, the tokens an answer may have, the sum over so many each (2503.20783).
    `unbiased`: distance is weighed by the ratio, so that its gradient is that of KL itself (2512.02556).
    """
    ratio = (logprobs - old.logprobs).exp()
    ahead = old.reference - logprobs
    distance = (ahead.exp() - ahead - 1) * (ratio if unbiased else 1)  # an estimate of KL that is never negative (k3, Schulman 2020)
    sums = per_answer(_held_back(ratio, old.advantages, clip) + kl_coefficient * distance, old.lengths)  # [answers]
    tokens = torch.tensor(old.lengths, device=sums.device) if longest is None else longest
    return Losses((sums / tokens).mean(), _share_clipped(ratio, clip))


def _held_back(ratio: torch.Tensor, advantages: torch.Tensor, clip: float) -> torch.Tensor:
    """What is gained by a ratio, negated, where it stops counting beyond the clip: [tokens or answers]."""
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def _share_clipped(ratio: torch.Tensor, clip: float) -> torch.Tensor:
    return ((ratio.detach() - 1).abs() > clip).float().mean()


def next_coefficient(coefficient: float, kl: float, target: float | None, *, gain: float = 0.1) -> float:
    """The cost of KL for the next round: raised where the model is further away than wanted, lowered where it is nearer.

    A proportional controller whose error is held within a fifth (Ziegler et al. 2019, arXiv 1909.08593, section 2.2).
    """
    if target is None:
        return coefficient
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + gain * error)
