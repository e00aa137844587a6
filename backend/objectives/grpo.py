"""Group relative policy optimisation: several answers to each prompt are a group, and one counts by its place in it.

There is no value head to learn. Distance from the start is no part of the reward: it stands in the loss, token by token.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from backend.rollouts import RolloutSettings
from backend.settings import advanced

if TYPE_CHECKING:
    import torch

    from backend.policy import Losses, Seen, Tokens


class Grpo(RolloutSettings):
    order: ClassVar[int] = 8
    title: ClassVar[str] = "by trying, in groups (GRPO)"
    sentence: ClassVar[str] = "Measures each answer by the mean and spread of its group, token by token, with no value to learn (arXiv 2402.03300)."

    name: Literal["grpo"] = "grpo"
    scale_rewards: Literal["group", "batch", "none"] = advanced(
        "group", title="Scale rewards",
        description="group: by the spread among a prompt's answers, as published. batch: by that of the round. none: not at all, "
        "so that prompts whose answers are nearly alike do not count too much (Dr. GRPO, arXiv 2503.20783).",
    )
    loss: Literal["grpo", "dr_grpo"] = advanced(
        "grpo", title="Loss",
        description="grpo: every answer counts the same, as published. dr_grpo: every token counts the same, which does not favour "
        "long answers among the bad ones (arXiv 2503.20783).",
    )
    unbiased_kl: bool = advanced(
        True, title="Unbiased KL",
        description="Weighs a token's distance from the start by how much likelier it has become, so that the model is pulled back as KL "
        "itself would pull (arXiv 2512.02556). Off: as first published.",
    )

    def weighed(self, seen: "Seen", rewards: Sequence[float], kl_coefficient: float) -> "Tokens":
        """By the reward less its group's mean, over a spread; the same for all tokens of an answer."""
        import torch

        from backend.policy import relative_to_group

        return seen.weighed(seen.on_tokens(relative_to_group(torch.tensor(rewards), self.samples, scale=self.scale_rewards)))

    def losses(self, logprobs: "torch.Tensor", values: "torch.Tensor", old: "Tokens", kl_coefficient: float) -> "Losses":
        from backend.policy import grpo_losses

        longest = self.answer_tokens if self.loss == "dr_grpo" else None
        return grpo_losses(
            logprobs, old, clip=self.clip, kl_coefficient=kl_coefficient, unbiased=self.unbiased_kl, longest=longest
        )
