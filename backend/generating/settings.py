"""What is to be generated: from which seeds, by which writer, how, and what may not be kept. Imports no torch."""

from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from backend.errors import UserError
from backend.settings import Settings, advanced, sentences
from backend.specs import DatasetRef

KEY_VARIABLE = "STUDIO_ENDPOINT_KEY"  # of the environment: the only place a key is taken from

# what a model that only reads and writes text cannot do: the words of Self-Instruct's and Alpaca's code
CANNOT_DO = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot", "go to",
    "video", "audio", "music", "flowchart", "diagram",
)  # fmt: skip


class WriterSettings(Settings):
    """Who writes: a model of this studio, or an endpoint the user names."""

    kind: Literal["model", "endpoint"] = Field(
        "model", title="Who writes",
        description="A model on this machine, or an endpoint you name, which then gets your seed rows to read.",
    )
    speaker: str = Field(
        "base:starter", title="Model",
        description="A base model or the result of a run. Larger models write better tasks; the starter writes simple ones.",
    )
    url: str = Field(
        "", title="Endpoint",
        description="The base address of an OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1. A key is read from the "
        f"environment variable {KEY_VARIABLE} and kept nowhere.",
    )
    endpoint_model: str = Field("", title="Model at the endpoint", description="The name the endpoint knows the model by.")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url.strip())
        if url.strip() and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("is no address; write it like http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(f"holds more than an address; leave out names, keys and what follows a ? (a key belongs into {KEY_VARIABLE})")
        return url.strip().rstrip("/").removesuffix("/chat/completions")

    @model_validator(mode="after")
    def _endpoint_is_named(self) -> Self:
        if self.kind == "endpoint" and not (self.url and self.endpoint_model.strip()):
            raise ValueError("an endpoint needs its address and the name of a model there")
        return self


class GenerationSettings(Settings):
    """How it goes about it. Numbers are the paper's (Self-Instruct, arXiv:2212.10560) unless said otherwise."""

    wanted: int = Field(
        20, ge=1, le=100_000, title="Wanted",
        description="Stop once so many tasks have passed the filter; you review them afterwards. The last prompt may bring a few more.",
    )
    style: Literal["self-instruct", "alpaca"] = Field(
        "self-instruct", title="Style",
        description="Self-Instruct asks in steps (instruction, kind, example) and suits small models; Alpaca asks for whole tasks at once, "
        "which is quicker and needs a stronger model.",
    )
    most_similar: float = Field(
        0.7, gt=0, le=1, title="Similarity limit",
        description="A task is kept only if its highest ROUGE-L against every seed and every task kept so far is below this. "
        "Lower is more varied, and rejects more.",
    )
    most_attempts: int = Field(
        200, ge=1, le=1_000_000, title="Most prompts",
        description="Give up after so many prompts, however many tasks there are by then.",
    )
    answers: Literal["chat", "continuation"] = advanced(
        "chat", title="Answers by",
        description="Chat asks the model as one would in a conversation, which suits chat models; continuation lets it go on with a "
        "list of examples, for base models that were never taught to chat.",
    )
    demonstrations: int = advanced(
        8, ge=1, le=12, title="Tasks shown",
        description="How many tasks each prompt shows as examples. Alpaca's form shows at most three, for they are whole.",
    )
    generated_demonstrations: int = advanced(
        2, ge=0, le=12, title="Of these, generated",
        description="How many of the tasks shown may be generated ones. More drifts further away from the seeds.",
    )
    shortest_words: int = advanced(
        3, ge=1, le=1000, title="Shortest (words)", description="Instructions of fewer words are rejected.",
    )
    longest_words: int = advanced(
        150, ge=1, le=10_000, title="Longest (words)", description="Instructions of more words are rejected.",
    )
    blocked_words: tuple[str, ...] = advanced(
        CANNOT_DO, max_length=1000, title="Words not allowed",
        description="Instructions that hold one of these are rejected, one word or phrase a line. At first: what a model that reads "
        "and writes text alone cannot do.",
    )
    temperature: float = advanced(
        0.7, ge=0, le=5, title="Temperature", description="Higher is more varied, and wilder; 0 writes nearly the same again and again.",
    )
    top_p: float = advanced(
        0.9, gt=0, le=1, title="Top-p",
        description="Only the likeliest words that together reach this share may be drawn. Lower is safer. (The paper has 0.5, for a much "
        "larger model.)",
    )
    max_tokens: int = advanced(
        256, ge=16, le=8192, title="Longest answer (tokens)",
        description="A list of tasks or an answer ends here; an answer that is cut off is rejected.",
    )
    prompts_at_once: int = advanced(
        2, ge=1, le=64, title="Prompts at once",
        description="How many prompts are worked on together. More is faster and needs more memory; they do not see each other's tasks.",
    )
    seed: int = advanced(
        0, ge=0, le=2**31 - 1, title="Seed", description="The same seed, seeds and settings on the same machine write the same tasks.",
    )

    @model_validator(mode="after")
    def _lengths_in_order(self) -> Self:
        if self.shortest_words > self.longest_words:
            raise ValueError(f"the shortest instruction ({self.shortest_words} words) is longer than the longest ({self.longest_words})")
        return self


class GenerationSpec(Settings):
    """Everything needed to repeat a generation; plain JSON with a version number. Never holds a key."""

    v: Literal[1] = 1
    name: str = Field("untitled", min_length=1, max_length=120, title="Name", description="What to call this generation, to find it again.")
    seeds: DatasetRef
    writer: WriterSettings = WriterSettings()
    settings: GenerationSettings = GenerationSettings()


def parse_generation(values: dict[str, Any]) -> GenerationSpec:
    """A spec from plain values. Raises `UserError` naming every problem at once."""
    try:
        return GenerationSpec.model_validate(values)
    except ValidationError as error:
        raise UserError(*sentences(error)) from error
