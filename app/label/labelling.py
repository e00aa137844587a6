"""What the labelling screen asks, and what it is answered: plain JSON both ways.

    answer(labels, {"do": "look", "batch": "first-round-1a2b3c", "annotator": "ada"})
    answer(labels, {"do": "vote", "batch": ..., "annotator": "ada", "item": 4, "turn": 7, "verdict": "ranked", "ranks": [1, 2]})

A request comes from the page, so nothing in it is trusted: sides are drawn again here, and what is no request is answered
with a sentence. An answer names no model and no candidate: prompt, answers in the order drawn, and how far somebody is.
"""

import logging
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from backend.errors import UserError
from backend.labelling.items import MOST_ANSWERS, Labels, Shown, Verdict, Workload
from components.text import minutes

LONGEST_GUIDELINES = 20_000  # characters
BEHIND = "This was said already, here or in another window. Nothing was kept twice; go on from here."
NOTHING_SAID = "There is nothing of yours to take back."
OVERWRITTEN = (
    "Somebody changed the guidelines while you wrote. Theirs stand in the batch, yours in the field: save again to replace theirs, "
    "or leave it to read them."
)
log = logging.getLogger(__name__)


def answer(labels: Labels, request: object) -> dict[str, Any]:
    """What stands after what was asked for: the item to label now and how far somebody is; or `problems` in sentences."""
    try:
        asked = _REQUESTS.validate_python(request)
        note = asked.do_it(labels)
        return _state(labels, asked) | {"note": note, "problems": []}
    except ValidationError:
        return {"problems": ["The page asked for something the studio does not know. Reload the page; what was said is kept."]}
    except UserError as error:
        return {"problems": list(error.problems)}
    except Exception as error:  # a border: the person gets a sentence, the log the details
        log.exception("labelling met a fault")
        return {"problems": [f"The studio met a fault ({type(error).__name__}). The details are in the log; try again, or reload the page."]}


# ---- what can be asked -----------------------------------------------------------------------------------------------


class _Seat(BaseModel):
    """Who sits before which batch."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=LONGEST_GUIDELINES)

    batch: str
    annotator: str


class _Look(_Seat):
    do: Literal["look"]
    left: _Seat | None = None  # where the page was before: its item goes back to the others

    def do_it(self, labels: Labels) -> str:
        if self.left and self.left.annotator.strip():
            labels.leave(self.left.batch, self.left.annotator)
        return ""


class _Vote(_Seat):
    do: Literal["vote"]
    item: int
    turn: int  # as the page knows it: one that is behind has sent this before, or was overtaken by another window
    verdict: Verdict
    ranks: tuple[Annotated[int, Field(ge=1, le=MOST_ANSWERS)], ...] = Field((), max_length=MOST_ANSWERS)
    strength: Literal[1, 2, 3] | None = None  # a little, clearly, much better

    @model_validator(mode="after")
    def _ranks_without_gaps(self) -> Self:
        if sorted(set(self.ranks)) != list(range(1, len(set(self.ranks)) + 1)):
            raise ValueError("ranks count from 1 without a gap")
        return self

    def do_it(self, labels: Labels) -> str:
        shown = labels.held(self.batch, self.item, self.annotator)
        if shown is None or labels.turn(self.batch, self.annotator) != self.turn:
            return BEHIND
        if self.verdict != "ranked":
            labels.vote(shown, self.annotator, verdict=self.verdict)
        elif len(self.ranks) == len(shown.order) and set(self.ranks) == {1}:  # all in one place is what a tie means
            labels.vote(shown, self.annotator, verdict="tie")
        else:
            labels.vote(shown, self.annotator, ranks=self.ranks, strength=self.strength)
        return ""


class _Undo(_Seat):
    do: Literal["undo"]
    turn: int

    def do_it(self, labels: Labels) -> str:
        if labels.undo(self.batch, self.annotator, turn=self.turn):
            return ""
        return NOTHING_SAID if labels.turn(self.batch, self.annotator) == self.turn else BEHIND


class _Guide(_Seat):
    do: Literal["guide"]
    guidelines: str
    before: str  # what stood there when the writing began

    def do_it(self, labels: Labels) -> str:
        if labels.batch(self.batch).guidelines != self.before:
            return OVERWRITTEN
        labels.guide(self.batch, self.guidelines.strip())
        return ""


_Request = Annotated[_Look | _Vote | _Undo | _Guide, Field(discriminator="do")]
_REQUESTS: TypeAdapter[_Request] = TypeAdapter(_Request)


# ---- what is answered ------------------------------------------------------------------------------------------------


def _state(labels: Labels, seat: _Seat) -> dict[str, Any]:
    guidelines = labels.batch(seat.batch).guidelines
    shown = labels.next(seat.batch, seat.annotator)
    load = labels.workload(seat.batch, seat.annotator)
    return {
        "item": shown and _blind(shown), "turn": labels.turn(seat.batch, seat.annotator), "guidelines": guidelines,
        "done": load.done, "skipped": load.skipped, "total": load.total, "left": load.left, "with_others": load.with_others,
        "progress": _progress(load), "pace": _pace(load),
    }  # fmt: skip


def _blind(shown: Shown) -> dict[str, Any]:
    """What may be seen of an item. Whose answer it is, how it was stored and whether it is asked again is nowhere in it."""
    return {"number": shown.item, "prompt": _said(shown.prompt), "answers": [_said(answer) for answer in shown.answers]}


def _said(messages: list[Any]) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _progress(load: Workload) -> str:
    """12 of 80 done, about 9 min left."""
    words = f"{load.done} of {load.total} done"
    return f"{words}, about {minutes(load.left * load.seconds_per_item)} left" if load.left and load.seconds_per_item else words


def _pace(load: Workload) -> str:
    """25 s each · 68 to go · 3 skipped."""
    pace = f"{minutes(load.seconds_per_item)} each" if load.seconds_per_item else ""
    skipped = f"{load.skipped} skipped" if load.skipped else ""
    return " · ".join(filter(None, (pace, f"{load.left} to go" if load.left else "", skipped)))
