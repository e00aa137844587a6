"""Which columns of a file hold a prompt and answers to it, and what is read from them."""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from backend.data.records import Message
from backend.data.shapes import RowProblem, turns_in
from backend.labelling.items import Candidate, Item, Made, Said

STRENGTHS = (1, 2, 3)  # that a person can give; a margin that is none of them is nobody's
PROMPTS = ("prompt", "question", "query", "instruction", "input", "conversations", "conversation", "messages", "context", "request", "post")
STEMS = ("answer", "response", "completion", "output", "reply", "candidate", "generation", "text", "option", "summary")
ENDINGS = ("123456789", "abcdefghi", "012345678")
LISTS = (*(f"{stem}s" for stem in STEMS), "items")
SAID = ("body", "text", "content", "answer", "response", "completion", "output", "title")  # where an answer is an object
MAKERS = ("model", "source", "generator")


class Read(NamedTuple):
    """A row as an item, and what is said of it there, by annotators as the row calls them."""

    item: Item
    votes: Sequence[Said] = ()


def prompt_column(names: Iterable[str]) -> str | None:
    plain = {_plain(name): name for name in names}
    return next((plain[name] for name in PROMPTS if name in plain), None)


def answer_columns(names: Iterable[str]) -> list[str]:
    """answer1, answer2 and so on, under whichever name there are at least two of; none where there are not."""
    plain = {_plain(name): name for name in names}
    for stem in STEMS:
        for marks in ENDINGS:
            for joint in ("", "_"):
                found = list(takewhile(plain.__contains__, (f"{stem}{joint}{mark}" for mark in marks)))
                if len(found) > 1:
                    return [plain[name] for name in found]
    return []


def list_column(names: Iterable[str]) -> str | None:
    return next((name for name in names if _plain(name) in LISTS), None)


def beside(values: dict[str, Any], prompt: str, answers: Sequence[str]) -> Item:
    """A prompt and answers in columns of their own; a row may have fewer than others. Raises `RowProblem`."""
    there = [name for place, name in enumerate(answers) if place < 2 or values.get(name) not in (None, "")]
    made = [Made(speaker=f"column:{name}", name=name) for name in there]
    return Item(asked(values, prompt), [Candidate(answered(values, name), each) for name, each in zip(there, made, strict=True)])


def listed(values: dict[str, Any], prompt: str, answers: str) -> Item:
    """A prompt and a list of answers. Raises `RowProblem`."""
    found = values.get(answers)
    if not isinstance(found, list):
        raise RowProblem(f'has no list of answers in "{answers}"')
    return Item(asked(values, prompt), [Candidate(answered({answers: each}, answers), maker(each)) for each in found])


def asked(values: dict[str, Any], column: str) -> list[Message]:
    """The turns of a prompt, behind the row's system prompt where it has one. Raises `RowProblem`."""
    turns = turns_in(values, column, by="user")
    system = next((values[name] for name in values if _plain(name) in ("system", "system_prompt") and isinstance(values[name], str)), "")
    return [{"role": "system", "content": system}, *turns] if system.strip() and turns[0]["role"] != "system" else turns


def answered(values: dict[str, Any], column: str) -> list[Message]:
    """The turns of an answer. One that says nothing is still an answer: whether it is worth showing is for the filters."""
    value = values.get(column)
    if isinstance(value, dict) and not ({"role", "content"} <= value.keys() or {"from", "value"} <= value.keys()):
        value = next((value[name] for name in SAID if isinstance(value.get(name), str)), None)
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return turns_in({column: value}, column, by="assistant")


def maker(answer: Any) -> Made:
    """Who made an answer, where it is an object that says so."""
    name = next((answer[name] for name in MAKERS if isinstance(answer.get(name), str)), "") if isinstance(answer, dict) else ""
    return Made(speaker=f"column:{name}", name=name) if name else Made()


def strength_of(margin: Any) -> int | None:
    """A margin as a strength somebody may have given."""
    return int(margin) if str(margin) in {form for each in STRENGTHS for form in (str(each), f"{each}.0")} else None


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")
