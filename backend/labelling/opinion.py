"""A reward model's opinion of a batch: what a second annotator would say, kept apart from what people said.

    for share in ask(run, judge, batch.id, items, turn=turn): ...     asks about what was not asked before
    rewards = known_opinion(run, batch.id)                            {item: reward of each candidate}
    compared(labels.votes(batch.id), items, rewards)                  how far people agree with it, and where they differ

The rewards lie in the run's folder, so they go with it, and a run that was resumed is asked anew. Imports no torch.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.calibration import kept_with, probability
from backend.generating.lines import append_lines, read_lines
from backend.labelling.agreement import Label, Share, cohens_kappa, raw_agreement
from backend.labelling.items import Item, Said
from backend.labelling.quality import FIRST, SECOND, comparisons, from_both_sides
from backend.runs import Run

if TYPE_CHECKING:
    from backend.judging import Judge, Turn

ITEMS_AT_ONCE = 8  # asked about and written down together

Opinion = Mapping[int, Sequence[float]]  # item -> reward of each candidate


@dataclass(frozen=True)
class AgreesWith:
    """How far one person, or most people, agree with the reward model, over comparisons they decided."""

    name: str  # of the person; empty for what most people said
    same: Share
    kappa: float | None


@dataclass(frozen=True)
class Difference:
    """Two answers of which people prefer the one and the reward model the other."""

    item: int
    preferred: int  # place among the item's candidates
    other: int
    votes: Share  # of the decided votes on them, those for the one people prefer
    sure: float  # the probability the model gives the other, from a half to one


@dataclass(frozen=True)
class Compared:
    """A reward model as a second annotator."""

    items: int  # it has an opinion of
    unread: int  # too long for it
    most: AgreesWith
    people: list[AgreesWith]  # by name
    differences: list[Difference]  # those it is surest of first


def ask(run: Run, judge: "Judge", batch: str, items: Sequence[Item], *, turn: "Turn") -> Iterator[float]:
    """Ask about the items it was not asked about before; each answer is on the disk before the share done is told."""
    known = {row["item"] for row in _rows(run, batch)}
    rest = [number for number in range(len(items)) if number not in known]
    for at in range(0, len(rest), ITEMS_AT_ONCE):
        numbers = rest[at : at + ITEMS_AT_ONCE]
        rewards = _rewards(judge, [items[number] for number in numbers], turn)
        append_lines(_file(run, batch), [{"v": 1, "item": number, "rewards": each} for number, each in zip(numbers, rewards, strict=True)])
        yield (len(known) + at + len(numbers)) / len(items)


def known_opinion(run: Run, batch: str) -> tuple[dict[int, list[float]], int]:
    """(item -> reward of each candidate, items that were too long) of all that was asked."""
    rows = {row["item"]: row["rewards"] for row in _rows(run, batch)}
    return {item: rewards for item, rewards in rows.items() if rewards is not None}, sum(each is None for each in rows.values())


def compared(votes: Iterable[Said], items: Sequence[Item], opinion: Opinion, *, unread: int = 0) -> Compared:
    """People against the model. Ties and both bad are left out: a reward model never says them."""
    said = [
        label for label in comparisons((vote for vote in votes if not vote.repeat), [len(item.candidates) for item in items])
        if label.value in (FIRST, SECOND)
    ]
    judged = {label.item: verdict for label in said if (verdict := _verdict(label.item, opinion))}
    said = [label for label in said if label.item in judged]
    people = sorted({label.annotator for label in said})
    return Compared(
        items=len(opinion), unread=unread,
        most=_agreement("", _majority(said), judged),
        people=[_agreement(name, [label for label in said if label.annotator == name], judged) for name in people],
        differences=_differences(said, judged, opinion),
    )  # fmt: skip


def _rewards(judge: "Judge", items: Sequence[Item], turn: "Turn") -> list[list[float] | None]:
    """The reward of every candidate, item by item; None for an item of which one answer is longer than the model reads."""
    read = [judge.encoded([[*item.prompt, *each.answer] for each in item.candidates]) for item in items]
    fits = [all(example.length <= judge.context for example in examples) for examples in read]
    rewards = iter(judge.rewards_of([example for examples, fit in zip(read, fits, strict=True) if fit for example in examples], turn=turn))
    return [[next(rewards) for _ in examples] if fit else None for examples, fit in zip(read, fits, strict=True)]


def _agreement(name: str, said: Iterable[Label], judged: Mapping[str, str]) -> AgreesWith:
    person = [label._replace(annotator="person") for label in said]
    both = [*person, *(Label(label.item, "model", judged[label.item]) for label in person)]
    return AgreesWith(name, raw_agreement(both), cohens_kappa(from_both_sides(both), "person", "model"))


def _majority(said: Iterable[Label]) -> list[Label]:
    """What most people said of each comparison; nothing where as many said the one as the other."""
    counts = _counts(said)
    return [
        Label(item, "most", FIRST if count[FIRST] > count[SECOND] else SECOND)
        for item, count in counts.items() if count[FIRST] != count[SECOND]
    ]


def _differences(said: Iterable[Label], judged: Mapping[str, str], opinion: Opinion) -> list[Difference]:
    counts = _counts(said)
    found = [
        _difference(label, counts[label.item], opinion) for label in _majority(said) if judged[label.item] != label.value
    ]  # fmt: skip
    return sorted(found, key=lambda each: (-each.sure, each.item, each.preferred))


def _difference(label: Label, count: Counter[str], opinion: Opinion) -> Difference:
    item, one, other = map(int, label.item.split())
    preferred, left = (one, other) if label.value == FIRST else (other, one)
    sure = probability(opinion[item][left] - opinion[item][preferred])
    return Difference(item, preferred, left, Share(count[label.value], count.total()), sure)


def _counts(said: Iterable[Label]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for label in said:
        counts[label.item][label.value] += 1
    return counts


def _verdict(comparison: str, opinion: Opinion) -> str | None:
    """Which of two answers the model prefers; None where it has no opinion."""
    item, one, other = map(int, comparison.split())
    if item not in opinion or opinion[item][one] == opinion[item][other]:
        return None
    return FIRST if opinion[item][one] > opinion[item][other] else SECOND


def _rows(run: Run, batch: str) -> list[dict]:
    return [row for row in read_lines(_file(run, batch)) if row.keys() >= {"item", "rewards"}]


def _file(run: Run, batch: str) -> Path:
    return kept_with(run, f"batch-{batch}", "jsonl")
