"""Looking at a saved version with a model's eyes: a row token by token, and how long its rows are. Imports no torch.

    row = row_tokens(record, tokenizer)               what the model sees of one row, and what it learns from
    lengths = token_lengths(datasets, id, version, tokenizer)
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from backend.data.readers import Progress
from backend.data.records import Record
from backend.data.tokens import Encoded, encode, encode_all
from backend.data.versions import Datasets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS_SHOWN = 2_000  # of one row; more spans than that make a page slow
ROWS_MEASURED = 2_000  # a length is asked for while somebody waits; larger versions are judged by a sample
SECONDS_MEASURED = 0.8  # and where rows are long or the machine slow, by a smaller one
FEWEST_MEASURED = 200  # rows that are measured however long it takes
BROKEN = "\ufffd"  # what bytes decode to that are no whole character yet
LONGEST_CHARACTER = 4  # bytes in UTF-8, and so tokens at most


class Token(NamedTuple):
    """One token as it reads. `text` is "" where its bytes only finish a character that the token before began."""

    text: str
    trained: bool
    special: bool


@dataclass(frozen=True)
class RowTokens:
    """One row as the model sees it: all of it in numbers, its first tokens in words."""

    encoded: Encoded  # uncut
    tokens: list[Token]  # the first of them

    def trained_within(self, max_length: int) -> int:
        """Tokens learnt from that the length limit leaves."""
        return self.encoded.cut(max_length).trained_count


class RowLength(NamedTuple):
    """How long a row is, in tokens."""

    tokens: int
    before_answer: int  # tokens before the first one that is learnt from


@dataclass(frozen=True)
class Lengths:
    """True token lengths of a version's rows: of all, or of some spread evenly over it."""

    measured: list[RowLength]
    rows: int  # in the version

    @property
    def is_sample(self) -> bool:
        return len(self.measured) < self.rows

    def cut_rows(self, max_length: int) -> int:
        """Measured rows the limit shortens."""
        return sum(row.tokens > max_length for row in self.measured)

    def lost_rows(self, max_length: int) -> int:
        """Measured rows of which the limit leaves nothing to learn from."""
        return sum(row.before_answer >= max_length for row in self.measured)

    def cut_tokens(self, max_length: int) -> int:
        """Tokens of measured rows that stand behind the limit."""
        return sum(max(0, row.tokens - max_length) for row in self.measured)

    @property
    def tokens(self) -> int:
        return sum(row.tokens for row in self.measured)


def row_tokens(record: Record, tokenizer: "PreTrainedTokenizerBase", *, shown: int = TOKENS_SHOWN) -> RowTokens:
    """A record as tokens; the first `shown` of them in words."""
    encoded = encode(record, tokenizer)
    special = set(tokenizer.all_special_ids)
    texts = _pieces(encoded.ids[:shown], tokenizer)
    marks = zip(encoded.ids, encoded.trained, texts, strict=False)
    return RowTokens(encoded, [Token(text, trained, id in special) for id, trained, text in marks])


def token_lengths(
    datasets: Datasets,
    id: str,
    version: int,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    limit: int = ROWS_MEASURED,
    seconds: float = SECONDS_MEASURED,
    progress: Progress | None = None,
) -> Lengths:
    """How long the rows of a version are: of all up to `limit` rows, else of `limit` spread evenly over it.

    What cannot be measured in about `seconds` is left out, evenly too.
    """
    until = time.monotonic() + seconds
    records = datasets.sample(id, version, limit=limit)
    measured: dict[int, RowLength] = {}
    order = list(_spread(len(records)))
    for number, encoded in zip(order, encode_all((records[number] for number in order), tokenizer), strict=True):
        measured[number] = _length(encoded)
        if progress and len(measured) % 50 == 0:
            progress(len(measured) / len(records))
        if len(measured) >= FEWEST_MEASURED and time.monotonic() > until:
            break
    return Lengths([measured[number] for number in sorted(measured)], datasets.card(id, version).rows)


def _spread(count: int) -> Iterator[int]:
    """The numbers below `count` in an order whose every beginning is spread evenly (van der Corput's, base 2)."""
    bits = max(count - 1, 0).bit_length()
    for number in range(2**bits):
        place = int(f"{number:0{bits}b}"[::-1], 2) if bits else 0
        if place < count:
            yield place


def row_length(record: Record, tokenizer: "PreTrainedTokenizerBase") -> RowLength:
    """How long a record is as the model sees it, uncut. Raises `UserError` where the chat template does not fit it."""
    return _length(encode(record, tokenizer))


def _length(encoded: Encoded) -> RowLength:
    first = encoded.trained.index(True) if True in encoded.trained else len(encoded.ids)
    return RowLength(len(encoded.ids), first)


def _pieces(ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> Iterator[str]:
    """The text each token adds. Some tokenizers drop a space at the start, so each is read behind the one before it."""

    def decode(begin: int, end: int) -> str:
        return tokenizer.decode(ids[begin:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)

    begin, anchor = 0, 0  # the token whose text comes next, and the one it is read behind
    while begin < len(ids):
        known = decode(anchor, begin)
        for end in range(begin + 1, min(begin + LONGEST_CHARACTER, len(ids)) + 1):
            text = decode(anchor, end).removeprefix(known)
            if BROKEN not in text:
                break
        else:  # bytes that are no character, shown as such; or that very character
            end, text = begin + 1, BROKEN
        yield text
        yield from [""] * (end - begin - 1)
        begin, anchor = end, end if text == BROKEN else end - 1
