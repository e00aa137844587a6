"""What is put before people: batches of items, each a prompt and two or more answers to choose between.

    labels = Labels(store)
    batch = labels.begin("first round", items, guidelines="Prefer the answer that ...", overlap=2)
    shown = labels.next(batch.id, "ada")                 an item nobody else has, its answers in an order drawn for her
    labels.vote(shown, "ada", ranks=(1, 2))              committed before the next one is shown

Nobody sees who made an answer: that stays in `Candidate.made`, which no page is given while it labels.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from typing_extensions import TypedDict  # which pydantic needs before Python 3.12

from backend.data.records import Message, canonical, digest
from backend.errors import UserError
from backend.labelling.agreement import Label
from backend.store import Store
from backend.workspace import new_id

MOST_ANSWERS = 9  # that one person can put in order
LEASE_SECONDS = 600  # an item is kept for whoever looks at it, so that two people do not do the same work
REPEATS = 0.05  # of the items somebody is shown come a second time, sides flipped, to see whether they agree with themselves
TIE, BOTH_BAD = "tie", "both bad"
Verdict = Literal["ranked", "tie", "both bad", "skipped"]
Settled = Literal["ranked", "tie", "both bad", "reopened"]


class Made(TypedDict, total=False):
    """How an answer came about. Nothing known: somebody brought it."""

    speaker: str  # "base:<model>", "run:<id>", or "column:<name>" of a file
    name: str  # the speaker as people call it
    adapter: str  # hash of the run's result, where a run spoke
    sampling: dict[str, float]  # temperature, top_p, max_tokens
    seed: int
    tokens: int
    end: Literal["finished", "cut off"]


@dataclass(frozen=True)
class Candidate:
    """One answer, and how it came about."""

    answer: list[Message]
    made: Made


@dataclass(frozen=True)
class Item:
    """A prompt and the answers to choose between."""

    prompt: list[Message]
    candidates: list[Candidate]


@dataclass(frozen=True)
class Batch:
    """Items to be labelled, and how."""

    id: str
    name: str
    guidelines: str
    overlap: int  # people who label each item
    items: int
    created: str
    source: dict[str, Any]  # where its items come from: {"from": "candidates" | "file" | "data set" | "chat", ...}


@dataclass(frozen=True)
class Shown:
    """An item as one person sees it. `order` gives the place of each shown answer among the item's candidates."""

    batch: str
    item: int
    prompt: list[Message]
    answers: list[list[Message]]
    order: tuple[int, ...]
    repeat: bool
    since: float  # seconds since 1970


@dataclass(frozen=True)
class Said:
    """What somebody said of an item, as it is kept. `item` is its number in the batch, or among those it is brought with."""

    item: int
    annotator: str
    verdict: Verdict
    ranks: list[int]  # of the candidates, 1 is the best; empty where they are not ranked
    strength: int | None = None
    shown: list[int] = field(default_factory=list)  # the candidates in the order they stood on the screen; empty: not known
    repeat: bool = False
    seconds: float = 0.0
    at: float = 0.0  # seconds since 1970, as `undone`
    undone: float = 0.0  # when it was taken back; 0 where it stands


@dataclass(frozen=True)
class Settlement:
    """What was decided about an item, whatever was said of it."""

    settler: str
    verdict: Settled
    ranks: list[int]
    at: float  # seconds since 1970


@dataclass(frozen=True)
class Progress:
    """How far one person is."""

    done: int
    skipped: int
    left: int
    seconds_per_item: float | None  # median over what was labelled; None before the first


@dataclass(frozen=True)
class Workload:
    """How far one person is, as they see it themselves: what is asked twice counts twice, so that nothing tells which those are."""

    done: int
    skipped: int
    left: int
    with_others: int  # items they would be given too, if somebody else were not looking at them
    seconds_per_item: float | None  # median over what was labelled; None before the first

    @property
    def total(self) -> int:
        return self.done + self.skipped + self.left + self.with_others


class Labels:
    """Batches, the items in them, and what people said of each. All that is said is kept; taking it back is a record of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # -- batches

    def begin(
        self, name: str, items: Sequence[Item], *, guidelines: str = "", overlap: int = 1, source: dict[str, Any] | None = None,
        votes: Iterable[Said] = (),
    ) -> Batch:
        """A new batch. Raises `UserError` for one that nobody could label.

        `votes` come with the items, under the names they come with, and count: an item wants `overlap` people altogether.
        """
        name = " ".join(name.split())
        if not name or not items:
            raise UserError("A batch needs a name and at least one item. Give it both, then begin.")
        wrong = [number for number, item in enumerate(items, 1) if not 2 <= len(item.candidates) <= MOST_ANSWERS]
        if wrong:
            raise UserError(f"Item {wrong[0]} has {len(items[wrong[0] - 1].candidates)} answers; from 2 to {MOST_ANSWERS} can be compared.")
        batch = Batch(new_id(name), name[:120], guidelines, max(1, overlap), len(items), _now(), source or {})
        with self._store.changing() as db:
            db.execute(
                "INSERT INTO label_batches VALUES (?, ?, ?, ?, ?, ?)",
                (batch.id, batch.name, batch.guidelines, batch.overlap, batch.created, orjson.dumps(batch.source).decode()),
            )
            db.executemany("INSERT INTO label_items (batch, number, item) VALUES (?, ?, ?)", [
                (batch.id, number, orjson.dumps({"prompt": item.prompt, "candidates": [vars(each) for each in item.candidates]}).decode())
                for number, item in enumerate(items)
            ])  # fmt: skip
            for vote in _each_once(votes):
                kept = db.execute(
                    "INSERT INTO label_votes (batch, item, annotator, verdict, ranks, strength, shown, repeat, seconds, at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (batch.id, vote.item, vote.annotator, vote.verdict, orjson.dumps(vote.ranks).decode(), vote.strength,
                     orjson.dumps(vote.shown).decode(), vote.repeat, vote.seconds, vote.at or time.time()),
                )  # fmt: skip
                if vote.undone:
                    db.execute("INSERT INTO label_undos VALUES (?, ?)", (kept.lastrowid, vote.undone))
        return batch

    def batches(self) -> list[Batch]:
        """All batches, the newest first."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT id, name, guidelines, overlap, (SELECT count(*) FROM label_items WHERE batch = label_batches.id), created, source "
                "FROM label_batches ORDER BY created DESC, id"
            ).fetchall()
        return [Batch(*row, orjson.loads(source)) for *row, source in rows]

    def batch(self, id: str) -> Batch:
        """Raises `UserError` where there is none."""
        found = next((batch for batch in self.batches() if batch.id == id), None)
        if found is None:
            raise UserError("This batch is gone. Choose another, or begin a new one.")
        return found

    def guide(self, id: str, guidelines: str) -> None:
        """Change what people are told."""
        with self._store.changing() as db:
            db.execute("UPDATE label_batches SET guidelines = ? WHERE id = ?", (guidelines[:20_000], id))

    def item(self, batch: str, number: int) -> Item:
        """An item whole, who made what included: for those who settle and export, not for those who label."""
        with self._store.reading() as db:
            row = db.execute("SELECT item FROM label_items WHERE batch = ? AND number = ?", (batch, number)).fetchone()
        if row is None:
            raise UserError("This item is gone. Reload the page.")
        return _item(row[0])

    def all_items(self, batch: str) -> list[Item]:
        """Every item of a batch whole, in the order of their numbers, which count from 0."""
        with self._store.reading() as db:
            rows = db.execute("SELECT item FROM label_items WHERE batch = ? ORDER BY number", (batch,)).fetchall()
        return [_item(row[0]) for row in rows]

    # -- labelling

    def next(self, batch: str, annotator: str, *, now: float | None = None) -> Shown | None:
        """The item somebody shall label next, kept for them a while; None when there is nothing left for them.

        The same one as before, if they have not answered it yet. Now and then one they have answered, flipped.
        """
        now = time.time() if now is None else now
        person = _named(annotator)
        with self._store.changing() as db:
            db.execute("DELETE FROM label_leases WHERE until < ?", (now,))
            held = db.execute("SELECT item, repeat FROM label_leases WHERE batch = ? AND annotator = ?", (batch, person)).fetchone()
            found = held or self._repeat_due(db, batch, person) or self._fresh(db, batch, person)
            if found is None:
                return None
            number, repeat = found
            db.execute(
                "INSERT INTO label_leases VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until",
                (batch, number, person, now + LEASE_SECONDS, repeat),
            )
        return self._shown(batch, number, person, bool(repeat), now)

    def vote(
        self, shown: Shown, annotator: str, *, ranks: Sequence[int] = (), verdict: Verdict = "ranked", strength: int | None = None,
        now: float | None = None,
    ) -> None:
        """Keep what somebody said of an item: `ranks` of the answers as shown (1 is the best), or that it is a tie, both bad
        or skipped. Said twice of one item, it is kept once. Committed when this returns."""
        now = time.time() if now is None else now
        person = _named(annotator)
        if verdict == "ranked" and (len(ranks) != len(shown.order) or min(ranks, default=0) != 1):
            raise UserError("Not every answer has a rank yet. Give each its place, the best one first.")
        placed = [rank for _, rank in sorted(zip(shown.order, ranks, strict=False))] if verdict == "ranked" else []
        with self._store.changing() as db:
            lease = db.execute(
                "DELETE FROM label_leases WHERE batch = ? AND item = ? AND annotator = ? RETURNING repeat",
                (shown.batch, shown.item, person),
            ).fetchone()
            there = db.execute(
                "SELECT 1 FROM label_said WHERE batch = ? AND item = ? AND annotator = ? AND repeat = ? AND undone = 0",
                (shown.batch, shown.item, person, shown.repeat),
            ).fetchone()
            if there and lease is None:
                return  # a double click, or the same page twice
            if there:
                raise UserError("You have answered this one already. Undo it first, if you want to change it.")
            db.execute(
                "INSERT INTO label_votes (batch, item, annotator, verdict, ranks, strength, shown, repeat, seconds, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (shown.batch, shown.item, person, verdict, orjson.dumps(placed).decode(), strength, orjson.dumps(shown.order).decode(),
                 shown.repeat, max(0.0, now - shown.since), now),
            )  # fmt: skip

    def held(self, batch: str, number: int, annotator: str, *, now: float | None = None) -> Shown | None:
        """An item as it was shown to somebody: sides are drawn here again, so that no page has a say in them.

        Also where they looked so long that it is no longer kept for them. None where they have answered it already.
        """
        now = time.time() if now is None else now
        person = _named(annotator)
        with self._store.reading() as db:
            lease = db.execute(
                "SELECT repeat, until FROM label_leases WHERE batch = ? AND item = ? AND annotator = ?", (batch, number, person)
            ).fetchone()
            answered = db.execute(
                "SELECT 1 FROM label_said WHERE batch = ? AND item = ? AND annotator = ? AND undone = 0", (batch, number, person)
            ).fetchone()
        if lease is None and answered:
            return None
        repeat, until = lease or (0, now)
        return self._shown(batch, number, person, bool(repeat), until - LEASE_SECONDS)

    def leave(self, batch: str, annotator: str) -> None:
        """Give back the item that is kept for somebody: others may have it now."""
        with self._store.changing() as db:
            db.execute("DELETE FROM label_leases WHERE batch = ? AND annotator = ?", (batch, _named(annotator)))

    def turn(self, batch: str, annotator: str) -> int:
        """How often somebody has said something or taken it back; a page that knows another number is behind."""
        with self._store.reading() as db:
            return _turn(db, batch, _named(annotator))

    def undo(self, batch: str, annotator: str, *, turn: int | None = None, now: float | None = None) -> Shown | None:
        """Take back the newest answer that stands and show its item again. Its record stays; that it is taken back is another.

        With `turn` only if nothing was said or taken back since, so that what is asked twice is done once. None where there
        is nothing to take back.
        """
        now = time.time() if now is None else now
        person = _named(annotator)
        with self._store.changing() as db:
            last = db.execute(
                "SELECT id, item, repeat FROM label_said WHERE batch = ? AND annotator = ? AND undone = 0 ORDER BY id DESC LIMIT 1",
                (batch, person),
            ).fetchone()
            if last is None or turn not in (None, _turn(db, batch, person)):
                return None
            id, number, repeat = last
            db.execute("INSERT INTO label_undos VALUES (?, ?)", (id, now))
            db.execute("DELETE FROM label_leases WHERE batch = ? AND annotator = ?", (batch, person))
            db.execute("INSERT INTO label_leases VALUES (?, ?, ?, ?, ?)", (batch, number, person, now + LEASE_SECONDS, repeat))
        return self._shown(batch, number, person, bool(repeat), now)

    def progress(self, batch: str, annotator: str) -> Progress:
        """How far somebody is with a batch."""
        person = _named(annotator)
        with self._store.reading() as db:
            said = db.execute(
                "SELECT verdict, seconds FROM label_said WHERE batch = ? AND annotator = ? AND undone = 0 AND repeat = 0", (batch, person)
            ).fetchall()
            left = db.execute(_OPEN.replace("SELECT number", "SELECT count(*)"), {"batch": batch, "person": person}).fetchone()[0]
        times = sorted(seconds for verdict, seconds in said if verdict != "skipped")
        middle = times[len(times) // 2] if times else None
        skipped = sum(verdict == "skipped" for verdict, _ in said)
        return Progress(len(said) - skipped, skipped, left, middle)

    def workload(self, batch: str, annotator: str) -> Workload:
        """How far somebody is with a batch, for themselves to see."""
        person = _named(annotator)
        with self._store.reading() as db:
            said = db.execute(
                "SELECT verdict, repeat, seconds FROM label_said WHERE batch = ? AND annotator = ? AND undone = 0", (batch, person)
            ).fetchall()
            who = {"batch": batch, "person": person}
            (fresh,) = db.execute(f"SELECT count(*) FROM ({_OPEN})", who).fetchone()
            (wanted,) = db.execute(f"SELECT count(*) FROM ({_WANTED})", who).fetchone()
        skipped = sum(verdict == "skipped" for verdict, _, _ in said)
        again = sum(repeat for _, repeat, _ in said)
        once = sum(verdict != "skipped" and not repeat for verdict, repeat, _ in said)
        to_repeat = max(0, int((once + fresh) * REPEATS) - again)
        times = sorted(seconds for verdict, _, seconds in said if verdict != "skipped" and seconds)
        return Workload(len(said) - skipped, skipped, fresh + to_repeat, wanted - fresh, times[len(times) // 2] if times else None)

    # -- settling

    def settle(
        self, batch: str, number: int, settler: str, *, ranks: Sequence[int] = (), verdict: Settled = "ranked", now: float | None = None
    ) -> None:
        """Decide about an item people disagree on, by `ranks` of its candidates (1 is the best) or a verdict; "reopened"
        takes the decision back. What people said stays as it is."""
        if verdict == "ranked" and (len(ranks) != len(self.item(batch, number).candidates) or min(ranks) != 1):
            raise UserError("Not every answer has a rank yet. Give each its place, the best one first.")
        placed = list(ranks) if verdict == "ranked" else []
        with self._store.changing() as db:
            db.execute(
                "INSERT INTO label_settlements (batch, item, settler, verdict, ranks, at) VALUES (?, ?, ?, ?, ?, ?)",
                (batch, number, _named(settler), verdict, orjson.dumps(placed).decode(), time.time() if now is None else now),
            )

    def settlements(self, batch: str) -> dict[int, Settlement]:
        """What stands decided, by the number of the item."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT item, settler, verdict, ranks, at FROM label_settlements WHERE batch = ? ORDER BY id", (batch,)
            ).fetchall()
        newest = {item: Settlement(settler, verdict, orjson.loads(ranks), at) for item, settler, verdict, ranks, at in rows}
        return {item: settlement for item, settlement in newest.items() if settlement.verdict != "reopened"}

    # -- what was said

    def votes(self, batch: str, *, undone: bool = False) -> list[Said]:
        """Every vote whole, in the order they were cast; with `undone` also those taken back."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT item, annotator, verdict, ranks, strength, shown, repeat, seconds, at, undone FROM label_said "
                "WHERE batch = ? AND (undone = 0 OR ?) ORDER BY id", (batch, undone)
            ).fetchall()
        return [
            Said(item, who, verdict, orjson.loads(ranks), strength, orjson.loads(shown), bool(repeat), seconds, at, taken_back)
            for item, who, verdict, ranks, strength, shown, repeat, seconds, at, taken_back in rows
        ]

    def labels(self, batch: str) -> list[Label]:
        """What everybody said, by candidate and not by side, repeats left out: for agreement."""
        return [
            Label(str(item), annotator, _value(verdict, ranks))
            for item, annotator, verdict, ranks, repeat, _ in self._standing(batch) if not repeat and verdict != "skipped"
        ]

    def said_again(self, batch: str, annotator: str) -> list[tuple[str, str]]:
        """(said first, said again) of every item one person was shown twice."""
        said = {(item, repeat): _value(verdict, ranks) for item, who, verdict, ranks, repeat, _ in self._standing(batch) if who == annotator}
        return [(said[item, 0], value) for (item, repeat), value in said.items() if repeat and (item, 0) in said]

    def left_picks(self, batch: str) -> tuple[int, int]:
        """(how often the answer shown first won, of how many decided pairs)."""
        firsts = total = 0
        for _, _, verdict, ranks, _, order in self._standing(batch):
            if verdict == "ranked" and len(ranks) == 2 and ranks[0] != ranks[1] and order:  # of votes brought it may not be known
                total += 1
                firsts += ranks[order[0]] == 1
        return firsts, total

    def annotators(self, batch: str) -> list[str]:
        """Everybody who said something, by name."""
        return sorted({annotator for _, annotator, *_ in self._standing(batch)})

    def _standing(self, batch: str) -> list[tuple[int, str, str, list[int], int, list[int]]]:
        """(item, annotator, verdict, ranks by candidate, repeat, order shown) of what stands, in the order it was said."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT item, annotator, verdict, ranks, repeat, shown FROM label_said WHERE batch = ? AND undone = 0 ORDER BY id", (batch,)
            ).fetchall()
        return [(item, who, verdict, orjson.loads(ranks), repeat, orjson.loads(order)) for item, who, verdict, ranks, repeat, order in rows]

    def _repeat_due(self, db: Any, batch: str, person: str) -> tuple[int, int] | None:
        """An item to be asked again: one for about every twenty answered, one that was answered a while ago."""
        said = db.execute(
            "SELECT item, repeat FROM label_said WHERE batch = ? AND annotator = ? AND undone = 0 AND (repeat OR verdict <> 'skipped') "
            "ORDER BY id", (batch, person),
        ).fetchall()
        once, again = [item for item, repeat in said if not repeat], {item for item, repeat in said if repeat}
        if len(again) >= int(len(once) * REPEATS):
            return None
        candidates = [item for item in once[: len(once) // 2] if item not in again]
        return (random.Random(f"{batch} {person} {len(once)}").choice(candidates), 1) if candidates else None

    def _fresh(self, db: Any, batch: str, person: str) -> tuple[int, int] | None:
        """The first item that wants another opinion, that this person has not given one of, and nobody else looks at."""
        row = db.execute(_OPEN + " ORDER BY number LIMIT 1", {"batch": batch, "person": person}).fetchone()
        return (row[0], 0) if row else None

    def _shown(self, batch: str, number: int, person: str, repeat: bool, now: float) -> Shown:
        item = self.item(batch, number)
        order = list(range(len(item.candidates)))
        random.Random(digest(canonical([batch, number, person])).hex()).shuffle(order)
        if repeat:
            order.reverse()
        return Shown(batch, number, item.prompt, [item.candidates[place].answer for place in order], tuple(order), repeat, now)


_UNSAID = """SELECT number FROM label_items WHERE batch = :batch
 AND number NOT IN (SELECT item FROM label_said WHERE batch = :batch AND annotator = :person AND undone = 0)"""
_OPINIONS = """(SELECT count(DISTINCT annotator) FROM label_said
 WHERE batch = :batch AND item = number AND undone = 0 AND repeat = 0 AND verdict <> 'skipped')"""
_LOOKS = "(SELECT count(*) FROM label_leases WHERE batch = :batch AND item = number AND annotator <> :person AND repeat = 0)"
_OVERLAP = "(SELECT overlap FROM label_batches WHERE id = :batch)"
_WANTED = f"{_UNSAID} AND {_OPINIONS} < {_OVERLAP}"  # items that want an opinion which this person could give
_OPEN = f"{_UNSAID} AND {_OPINIONS} + {_LOOKS} < {_OVERLAP}"  # those of them that nobody else looks at


def _turn(db: Any, batch: str, person: str) -> int:
    said, undone = db.execute(
        "SELECT count(*), count(CASE WHEN undone > 0 THEN 1 END) FROM label_said WHERE batch = ? AND annotator = ?", (batch, person)
    ).fetchone()
    return said + undone


def _each_once(votes: Iterable[Said]) -> Iterator[Said]:
    """Of what one person said of one item the first that stands, and all that was taken back."""
    standing = set()
    for vote in votes:
        person = _named(vote.annotator)
        said = (vote.item, person, vote.repeat)
        if vote.undone or said not in standing:
            yield replace(vote, annotator=person)
        if not vote.undone:
            standing.add(said)


def _item(kept: str) -> Item:
    item = orjson.loads(kept)
    return Item(item["prompt"], [Candidate(**each) for each in item["candidates"]])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _value(verdict: str, ranks: Iterable[int]) -> str:
    """What somebody said as one word, the same whatever side things stood on: "1 2" is the first candidate before the second."""
    return " ".join(map(str, ranks)) if verdict == "ranked" else verdict


def _named(annotator: str) -> str:
    name = " ".join(annotator.split())[:80]
    if not name:
        raise UserError("Say who labels first: a name of your own keeps your votes apart from those of others.")
    return name
