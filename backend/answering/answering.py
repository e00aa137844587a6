"""Answerings: jobs that answer prompts. An answering is its folder; what was answered is what stands in candidates.jsonl.

    answerings/<id>/
      spec.json           what was asked for (frozen)
      prompts.jsonl       the prompts as they were drawn, with the answers that stand in the data (frozen)
      events.jsonl        what happened
      candidates.jsonl    every answer and how it came about; only ever appended to
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from backend.answering.prompts import Asked, draw
from backend.answering.settings import AnsweringSpec, parse_answering
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.events import RunEvent, Status
from backend.generating.lines import append_lines, read_lines
from backend.jobs import Job, Jobs, Means
from backend.labelling.items import Candidate, Made
from backend.runs import Runs
from backend.specs import DatasetRef
from backend.workspace import Workspace

Place = tuple[int, int, int]  # prompt, answerer, draw; each counted from 0


@dataclass(frozen=True)
class Answer:
    """One answer, and how it came about."""

    prompt: int
    answerer: int
    draw: int
    text: str
    made: Made
    fault: str = ""  # why there is none, after "Prompt 3 ..."

    @property
    def place(self) -> Place:
        return self.prompt, self.answerer, self.draw

    @property
    def candidate(self) -> Candidate:
        """The answer as people compare it."""
        return Candidate([{"role": "assistant", "content": self.text}], self.made)


@dataclass(frozen=True)
class Standing:
    """Where an answering stands, read off its files."""

    status: Status
    wanted: int
    answers: int
    faults: int
    cut_off: int
    seconds: float  # of answering so far
    message: str  # how it ended; empty while it goes on

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None before the first answer."""
        return self.seconds / self.answers * (self.wanted - self.answers) if self.answers and self.seconds else None


class Answering(Job):
    """One answering's folder."""

    place, noun, doing, found_in = "answerings", "answering", "answering", "the Label tab, under Begin a batch"
    spares_memory = 'Lower "Prompts at once" in a new one, or choose a smaller model.'

    @property
    def spec(self) -> AnsweringSpec:
        """Raises `UserError` where it is damaged or of a newer studio."""
        return parse_answering(self.spec_values())

    def perform(self, means: Means) -> None:
        """Answer what is not answered yet."""
        from backend.answering.speaking import answer_the_rest

        answer_the_rest(self, means)

    def prompts(self) -> list[Asked]:
        """The prompts, in the order they are answered."""
        return [Asked(**row) for row in read_lines(self.folder / "prompts.jsonl")]

    def answers(self) -> list[Answer]:
        """Everything answered so far, by prompt, then by answerer and draw."""
        known = {each.name for each in fields(Answer)}
        rows = (Answer(**row) for row in read_lines(self.folder / "candidates.jsonl") if row.keys() == known)
        return sorted({row.place: row for row in rows}.values(), key=lambda row: row.place)

    def keep(self, answers: Iterable[Answer]) -> None:
        """Put answers on the disk, all at once. Raises `UserError` where it is full."""
        append_lines(self.folder / "candidates.jsonl", map(asdict, answers))

    def standing(self) -> Standing:
        """Where it stands."""
        answers, events = self.answers(), self.events.read()[0]
        ended = events[-1] if events and events[-1]["kind"] == "finished" else {}
        return Standing(
            status=self.status, wanted=len(self.prompts()) * self.spec.answers_per_prompt, answers=len(answers),
            faults=sum(bool(each.fault) for each in answers), cut_off=sum(each.made.get("end") == "cut off" for each in answers),
            seconds=seconds_of(events), message=ended.get("message", ""),  # type: ignore[attr-defined]
        )  # fmt: skip


class Answerings(Jobs[Answering]):
    """All answerings of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace, Answering)

    def readable(self) -> list[Answering]:
        """Those whose spec can be read, newest first."""
        return [answering for answering in map(self.get, self.ids()) if answering.is_readable()]


def make_answering(workspace: Workspace, spec: AnsweringSpec) -> Answering:
    """Draw the prompts, pin their version, and make the folder. Raises `UserError`."""
    spec = _pinned(spec, workspace)
    _require_speakers(spec, workspace)
    prompts = draw(spec.prompts, workspace)
    lacking = sum(not each.reference for each in prompts)
    if lacking and any(answerer.is_reference for answerer in spec.answerers):
        raise UserError(
            f"{lacking:,} of the {len(prompts):,} prompts have no answer in the data set. Take that answerer out, or choose a data set with answers."
        )
    answering = Answering.create(workspace, spec)
    append_lines(answering.folder / "prompts.jsonl", map(asdict, prompts))
    return answering


def seconds_of(events: Sequence[RunEvent]) -> float:
    """The time spent answering, over every go."""
    return sum(event.get("seconds", 0.0) for event in events if event["kind"] == "step")  # type: ignore[misc]


def _require_speakers(spec: AnsweringSpec, workspace: Workspace) -> None:
    """Raise `UserError` where a run that shall answer is gone or has no result yet."""
    for answerer in spec.answerers:
        kind, _, id = answerer.speaker.partition(":")
        if kind == "run" and not (run := Runs(workspace).get(id)).has_result:
            raise UserError(f"{run.label['name']} has no result to answer with yet. Let it finish, resume it, or choose another.")


def _pinned(spec: AnsweringSpec, workspace: Workspace) -> AnsweringSpec:
    """The spec with the version named that is newest now."""
    source: Any = spec.prompts
    if source.kind != "data":
        return spec
    card = Datasets(workspace).card(source.data.id or "", source.data.version)
    pinned = source.model_copy(update={"data": DatasetRef(id=card.id, version=card.version)})
    return spec.model_copy(update={"prompts": pinned})
