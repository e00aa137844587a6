"""Votes cast in chat: which of two answers to one question is better, said by somebody who could see who gave them.

    votes = ChatVotes(store)
    votes.cast("talk-1a2b3c", 0, left, right, verdict="left", annotator="ada")       committed when this returns
    votes.undo("talk-1a2b3c", "ada")                                                 and its record stays
    votes.votes()                                                                    for the scoreboard, and for rows to learn from

A vote keeps copies of what it is about: a conversation that is cleared or answered anew later takes nothing from it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from backend.data.records import Message
from backend.errors import UserError
from backend.labelling.items import Candidate
from backend.store import Store

ChatVerdict = Literal["left", "right", "tie", "both bad"]
RANKS: dict[ChatVerdict, list[int]] = {"left": [1, 2], "right": [2, 1], "tie": [1, 1], "both bad": [2, 2]}
DECIDED: tuple[ChatVerdict, ...] = ("left", "right")


@dataclass(frozen=True)
class Heard:
    """One side of a question: all its model had read, the question last, and what it answered."""

    read: list[Message]
    candidate: Candidate


@dataclass(frozen=True)
class ChatVote:
    """One vote, and copies of what it is about."""

    talk: str
    turn: int  # the number of the question in its conversation, from 0
    prompt: list[Message]  # what the left side had read
    left: Candidate
    right: Candidate
    verdict: ChatVerdict
    same_history: bool  # whether the right side had read the same
    annotator: str
    at: float  # seconds since 1970

    @property
    def only_scored(self) -> str:
        """Why it is no preference to learn from, after "Counted for the scoreboard only: "; empty where it is one."""
        if not self.same_history:
            return "the two sides had read different things"
        if not all(_text(side).strip() for side in (self.left, self.right)):
            return "one side ended without a word"
        return "both answers are the same" if _text(self.left) == _text(self.right) else ""


class ChatVotes:
    """All votes cast in chat. All that is cast is kept; taking it back is a record of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cast(self, talk: str, turn: int, left: Heard, right: Heard, *, verdict: ChatVerdict, annotator: str) -> ChatVote:
        """Keep a vote on a question; an earlier one by the same person on it is taken back. Raises `UserError`."""
        person = " ".join(annotator.split())[:80]
        if not person:
            raise UserError('Say who votes first: write a name into "You vote as".')
        vote = ChatVote(talk, turn, left.read, left.candidate, right.candidate, verdict, left.read == right.read, person, time.time())
        with self._store.changing() as db:
            db.execute(
                "INSERT INTO chat_undos SELECT id, ? FROM chat_said WHERE talk = ? AND turn = ? AND annotator = ? AND undone = 0",
                (vote.at, talk, turn, person),
            )
            db.execute(
                f"INSERT INTO chat_votes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (talk, turn, _json(vote.prompt), _json(vars(vote.left)), _json(vars(vote.right)), verdict, vote.same_history, person, vote.at),
            )
        return vote

    def undo(self, talk: str, annotator: str) -> ChatVote | None:
        """Take back the newest vote somebody cast in a conversation; None where none of theirs stands."""
        person = " ".join(annotator.split())[:80]
        with self._store.changing() as db:
            last = db.execute(
                f"SELECT id, {_COLUMNS} FROM chat_said WHERE talk = ? AND annotator = ? AND undone = 0 ORDER BY id DESC LIMIT 1",
                (talk, person),
            ).fetchone()
            if last is None:
                return None
            id, *row = last
            db.execute("INSERT INTO chat_undos VALUES (?, ?)", (id, time.time()))
        return _vote(row)

    def count(self) -> int:
        """How many votes stand."""
        with self._store.reading() as db:
            return db.execute("SELECT count(*) FROM chat_said WHERE undone = 0").fetchone()[0]

    def votes(self) -> list[ChatVote]:
        """Every vote that stands, in the order they were cast."""
        with self._store.reading() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM chat_said WHERE undone = 0 ORDER BY id").fetchall()
        return [_vote(row) for row in rows]


_COLUMNS = "talk, turn, prompt, left_answer, right_answer, verdict, same_history, annotator, at"


def _vote(row: Sequence) -> ChatVote:
    talk, turn, prompt, left, right, verdict, same, annotator, at = row
    sides = [Candidate(**orjson.loads(side)) for side in (left, right)]
    return ChatVote(talk, turn, orjson.loads(prompt), *sides, verdict, bool(same), annotator, at)


def _text(candidate: Candidate) -> str:
    return "\n".join(turn["content"] for turn in candidate.answer)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
