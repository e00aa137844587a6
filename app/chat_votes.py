"""Votes on two answers in Chat: what can be voted on, what a vote does, and what becomes of it.

A vote is committed before the page says so. The next question goes on from the winner, if that is ticked (`Talk.ask`).
"""

from typing import Any

import gradio as gr
from gradio.events import Dependency

from app.event_options import QUIET
from app.studio import Studio, on
from app.talk import Talk
from backend.labelling.talking import DECIDED, ChatVote, ChatVotes
from backend.labelling.tallying import maker, names_of
from components.dual_chat import DualChat
from components.vote_bar import Votes, votes

WHICH = "Which answer is better? The keys work while you are not typing; Escape leaves the question box."
MOVED_ON = "The conversation has moved on meanwhile. Look at the two answers and vote again."


def wire_chat_votes(studio: Studio, chat: DualChat, talk: gr.State) -> Dependency:
    """Tie the vote bar to the conversation. What is returned happens with every vote."""
    return chat.votes.select(
        on(studio, on_vote), inputs=[talk, chat.votes, chat.annotator, chat.carry_on],
        outputs=[chat.votes, chat.left.said, chat.right.said], **QUIET,
    )


def ballot(talk: Talk, line: str = "") -> Votes:
    """What can be voted on now; `line` says what became of the last click."""
    missing = _missing(talk)
    return votes(
        turn=talk.turn, open=not missing, vote=talk.vote, undo=bool(talk.voted), line=line or missing or ("" if talk.vote else WHICH)
    )


def on_vote(studio: Studio, talk: Talk, bar: Votes, annotator: str, carry_on: bool) -> list[Any]:
    """Keep a vote, or take the newest back; then say what became of it, and whose answers they were."""
    asked = bar["asked"]
    if asked is None:
        return [gr.skip()] * 3
    if asked["do"] == "undo":
        line = _take_back(ChatVotes(studio.store), talk, annotator)
    elif asked["turn"] != talk.turn or _missing(talk):
        line = MOVED_ON
    else:
        line = _cast(ChatVotes(studio.store), talk, asked["do"], annotator, carry_on=carry_on)
    return [ballot(talk, line), *map(talk.shown, talk.sides)]


def _cast(kept: ChatVotes, talk: Talk, verdict: Any, annotator: str, *, carry_on: bool) -> str:
    """Keep a vote on the last two answers; a double click keeps one."""
    left, right = talk.left.heard, talk.right.heard
    assert left and right, "a ballot is open only when both sides have answered"
    was_veiled = talk.is_veiled
    vote = kept.cast(talk.id, talk.turn, left, right, verdict=verdict, annotator=annotator)
    talk.vote, talk.voted = verdict, (*(turn for turn in talk.voted if turn != talk.turn), talk.turn)
    talk.unveil()
    return " ".join(filter(None, (_kept(vote), _who(vote) if was_veiled else "", _next(vote, carry_on=carry_on))))


def _take_back(kept: ChatVotes, talk: Talk, annotator: str) -> str:
    undone = kept.undo(talk.id, annotator) if talk.id else None
    if undone is None:
        return f"No vote of {annotator.strip() or 'yours'} is left to take back in this conversation."
    talk.voted = tuple(turn for turn in talk.voted if turn != undone.turn)
    if undone.turn != talk.turn:
        return f"Your vote on question {undone.turn + 1} is taken back; the conversation stays as it is."
    talk.vote = ""
    return "Your vote is taken back. Which answer is better?"


def _missing(talk: Talk) -> str:
    """Why there is nothing to vote on yet; empty where there is."""
    if talk.turn < 0:
        return "Ask both something, then say which answer is better."
    if any(side.busy for side in talk.sides):
        return "Vote once both sides have answered."
    unanswered = [name for name, side in zip(("left", "right"), talk.sides, strict=True) if side.heard is None]
    if unanswered:
        return f"There is no whole answer on the {' and the '.join(unanswered)} side. Regenerate it to vote."
    return ""


def _kept(vote: ChatVote) -> str:
    words = {"left": "left better", "right": "right better", "tie": "a tie", "both bad": "both bad"}[vote.verdict]
    if vote.only_scored:
        return f"Kept: {words}. Counted for the scoreboard only: {vote.only_scored}."
    return f"Kept as a preference: {words}." if vote.verdict in DECIDED else f"Kept: {words}."


def _who(vote: ChatVote) -> str:
    names = names_of([vote.left.made, vote.right.made])
    left, right = (names[maker(side.made)] for side in (vote.left, vote.right))
    return f"Left was {left}; right was {right}."


def _next(vote: ChatVote, *, carry_on: bool) -> str:
    if vote.verdict in DECIDED and carry_on:
        return f"Your next question goes on from the {vote.verdict} answer on both sides."
    return ""
