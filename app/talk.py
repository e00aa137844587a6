"""What one browser tab talks about in Chat: both conversations, what is being answered, and what was said of the answers.

It lives in the tab's session, not in the chat boxes: a click writes down what is asked, and one stream a side answers it.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import uuid4

from backend.labelling.items import Candidate
from backend.labelling.talking import ChatVerdict, Heard
from backend.sampling import Sampling
from backend.workspace import new_id
from components.conversation import Shown, Turn, shown
from components.dual_chat import INVITATION

ENDS = {"finished": "finished", "cut off": "cut off at the longest answer", "stopped": "stopped", "": "answering"}
VEILED = "who this is shows after your vote"
UNSAID = "stopped before the first word"


@dataclass(frozen=True)
class Ask:
    """Who is to answer, and how."""

    speaker: str  # "base:<name>" or "run:<id>"
    system: str
    sampling: Sampling


@dataclass
class Dialogue:
    """One side's conversation, and the answer it is giving."""

    turns: tuple[Turn, ...] = ()
    asked: Ask | None = None  # written down, not yet begun
    stopping: threading.Event | None = None  # of the answer being given
    growing: str = ""  # what the page asks with how that answer grows (`Growing`)

    @property
    def busy(self) -> bool:
        return self.asked is not None or self.stopping is not None

    @property
    def heard(self) -> Heard | None:
        """The last answer, if it is whole: one that was stopped, or failed, is not the model's."""
        if not self.turns or self.turns[-1].made is None:
            return None
        last = self.turns[-1]
        return Heard(list(last.read), Candidate([{"role": "assistant", "content": last.answer}], last.made))

    def ask(self, turns: Sequence[Turn], ask: Ask) -> None:
        """Write down what is to be answered next: the last of `turns`."""
        self.turns, self.asked = tuple(turns), ask

    def stop(self) -> None:
        """End the answer being given, keeping what there is of it; harmless whenever and however often."""
        if self.asked is not None:
            *before, last = self.turns
            self.turns, self.asked = (*before, replace(last, line=UNSAID)), None
        if self.stopping is not None:
            self.stopping.set()

    def clear(self) -> None:
        """Forget everything; what a running answer still brings is dropped."""
        self.stop()
        self.turns, self.stopping, self.growing = (), None, ""


class Growing:
    """Answers that are being given, each under a key that only the page it is given to knows."""

    def __init__(self) -> None:
        self._looks: dict[str, Callable[[], Shown]] = {}

    @contextmanager
    def under_a_key(self, look: Callable[[], Shown]) -> Iterator[str]:
        """For the length of a `with` block, let a page ask with this key how the last turn of what `look` gives goes on."""
        key = uuid4().hex
        self._looks[key] = look
        try:
            yield key
        finally:
            del self._looks[key]

    def look(self, key: str) -> dict[str, str] | None:
        """The last turn as it is by now; None where its answer is over."""
        look = self._looks.get(key)
        turns = look()["turns"] if look else []
        return turns[-1] if turns else None


@dataclass
class Talk:
    """What one browser tab has going."""

    left: Dialogue = field(default_factory=Dialogue)
    right: Dialogue = field(default_factory=Dialogue)
    empty: str = INVITATION  # what stands in an empty conversation
    id: str = ""  # drawn with the first question; votes are kept under it
    vote: ChatVerdict | Literal[""] = ""  # on the two last answers as they stand
    voted: tuple[int, ...] = ()  # questions with a vote that stands, the newest last
    swapped: bool = False  # the left picker's model answers on the right
    veiled: frozenset[int] = frozenset()  # questions of which nobody shall see yet who answered

    @property
    def sides(self) -> tuple[Dialogue, Dialogue]:
        return self.left, self.right

    @property
    def turn(self) -> int:
        """The number of the last question, from 0; -1 before the first."""
        return len(self.left.turns) - 1

    @property
    def is_veiled(self) -> bool:
        """Whether nobody shall see yet who gave the two last answers."""
        return self.turn in self.veiled

    def ask(self, question: str, asks: Sequence[Ask], *, carry_on: bool = True, hide: bool = False) -> None:
        """Put a question to both sides: to the winner's conversation on both where there is one and `carry_on`.

        With `hide`, who answers on which side is drawn anew, and veiled.
        """
        self.id = self.id or new_id("talk")
        winner = {"left": self.left, "right": self.right}.get(self.vote) if carry_on else None
        histories = [(winner or side).turns for side in self.sides]
        self.swapped = hide and random.random() < 0.5
        self.vote = ""
        for side, history, ask in zip(self.sides, histories, self.in_order(asks), strict=True):
            side.ask([*history, Turn(question, line="asking…")], ask)
        self.veiled |= {self.turn} if hide else set()

    def ask_again(self, side: Dialogue, asks: Sequence[Ask]) -> None:
        """Put the last question to one side once more; a vote on the answer that was there stays, and is not on this one."""
        *before, last = side.turns
        left, right = self.in_order(asks)
        ask = left if side is self.left else right
        self.vote = ""
        side.ask([*before, Turn(last.question, line="asking again…", attempt=last.attempt + 1)], ask)

    def in_order(self, asks: Sequence[Ask]) -> list[Ask]:
        """What the left and the right side are asked, from what the left and right pickers say."""
        return list(reversed(asks)) if self.swapped else list(asks)

    def unveil(self) -> None:
        """Show who gave the two last answers."""
        self.veiled -= {self.turn}

    def clear(self) -> None:
        """Stop, and forget both conversations; votes stay where they are kept."""
        for side in self.sides:
            side.clear()
        self.id, self.vote, self.voted, self.swapped, self.veiled = "", "", (), False, frozenset()

    def shown(self, side: Dialogue) -> Shown:
        """What the page shows of a side."""
        turns = [replace(turn, line=self._line(number, turn, side)) for number, turn in enumerate(side.turns)]
        return shown(turns, empty=self.empty, busy=side.busy, growing=side.growing)

    def _line(self, number: int, turn: Turn, side: Dialogue) -> str:
        """The line under an answer: whose it is, and how it went. How fast it was would tell whose it is."""
        if number not in self.veiled:
            return f"{turn.by}: {turn.line}" if turn.by and turn.answer else turn.line
        if side.busy and number == len(side.turns) - 1:
            return "answering…"
        return f"{ENDS[turn.made['end']]} · {VEILED}" if turn.made else "no whole answer"
