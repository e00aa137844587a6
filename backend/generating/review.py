"""Reviewing by hand what the filter let through: accept, edit, reject, and take back. Every decision is a line on the disk.

    review = Review(generation)
    review.accept(review.queue()[0].id)
    review.save(datasets, name="Short stories")      what was accepted, as a data set
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from backend.data.records import Conversation
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.generating.generation import Candidate, Generation
from backend.generating.lines import append_lines, read_lines
from backend.generating.tasks import Task
from backend.runs import Runs


@dataclass(frozen=True)
class Decision:
    """What a person decided about a candidate."""

    id: str  # the candidate's
    verdict: Literal["accepted", "rejected"]
    task: Task  # as it was written, or as it was edited
    is_edited: bool


class Review:
    """The candidates of a generation that passed the filter, and what was decided about them. Read off the files anew at each call."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.path = generation.folder / "reviews.jsonl"

    def queue(self) -> list[Candidate]:
        """Those nothing was decided about yet, in order."""
        decided = {decision.id for decision in self.decisions()}
        return [each for each in self._passed().values() if each.id not in decided]

    def decisions(self) -> list[Decision]:
        """What stands, the latest last: what was taken back is gone, and of two decisions about one the first stands."""
        passed = self._passed()
        standing: dict[str, Decision] = {}
        for row in read_lines(self.path):
            id, verdict = str(row.get("id")), row.get("verdict")
            if verdict == "undone":
                standing.pop(id, None)
            elif id in passed and id not in standing and verdict in ("accepted", "rejected"):
                standing[id] = _decision(row, passed[id].task)
        return list(standing.values())

    def accept(self, id: str, edited: Task | None = None) -> None:
        """Keep a candidate, as it is or as it was edited. Raises `UserError` for texts that are empty."""
        candidate = self._candidate(id)
        row: dict[str, Any] = {"id": id, "verdict": "accepted"}
        if edited is not None and edited != candidate.task:
            if not edited.instruction.strip() or not edited.output.strip():
                raise UserError("A task needs an instruction and an output. Fill both in, or reject the task.")
            row["edited"] = edited._asdict()
        self._note(row)

    def reject(self, id: str) -> None:
        """Do without a candidate."""
        self._candidate(id)
        self._note({"id": id, "verdict": "rejected"})

    def undo(self) -> str | None:
        """Take the latest decision back; the id of its candidate, None where there is nothing to take back."""
        decisions = self.decisions()
        if not decisions:
            return None
        self._note({"id": decisions[-1].id, "verdict": "undone"})
        return decisions[-1].id

    def accepted(self) -> list[Decision]:
        return [decision for decision in self.decisions() if decision.verdict == "accepted"]

    def save(self, datasets: Datasets, *, name: str) -> Card:
        """What was accepted, as a version of the data set of that name. Raises `UserError` where nothing was."""
        accepted = self.accepted()
        if not accepted:
            raise UserError("No task is accepted yet. Accept at least one, then save.")
        source = {"made": "generated", "generation": self.generation.id, "author": author_of(self.generation)}
        return datasets.save(self.records(), name=name, record="messages", source=source, rows=len(accepted))

    def records(self) -> Iterator[Conversation]:
        """What was accepted, as rows."""
        author = author_of(self.generation)
        return (decision.task.record(author=author) for decision in self.accepted())

    def _passed(self) -> dict[str, Candidate]:
        return {each.id: each for each in self.generation.candidates() if each.verdict == "accepted"}

    def _candidate(self, id: str) -> Candidate:
        passed = self._passed()
        if id not in passed:
            raise UserError("This task is not in the queue any more. Reload the page.")
        return passed[id]

    def _note(self, row: dict[str, Any]) -> None:
        append_lines(self.path, [{"at": round(time.time(), 3), **row}])


def author_of(generation: Generation) -> str:
    """The name of the model that wrote: at the endpoint, of a run, or of a base model."""
    writer, runs = generation.spec.writer, Runs(generation.workspace)
    if writer.kind == "endpoint":
        return writer.endpoint_model
    kind, _, name = writer.speaker.partition(":")
    return runs.get(name).label["name"] if kind == "run" and runs.has(name) else name


def _decision(row: dict[str, Any], task: Task) -> Decision:
    edited = row.get("edited")
    return Decision(row["id"], row["verdict"], Task(**edited) if edited else task, is_edited=bool(edited))
