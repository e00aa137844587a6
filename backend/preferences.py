"""Preference records as token ids: each answer behind its prompt, labels on the answer alone."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from backend.data.records import Preference, Record
from backend.data.tokens import Encoded, encode_conversations, encode_prompts, together
from backend.examples import Example, LeftOut, Ranking, Rated, example_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def rankings(
    records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int, *, whole: bool = False
) -> Iterator[Ranking | LeftOut]:
    """One ranking per record. With `whole`, a record with a text longer than `max_length` is left out, not cut."""
    for number, (record, answers) in enumerate(_answered(records, tokenizer), start=1):
        yield _ranking(record, answers, max_length, number, whole=whole)


def rated(records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> Iterator[Rated | LeftOut]:
    """One example per answer: good where it is ranked first. Its mismatched answer is the one before it, round and round."""
    asked: list[tuple[list[int], list[int], bool, int]] = []  # prompt, answer, whether it is good, number of its record
    for number, (record, answers) in enumerate(_answered(records, tokenizer), start=1):
        for encoded, rank in zip(answers, record["ranks"], strict=True):
            start = encoded.trained.index(True) if True in encoded.trained else len(encoded.ids)
            if start < min(len(encoded.ids), max_length):
                asked.append((encoded.ids[:start], encoded.ids[start:], rank == 1, number))
            else:
                yield LeftOut(number, f"nothing of one of its answers is left within {max_length} tokens")
    for place, (prompt, answer, good, number) in enumerate(asked):
        other = asked[place - 1][1]
        sequences = tuple(_cut(Encoded(prompt + said, [False] * len(prompt) + [True] * len(said)), max_length, number) for said in (answer, other))
        yield Rated(sequences, good, number)  # type: ignore[arg-type]


def _ranking(
    record: Preference, encoded: Sequence[Encoded], max_length: int, number: int, *, whole: bool
) -> Ranking | LeftOut:
    if len({tuple(each.ids) for each in encoded}) < len(encoded):
        return LeftOut(number, "two of its answers are the same")
    if whole and max(len(each.ids) for each in encoded) > max_length:
        return LeftOut(number, f"one of its answers ends behind {max_length} tokens")
    cut = [_cut(each, max_length, number) for each in encoded]
    if not all(any(label >= 0 for label in example.labels) for example in cut):
        return LeftOut(number, f"nothing of one of its answers is left within {max_length} tokens")
    ranking = Ranking(tuple(cut), tuple(record["ranks"]), number, record.get("margin") or 0.0)
    return ranking if ranking.pairs else LeftOut(number, "none of its answers is better than another")


def _answered(
    records: "Iterable[Record]", tokenizer: "PreTrainedTokenizerBase"
) -> Iterator[tuple[Preference, list[Encoded]]]:
    """Each record, and each of its answers behind its prompt, of which nothing is trained on."""
    for some in together(records):
        prompts = encode_prompts([record["prompt"] for record in some], tokenizer)  # type: ignore[typeddict-item]
        answers = iter(encode_conversations([[*record["prompt"], *answer] for record in some for answer in record["answers"]], tokenizer))  # type: ignore[typeddict-item]
        for record, prompt in zip(some, prompts, strict=True):
            yield record, [_behind(prompt, next(answers)) for _ in record["answers"]]  # type: ignore[misc, typeddict-item]


def _behind(prompt: list[int], encoded: Encoded) -> Encoded:
    """An answer with its prompt; earlier turns of the assistant, which the prompt may hold, are not trained on."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(encoded.ids, prompt, strict=False)))
    return Encoded(encoded.ids, [trained and at >= shared for at, trained in enumerate(encoded.trained)])


def _cut(encoded: Encoded, max_length: int, number: int) -> Example:
    kept = encoded.cut(max_length)
    return example_of(kept, cut=len(encoded.ids) - len(kept.ids), row=number)
