"""What votes come to: one outcome for each item, and rows to learn from.

    judged = judged_items(labels, batch.id)          every item with all that was said of it, and what it comes to
    rows = records(each for each in judged if each.outcome.verdict == "ranked")

An answer is before another where more than half of those who voted put it there; what that leaves open is a disagreement,
until somebody settles it. Votes count once a person: skips, what was taken back and what was asked a second time do not.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from backend.data.records import About, Preference
from backend.labelling.items import BOTH_BAD, TIE, Item, Labels, Said, Settlement
from backend.labelling.talking import RANKS, ChatVote

Decided = Literal["ranked", "tie", "both bad", "disagreed", "open"]


@dataclass(frozen=True)
class Outcome:
    """What was said of an item, as one."""

    verdict: Decided
    ranks: list[int]  # of the candidates, 1 is the best; empty where they are not ranked
    margin: float | None  # mean strength, 1 to 3, of those who say the same; None where nobody said how much better
    people: int  # who voted
    is_settled: bool = False


@dataclass(frozen=True)
class Judged:
    """An item, everything said of it, and what that comes to."""

    number: int  # in its batch, from 1
    item: Item
    votes: list[Said]  # those taken back too
    settlement: Settlement | None
    outcome: Outcome


def outcome(votes: Sequence[Said], settlement: Settlement | None = None) -> Outcome:
    """What the votes on one item come to; what is settled goes before them."""
    counted = [vote for vote in votes if not (vote.undone or vote.repeat or vote.verdict == "skipped")]
    people = len({vote.annotator for vote in counted})
    verdict, ranks = _settled(settlement) if settlement else _consensus(counted)
    return Outcome(verdict, ranks, _margin(counted, ranks), people, settlement is not None)


def judged_items(labels: Labels, batch: str) -> list[Judged]:
    """Every item of a batch, in its order."""
    items, settlements = labels.all_items(batch), labels.settlements(batch)
    said: list[list[Said]] = [[] for _ in items]
    for vote in labels.votes(batch, undone=True):
        said[vote.item].append(vote)
    return [
        Judged(number + 1, item, said[number], settlements.get(number), outcome(said[number], settlements.get(number)))
        for number, item in enumerate(items)
    ]


def judged_in_chat(votes: Iterable[ChatVote]) -> list[Judged]:
    """Every question of chat that was voted on and is a preference, in the order of the votes."""
    asked: dict[tuple[str, int], list[ChatVote]] = {}
    for vote in votes:
        if not vote.only_scored:
            asked.setdefault((vote.talk, vote.turn), []).append(vote)
    return [_judged_question(number, votes) for number, votes in enumerate(asked.values())]


def records(judged: Iterable[Judged]) -> Iterator[Preference]:
    """Rows to learn from, the best answer first; a ranking stays one row, so that its pairs stay in one batch.

    A tie ranks all answers 1; where all are bad they rank 2, behind an answer nobody gave.
    """
    for each in judged:
        ranks = ranks_of(each)
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        record: Preference = {
            "prompt": each.item.prompt, "answers": [each.item.candidates[place].answer for place in order],
            "ranks": [ranks[place] for place in order], "about": _about(each),
        }  # fmt: skip
        if each.outcome.margin is not None:
            record["margin"] = each.outcome.margin
        yield record


def ranks_of(judged: Judged) -> list[int]:
    """The rank of each candidate, also where none is before another."""
    same = 1 if judged.outcome.verdict == TIE else 2
    return judged.outcome.ranks or [same] * len(judged.item.candidates)


# ---- what votes come to ----------------------------------------------------------------------------------------------


def _settled(settlement: Settlement) -> tuple[Decided, list[int]]:
    assert settlement.verdict != "reopened"
    return _ranked(settlement.ranks) if settlement.verdict == "ranked" else (settlement.verdict, [])


def _consensus(votes: Sequence[Said]) -> tuple[Decided, list[int]]:
    """(verdict, ranks) that more than half agree on."""
    if not votes:
        return "open", []
    said = Counter(_ranked(vote.ranks)[0] if vote.verdict == "ranked" else vote.verdict for vote in votes)
    for even in (TIE, BOTH_BAD):
        if said[even] > len(votes) / 2:
            return even, []  # type: ignore[return-value]
    ranks = _majority([vote.ranks for vote in votes if vote.verdict == "ranked"], len(votes))
    return ("ranked", ranks) if ranks else ("disagreed", [])


def _ranked(ranks: list[int]) -> tuple[Decided, list[int]]:
    """Ranks that are all the same are a tie."""
    return ("ranked", ranks) if len(set(ranks)) > 1 else ("tie", [])


def _majority(rankings: Sequence[list[int]], voters: int) -> list[int]:
    """The ranking in which one answer is before another exactly where more than half of the voters put it there.

    Empty where there is none: nobody is before anybody, or majorities go round in a circle (Condorcet's paradox).
    """
    places = range(len(rankings[0])) if rankings else range(0)
    ahead = {(a, b) for a in places for b in places if sum(ranks[a] < ranks[b] for ranks in rankings) > voters / 2}
    behind = [sum((other, place) in ahead for other in places) for place in places]
    ranks = [sorted(set(behind)).index(count) + 1 for count in behind]
    return ranks if ahead and ahead == {(a, b) for a in places for b in places if ranks[a] < ranks[b]} else []


def _margin(votes: Sequence[Said], ranks: list[int]) -> float | None:
    strengths = [vote.strength for vote in votes if ranks and vote.ranks == ranks and vote.strength is not None]
    return round(mean(strengths), 3) if strengths else None


def _about(judged: Judged) -> About:
    """Who said it and whose answers they are."""
    people = "1 person" if judged.outcome.people == 1 else f"{judged.outcome.people} people"
    makers = {candidate.made["name"] for candidate in judged.item.candidates if candidate.made.get("name")}
    tags = sorted(makers) + (["settled"] if judged.outcome.is_settled else [])
    return {"how": "hand", "author": f"labelled by {people}", **({"tags": tags} if tags else {})}  # type: ignore[typeddict-item]


def _judged_question(number: int, votes: Sequence[ChatVote]) -> Judged:
    """A question of chat: the answers of its newest vote, and all votes on those."""
    newest = votes[-1]
    answers = [newest.left.answer, newest.right.answer]
    said = [_said_in_chat(number, vote) for vote in votes if [vote.left.answer, vote.right.answer] == answers]
    return Judged(number + 1, Item(newest.prompt, [newest.left, newest.right]), said, None, outcome(said))


def _said_in_chat(number: int, vote: ChatVote) -> Said:
    if vote.verdict in ("left", "right"):
        return Said(number, vote.annotator, "ranked", RANKS[vote.verdict], shown=[0, 1], at=vote.at)
    return Said(number, vote.annotator, vote.verdict, [], shown=[0, 1], at=vote.at)  # type: ignore[arg-type]
