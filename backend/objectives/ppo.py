"""Proximal policy optimisation: the model answers, the answers are rewarded, and what was rewarded is made likelier."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.records import RecordKind
from backend.errors import UserError
from backend.examples import AnyExample, LeftOut, Prompted, example_of
from backend.labelling.scoreboard import wilson
from backend.objectives import ObjectiveSettings
from backend.rewards import RewardSettings
from backend.settings import advanced

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from backend.data.records import Record
    from backend.methods import MethodSettings
    from backend.workspace import Workspace


GOOD_ENOUGH = 0.6  # held-out accuracy below which a reward model is hardly worth following


class Ppo(RewardSettings, ObjectiveSettings):
    order: ClassVar[int] = 6
    title: ClassVar[str] = "by trying (PPO)"
    sentence: ClassVar[str] = "Answers prompts, and makes likelier what a reward model or a rule rewards (arXiv 1707.06347, 2203.02155)."
    record: ClassVar[RecordKind] = "messages"
    loop: ClassVar[Literal["batches", "rollouts"]] = "rollouts"
    rate_factor: ClassVar[float] = 0.3

    name: Literal["ppo"] = "ppo"
    samples: int = Field(
        2, ge=1, le=64, title="Answers per prompt", description="How often each prompt is answered in a round. More is steadier and slower.",
    )
    answer_tokens: int = Field(
        64, ge=4, le=4096, title="Longest answer (tokens)", description="Answers are cut there. Most of a round's time is spent answering.",
    )
    kl_coefficient: float = Field(
        0.05, ge=0, le=10, title="Hold to the start (KL)",
        description="How much it costs to move away from the model one began with. Too low, and answers learn to cheat the reward.",
    )
    kl_target: float | None = advanced(
        None, gt=0, le=1000, title="KL to aim at",
        description="Raises and lowers the cost so that an answer is about so far from the start. Empty: the cost stays as it is.",
    )
    most_kl: float | None = advanced(
        30.0, gt=0, le=10_000, title="Furthest KL", description="The run stops when answers are further from the start than this, on average.",
    )
    temperature: float = advanced(
        1.0, gt=0, le=2, title="Temperature", description="How freely answers are drawn while training. At 1 they are the model's own.",
    )
    passes: int = advanced(
        2, ge=1, le=20, title="Passes", description="How often the answers of a round are learnt from before new ones are made.",
    )
    minibatch: int = advanced(
        8, ge=1, le=1024, title="Answers per update", description="Answers learnt from at once within a pass.",
    )
    clip: float = advanced(
        0.2, gt=0, le=1, title="Clip", description="How much likelier or less likely a token may become within a round before it stops counting.",
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

    def examples(
        self, records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> Iterator[AnyExample | LeftOut]:
        """The prompt of every conversation: all that comes before its last answer."""
        from backend.data.tokens import Encoded, encode_prompt

        for number, record in enumerate(records, start=1):
            prompt, answer = record["messages"][:-1], record["messages"][-1]["content"]  # type: ignore[typeddict-item]
            ids = encode_prompt(prompt, tokenizer)
            if len(ids) + self.answer_tokens <= max_length:
                yield Prompted(example_of(Encoded(ids, [False] * len(ids)), cut=0, row=number), prompt, answer)
            else:
                yield LeftOut(number, f"its prompt leaves no room for an answer of {self.answer_tokens} tokens within {max_length}")

    def rows_at_once(self, batch_size: int) -> int:
        return self.minibatch

    def tokens_read(self, example: AnyExample) -> float:
        """Every answer with its prompt, once to look at it (a forward pass of two models) and in each pass."""
        return self.samples * (example.length + self.answer_tokens) * (self.passes + 1)

    def tokens_made(self, example: AnyExample) -> int:
        return self.samples * self.answer_tokens

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
