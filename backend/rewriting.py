"""Prompts put into other words by a model, each filtered: a job on the engine's queue. Imports no torch.

job = make_rewriting(workspace, spec); engine.put(job)
job.other_words()             {"Why does bread rise?": [("What makes bread rise?", "starter")]}

rewritings/<id>/
  spec.json           what was asked for (frozen)
  events.jsonl        what happened
  rewordings.jsonl    every prompt asked for, what came of it, and why it was not kept; only ever appended to
"""

import random
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from backend.data.records import how_of, prompt_of
from backend.data.similarity import Pool
from backend.data.versions import Datasets
from backend.errors import Stopped, UserError
from backend.generating.lines import append_lines, read_lines
from backend.generating.prompts import Completion, Prompt
from backend.generating.settings import WriterSettings
from backend.generating.writers import Writer, open_writer
from backend.jobs import Job, Jobs, Means
from backend.sampling import Sampling
from backend.settings import Settings, advanced, sentences
from backend.specs import DatasetRef
from backend.workspace import Workspace

ROWS_LOOKED_AT = 2_000  # prompts are drawn from a sample of at least so many rows
LONGEST_PROMPT = 60  # words; small models lose the thread of longer ones
SHORTEST_SHARE, LONGEST_SHARE = 0.4, 2.5  # of the prompt's words

# The model goes on with a list, which small ones do far better than answering: of the starter's other words for 14 real
# prompts nine passed the filter so, and two when it was asked in a chat to say the same otherwise; there it answered them.
SHOWN = (
    ("How can I get rid of ants?", "What is a good way to drive ants away?"),
    ("Write a short poem about the sea.", "Compose a few verses on the ocean."),
    ("Why is the sky blue?", "What makes the sky look blue?"),
    ("Should I water my plants every day?", "Do plants need to be watered daily?"),
    ("Name three countries in Europe.", "List three European countries."),
)
HEAD = "Each request is said again in other words, with the same meaning."


class RewritingSettings(Settings):
    """How many prompts, and how far their other words may go."""

    prompts: int = Field(
        20,
        ge=1,
        le=10_000,
        title="Prompts",
        description="How many prompts the model is asked to put otherwise. The starter takes a few seconds for each.",
    )
    least_similar: float = Field(
        0.2,
        ge=0,
        le=1,
        title="Least alike",
        description="Other words whose ROUGE-L with the prompt is below this are rejected: they likely ask for something else.",
    )
    most_similar: float = Field(
        0.9,
        gt=0,
        le=1,
        title="Most alike",
        description="Other words whose ROUGE-L with the prompt is above this are rejected: they say it in the same words.",
    )
    temperature: float = advanced(
        0.7, ge=0, le=5, title="Temperature", description="Higher is more varied, and wilder; 0 always takes the likeliest word."
    )
    prompts_at_once: int = advanced(
        4,
        ge=1,
        le=64,
        title="Prompts at once",
        description="How many prompts are worked on together. More is faster and needs more memory.",
    )
    seed: int = advanced(
        0, ge=0, le=2**31 - 1, title="Seed", description="The same seed, rows and model write the same other words."
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "RewritingSettings":
        if self.least_similar >= self.most_similar:
            raise ValueError(f"the least alike ({self.least_similar:g}) is not below the most alike ({self.most_similar:g})")
        return self


class RewritingSpec(Settings):
    """Everything needed to repeat it; plain JSON with a version number."""

    v: Literal[1] = 1
    name: str = Field("untitled", min_length=1, max_length=120, title="Name", description="What to call it, to find it again.")
    data: DatasetRef
    writer: WriterSettings = WriterSettings()
    settings: RewritingSettings = RewritingSettings()


@dataclass(frozen=True)
class Rewording:
    """A prompt in other words, and whether they can be used."""

    prompt: str
    words: str
    fault: str  # why they cannot be used, after "The other words ..."; empty if they can
    score: float  # ROUGE-L with the prompt


@dataclass(frozen=True)
class Standing:
    """Where a rewriting stands."""

    status: str
    asked: int
    wanted: int
    kept: int
    message: str


class Rewriting(Job):
    """One rewriting's folder."""

    place, noun, doing, found_in = "rewritings", "rewriting", "rewriting", "Augment in the Data tab"
    spares_memory = 'Lower "Prompts at once" in a new one, or choose a smaller model.'

    @property
    def spec(self) -> RewritingSpec:
        """Raises `UserError` where it is damaged or of a newer studio."""
        try:
            return RewritingSpec.model_validate(self.spec_values())
        except ValidationError as error:
            raise UserError(*sentences(error)) from error

    def perform(self, means: Means) -> None:
        """Ask for other words, going on after the last prompt that was asked for."""
        asked = len(self.rewordings())
        self.events.append("started", resumed_from=asked, device="", precision="")
        try:
            self._ask_for_the_rest(means, asked)
        except Stopped:
            pass  # within a batch, which is asked for anew when resumed
        standing = self.standing()
        status = "done" if standing.asked >= standing.wanted else "stopped"
        self.events.append("finished", status=status, message=_end_in_words(standing, status), step=standing.asked)

    def rewordings(self) -> list[Rewording]:
        """Everything asked for so far, in order."""
        known = {each.name for each in fields(Rewording)}
        rows = (row for row in read_lines(self.folder / "rewordings.jsonl") if row.keys() >= known)
        return list({row["prompt"]: Rewording(**{name: row[name] for name in known}) for row in rows}.values())

    def other_words(self) -> dict[str, list[tuple[str, str]]]:
        """prompt -> (other words, who found them), of those that can be used."""
        author = self.spec.writer.speaker.partition(":")[2]
        return {each.prompt: [(each.words, author)] for each in self.rewordings() if not each.fault}

    def standing(self) -> Standing:
        """Where it stands, read off its files."""
        done, events = self.rewordings(), self.events.read()[0]
        message = next((event.get("message", "") for event in reversed(events) if event["kind"] == "finished"), "")
        kept = sum(not each.fault for each in done)
        return Standing(self.status, len(done), len(self._prompts()), kept, str(message))

    def _ask_for_the_rest(self, means: Means, asked: int) -> None:
        settings, prompts = self.spec.settings, self._prompts()
        writer, begun = open_writer(self.spec.writer, means), time.perf_counter()
        while asked < len(prompts) and not means.should_stop():
            batch = prompts[asked : asked + settings.prompts_at_once]
            append_lines(
                self.folder / "rewordings.jsonl", map(asdict, reword(batch, writer, settings, seed=settings.seed + asked))
            )
            asked += len(batch)
            self.events.append("step", step=asked, seconds=round(time.perf_counter() - begun, 2))

    def _prompts(self) -> list[str]:
        """The prompts that are asked for: originals' ones, drawn by the seed, each once. Raises `UserError`."""
        spec = self.spec
        assert spec.data.id is not None, "a rewriting is made for a saved version"
        rows = Datasets(self.workspace).sample(
            spec.data.id, spec.data.version, limit=max(ROWS_LOOKED_AT, 4 * spec.settings.prompts)
        )
        prompts = dict.fromkeys(prompt_of(row) for row in rows if how_of(row) != "augmented")
        short = [prompt for prompt in prompts if 0 < len(prompt.split()) <= LONGEST_PROMPT]
        return random.Random(spec.settings.seed).sample(short, min(spec.settings.prompts, len(short)))


class Rewritings(Jobs[Rewriting]):
    """All rewritings of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace, Rewriting)

    def of(self, id: str) -> list[Rewriting]:
        """Those of a data set's prompts, newest first."""
        readable = (job for job in map(self.get, self.ids()) if job.is_readable())
        return [job for job in readable if job.spec.data.id == id]


def make_rewriting(workspace: Workspace, spec: RewritingSpec) -> Rewriting:
    """Check that there are prompts, pin their version, and make the folder. Raises `UserError`."""
    card = Datasets(workspace).card(spec.data.id or "", spec.data.version)
    if card.record != "messages":
        raise UserError(
            f'"{card.name}" holds no conversations, and only their prompts can be put otherwise. Choose a data set of conversations.'
        )
    return Rewriting.create(workspace, spec.model_copy(update={"data": DatasetRef(id=card.id, version=card.version)}))


def parse_rewriting(values: dict[str, Any]) -> RewritingSpec:
    """A spec from plain values. Raises `UserError` naming every problem at once."""
    try:
        return RewritingSpec.model_validate(values)
    except ValidationError as error:
        raise UserError(*sentences(error)) from error


# ---- one batch -------------------------------------------------------------------------------------------------------


def reword(prompts: Sequence[str], writer: Writer, settings: RewritingSettings, *, seed: int) -> list[Rewording]:
    """Each prompt in other words, judged. Raises `Stopped`, `UserError`."""
    shown = "".join(f"Request: {asked}\nThe same request in other words: {again}\n\n" for asked, again in SHOWN)
    asks = [
        Prompt(f"{HEAD}\n\n{shown}Request: {_in_one_line(prompt)}\nThe same request in other words:", ("\n",))
        for prompt in prompts
    ]
    longest = 16 + 4 * max(len(prompt.split()) for prompt in prompts)
    found = writer.go_on(asks, Sampling(temperature=settings.temperature, top_p=0.9, max_tokens=min(longest, 8192), seed=seed))
    return [judged(prompt, words, settings) for prompt, words in zip(prompts, found, strict=True)]


def judged(prompt: str, said: Completion, settings: RewritingSettings) -> Rewording:
    """What a model said, as other words for a prompt: kept, or with the reason why not."""
    words = said.text.strip().strip('"“”').strip()
    nearest = Pool([prompt]).nearest(words) if words else None
    score = round(nearest.score, 4) if nearest else 0.0
    return Rewording(prompt, words, _fault_of(prompt, words, score, settings, is_cut_off=said.is_cut_off), score)


def _fault_of(prompt: str, words: str, score: float, settings: RewritingSettings, *, is_cut_off: bool) -> str:
    """Why other words cannot be used, after "The other words ..."; empty if they can."""
    if not words:
        return "are missing"
    if is_cut_off:
        return "are not finished"
    if prompt.rstrip().endswith("?") and not words.endswith("?"):
        return "answer the question, or are none"
    if sorted(re.findall(r"\d+", words)) != sorted(re.findall(r"\d+", prompt)):
        return "have other numbers"
    share = len(words.split()) / max(len(prompt.split()), 1)
    if not SHORTEST_SHARE <= share <= LONGEST_SHARE:
        return "are much shorter" if share < 1 else "are much longer"
    if score > settings.most_similar:
        return f"are nearly the same ({score:.2f} alike, at most {settings.most_similar:g} is allowed)"
    if score < settings.least_similar:
        return f"likely ask for something else ({score:.2f} alike, at least {settings.least_similar:g} is needed)"
    return ""


def _in_one_line(prompt: str) -> str:
    return " ".join(prompt.split())


def _end_in_words(standing: Standing, status: str) -> str:
    if status == "stopped":
        return f"Stopped after {standing.asked:,} of {standing.wanted:,} prompts. Resume goes on from here."
    return f"{standing.kept:,} of {standing.asked:,} prompts were put into other words that passed the filter."
