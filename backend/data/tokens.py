"""A row as the model will see it: token ids, and which of them are learnt from.

Characters decide, not token counts: the conversation is rendered once through the chat template, and a token is
trained when it begins inside an assistant's turn (its end mark included). Single-turn rows come out exactly as in
TRL's prompt-completion form.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, TypeVar

from backend.data.chat_template import Conversation, written
from backend.data.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 64  # records whose texts are asked for together: asking takes longer than writing

Item = TypeVar("Item")
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
    return next(encode_all([record], tokenizer))


def encode_all(records: Iterable[Record], tokenizer: "PreTrainedTokenizerBase") -> Iterator[Encoded]:
    """Records as tokens, in their order; read ahead by `AT_ONCE` of them, whose texts are asked of the template at once."""
    for some in together(records):
        spoken = iter(encode_conversations([_conversation(record) for record in some if "text" not in record], tokenizer))
        yield from (_encode_text(record["text"], tokenizer) if "text" in record else next(spoken) for record in some)


def encode_messages(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> Encoded:
    """A conversation as tokens, every assistant turn trained."""
    return encode_conversations([messages], tokenizer)[0]


def encode_conversations(conversations: Sequence[Sequence[Message]], tokenizer: "PreTrainedTokenizerBase") -> list[Encoded]:
    """Several conversations as tokens, their texts asked of the template at once."""
    rendered = _render([(messages, False) for messages in conversations], tokenizer)
    return [text.encoded(tokenizer) for text in rendered]


def encode_prompt(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A conversation up to the point where the assistant is to answer."""
    return encode_prompts([messages], tokenizer)[0]


def encode_prompts(conversations: Sequence[Sequence[Message]], tokenizer: "PreTrainedTokenizerBase") -> list[list[int]]:
    """Several, each up to the point where the assistant is to answer; their texts asked of the template at once."""
    rendered = _render([(messages, True) for messages in conversations], tokenizer)
    return [text.encoded(tokenizer).ids for text in rendered]


def together(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in lists of `AT_ONCE`, the last one shorter."""
    items = iter(items)
    while some := list(islice(items, AT_ONCE)):
        yield some


def ids_of_length(text: str, count: int, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A text as exactly `count` token ids, repeated or cut; none for an empty text."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return (ids * count)[:count]


def _conversation(record: Record) -> list[Message]:
    """The messages of a record; of a preference those with the best answer."""
    if "answers" in record:
        return [*record["prompt"], *record["answers"][record["ranks"].index(min(record["ranks"]))]]
    return record["messages"]


def _encode_text(text: str, tokenizer: "PreTrainedTokenizerBase") -> Encoded:
    """A text with its end mark, and with a beginning mark where the model has one."""
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids = [*ids, tokenizer.eos_token_id]
    return Encoded(ids, [True] * len(ids))


@dataclass(frozen=True)
class _Rendered:
    """A conversation as the template wrote it."""

    whole: str
    spans: list[tuple[int, int]]  # where in it each assistant turn stands, in characters
    contents: dict[str, str]  # stand-in -> the content in whose place it stands

    def encoded(self, tokenizer: "PreTrainedTokenizerBase") -> Encoded:
        if self.contents:
            return self._encoded_apart(tokenizer)
        tokens = tokenizer(self.whole, add_special_tokens=False, return_offsets_mapping=True)
        trained = [any(start <= begin < end for start, end in self.spans) for begin, _ in tokens["offset_mapping"]]
        return Encoded(tokens["input_ids"], trained)

    def _encoded_apart(self, tokenizer: "PreTrainedTokenizerBase") -> Encoded:
        """Template and contents encoded apart, so that a special token spelt out in a content stays plain text."""
        ids: list[int] = []
        trained: list[bool] = []
        for begin, end in pairwise(sorted({0, len(self.whole), *chain.from_iterable(self.spans)})):
            is_trained = any(start <= begin < stop for start, stop in self.spans)
            for part in re.split(SENTINEL_PATTERN, self.whole[begin:end]):
                is_content = part in self.contents
                piece = tokenizer(self.contents.get(part, part), add_special_tokens=False, split_special_tokens=is_content)["input_ids"]
                ids += piece
                trained += [is_trained] * len(piece)
        return Encoded(ids, trained)


def _render(conversations: Sequence[Conversation], tokenizer: "PreTrainedTokenizerBase") -> list[_Rendered]:
    """Conversations as the template writes them, asked for in one question.

    Where somebody's text holds a special token spelt out, stand-ins are written in the contents' place.
    """
    contents = [_stand_ins(messages) if _fakes_a_turn(messages, tokenizer) else {} for messages, _ in conversations]
    asked = [
        _beginnings([{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)] if marks else messages, answer_next)
        for (messages, answer_next), marks in zip(conversations, contents, strict=True)
    ]
    texts = iter(written([*chain.from_iterable(asked)], tokenizer))
    answers = [list(islice(texts, len(each))) for each in asked]
    return [_Rendered(whole, _spans(whole, rest), marks) for (whole, *rest), marks in zip(answers, contents, strict=True)]


def _stand_ins(messages: Sequence[Message]) -> dict[str, str]:
    return {SENTINEL.format(turn): message["content"] for turn, message in enumerate(messages)}


def _beginnings(messages: Sequence[Message], answer_next: bool) -> list[Conversation]:
    """The conversation itself; then how far it goes before each assistant turn, and how far with it."""
    turns = [turn for turn, message in enumerate(messages) if message["role"] == "assistant"]
    return [
        (messages, answer_next),
        *chain.from_iterable(((messages[:turn], True), (messages[: turn + 1], False)) for turn in turns),
    ]


def _spans(whole: str, beginnings: Sequence[str]) -> list[tuple[int, int]]:
    """Where each assistant turn stands, given the texts before it and with it."""
    return [
        (len(before), len(after))
        for before, after in zip(beginnings[::2], beginnings[1::2], strict=True)
        # some templates write earlier turns differently once later ones follow; those turns cannot be trained on
        if whole.startswith(before) and whole.startswith(after)
    ]


def _fakes_a_turn(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether somebody's text contains a special token spelt out, such as an end-of-turn mark."""
    return any(token in message["content"] for message in messages for token in tokenizer.all_special_tokens)
