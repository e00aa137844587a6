"""From what people said of answers to votes between those who gave them.

    tally = tally_of([*said_of_batch(labels, batch.id), *said_in_chat(votes)])
    duels_of(tally.votes)[0]                 who met whom most often, and how it went

Who gave an answer is its speaker, the weights of it and its sampling settings; the seed makes no other candidate.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from backend.data.records import Message, canonical, digest
from backend.labelling.items import Labels, Made
from backend.labelling.scoreboard import Duel, Vote
from backend.labelling.talking import RANKS, ChatVotes

SETTINGS = {"temperature": "temperature {:g}", "top_p": "top-p {:g}", "max_tokens": "at most {:g} tokens"}


class Maker(NamedTuple):
    """Who gave an answer, and how."""

    speaker: str  # "base:<model>", "run:<id>", "column:<name>"; empty where it is not known
    weights: str = ""  # hash of a run's result
    sampling: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Opinion:
    """What one person said of the answers to one prompt: their ranks, 1 is the best. Nobody's rank is 1 where all are bad."""

    prompt: str  # stands for the prompt's messages
    made: tuple[Made, ...]
    ranks: tuple[int, ...]


class Met(NamedTuple):
    """Two candidates that met; `duel` is seen from the first, which has won no less often."""

    one: str
    other: str
    duel: Duel


@dataclass(frozen=True)
class Tally:
    """Votes between candidates, by the names people read, and what is no such vote."""

    votes: list[Vote]
    candidates: list[str]  # all that were met, those in no vote too
    opinions: int
    all_bad: int  # opinions that chose nothing
    own: int  # comparisons of two answers of one candidate: no score for anybody


def said_of_batch(labels: Labels, batch: str) -> Iterator[Opinion]:
    """What stands of a batch, what was asked a second time left out, and what was skipped."""
    items = [(_prompt(item.prompt), tuple(each.made for each in item.candidates)) for item in labels.all_items(batch)]
    for vote in labels.votes(batch):
        if not vote.repeat and vote.verdict != "skipped":
            prompt, made = items[vote.item]
            same = 1 if vote.verdict == "tie" else 2
            yield Opinion(prompt, made, tuple(vote.ranks) if vote.verdict == "ranked" else (same,) * len(made))


def said_in_chat(votes: ChatVotes) -> Iterator[Opinion]:
    """What stands of the votes in chat."""
    for vote in votes.votes():
        yield Opinion(_prompt(vote.prompt), (vote.left.made, vote.right.made), tuple(RANKS[vote.verdict]))


def still_open(labels: Labels, batch: str) -> tuple[int, int]:
    """(items on which fewer people than wanted have said something, all items)."""
    known, people = labels.batch(batch), defaultdict(set)
    for vote in labels.votes(batch):
        if not vote.repeat and vote.verdict != "skipped":
            people[vote.item].add(vote.annotator)
    return known.items - sum(len(who) >= known.overlap for who in people.values()), known.items


def tally_of(opinions: Iterable[Opinion]) -> Tally:
    """Count opinions as votes: a ranking of K answers is K(K-1)/2 of them; where all are bad, there are none."""
    said = list(opinions)
    names = names_of([made for opinion in said for made in opinion.made])
    votes, own, bad = [], 0, 0
    for opinion in said:
        if min(opinion.ranks) > 1:
            bad += 1
            continue
        known = [names[maker(made)] for made in opinion.made]
        for (one, first), (other, second) in combinations(zip(known, opinion.ranks, strict=True), 2):
            own += one == other
            if one != other:
                votes.append(Vote(opinion.prompt, *((one, other) if first <= second else (other, one)), tie=first == second))
    return Tally(votes, sorted(names.values()), len(said), bad, own)


def duels_of(votes: Iterable[Vote]) -> list[Met]:
    """Every two that met, those with most votes first."""
    counts: dict[tuple[str, str], Counter[str | None]] = defaultdict(Counter)  # None: a tie
    for vote in votes:
        one, other = sorted((vote.winner, vote.loser))
        counts[one, other][None if vote.tie else vote.winner] += 1
    met = [_met(one, other, said) for (one, other), said in counts.items()]
    return sorted(met, key=lambda each: (-(each.duel.decided + each.duel.ties), each.one, each.other))


def record_of(votes: Iterable[Vote], candidate: str) -> Duel:
    """How a candidate did against all others together."""
    said = Counter(None if vote.tie else vote.winner for vote in votes if candidate in (vote.winner, vote.loser))
    return Duel(said[candidate], said[None], said.total() - said[None] - said[candidate])


def maker(made: Made) -> Maker:
    """Who gave an answer, from what is kept about it. At temperature 0, top-p changes nothing."""
    sampling = dict(made.get("sampling", {}))
    if sampling.get("temperature") == 0:
        sampling.pop("top_p", None)
    return Maker(made.get("speaker", ""), made.get("adapter", ""), tuple(sorted(sampling.items())))


def names_of(made: Sequence[Made]) -> dict[Maker, str]:
    """A name for each candidate that no other has: as people call it, and of its settings those that tell it apart."""
    called = {maker(each): _called(each) for each in made}
    alike: dict[str, list[Maker]] = defaultdict(list)
    for candidate in sorted(called):
        alike[called[candidate]].append(candidate)
    names = {candidate: ", ".join([name, *_apart(candidate, group)]) for name, group in alike.items() for candidate in group}
    taken = Counter(names.values())
    return {candidate: name if taken[name] == 1 else f"{name} ({_short(candidate)})" for candidate, name in names.items()}


def _met(one: str, other: str, said: Counter[str | None]) -> Met:
    if said[other] > said[one]:
        one, other = other, one
    return Met(one, other, Duel(said[one], said[None], said[other]))


def _apart(candidate: Maker, group: Sequence[Maker]) -> Iterator[str]:
    """What tells a candidate apart from others of its name."""
    own = dict(candidate.sampling)
    for setting, words in SETTINGS.items():
        if setting in own and len({dict(other.sampling).get(setting, own[setting]) for other in group}) > 1:
            yield words.format(own[setting])
    if candidate.weights and len({other.weights for other in group if other.speaker == candidate.speaker}) > 1:
        yield f"weights {candidate.weights[:6]}"
    if len({other.speaker for other in group}) > 1:
        yield candidate.speaker.rpartition("-")[2] if candidate.speaker.startswith("run:") else candidate.speaker.partition(":")[0]


def _called(made: Made) -> str:
    kind, _, name = made.get("speaker", "").partition(":")
    if kind == "column":
        return made.get("name") or f'brought as "{name}"'
    return made.get("name") or name or "brought by somebody"


def _short(candidate: Maker) -> str:
    return digest(canonical(list(candidate))).hex()[:6]


def _prompt(messages: list[Message]) -> str:
    return digest(canonical(messages)).hex()
