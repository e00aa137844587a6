"""What the review queue asks, and what it is answered: plain JSON both ways.

    answer(workspace, {"do": "accept", "generation": "poems-1a2b3c", "id": "4-0", "edited": None})

A request comes from the page, so nothing in it is trusted: what is no request is answered with a sentence.
"""

import logging
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from backend.errors import UserError
from backend.events import ENDED
from backend.generating.generation import Candidate, Generation, Generations
from backend.generating.review import Review
from backend.generating.tasks import Task
from backend.workspace import Workspace

LONGEST_TEXT = 200_000  # characters
log = logging.getLogger(__name__)


def answer(workspace: Workspace, request: object) -> dict[str, Any]:
    """The next task and the counts after what was asked for, or `problems` in sentences."""
    try:
        asked = _Request.model_validate(request)
        generation = Generations(workspace).get(asked.generation)
        problems = _decide(Review(generation), asked)
        return _state(generation) | {"problems": problems}
    except ValidationError:
        return {"problems": ["The page asked for something the studio does not know. Reload the page; what was decided is kept."]}
    except UserError as error:
        return {"problems": list(error.problems)}
    except Exception as error:  # a border: the person gets a sentence, the log the details
        log.exception("the review queue met a fault")
        return {"problems": [f"The studio met a fault ({type(error).__name__}). The details are in the log; try again, or reload the page."]}


class _Edited(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=LONGEST_TEXT)

    instruction: str
    input: str
    output: str
    is_classification: bool

    @property
    def task(self) -> Task:
        return Task(self.instruction.strip(), self.input.strip(), self.output.strip(), self.is_classification)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["look", "accept", "reject", "undo"]
    generation: str
    id: str = ""
    edited: _Edited | None = None


def _decide(review: Review, asked: _Request) -> list[str]:
    """Keep the decision; what stands against it, in sentences."""
    if asked.do == "accept":
        review.accept(asked.id, asked.edited and asked.edited.task)
    elif asked.do == "reject":
        review.reject(asked.id)
    elif asked.do == "undo":
        return [] if review.undo() else ["There is no decision to take back."]
    return []


def _state(generation: Generation) -> dict[str, Any]:
    review = Review(generation)
    queue, decisions = review.queue(), review.decisions()
    accepted = sum(decision.verdict == "accepted" for decision in decisions)
    return {
        "task": _shown(queue[0]) if queue else None, "left": len(queue), "accepted": accepted, "rejected": len(decisions) - accepted,
        "more": generation.status not in ENDED,
    }  # fmt: skip


def _shown(candidate: Candidate) -> dict[str, Any]:
    return {"id": candidate.id, **candidate.task._asdict(), "nearest": candidate.nearest, "score": candidate.score}
