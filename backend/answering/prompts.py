"""The prompts that are answered: drawn from a data set, pasted, or asked in chat. Imports no torch.

    drawn = draw(PromptSource(kind="pasted", pasted="Why?\\nHow?"), workspace)      [Asked([{"role": "user", ...}]), ...]
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from backend.answering.settings import PromptSource
from backend.data.records import Message, Record, canonical
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.specs import DatasetRef
from backend.store import Store
from backend.workspace import Workspace

SPARE = 100  # rows drawn beyond those asked for, in place of such as ask nothing or the same


@dataclass(frozen=True)
class Asked:
    """A prompt, and the answer that stands in the data; empty where there is none."""

    messages: list[Message]
    reference: list[Message] = field(default_factory=list)


def draw(source: PromptSource, workspace: Workspace) -> list[Asked]:
    """The prompts of a source, each once. Raises `UserError` where there are none."""
    if source.kind == "data":
        assert source.data is not None, "the settings see to it that a data set is named"
        drawn = _asked_in(drawn_rows(Datasets(workspace), source.data, number=2 * source.number + SPARE, seed=source.seed))
    elif source.kind == "pasted":
        drawn = map(asked, pasted_prompts(source))
    else:
        drawn = map(Asked, _shuffled(chat_prompts(workspace), source.seed))
    prompts = _each_once(drawn)[: None if source.kind == "pasted" else source.number]
    if not prompts:
        raise UserError(NOTHING[source.kind])
    return prompts


NOTHING = {
    "data": "No row of this data set asks anything. Choose one whose rows have a question.",
    "pasted": "There is no prompt yet. Paste at least one.",
    "chat": "No question was voted on in Chat yet. Ask two models there and vote, or take prompts from a data set.",
}


def pasted_prompts(source: PromptSource) -> list[str]:
    """What was pasted, prompt by prompt."""
    parts = source.pasted.splitlines() if source.parted_by == "lines" else re.split(r"\n[^\S\n]*\n", source.pasted)
    return [part.strip() for part in parts if part.strip()]


def chat_prompts(workspace: Workspace) -> list[list[Message]]:
    """What was asked in chat and voted on, each once, the oldest first."""
    store = Store.of(workspace)
    try:
        with store.reading() as db:
            rows = db.execute("SELECT prompt FROM chat_said WHERE undone = 0 GROUP BY prompt ORDER BY min(id)").fetchall()
    finally:
        store.close()
    return [orjson.loads(prompt) for (prompt,) in rows]


def drawn_rows(datasets: Datasets, data: DatasetRef, *, number: int, seed: int) -> Iterator[Record]:
    """So many rows of a version in an order drawn by the seed; all of them where there are fewer. Raises `UserError`."""
    card = datasets.card(data.id or "", data.version)
    if card.record == "text":
        raise UserError(f'"{card.name}" holds plain text, which asks nothing. Choose a data set of conversations or preferences.')
    order = random.Random(seed).sample(range(card.rows), min(number, card.rows))
    rows = dict(zip(sorted(order), datasets.at(card.id, card.version, sorted(order)), strict=True))
    return (rows[place] for place in order)


def asked(text: str) -> Asked:
    """A question as somebody types it."""
    return Asked([{"role": "user", "content": text}])


def _asked_in(records: Iterator[Record]) -> Iterator[Asked]:
    """What each row asks, and its answer: the last one of a conversation, the best one of a preference."""
    for record in records:
        if "answers" in record:
            yield Asked(record["prompt"], record["answers"][record["ranks"].index(min(record["ranks"]))])
        elif "messages" in record:
            yield _parted(record["messages"])


def _parted(messages: list[Message]) -> Asked:
    """A conversation up to its last answer, and that answer."""
    last = next((place for place in reversed(range(len(messages))) if messages[place]["role"] == "assistant"), None)
    if last is None:
        return Asked(messages)
    return Asked(messages[:last], [messages[last]])


def _each_once(drawn: Iterator[Asked]) -> list[Asked]:
    """Those that ask something, the first of each prompt."""
    found: dict[bytes, Asked] = {}
    for each in drawn:
        if each.messages and each.messages[-1]["role"] == "user" and each.messages[-1]["content"].strip():
            found.setdefault(canonical(each.messages), each)
    return list(found.values())


def _shuffled(prompts: Sequence[list[Message]], seed: int) -> list[list[Message]]:
    return random.Random(seed).sample(prompts, len(prompts))
