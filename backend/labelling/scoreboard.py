"""Who wins, and how sure that is. Counted by candidate, never by side, so swapping sides changes nothing.

Quick enough to be made anew whenever somebody looks: 10,000 votes between five candidates take about half a second.
A vote is `Vote(prompt, winner, loser, tie)`. Ties count as half a win each where a strength is estimated, and are left out
where only decided votes can be counted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy import ndarray

CONFIDENCE = 0.95
ROUNDS = 500  # of the bootstrap; the interval's ends then wobble by about a tenth of its width
SMALLEST_CHANGE = 1e-9  # of a log strength, at which the fit is done
MOST_STEPS = 10_000


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
    ways = tail = 1  # exact integers; each binomial coefficient from the one before it, as making them anew takes seconds
    for number in range(1, fewer + 1):
        ways = ways * (trials - number + 1) // number
        tail += ways
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
    import numpy as np

    names = _names(votes)
    prompts = {prompt: place for place, prompt in enumerate(sorted({vote.prompt for vote in votes}))}
    wins, dice = _Wins.of(votes, names, prompts), np.random.default_rng(seed)
    drawn = np.stack([
        wins.table(np.bincount(dice.integers(len(prompts), size=len(prompts)), minlength=len(prompts))) for _ in range(rounds)
    ]) if prompts else np.zeros((0, 0, 0))  # [rounds, candidates, candidates]
    again = _fit(drawn)
    fitted = bradley_terry(votes)
    ranked = sorted(names, key=lambda name: (-fitted[name], name))
    return [Strength(name, fitted[name], _middle(again[:, names.index(name)].tolist())) for name in ranked]


def bradley_terry(votes: Sequence[Vote]) -> dict[str, float]:
    """Log strengths by maximum likelihood: p(a beats b) = 1 / (1 + exp(b - a)); a tie is half a win for each.

    Fitted by minorisation-maximisation (Hunter 2004, doi 10.1214/aos/1079120141). Half a vote each way is added between
    every two that met, so that a candidate that always won gets a finite strength. The strengths sum to zero.
    """
    import numpy as np

    names = _names(votes)
    table = _Wins.of(votes, names, dict.fromkeys({vote.prompt for vote in votes}, 0)).table(np.ones(1))
    return dict(zip(names, _fit(table[None])[0].tolist(), strict=True))


def all_met(votes: Iterable[Vote]) -> bool:
    """Whether any two candidates can be compared, through others at least: strengths mean nothing between those who cannot."""
    groups: list[set[str]] = []
    for pair in {_pair(vote.winner, vote.loser) for vote in votes}:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    return len(groups) <= 1


@dataclass(frozen=True)
class _Wins:
    """Votes as arrays: who beat whom on which prompt. A tie is two entries of half a win."""

    candidates: int
    cell: "ndarray"  # [entries], winner * candidates + loser
    amount: "ndarray"  # [entries], 1 or a half
    prompt: "ndarray"  # [entries]

    @classmethod
    def of(cls, votes: Sequence[Vote], names: Sequence[str], prompts: Mapping[str, int]) -> "_Wins":
        import numpy as np

        place = {name: number for number, name in enumerate(names)}
        entries = [
            (place[a] * len(names) + place[b], 0.5 if vote.tie else 1.0, prompts[vote.prompt])
            for vote in votes for a, b in [(vote.winner, vote.loser), (vote.loser, vote.winner)][: 1 + vote.tie]
        ]
        cell, amount, prompt = zip(*entries, strict=True) if entries else ((), (), ())
        return cls(len(names), np.array(cell, int), np.array(amount, float), np.array(prompt, int))

    def table(self, times: "ndarray") -> "ndarray":
        """Wins of each over each, [candidates, candidates], where each prompt counts so many `times`."""
        import numpy as np

        size = self.candidates
        return np.bincount(self.cell, weights=self.amount * times[self.prompt], minlength=size * size).reshape(size, size)


def _fit(wins: "ndarray") -> "ndarray":
    """Log strengths, [tables, candidates], of tables of wins, [tables, candidates, candidates]."""
    import numpy as np

    wins = wins + 0.5 * (wins + wins.transpose(0, 2, 1) > 0)
    meetings, won = wins + wins.transpose(0, 2, 1), wins.sum(2)
    met = won > 0  # of a table drawn again, some may be missing: they stay in the middle
    strength = np.ones_like(won)
    for _ in range(MOST_STEPS):
        expected = (meetings / (strength[:, :, None] + strength[:, None, :])).sum(2)
        fresh = np.divide(won, expected, out=strength.copy(), where=met)
        fresh /= np.exp(np.log(fresh).mean(1, keepdims=True)) if fresh.size else 1
        moved = np.abs(np.log(fresh / strength)).max(initial=0)
        strength = fresh
        if moved < SMALLEST_CHANGE:
            break
    return np.log(strength)


def _names(votes: Iterable[Vote]) -> list[str]:
    return sorted({name for vote in votes for name in (vote.winner, vote.loser)})


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _middle(values: list[float]) -> Interval:
    """Where the middle 95% of some values lie."""
    ranked = sorted(values)
    cut = (1 - CONFIDENCE) / 2
    return Interval(ranked[math.floor(cut * len(ranked))], ranked[math.ceil((1 - cut) * len(ranked)) - 1])
