"""How far the votes of a batch can be trusted: agreement, consistency, and habits that have nothing to do with the answers.

    measured = quality(labels.votes(batch), labels.all_items(batch))
    disputes(labels.votes(batch))       the items people disagree on, each with who said what

This only gathers: what each number is stands in `agreement` and `scoreboard`. Everything is counted by candidate, so sides
matter to nothing but the share of left picks, which is about sides. Nor does it matter which candidate is kept first.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from backend.data.records import Message
from backend.labelling.agreement import (
    Label,
    Share,
    cohens_kappa,
    disagreements,
    krippendorffs_alpha,
    raw_agreement,
    same_answer_again,
)
from backend.labelling.items import Item, Said, Verdict

FIRST, SECOND = "first", "second"  # which of two answers is better, in the order they are kept
MOST_PAIRS_OF_PEOPLE = 45  # whose agreement is told: every two of ten people


@dataclass(frozen=True)
class Together:
    """Two people, and how far they agree on what both have compared."""

    one: str
    other: str
    same: Share
    kappa: float | None


@dataclass(frozen=True)
class Person:
    """One person's votes."""

    name: str
    items: int  # labelled, skipped ones left out
    again: Share  # of comparisons seen twice, those answered the same
    seconds: float | None  # median over items; None where it is not known


@dataclass(frozen=True)
class Quality:
    """All there is to say of a batch's votes."""

    items: int  # of the batch
    verdicts: dict[Verdict, int]  # first answers only, as everything here but `again` and `left`
    same: Share  # raw agreement
    alpha: float | None
    together: list[Together]  # those with most in common first
    people: list[Person]  # by name
    again: Share  # of everybody
    left: Share  # of decided pairs, the one shown first won
    longer: Share  # of decided comparisons of answers of different lengths, the longer one won


@dataclass(frozen=True)
class Stance:
    """One thing that was said of an item, and by whom."""

    verdict: Verdict
    ranks: tuple[int, ...]  # of the candidates; empty where they are not ranked
    people: tuple[str, ...]


@dataclass(frozen=True)
class Dispute:
    """An item of which people said different things."""

    item: int
    stances: tuple[Stance, ...]  # what most said first


def quality(votes: Sequence[Said], items: Sequence[Item]) -> Quality:
    """Everything at once. `votes` are those that stand; `items` all of the batch, in their order."""
    answers = [len(item.candidates) for item in items]
    first = [vote for vote in votes if not vote.repeat]
    said = list(comparisons(first, answers))
    twice = _said_twice(said, comparisons((vote for vote in votes if vote.repeat), answers))
    return Quality(
        items=len(items),
        verdicts=Counter(vote.verdict for vote in first),  # type: ignore[arg-type]
        same=raw_agreement(said),
        alpha=krippendorffs_alpha(from_both_sides(said)),
        together=_together(said),
        people=[_person(name, first, twice) for name in sorted({vote.annotator for vote in votes})],
        again=same_answer_again([pair for pairs in twice.values() for pair in pairs]),
        left=_left_picks(votes),
        longer=_longer_wins(said, [[letters(each.answer) for each in item.candidates] for item in items]),
    )


def disputes(votes: Iterable[Said]) -> list[Dispute]:
    """The items people disagree on, those in most dispute first. Items skipped and second looks say nothing here."""
    said: dict[int, dict[str, Said]] = defaultdict(dict)
    for vote in votes:
        if not vote.repeat and vote.verdict != "skipped":
            said[vote.item][vote.annotator] = vote
    labels = [Label(f"{item:09}", who, _as_a_word(vote)) for item, votes_of in said.items() for who, vote in votes_of.items()]
    return [Dispute(int(item), _stances(said[int(item)].values())) for item in disagreements(labels)]


def comparisons(votes: Iterable[Said], answers: Sequence[int]) -> Iterator[Label]:
    """What was said of every two answers of an item: a pair is one comparison, a ranking of K is K (K - 1) / 2 of them.

    So two rankings that differ in one place agree in all the others. `answers` is how many each item has.
    """
    for vote in votes:
        if vote.verdict == "skipped":
            continue
        for one, other in combinations(range(answers[vote.item]), 2):
            yield Label(f"{vote.item} {one} {other}", vote.annotator, _of_two(vote, one, other))


def from_both_sides(said: Iterable[Label]) -> Iterator[Label]:
    """Every comparison twice, once from each of its answers: what agreement beyond chance is counted over.

    Which answer is kept first says nothing. Were it counted, then where one model nearly always wins (or a file always
    brings the better answer first) chance would seem to agree as often as people do, and alpha and kappa would be about 0.
    """
    for label in said:
        item, one, other = label.item.split()
        yield label
        yield Label(f"{item} {other} {one}", label.annotator, {FIRST: SECOND, SECOND: FIRST}.get(label.value, label.value))


def letters(answer: Sequence[Message]) -> int:
    """How long an answer is, in characters."""
    return sum(len(turn["content"]) for turn in answer)


def _of_two(vote: Said, one: int, other: int) -> str:
    if vote.verdict != "ranked":
        return vote.verdict
    if vote.ranks[one] == vote.ranks[other]:
        return "tie"
    return FIRST if vote.ranks[one] < vote.ranks[other] else SECOND


def _said_twice(first: Iterable[Label], again: Iterable[Label]) -> dict[str, list[tuple[str, str]]]:
    """annotator -> (said first, said again) of every comparison shown twice."""
    before = {(label.item, label.annotator): label.value for label in first}
    twice: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for label in again:
        if (label.item, label.annotator) in before:
            twice[label.annotator].append((before[label.item, label.annotator], label.value))
    return twice


def _together(said: Iterable[Label]) -> list[Together]:
    by_person: dict[str, list[Label]] = defaultdict(list)
    for label in said:
        by_person[label.annotator].append(label)
    compared = {name: {label.item for label in labels} for name, labels in by_person.items()}
    pairs = sorted(combinations(sorted(by_person), 2), key=lambda pair: -len(compared[pair[0]] & compared[pair[1]]))
    return [
        Together(one, other, raw_agreement(both), cohens_kappa(from_both_sides(both), one, other))
        for one, other in pairs[:MOST_PAIRS_OF_PEOPLE]
        if compared[one] & compared[other] and (both := by_person[one] + by_person[other])
    ]


def _person(name: str, first: Iterable[Said], twice: dict[str, list[tuple[str, str]]]) -> Person:
    labelled = [vote for vote in first if vote.annotator == name and vote.verdict != "skipped"]
    times = [vote.seconds for vote in labelled if vote.seconds > 0]  # votes brought from elsewhere have none
    return Person(name, len(labelled), same_answer_again(twice.get(name, [])), median(times) if times else None)


def _left_picks(votes: Iterable[Said]) -> Share:
    """Second looks count too: their sides are flipped, so that whoever means the answers is even by them."""
    decided = [vote for vote in votes if len(vote.ranks) == 2 and vote.ranks[0] != vote.ranks[1] and vote.shown]
    return Share(sum(vote.ranks[vote.shown[0]] == 1 for vote in decided), len(decided))


def _longer_wins(said: Iterable[Label], lengths: Sequence[Sequence[int]]) -> Share:
    won = []
    for label in said:
        item, one, other = map(int, label.item.split())
        if label.value in (FIRST, SECOND) and lengths[item][one] != lengths[item][other]:
            won.append((lengths[item][one] > lengths[item][other]) == (label.value == FIRST))
    return Share(sum(won), len(won))


def _stances(votes: Iterable[Said]) -> tuple[Stance, ...]:
    people: dict[tuple[Verdict, tuple[int, ...]], list[str]] = defaultdict(list)
    for vote in votes:
        people[vote.verdict, tuple(vote.ranks)].append(vote.annotator)
    stances = [Stance(verdict, ranks, tuple(sorted(names))) for (verdict, ranks), names in people.items()]
    return tuple(sorted(stances, key=lambda stance: (-len(stance.people), stance.verdict, stance.ranks)))


def _as_a_word(vote: Said) -> str:
    return " ".join(map(str, vote.ranks)) if vote.verdict == "ranked" else vote.verdict
