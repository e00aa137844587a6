"""What is to be answered and by whom. Imports no torch.

    spec = parse_answering({"name": "kettles", "prompts": {"kind": "pasted", "pasted": "How do I descale a kettle?"},
                            "answerers": [{"speaker": "base:starter", "draws": 2}]})
"""

import re
from collections import Counter
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from backend.errors import UserError
from backend.settings import Settings, advanced, sentences
from backend.specs import DatasetRef

REFERENCE = "reference"  # as a speaker: the answer that stands in the data already
MOST_ANSWERERS = 8


class PromptSource(Settings):
    """Where the prompts come from."""

    kind: Literal["data", "pasted", "chat"] = Field(
        "data", title="Prompts from",
        description="Rows of a data set, a list you paste, or the questions you voted on in Chat.",
    )
    data: DatasetRef | None = Field(
        None, title="Data set", description="Conversations or preferences. Each row is asked up to its last answer, which can be one of the answers compared.",
    )
    pasted: str = Field("", max_length=2_000_000, title="Your prompts", description="What the models are asked, word for word.")
    parted_by: Literal["lines", "empty lines"] = Field(
        "lines", title="A new prompt begins", description="With every line, or after an empty line, where prompts run over several.",
    )
    number: int = Field(
        20, ge=1, le=10_000, title="Prompts", description="How many are drawn, each once; all of them where there are fewer.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Drawn by the seed", description="The same seed draws the same prompts again.")

    @model_validator(mode="after")
    def _names_its_source(self) -> Self:
        if self.kind == "data" and self.data is None:
            raise ValueError("no data set is chosen; choose one of conversations or preferences")
        if self.kind == "pasted" and not self.pasted.strip():
            raise ValueError("there is no prompt yet; paste at least one")
        return self


class Answerer(Settings):
    """Who answers each prompt, how, and how often."""

    speaker: str = Field(
        "base:starter", title="Who answers",
        description="A base model, the result of a run, or the answer that stands in the data set already.",
    )
    draws: int = Field(
        1, ge=1, le=16, title="Answers", description="How many answers it gives to each prompt. Several need a temperature above 0, or they would be the same.",
    )
    temperature: float = Field(
        0.7, ge=0, le=5, title="Temperature", description="Higher is more varied, and wilder; 0 always takes the likeliest word.",
    )
    top_p: float = Field(
        0.95, gt=0, le=1, title="Top-p", description="Only the likeliest words that together reach this share may be drawn. Lower is safer.",
    )
    max_tokens: int = Field(
        256, ge=1, le=8192, title="Longest (tokens)", description="An answer is cut off after so many tokens. Longer ones take more time to write and to read.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Seed", description="The same seed and settings give the same answers again; another gives others.",
    )

    @property
    def is_reference(self) -> bool:
        """Whether nothing is written: the answer is in the data."""
        return self.speaker == REFERENCE

    @property
    def sampling(self) -> dict[str, float]:
        """How it writes, as it is kept with each answer."""
        return {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}

    @property
    def voice(self) -> tuple[Any, ...]:
        """Two answerers of one voice say the same: at temperature 0 neither top-p nor the seed makes a difference."""
        if self.is_reference:
            return (REFERENCE,)
        return self.speaker, self.max_tokens, *((self.temperature, self.top_p, self.seed) if self.temperature else ())

    @model_validator(mode="after")
    def _draws_differ(self) -> Self:
        if self.draws > 1 and self.is_reference:
            raise ValueError(f"the data holds one answer to each prompt, and {self.draws} are asked for; set its answers to 1")
        if self.draws > 1 and self.temperature == 0:
            raise ValueError(f"at temperature 0 all {self.draws} answers would be the same; raise the temperature, or ask for 1 answer")
        return self


class AnsweringSpec(Settings):
    """Everything needed to repeat it; plain JSON with a version number."""

    v: Literal[1] = 1
    name: str = Field("untitled", min_length=1, max_length=120, title="Name", description="What to call these answers, to find them again.")
    prompts: PromptSource = Field(title="Prompts", description="What is asked, and where it comes from.")
    answerers: tuple[Answerer, ...] = Field(
        (Answerer(draws=2),), max_length=MOST_ANSWERERS, title="Who answers",
        description="Each answers every prompt; people then compare the answers without knowing whose they are.",
    )
    at_once: int = advanced(
        8, ge=1, le=256, title="Prompts at once",
        description="How many prompts are answered together. More is faster and needs more memory; the answers stay the same but for rounding.",
    )

    @property
    def answers_per_prompt(self) -> int:
        return sum(answerer.draws for answerer in self.answerers)

    @model_validator(mode="after")
    def _there_is_something_to_compare(self) -> Self:
        if self.answers_per_prompt < 2:
            raise ValueError("one answer to a prompt leaves nothing to compare; add who answers, or ask for more answers")
        if any(answerer.is_reference for answerer in self.answerers) and self.prompts.kind != "data":
            raise ValueError("the answer in the data is asked for, and only prompts of a data set have one; take it out, or choose a data set")
        voices = Counter(answerer.voice for answerer in self.answerers)
        if (twice := max(voices, key=voices.__getitem__)) and voices[twice] > 1:
            who = [str(place) for place, answerer in enumerate(self.answerers, 1) if answerer.voice == twice]
            raise ValueError(f"answerers {' and '.join(who)} would say the same; give them other seeds or temperatures, or take one out")
        return self


def parse_answering(values: dict[str, Any]) -> AnsweringSpec:
    """A spec from plain values. Raises `UserError` naming every problem at once."""
    try:
        return AnsweringSpec.model_validate(values)
    except ValidationError as error:
        raise UserError(*(re.sub(r"^answerers\.(\d+)\.?", _as_counted, problem) for problem in sentences(error))) from error


def _as_counted(found: re.Match[str]) -> str:
    """People count from 1."""
    return f"answerer {int(found[1]) + 1}" + (", " if found[0].endswith(".") else "")
