"""Answers in the order a reward model puts them, their rewards as bars to either side of zero.

    gr.HTML(ranked_answers([Scored("A wren.", 1.2), Scored("No.", -0.7)], others=[-1.0, 0.0, 2.0]))
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backend.calibration import beaten
from components.text import escape

ENOUGH = 10  # rewards to compare with, before a share of them says anything
LETTERS = 4_000  # of an answer that is shown


@dataclass(frozen=True)
class Scored:
    """An answer and its reward."""

    text: str
    reward: float
    note: str = ""  # what else is known: how people ranked it


def ranked_answers(scored: Sequence[Scored], *, others: Sequence[float] | None) -> str:
    """The best first. `others` are rewards of answers the model has not learnt from, ascending, that each is seen among."""
    ranked = sorted(scored, key=lambda each: -each.reward)
    chances = chances_of_best([each.reward for each in ranked])
    longest = max(abs(each.reward) for each in ranked) or 1.0
    rows = "".join(
        _row(place, each, each.reward / longest, chance if len(ranked) > 1 else None, others)
        for place, (each, chance) in enumerate(zip(ranked, chances, strict=True), start=1)
    )
    return f'<ol class="ranked">{rows}</ol>{_how_to_read(len(ranked), others)}'


def chances_of_best(rewards: Sequence[float]) -> list[float]:
    """The chance that each is the best of all by the model of Bradley, Terry, Luce and Plackett: a softmax of the rewards."""
    highest = max(rewards)
    weights = [math.exp(reward - highest) for reward in rewards]
    return [weight / sum(weights) for weight in weights]


def _row(place: int, scored: Scored, length: float, chance: float | None, others: Sequence[float] | None) -> str:
    side = "below" if length < 0 else "above"
    facts = [*([f"chance of being preferred {chance:.0%}"] if chance is not None else []), _among(scored.reward, others), scored.note]
    shown = scored.text if len(scored.text) <= LETTERS else scored.text[:LETTERS] + "…"
    return (
        f'<li class="ranked-answer"><div class="ranked-line"><strong class="number">{place}.</strong>'
        f'<span class="ranked-bar" aria-hidden="true"><span class="ranked-{side}" style="width: {50 * abs(length):.1f}%"></span></span>'
        f'<strong class="number">{scored.reward:+.2f}</strong></div>'
        f'<p class="quiet">{escape(" · ".join(fact for fact in facts if fact))}</p>'
        f'<div class="ranked-text plain-text" dir="auto" tabindex="0" role="group" aria-label="answer {place}">{escape(shown) or "(empty)"}</div></li>'
    )


def _among(reward: float, others: Sequence[float] | None) -> str:
    if others is None:
        return ""
    if len(others) < ENOUGH:
        return "too few held-out answers to compare with"
    return f"higher than {beaten(reward, others).value:.0%} of {len(others):,} held-out answers"


def _how_to_read(answers: int, others: Sequence[float] | None) -> str:
    several = " The chance is how likely people prefer the answer to all the others here, as the model sees it." if answers > 1 else ""
    waits = " How it stands among the held-out answers is being measured." if others is None else ""
    return (
        '<p class="quiet">A reward has no unit: only differences count, and best between answers to the same prompt. '
        f"A difference of 1 means about 73% sure, of 3 about 95%.{several}{waits}</p>"
    )
