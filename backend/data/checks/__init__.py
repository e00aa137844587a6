"""Checks of a data set's rows: one file per check, found by listing the folder. A check is settings that can begin.

    watch = check.begin(passing)          a check begins with what it shares with the others
    watch.see(row)                        sees every row once, in order, in bounded memory
    watch.findings()                      and says what it found

Another check is one new file with a subclass of `Check`. Where what it finds can be mended, it says in `mend` what the
button does, and its `mender` gives the row as it should be, or None where the row is to go.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, field_serializer, field_validator

from backend import registry
from backend.data.alike import Keys, NearIndex, Pairs
from backend.data.records import Message, Record, content, digest
from backend.settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from backend.data.views import RowLength

Ruler = Callable[[Record], "RowLength | None"]  # how long a row is in tokens; None where that cannot be told
Gravity = Literal["wrong", "doubtful", "notable"]  # to be mended, to be looked at, good to know
GRAVITIES: tuple[Gravity, ...] = ("wrong", "doubtful", "notable")
ROWS_KEPT = 250_000  # numbers of a finding's rows
WORD = re.compile(r"\w+")


class Mark(NamedTuple):
    """What was found in a row: characters `begin` to `end` of its text `turn` (0 is the first)."""

    turn: int
    begin: int
    end: int


@dataclass
class Row:
    """A row as the checks see it. `number` counts from 1; what is derived is made once, when a check asks for it."""

    number: int
    record: Record

    @cached_property
    def turns(self) -> list[Message]:
        """A conversation's turns; none in a row of another kind."""
        return self.record.get("messages", [])  # type: ignore[return-value]

    @cached_property
    def said(self) -> list[tuple[str, str]]:
        """(who speaks, what) of everything in it."""
        if "text" in self.record:
            return [("text", self.record["text"])]
        if "answers" in self.record:
            ranked = zip(self.record["ranks"], self.record["answers"], strict=False)
            answers = [(f"answer, place {rank}", turn["content"]) for rank, turns in ranked for turn in turns]
            return [(turn["role"], turn["content"]) for turn in self.record["prompt"]] + answers
        return [(turn["role"], turn["content"]) for turn in self.turns]

    @cached_property
    def texts(self) -> list[str]:
        """Every text of it, as `Mark.turn` counts them."""
        return [text for _, text in self.said]

    @cached_property
    def learnt(self) -> str:
        """All of it but the system's turn, which many rows share, and which would make them look alike."""
        return "\n".join(text for who, text in self.said if who != "system")

    @cached_property
    def prompt(self) -> str | None:
        """All that is said before the last answer; None where nothing is asked."""
        if "answers" in self.record:
            return "\n".join(turn["content"] for turn in self.record["prompt"])
        return None if self.answer is None or len(self.turns) < 2 else "\n".join(self.texts[:-1])

    @cached_property
    def answer(self) -> str | None:
        """The last answer of a conversation; None where there is none."""
        return self.turns[-1]["content"] if self.turns and self.turns[-1]["role"] == "assistant" else None

    @cached_property
    def characters(self) -> int:
        return sum(map(len, self.texts))

    def marked(self, pattern: re.Pattern[str]) -> list[Mark]:
        """Where a pattern stands in it."""
        return [Mark(turn, *found.span()) for turn, text in enumerate(self.texts) for found in pattern.finditer(text)]

    def rewritten(self, write: Callable[[str], str]) -> Record:
        """The record with each of its texts written anew; what is known about it stays."""

        def anew(turns: list[Message]) -> list[Message]:
            return [{**turn, "content": write(turn["content"])} for turn in turns]

        if "text" in self.record:
            return {**self.record, "text": write(self.record["text"])}
        if "answers" in self.record:
            return {**self.record, "prompt": anew(self.record["prompt"]), "answers": [anew(turns) for turns in self.record["answers"]]}
        return {**self.record, "messages": anew(self.turns)}


class Finding(BaseModel):
    """What a check found. Row numbers count from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    gravity: Gravity
    title: str  # "Exact duplicates"
    sentence: str  # what was found, why it matters
    count: int  # rows
    of: int  # rows that were looked at
    rows: list[int] = []  # their numbers, in order; the first ROWS_KEPT
    others: list[int] = []  # for each of them the row it repeats or contradicts, where there is one
    families: list[list[int]] = []  # rows that belong together, where that is the mend
    at_least: bool = False  # there was no room to compare everything: there may be more
    mend: str = ""  # what its button says; empty where there is none

    @property
    def rows_are_whole(self) -> bool:
        """Whether every row found is listed."""
        return len(self.rows) == self.count

    @property
    def to_mend(self) -> list[int]:
        """Numbers of the rows that the mend goes over, in order."""
        return sorted(row for family in self.families for row in family) or self.rows

    @field_validator("rows", mode="before")
    @classmethod
    def _from_ranges(cls, value: Any) -> Any:
        return list(_numbers(value)) if isinstance(value, str) else value

    @field_serializer("rows")
    def _as_ranges(self, rows: list[int]) -> str:
        """ "1-4,9": short in the file, and still to be read there."""
        return ",".join(_ranges(rows))


@dataclass
class Passing:
    """What several checks need of one pass over the rows of a version."""

    rows: int
    read: Callable[[Sequence[int]], Iterable[Record]]  # records again by their number from 0, in ascending order
    ruler: "Callable[[str], Ruler]" = lambda base_model: lambda record: None  # by a base model's name
    is_large: bool = False  # whether holding every prompt whole would take too much memory
    _copies: Keys = field(default_factory=Keys)
    _pairs: dict[float, Pairs] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._index = NearIndex(self.rows)

    def see(self, row: Row) -> None:
        self._copies.add(digest(content(row.record)))
        self._index.see(row.learnt)

    @cached_property
    def firsts(self) -> "np.ndarray":
        """For each row, from 0, the first that says exactly the same: itself, where it is no copy. [rows]"""
        return self._copies.firsts()

    def near(self, threshold: float) -> Pairs:
        """Rows nearly the same, exact copies left out of it."""
        import numpy as np

        if threshold not in self._pairs:
            copies = self.firsts != np.arange(self.rows)
            self._pairs[threshold] = self._index.pairs(threshold, read=self._texts, without=copies)
        return self._pairs[threshold]

    def _texts(self, numbers: Sequence[int]) -> Iterator[str]:
        return (Row(0, record).learnt for record in self.read(numbers))


class Watch:
    """A check at work. One for each pass."""

    def see(self, row: Row) -> None:
        """The next row."""

    def findings(self) -> "list[Finding]":
        """What was found, once all rows are seen; nothing where all is well."""
        raise NotImplementedError


Mender = Callable[[Row], Record | None]  # a row of the finding as it should be; None where it is to go


class Check(Settings):
    """One check. One file each in this folder, found by listing it."""

    order: ClassVar[int]  # of the settings on screen
    title: ClassVar[str]
    looks_for: ClassVar[str]  # what it looks for, in a few words that go on after "No "
    gravity: ClassVar[Gravity]
    mend: ClassVar[str] = ""  # what the button says; empty where people must decide row by row

    name: str

    def begin(self, passing: Passing) -> Watch:
        """Begin a pass."""
        raise NotImplementedError

    def marks(self, row: Row) -> list[Mark]:
        """What to highlight in a row of the finding."""
        return []

    def mender(self, finding: Finding) -> Mender:
        """What the mend makes of each row of the finding: left out, unless the check knows better."""
        return _left_out

    def finding(self, sentence: str, rows: Iterable[int], *, count: int, of: int, **more: Any) -> Finding:
        """What was found, with the first rows' numbers."""
        kept = [int(row) for _, row in zip(range(ROWS_KEPT), rows, strict=False)]
        about = {"check": self.name, "gravity": self.gravity, "title": self.title, "mend": self.mend} | more
        return Finding(sentence=sentence, rows=kept, count=count, of=of, **about)


class OneByOne(Watch):
    """For a check that knows from a row alone whether something is wrong with it."""

    def __init__(self, check: Check, is_wrong: Callable[[Row], bool], sentence: Callable[[int], str]) -> None:
        self._check, self._is_wrong, self._sentence = check, is_wrong, sentence
        self._rows, self._count, self._seen = array("q"), 0, 0

    def see(self, row: Row) -> None:
        self._seen += 1
        if self._is_wrong(row):
            self._count += 1
            if len(self._rows) < ROWS_KEPT:
                self._rows.append(row.number)

    def findings(self) -> list[Finding]:
        if not self._count:
            return []
        return [self._check.finding(self._sentence(self._count), self._rows, count=self._count, of=self._seen)]


def all_checks() -> dict[str, type[Check]]:
    """Every check by name, in their order."""
    return registry.found_in(__name__, Check)  # type: ignore[return-value]


def parse(value: Any) -> Check:
    """A check's settings from plain values."""
    return registry.parse(value, all_checks(), "check")  # type: ignore[arg-type,return-value]


def _left_out(row: Row) -> None:
    return None


def alike(text: str) -> str:
    """A text with letter case and white space put aside: what is equal so is the same to a reader."""
    return " ".join(text.casefold().split())


def rows_are(count: int, what: str, singular: str) -> str:
    """ "1 row is ...", "12 rows are ..."."""
    return f"1 row {singular}" if count == 1 else f"{count:,} rows {what}"


def _ranges(rows: Sequence[int]) -> Iterator[str]:
    for _, run in groupby(enumerate(rows), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        yield str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def _numbers(ranges: str) -> Iterator[int]:
    ends = ([int(end) for end in part.split("-")] for part in ranges.split(",") if part)
    return chain.from_iterable(range(run[0], run[-1] + 1) for run in ends)
