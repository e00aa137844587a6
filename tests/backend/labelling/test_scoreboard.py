"""Win rates against scipy, strengths against a reference library, and nothing that depends on side, name or order."""

import random

import evalica
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from backend.labelling.scoreboard import (
    Duel,
    Vote,
    binomial_test,
    bradley_terry,
    duel,
    strengths,
    verdict,
    votes_needed,
    wilson,
)


@settings(deadline=None)  # a busy machine is no fault of the numbers
@given(st.integers(0, 60), st.integers(0, 60))
def test_interval_and_test_are_scipys(wins: int, losses: int) -> None:
    if not wins + losses:
        assert wilson(0, 0) == (0.0, 1.0)
        return
    wanted = stats.binomtest(wins, wins + losses)
    assert wilson(wins, wins + losses) == pytest.approx(tuple(wanted.proportion_ci(0.95, method="wilson")), abs=1e-12)
    assert binomial_test(wins, wins + losses) == pytest.approx(wanted.pvalue, abs=1e-12)


@pytest.mark.parametrize(("rate", "needed"), [(0.55, 783), (0.6, 194), (0.65, 85), (0.7, 47)])
def test_the_votes_needed_are_the_known_ones(rate: float, needed: int) -> None:
    assert votes_needed(rate) == votes_needed(1 - rate) == pytest.approx(needed, abs=1)
    assert votes_needed(0.5) is None


def votes(count: int, seed: int = 0) -> list[Vote]:
    """Four candidates, of which each beats the next three times in four."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        a, b = dice.sample(range(4), 2)
        better, worse = min(a, b), max(a, b)
        winner, loser = (better, worse) if dice.random() < 0.75 else (worse, better)
        made.append(Vote(f"prompt {number % 40}", "wxyz"[winner], "wxyz"[loser], tie=dice.random() < 0.1))
    return made


def test_strengths_are_the_reference_librarys() -> None:
    said = votes(4_000)
    # the same half vote each way between all who met, which keeps an unbeaten candidate finite
    padded = said + [Vote("", a, b, tie=True) for a in "wxyz" for b in "wxyz" if a < b]
    outcomes = [evalica.Winner.Draw if vote.tie else evalica.Winner.X for vote in padded]
    theirs = evalica.bradley_terry([v.winner for v in padded], [v.loser for v in padded], outcomes, tolerance=1e-12, limit=10_000).scores
    import math

    logs = {name: math.log(value) for name, value in theirs.items()}
    centre = sum(logs.values()) / 4
    ours = bradley_terry(said)
    assert ours == pytest.approx({name: value - centre for name, value in logs.items()}, abs=1e-4)
    assert sum(ours.values()) == pytest.approx(0, abs=1e-9)


def test_swapping_sides_renaming_and_shuffling_change_nothing() -> None:
    said = votes(300)
    shuffled = random.Random(3).sample(said, len(said))
    swapped = [vote._replace(winner=vote.loser, loser=vote.winner) if vote.tie else vote for vote in shuffled]
    assert bradley_terry(swapped) == pytest.approx(bradley_terry(said))
    renamed = [vote._replace(winner=vote.winner.upper(), loser=vote.loser.upper()) for vote in swapped]
    assert bradley_terry(renamed) == pytest.approx({name.upper(): value for name, value in bradley_terry(said).items()})
    assert duel(swapped, "w", "x") == duel(said, "w", "x")
    assert (duel(said, "x", "w").wins, duel(said, "x", "w").losses) == (duel(said, "w", "x").losses, duel(said, "w", "x").wins)


def test_an_unbeaten_candidate_has_a_finite_strength() -> None:
    assert all(abs(value) < 10 for value in bradley_terry([Vote("p", "a", "b")] * 50 + [Vote("p", "b", "c")] * 50).values())


def test_intervals_hold_the_estimate_and_narrow_with_votes() -> None:
    few, many = strengths(votes(80), rounds=200), strengths(votes(2_000), rounds=200)
    assert [strength.candidate for strength in many] == ["w", "x", "y", "z"]
    for strength in many:
        assert strength.interval.low <= strength.log_strength <= strength.interval.high
    assert many[0].interval.high - many[0].interval.low < few[0].interval.high - few[0].interval.low
    assert strengths(votes(80), rounds=200) == few  # the same votes, the same interval


def test_the_verdict_says_how_many_more_votes_it_takes() -> None:
    assert verdict(Duel(6, 2, 4), "new", "base").startswith("No clear difference yet: new wins 60% of 10 decided votes (95% interval 31% to 83%).")
    assert "about 184 more votes" in verdict(Duel(6, 2, 4), "new", "base")
    assert verdict(Duel(40, 0, 10), "new", "base").startswith("new is better than base: it wins 80% of 50 decided votes")
    assert verdict(Duel(1, 0, 19), "new", "base").startswith("base is better than new")
    assert verdict(Duel(0, 0, 0), "new", "base") == "No vote has been decided yet."
