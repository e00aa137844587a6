"""A record is one row of a saved data set: what is learnt from it, and what is known about it. Imports no torch.

    {"messages": [{"role", "content"}, ...]}     a conversation
    {"text": ...}                                a text to go on from
    {..., "about": {...}}                        either may say where it comes from; no part of a version's hash
"""

import hashlib
from functools import partial
from typing import Any, Literal, NotRequired, TypedDict

import orjson

from backend.data.readers import clip

RecordKind = Literal["messages", "text"]
How = Literal["hand", "imported", "template", "generated", "augmented"]
TURNS_SHOWN = 50


class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


class About(TypedDict, total=False):
    """What is known about a row beside what is learnt from it. Nothing known: it was imported."""

    how: How
    author: str  # who wrote it: a person's name, a model's, a template's
    task: str  # what the row teaches: "sentiment", "topic"
    cluster: str  # the family of tasks it belongs to, for holding whole kinds of task out (FLAN, arXiv:2109.01652)
    family: str  # rows made from one and the same row share this, and stay on one side of a hold-out
    tags: list[str]


class Conversation(TypedDict):
    messages: list[Message]
    about: NotRequired[About]


class Text(TypedDict):
    text: str
    about: NotRequired[About]


Record = Conversation | Text


def content(record: Record) -> bytes:
    """What is learnt from, as one line of bytes: the same for the same content, whatever is known about it."""
    if "text" in record:
        return canonical({"text": record["text"]})
    return canonical({"messages": record["messages"]})


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, one line."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def digest(content: bytes) -> bytes:
    """16 bytes that stand for a content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def prompt_of(record: Record) -> str:
    """What a row asks: its first user turn; the text itself where nothing is asked."""
    if "messages" in record:
        return next((turn["content"] for turn in record["messages"] if turn["role"] == "user"), "")
    return record["text"]


def family_of(record: Record) -> str:
    """What keeps rows together in a hold-out: the row they were made from, else their prompt."""
    return record.get("about", {}).get("family") or prompt_of(record)


def how_of(record: Record) -> How:
    """How a row came about."""
    return record.get("about", {}).get("how") or "imported"


def clipped(record: Record, *, max_chars: int = 2000) -> Record:
    """The record with each text cut to be shown: a row of 15 MB would freeze a page."""
    short = partial(clip, max_chars=max_chars)
    if "text" in record:
        return {"text": short(record["text"])}
    turns = record["messages"][:TURNS_SHOWN]
    return {"messages": [{"role": turn["role"], "content": short(turn["content"])} for turn in turns]}
