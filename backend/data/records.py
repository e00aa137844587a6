"""A record is one row of a saved data set: what is learnt from it, and what is known about it. Imports no torch.

    {"messages": [{"role", "content"}, ...]}     a conversation
    {"text": ...}                                a text to go on from
    {"prompt", "answers", "ranks"}               answers to one prompt, and which is better than which
    {..., "about": {...}}                        either may say where it comes from; no part of a version's hash
"""

import hashlib
from functools import partial
from typing import Any, Literal, NotRequired, TypedDict, get_args

import orjson

from backend.data.readers import clip

RecordKind = Literal["messages", "text", "preferences"]
KINDS: dict[RecordKind, str] = {"messages": "conversations", "text": "plain text", "preferences": "preferences"}
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


class Preference(TypedDict):
    """Answers to one prompt, and which is better than which; a pair has two of them, an answer rated by itself is one."""

    prompt: list[Message]
    answers: list[list[Message]]  # each the turns behind the prompt
    ranks: list[int]  # 1 is the best; equal ranks are a tie, and where nobody is at 1, all are bad
    margin: NotRequired[float | None]  # how much better the better one is
    about: NotRequired[About]


Record = Conversation | Text | Preference


def content(record: Record) -> bytes:
    """What is learnt from, as one line of bytes: the same for the same content, whatever is known about it."""
    if "text" in record:
        return canonical({"text": record["text"]})
    if "answers" in record:
        return canonical({name: record[name] for name in ("prompt", "answers", "ranks", "margin") if name in record})
    return canonical({"messages": record["messages"]})


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, one line."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def digest(content: bytes) -> bytes:
    """16 bytes that stand for a content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def prompt_of(record: Record) -> str:
    """What a row asks: its first user turn; the text itself where nothing is asked."""
    if "text" in record:
        return record["text"]
    turns = record["prompt"] if "prompt" in record else record["messages"]
    return next((turn["content"] for turn in turns if turn["role"] == "user"), "")


def family_of(record: Record) -> str:
    """What keeps rows together in a hold-out: the row they were made from, else their prompt."""
    return record.get("about", {}).get("family") or prompt_of(record)


def how_of(record: Record) -> How:
    """How a row came about."""
    return record.get("about", {}).get("how") or "imported"


def about_of(value: Any) -> About | None:
    """What a value says of a row, if it is an `About` and says anything; None where it is somebody else's."""
    if not isinstance(value, dict):
        return None
    known = {name: each for name, each in value.items() if each is not None and each not in ("", [])}
    return known if known and all(_is_of_about(name, each) for name, each in known.items()) else None  # type: ignore[return-value]


def clipped(record: Record, *, max_chars: int = 2000) -> Record:
    """The record with each text cut to be shown: a row of 15 MB would freeze a page."""
    short = partial(clip, max_chars=max_chars)
    def turns(messages: list[Message]) -> list[Message]:
        return [{"role": turn["role"], "content": short(turn["content"])} for turn in messages[:TURNS_SHOWN]]

    if "text" in record:
        return {"text": short(record["text"])}
    if "answers" in record:
        return {**record, "prompt": turns(record["prompt"]), "answers": [turns(answer) for answer in record["answers"]]}
    return {"messages": turns(record["messages"])}


def said(record: Record) -> list[tuple[str, str]]:
    """(who, what) of everything in a record, in order: turns by their role, answers to choose from by their rank."""
    if "text" in record:
        return [("text", record["text"])]
    if "messages" in record:
        return [(turn["role"], turn["content"]) for turn in record["messages"]]
    ranked = sorted(zip(record["ranks"], record["answers"], strict=True), key=lambda each: each[0])
    names = {1: {1: "good", 2: "bad"}, 2: {1: "better", 2: "worse"}}.get(len(ranked), {})
    answers = [(names.get(rank, f"rank {rank}"), turn["content"]) for rank, answer in ranked for turn in answer]
    return [(turn["role"], turn["content"]) for turn in record["prompt"]] + answers


def _is_of_about(name: Any, value: Any) -> bool:
    if name == "tags":
        return isinstance(value, list) and all(isinstance(tag, str) for tag in value)
    if name == "how":
        return value in get_args(How)
    return name in About.__annotations__ and isinstance(value, str)
