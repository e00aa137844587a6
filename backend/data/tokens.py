"""A row as the model will see it: token ids, and which of them are learnt from.

Characters decide, not token counts: the conversation is rendered once through the chat template, and a token is
trained when it begins inside an assistant's turn (its end mark included). Single-turn rows come out exactly as in
TRL's prompt-completion form.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from backend.data.chat_template import all_written, written
from backend.data.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]
SENTINEL = "\ue000{}\ue001"  # private-use characters, never in a template
SENTINEL_PATTERN = "(\ue000[0-9]+\ue001)"


@dataclass(frozen=True)
class Encoded:
    """One row as tokens. `ids` and `trained` have the same length, uncut."""

    ids: list[int]
    trained: list[bool]

    def cut(self, max_length: int) -> "Encoded":
        """The first `max_length` tokens."""
        return Encoded(self.ids[:max_length], self.trained[:max_length])

    @property
    def trained_count(self) -> int:
        return sum(self.trained)


def encode(record: Record, tokenizer: "PreTrainedTokenizerBase") -> Encoded:
    """A record as tokens: a conversation with the assistant's turns trained, or a text trained whole.

    Of a preference it is the conversation with the best answer.
    """
    if "answers" in record:
        best = record["answers"][record["ranks"].index(min(record["ranks"]))]
        return encode_messages([*record["prompt"], *best], tokenizer)
    if "messages" in record:
        return encode_messages(record["messages"], tokenizer)
    ids = tokenizer(record["text"], split_special_tokens=True)["input_ids"]  # with a beginning mark, where the model has one
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids = [*ids, tokenizer.eos_token_id]
    return Encoded(ids, [True] * len(ids))


def encode_messages(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> Encoded:
    """A conversation as tokens, every assistant turn trained."""
    if _fakes_a_turn(messages, tokenizer):
        return _encode_apart(messages, tokenizer)
    whole, spans = _with_assistant_spans(messages, tokenizer)
    tokens = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    trained = [any(start <= begin < end for start, end in spans) for begin, _ in tokens["offset_mapping"]]
    return Encoded(tokens["input_ids"], trained)


def encode_prompt(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A conversation up to the point where the assistant is to answer."""
    if _fakes_a_turn(messages, tokenizer):
        return [token for ids, _ in _pieces(messages, tokenizer, answer_next=True) for token in ids]
    return tokenizer(written(messages, tokenizer, answer_next=True), add_special_tokens=False)["input_ids"]


def ids_of_length(text: str, count: int, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A text as exactly `count` token ids, repeated or cut; none for an empty text."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return (ids * count)[:count]


def _with_assistant_spans(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", *, answer_next: bool = False
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered conversation, and where in it each assistant turn stands, as character ranges."""
    turns = [turn for turn, message in enumerate(messages) if message["role"] == "assistant"]
    asked = [(messages, answer_next), *((messages[:turn], True) for turn in turns), *((messages[: turn + 1], False) for turn in turns)]
    whole, *texts = all_written(asked, tokenizer)
    return whole, [
        (len(before), len(after))
        for before, after in zip(texts[: len(turns)], texts[len(turns) :], strict=True)
        # some templates write earlier turns differently once later ones follow; those turns cannot be trained on
        if whole.startswith(before) and whole.startswith(after)
    ]


def _fakes_a_turn(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether somebody's text contains a special token spelt out, such as an end-of-turn mark."""
    return any(token in message["content"] for message in messages for token in tokenizer.all_special_tokens)


def _encode_apart(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> Encoded:
    ids: list[int] = []
    trained: list[bool] = []
    for piece, is_trained in _pieces(messages, tokenizer):
        ids += piece
        trained += [is_trained] * len(piece)
    return Encoded(ids, trained)


def _pieces(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", *, answer_next: bool = False
) -> list[tuple[list[int], bool]]:
    """Template and contents encoded apart, so that a special token spelt out in a content stays plain text.

    Each piece is (ids, trained). Where the assistant's turns begin and end is read off a rendering with stand-ins.
    """
    contents = {SENTINEL.format(turn): message["content"] for turn, message in enumerate(messages)}
    stand_ins = [{**message, "content": mark} for message, mark in zip(messages, contents, strict=True)]
    whole, spans = _with_assistant_spans(stand_ins, tokenizer, answer_next=answer_next)
    edges = sorted({0, len(whole), *chain.from_iterable(spans)})
    pieces = []
    for begin, end in pairwise(edges):
        trained = any(start <= begin < stop for start, stop in spans)
        for part in re.split(SENTINEL_PATTERN, whole[begin:end]):
            plain = tokenizer(contents.get(part, part), add_special_tokens=False, split_special_tokens=part in contents)
            pieces.append((plain["input_ids"], trained))
    return pieces
