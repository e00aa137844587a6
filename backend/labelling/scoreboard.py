"""Who wins, and how sure that is. Counted by candidate, never by side, so swapping sides changes nothing.

A vote is `Vote(prompt, winner, loser, tie)`. Ties count as half a win each where a strength is estimated, and are left out
where only decided votes can be counted.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

CONFIDENCE = 0.95
ROUNDS = 500  # of the bootstrap; the interval's ends then wobble by about a tenth of its width
SMALLEST_CHANGE = 1e-9  # of a log strength, at which the fit is done


class Vote(NamedTuple):
    """One comparison of two candidates on a prompt. With `tie`, neither won."""

    prompt: str
    winner: str
    loser: str
    tie: bool = False


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Duel:
    """Two candidates against each other, seen from the first."""

    wins: int
    ties: int
    losses: int

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def win_rate(self) -> float | None:
        """Of decided votes; None without any."""
        return self.wins / self.decided if self.decided else None

    @property
    def interval(self) -> Interval:
        """Wilson's 95% interval of the win rate."""
        return wilson(self.wins, self.decided)

    @property
    def p_value(self) -> float:
        """How often a fair coin would be at least this lopsided: exact, two-sided."""
        return binomial_test(self.wins, self.decided)


def duel(votes: Iterable[Vote], one: str, other: str) -> Duel:
    """How two candidates did against each other."""
    between = [vote for vote in votes if {vote.winner, vote.loser} == {one, other}]
    wins = sum(not vote.tie and vote.winner == one for vote in between)
    ties = sum(vote.tie for vote in between)
    return Duel(wins, ties, len(between) - wins - ties)


def wilson(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share (1927); all of 0 to 1 without trials."""
    if not trials:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = successes / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def binomial_test(successes: int, trials: int) -> float:
    """Exact two-sided p of a fair coin: the chance of all outcomes no likelier than this one."""
    fewer = min(successes, trials - successes)
    tail = sum(math.comb(trials, number) for number in range(fewer + 1))
    return min(1.0, 2 * tail / 2**trials) if 2 * fewer != trials else 1.0


def votes_needed(rate: float, *, power: float = 0.8, confidence: float = CONFIDENCE) -> int | None:
    """Decided votes after which a true win rate would show, in so many cases of ten; None for a rate of a half.

    By the normal approximation to a test against one half.
    """
    if rate == 0.5:
        return None
    z, reach = NormalDist().inv_cdf(0.5 + confidence / 2), NormalDist().inv_cdf(power)
    return math.ceil(((z * 0.5 + reach * math.sqrt(rate * (1 - rate))) / (rate - 0.5)) ** 2)


def verdict(duel: Duel, one: str, other: str) -> str:
    """What the votes say, in a sentence."""
    if not duel.decided:
        return "No vote has been decided yet." if not duel.ties else f"{duel.ties} ties, nothing decided yet."
    rate, (low, high) = duel.wins / duel.decided, duel.interval
    if low > 0.5 or high < 0.5:
        better, worse, share = (one, other, rate) if low > 0.5 else (other, one, 1 - rate)
        return f"{better} is better than {worse}: it wins {share:.0%} of {duel.decided} decided votes (p = {duel.p_value:.2g})."
    needed = votes_needed(rate)
    more = max(0, needed - duel.decided) if needed else 0
    hint = f" If it stays like this, about {more} more votes would tell." if more else " They may well be equally good."
    return f"No clear difference yet: {one} wins {rate:.0%} of {duel.decided} decided votes (95% interval {low:.0%} to {high:.0%}).{hint}"


# ---- three candidates and more ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strength:
    """How good a candidate is among the others: its chance against an average one, and the interval of that."""

    candidate: str
    log_strength: float  # they sum to zero
    interval: Interval  # of the log strength, 95%, by bootstrap over prompts


def strengths(votes: Sequence[Vote], *, rounds: int = ROUNDS, seed: int = 0) -> list[Strength]:
    """Bradley-Terry strengths of all candidates, the best first, with bootstrap intervals.

    Prompts are drawn again, not votes: several votes on one prompt are not independent.
    """
    fitted = bradley_terry(votes)
    by_prompt: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_prompt[vote.prompt].append(vote)
    prompts, dice = sorted(by_prompt), random.Random(seed)
    drawn: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        sample = [vote for prompt in dice.choices(prompts, k=len(prompts)) for vote in by_prompt[prompt]]
        for candidate, value in bradley_terry(sample, candidates=sorted(fitted)).items():
            drawn[candidate].append(value)
    ranked = sorted(fitted, key=lambda candidate: (-fitted[candidate], candidate))
    return [Strength(candidate, fitted[candidate], _middle(drawn[candidate])) for candidate in ranked]


def bradley_terry(votes: Iterable[Vote], *, candidates: Sequence[str] | None = None) -> dict[str, float]:
    """Log strengths by maximum likelihood: p(a beats b) = 1 / (1 + exp(b - a)); a tie is half a win for each.

    Fitted by minorisation-maximisation (Hunter 2004, doi 10.1214/aos/1079120141). Half a vote each way is added between
    every two that met, so that a candidate that always won gets a finite strength. The strengths sum to zero.
    """
    wins: Counter[str] = Counter()
    meetings: Counter[tuple[str, str]] = Counter()
    for vote in votes:
        meetings[_pair(vote.winner, vote.loser)] += 1
        wins[vote.winner] += 0.5 if vote.tie else 1  # type: ignore[assignment]
        wins[vote.loser] += 0.5 if vote.tie else 0  # type: ignore[assignment]
    for a, b in list(meetings):
        meetings[a, b] += 1
        wins[a] += 0.5  # type: ignore[assignment]
        wins[b] += 0.5  # type: ignore[assignment]
    names = sorted(candidates or wins)
    return _fit(names, wins, meetings)


def _fit(names: Sequence[str], wins: Counter[str], meetings: Counter[tuple[str, str]]) -> dict[str, float]:
    opponents: dict[str, list[tuple[str, int]]] = {name: [] for name in names}
    for (a, b), times in meetings.items():
        opponents[a].append((b, times))
        opponents[b].append((a, times))
    strength = dict.fromkeys(names, 1.0)
    for _ in range(10_000):
        fresh = {
            name: wins[name] / sum(times / (strength[name] + strength[other]) for other, times in opponents[name])
            if opponents[name] else strength[name]
            for name in names
        }
        scale = math.exp(sum(map(math.log, fresh.values())) / len(fresh))
        fresh = {name: value / scale for name, value in fresh.items()}
        moved = max(abs(math.log(fresh[name] / strength[name])) for name in names)
        strength = fresh
        if moved < SMALLEST_CHANGE:
            break
    return {name: math.log(value) for name, value in strength.items()}


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _middle(values: list[float]) -> Interval:
    """Where the middle 95% of some values lie."""
    ranked = sorted(values)
    cut = (1 - CONFIDENCE) / 2
    return Interval(ranked[math.floor(cut * len(ranked))], ranked[math.ceil((1 - cut) * len(ranked)) - 1])
