"""What the objectives share that learn from the model's own answers: PPO, RLOO and GRPO. Imports no torch.

They differ in two things alone: what makes an answer's tokens worth more or less (`weighed`), and how far the model goes
after that (`losses`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.records import RecordKind
from backend.errors import UserError
from backend.examples import AnyExample, LeftOut, Prompted, example_of
from backend.labelling.scoreboard import wilson
from backend.objectives import ObjectiveSettings, Work
from backend.rewards import RewardSettings
from backend.settings import advanced

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from backend.data.records import Record
    from backend.methods import MethodSettings
    from backend.policy import Losses, Seen, Tokens
    from backend.workspace import Workspace

PROBES = 3  # held-out prompts whose answers are told with their rewards
HELD_OUT_ASKED = 24  # most held-out prompts answered at an evaluation: answering is what takes the time
ANSWERED_AT_ONCE = 16  # rows decoded together
GOOD_ENOUGH = 0.6  # held-out accuracy below which a reward model is hardly worth following


class RolloutSettings(RewardSettings, ObjectiveSettings):
    """How answers are made, rewarded and learnt from, round by round."""

    record: ClassVar[RecordKind] = "messages"
    loop: ClassVar[Literal["batches", "rollouts"]] = "rollouts"
    rate_factor: ClassVar[float] = 0.3
    guesses_values: ClassVar[bool] = False  # whether a head of its own guesses the reward to come, token by token

    samples: int = Field(
        4, ge=2, le=64, title="Answers per prompt",
        description="How often each prompt is answered in a round; each answer is measured by the others. More is steadier and slower.",
    )
    answer_tokens: int = Field(
        64, ge=4, le=4096, title="Longest answer (tokens)", description="Answers are cut there. Most of a round's time is spent answering.",
    )
    kl_coefficient: float = Field(
        0.05, ge=0, le=10, title="Hold to the start (KL)",
        description="How much it costs to move away from the model one began with. Too low, and answers learn to cheat the reward.",
    )
    kl_target: float | None = advanced(
        None, gt=0, le=1000, title="KL to stay under",
        description="Raises the cost as answers come near this distance from the start, from three quarters of it on, and lets it fall "
        "back to the one above after. Empty: the cost stays as it is.",
    )
    most_kl: float | None = advanced(
        30.0, gt=0, le=10_000, title="Furthest KL", description="The run stops when answers are further from the start than this, on average.",
    )
    temperature: float = advanced(
        1.0, gt=0, le=2, title="Temperature", description="How freely answers are drawn while training. At 1 they are the model's own.",
    )
    passes: int = advanced(
        1, ge=1, le=20, title="Passes", description="How often the answers of a round are learnt from before new ones are made.",
    )
    minibatch: int = advanced(
        8, ge=1, le=1024, title="Answers per update", description="Answers learnt from at once within a pass.",
    )
    clip: float = advanced(
        0.2, gt=0, le=1, title="Clip", description="How much likelier or less likely an answer may become within a round before it stops counting.",
    )

    def weighed(self, seen: "Seen", rewards: Sequence[float], kl_coefficient: float) -> "Tokens":
        """A round's answers with what each of their tokens counts. `rewards`: [answers]."""
        raise NotImplementedError

    def losses(self, logprobs: "torch.Tensor", values: "torch.Tensor", old: "Tokens", kl_coefficient: float) -> "Losses":
        """What an update goes down over some answers. `logprobs`, `values`: [tokens], as the model has them now."""
        raise NotImplementedError

    def examples(
        self, records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> Iterator[AnyExample | LeftOut]:
        """The prompt of every conversation: all that comes before its last answer."""
        from backend.data.tokens import Encoded, encode_prompts, together

        asked = (
            (record["messages"], ids)  # type: ignore[typeddict-item]
            for some in together(records)
            for record, ids in zip(some, encode_prompts([record["messages"][:-1] for record in some], tokenizer), strict=True)  # type: ignore[typeddict-item]
        )
        for number, ((*prompt, answer), ids) in enumerate(asked, start=1):
            if len(ids) + self.answer_tokens <= max_length:
                yield Prompted(example_of(Encoded(ids, [False] * len(ids)), cut=0, row=number), prompt, answer["content"])
            else:
                yield LeftOut(number, f"its prompt leaves no room for an answer of {self.answer_tokens} tokens within {max_length}")

    def rows_at_once(self, batch_size: int) -> int:
        return self.minibatch

    def tokens_at_once(self, example: AnyExample) -> int:
        """A prompt with an answer."""
        return example.length + self.answer_tokens

    def work(self, example: AnyExample) -> Work:
        """Its answers are written, looked at by the model and its reference, and learnt from in every pass."""
        tokens = self.samples * self.tokens_at_once(example)
        return Work(learnt=self.passes * tokens, read=2 * tokens, written=self.samples * self.answer_tokens)

    def measuring(self, held_out: Sequence[AnyExample]) -> Work:
        """An answer to each prompt that is asked."""
        return Work(written=min(len(held_out) or PROBES, HELD_OUT_ASKED) * self.answer_tokens)

    def notes(self, workspace: "Workspace") -> list[str]:
        """How good the reward model is that will be asked."""
        if self.reward_run is None:
            return []
        from backend.runs import Runs

        judge = Runs(workspace).get(self.reward_run)
        name, progress = judge.label["name"], judge.progress()
        if judge.spec.objective.head != "scalar" or not judge.has_result:
            raise UserError(f"{name} is no reward model, or has no result. Choose a finished run that learnt what people prefer.")
        if "accuracy" not in progress.held_out:
            return [f"How often the reward model {name} is right is not known: no pairs were held out from it."]
        accuracy, pairs = progress.held_out["accuracy"], progress.held_out_units
        low, high = wilson(round(accuracy * pairs), round(pairs))
        told = f"The reward model {name} prefers the better answer in {accuracy:.0%} of {pairs:.0f} held-out pairs (95% interval {low:.0%} to {high:.0%})."
        return [told + (" That is little better than a coin: answers will learn its errors. Train it on more pairs first." if accuracy < GOOD_ENOUGH else "")]

    def unfit(self, method: "MethodSettings") -> str:
        """Something has to be rewarded."""
        if self.rules() or self.reward_run:
            return ""
        return "Nothing is rewarded. Choose a reward model, or set a rule such as a number of words."
