"""Proximal policy optimisation: the model answers, the answers are rewarded, and what was rewarded is made likelier.

A value head guesses the reward to come at every token; a token counts by how much better than that it turned out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.rollouts import RolloutSettings
from backend.settings import advanced

if TYPE_CHECKING:
    import torch

    from backend.policy import Losses, Seen, Tokens


class Ppo(RolloutSettings):
    order: ClassVar[int] = 6
    title: ClassVar[str] = "by trying (PPO)"
    sentence: ClassVar[str] = "Answers prompts, and makes likelier what a reward model or a rule rewards (arXiv 1707.06347, 2203.02155)."
    guesses_values: ClassVar[bool] = True
    rate_factor: ClassVar[float] = 1.0  # the clip holds an update back, not the rate: README, "Learning from preferences"

    name: Literal["ppo"] = "ppo"
    samples: int = Field(
        2, ge=1, le=64, title="Answers per prompt", description="How often each prompt is answered in a round. More is steadier and slower.",
    )
    value_weight: float = advanced(
        0.1, ge=0, le=10, title="Weight of the value loss", description="How much the guess of the reward to come counts beside the answers.",
    )
    discount: float = advanced(
        1.0, gt=0, le=1, title="Discount", description="Gamma: what a reward one token later is worth now.",
    )
    smoothing: float = advanced(
        0.95, ge=0, le=1, title="GAE lambda", description="Between trusting the value's guess (0) and the rewards alone (1). arXiv 1506.02438.",
    )
    whiten: bool = advanced(
        True, title="Whiten advantages", description="Brings the advantages of a round to mean 0 and spread 1. Steadier.",
    )

    def weighed(self, seen: "Seen", rewards: Sequence[float], kl_coefficient: float) -> "Tokens":
        """By generalised advantage estimation; every token pays for its own distance from the start."""
        from backend.policy import advantages_of, token_rewards, whitened

        worth = token_rewards(rewards, seen.logprobs, seen.reference, seen.lengths, kl_coefficient)
        advantages, returns = advantages_of(worth, seen.values, seen.lengths, discount=self.discount, smoothing=self.smoothing)
        return seen.weighed(whitened(advantages) if self.whiten else advantages, returns)

    def losses(self, logprobs: "torch.Tensor", values: "torch.Tensor", old: "Tokens", kl_coefficient: float) -> "Losses":
        from backend.policy import ppo_losses

        return ppo_losses(logprobs, values, old, clip=self.clip, value_weight=self.value_weight)
