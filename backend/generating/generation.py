"""Generations: jobs that write new tasks. A generation is its folder; what it wrote is what stands in candidates.jsonl.

    generations/<id>/
      spec.json           what was asked for (frozen)
      events.jsonl        what happened
      candidates.jsonl    every task written, kept or not, and why; only ever appended to
      reviews.jsonl       what was decided by hand; only ever appended to
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from backend.errors import UserError
from backend.events import Status
from backend.generating.lines import append_lines, read_lines
from backend.generating.settings import GenerationSpec, parse_generation
from backend.generating.tasks import Task
from backend.jobs import Job, Jobs, Means
from backend.workspace import Workspace


@dataclass(frozen=True)
class Candidate:
    """A task that was written, and what became of it."""

    id: str  # "<prompt>-<place in its answer>"
    attempt: int  # the number of the prompt it comes from, from 0
    instruction: str
    input: str
    output: str
    is_classification: bool
    verdict: Literal["accepted", "rejected"]  # by the filter; a person decides afterwards
    fault: str  # the kind of fault it was rejected for, to count by
    reason: str  # the fault in words, after "The task ..."
    nearest: str  # what it is most similar to
    score: float  # how similar: ROUGE-L
    seconds: float  # its share of the time its prompt took
    seed: int  # what its prompt's answer was drawn from

    @property
    def task(self) -> Task:
        return Task(self.instruction, self.input, self.output, self.is_classification)


@dataclass(frozen=True)
class Standing:
    """Where a generation stands, read off its files."""

    status: Status
    wanted: int
    most_attempts: int
    attempts: int  # prompts answered
    accepted: int
    rejected: Counter[str] = field(default_factory=Counter)  # by kind of fault
    seconds: float = 0.0  # of writing so far
    message: str = ""  # what goes on now, or how it ended

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far, until enough are found or the prompts are used up; None before the first is found."""
        if not self.accepted or not self.attempts:
            return None
        to_find = self.seconds / self.accepted * max(self.wanted - self.accepted, 0)
        return min(to_find, self.seconds / self.attempts * (self.most_attempts - self.attempts))


class Generation(Job):
    """One generation's folder."""

    place, noun, doing, found_in = "generations", "generation", "writing", "Generate in the Data tab"
    spares_memory = 'Lower "Prompts at once" in a new one, or choose a smaller model.'

    @property
    def spec(self) -> GenerationSpec:
        """Raises `UserError` where it is damaged or of a newer studio."""
        return parse_generation(self.spec_values())

    def perform(self, means: Means) -> None:
        """Write tasks, going on after the last prompt that was answered."""
        from backend.generating.writing import write_tasks

        write_tasks(self, means)

    def candidates(self) -> list[Candidate]:
        """Every task written so far, in order."""
        rows = (_candidate(row) for row in read_lines(self.folder / "candidates.jsonl"))
        return list({row.id: row for row in rows if row}.values())

    def keep(self, candidates: Sequence[Candidate]) -> None:
        """Put the tasks of some prompts on the disk, all at once. Raises `UserError` where it is full."""
        append_lines(self.folder / "candidates.jsonl", map(asdict, candidates))

    def standing(self) -> Standing:
        """Where it stands."""
        candidates, events, settings = self.candidates(), self.events.read()[0], self.spec.settings
        told = [event for event in events if event["kind"] == "step"]
        last: Any = events[-1] if events else {}
        return Standing(
            status=self.status, wanted=settings.wanted, most_attempts=settings.most_attempts, attempts=attempts_of(candidates),
            accepted=sum(each.verdict == "accepted" for each in candidates),
            rejected=Counter(each.fault for each in candidates if each.verdict == "rejected"),
            seconds=told[-1].get("seconds", 0.0) if told else 0.0,
            message=last.get("message", ""),
        )  # fmt: skip


def attempts_of(candidates: Sequence[Candidate]) -> int:
    """How many prompts were answered: each leaves at least one candidate."""
    return max((each.attempt for each in candidates), default=-1) + 1


class Generations(Jobs[Generation]):
    """All generations of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace, Generation)

    def readable(self) -> list[Generation]:
        """Those whose spec can be read, newest first."""
        return [generation for generation in map(self.get, self.ids()) if generation.is_readable()]


def make_generation(workspace: Workspace, spec: GenerationSpec) -> Generation:
    """Check that the seeds are there, pin their version, and make the folder. Raises `UserError`."""
    from backend.data.versions import Datasets

    if spec.seeds.id:
        card = Datasets(workspace).card(spec.seeds.id, spec.seeds.version)
        if card.record != "messages":
            raise UserError(f'"{card.name}" holds plain text, and seeds are questions with answers. Choose a data set of conversations.')
        seeds = spec.seeds.model_copy(update={"version": card.version})
        spec = spec.model_copy(update={"seeds": seeds})
    return Generation.create(workspace, spec)


def _candidate(row: dict[str, Any]) -> Candidate | None:
    """None for a row of another make."""
    if row.keys() >= {each.name for each in fields(Candidate)}:
        return Candidate(**{each.name: row[each.name] for each in fields(Candidate)})
    return None
