"""REINFORCE leave-one-out: each prompt is answered several times, and an answer counts by how much better it is than the others.

There is no value head to learn: the other answers to the same prompt say what was to be expected. A whole answer is one
action, and its distance from the start is taken off its reward.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from backend.rollouts import RolloutSettings
from backend.settings import advanced

if TYPE_CHECKING:
    import torch

    from backend.policy import Losses, Seen, Tokens


class Rloo(RolloutSettings):
    order: ClassVar[int] = 7
    title: ClassVar[str] = "by trying, whole answers (RLOO)"
    sentence: ClassVar[str] = "Measures each answer by the others to the same prompt, with no value to learn: simpler than PPO (arXiv 2402.14740)."

    name: Literal["rloo"] = "rloo"
    normalise: bool = advanced(
        False, title="Normalise advantages", description="Brings the advantages of a round to mean 0 and spread 1, whatever the rewards' scale.",
    )

    def weighed(self, seen: "Seen", rewards: Sequence[float], kl_coefficient: float) -> "Tokens":
        """By the reward, less what distance costs, less the mean of the prompt's other answers; the same for all its tokens."""
        import torch

        from backend.policy import left_one_out, per_answer, standardised

        far = per_answer(seen.logprobs - seen.reference, seen.lengths)  # [answers]
        advantages = left_one_out(torch.tensor(rewards) - kl_coefficient * far, self.samples)
        return seen.weighed(seen.on_tokens(standardised(advantages) if self.normalise else advantages))

    def losses(self, logprobs: "torch.Tensor", values: "torch.Tensor", old: "Tokens", kl_coefficient: float) -> "Losses":
        from backend.policy import rloo_losses

        return rloo_losses(logprobs, old, clip=self.clip)
