"""A scoreboard as a piece of page: who met whom and who won, how strong each is, and what was not counted.

    gr.HTML(scoreboard_html(tally, strengths(tally.votes)))

Bars are drawn with HTML alone and say in words what they show. See it with `python -m components.scoreboard_view`.
"""

import math
from collections.abc import Sequence

import gradio as gr

from backend.labelling.scoreboard import Duel, Interval, Strength, verdict
from backend.labelling.tallying import Met, Tally, duels_of, record_of
from components.notices import empty
from components.text import escape

PAIRS_SHOWN, CANDIDATES_SHOWN = 30, 60
NO_VOTES = (
    "No votes to count here yet. Label some items, or compare two models in Chat and say which answer is better; then come back, or tick "
    "another source."
)
APART = "Some of them never met, not even through others, so nothing can be said of how strong one is against the other."


def scoreboard_html(tally: Tally, ranked: Sequence[Strength] | None) -> str:
    """The whole board. `ranked` is None where strengths mean nothing: between candidates that cannot be compared."""
    if not tally.opinions:
        return empty(NO_VOTES)
    met = duels_of(tally.votes)
    parts = [f'<p class="scores-sum number">{escape(_sum(tally))}</p>', _pairs(met)]
    if len({vote for each in met for vote in each[:2]}) > 2:
        parts.append(_strengths(ranked))
    parts += [_candidates(tally), _not_counted(tally)]
    return f'<div class="scores">{"".join(parts)}</div>'


def _sum(tally: Tally) -> str:
    said = "1 vote, which makes" if tally.opinions == 1 else f"{tally.opinions:,} votes, which make"
    return f"{said} {len(tally.votes):,} {'comparison' if len(tally.votes) == 1 else 'comparisons'} of two candidates."


# ---- two against each other ------------------------------------------------------------------------------------------


def _pairs(met: Sequence[Met]) -> str:
    if not met:
        return empty("Nobody has met anybody yet: what was compared came from one and the same candidate, or all was bad.")
    more = len(met) - PAIRS_SHOWN
    rest = f'<p class="quiet">{more:,} pairs with fewer votes are not shown.</p>' if more > 0 else ""
    return f'<h3 class="section-title">Who wins</h3><div class="duels">{"".join(map(_pair, met[:PAIRS_SHOWN]))}</div>{rest}'


def _pair(met: Met) -> str:
    one, other, duel = met
    return (
        f'<article class="card duel"><h4>{escape(one)} <span class="quiet">against</span> {escape(other)}</h4>'
        f'<p class="duel-verdict">{escape(verdict(duel, one, other))}</p>{_rate(duel, one)}'
        f'<p class="quiet number">{escape(_counts(duel))}</p></article>'
    )


def _counts(duel: Duel) -> str:
    ties = "1 tie" if duel.ties == 1 else f"{duel.ties:,} ties"
    counts = f"{duel.wins:,} won, {ties}, {duel.losses:,} lost"
    if duel.win_rate is None:
        return counts
    return f"{counts} · win rate {duel.win_rate:.0%}, 95% interval {_span(duel.interval)} · p = {duel.p_value:.2g} (exact)"


def _rate(duel: Duel, one: str) -> str:
    """The win rate on a line from 0 to 100 %, with its interval; the middle is marked."""
    if duel.win_rate is None:
        return ""
    return _whisker(duel.win_rate, duel.interval, f"{one} wins {duel.win_rate:.0%}, 95% interval {_span(duel.interval)}")


# ---- how strong each is ----------------------------------------------------------------------------------------------


def _strengths(ranked: Sequence[Strength] | None) -> str:
    title = '<h3 class="section-title">How strong each is</h3>'
    if ranked is None:
        return f'{title}<p class="quiet">{APART}</p>'
    return (
        f'{title}<p class="quiet">The chance to win against an average one of them, the best first, with its 95% interval '
        "(Bradley-Terry; bootstrap over prompts). Where intervals overlap widely, the order may be chance.</p>"
        f'<ol class="strengths">{"".join(map(_strength, ranked))}</ol>'
    )


def _strength(strength: Strength) -> str:
    chance = _chance(strength.log_strength)
    interval = Interval(*map(_chance, strength.interval))
    words = f"{chance:.0%} ({_span(interval)})"
    return (
        f'<li><span class="strength-name">{escape(strength.candidate)}</span>{_whisker(chance, interval, f"{strength.candidate}: {words}")}'
        f'<span class="number quiet">{words}</span></li>'
    )


def _chance(log_strength: float) -> float:
    return 1 / (1 + math.exp(-log_strength))


def _whisker(share: float, interval: Interval, words: str) -> str:
    """A dot on a line from 0 to 1, with a bar over its interval and a mark in the middle."""
    low, high = interval
    return (
        f'<div class="whisker" role="img" aria-label="{escape(words)}">'
        f'<span class="whisker-bar" style="left: {low:.2%}; width: {high - low:.2%}"></span>'
        f'<span class="whisker-dot" style="left: {share:.2%}"></span></div>'
    )


def _span(interval: Interval) -> str:
    return f"{interval.low:.0%} to {interval.high:.0%}"


# ---- the rest --------------------------------------------------------------------------------------------------------


def _candidates(tally: Tally) -> str:
    records = {name: record_of(tally.votes, name) for name in tally.candidates[:CANDIDATES_SHOWN]}
    lines = sorted(records.items(), key=lambda each: (-each[1].decided - each[1].ties, each[0]))
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Candidate", "Won", "Ties", "Lost"))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{number:,}</td>" for number in (record.wins, record.ties, record.losses))}</tr>'
        for name, record in lines
    )
    more = len(tally.candidates) - CANDIDATES_SHOWN
    rest = f'<p class="quiet">{more:,} more candidates are not shown.</p>' if more > 0 else ""
    return (
        f'<h3 class="section-title">Who was compared</h3><table class="scores-table number"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{rest}"
    )


def _not_counted(tally: Tally) -> str:
    """What is no comparison, and why."""
    notes = []
    if tally.all_bad:
        notes.append(f"{_times(tally.all_bad)} all answers were called bad: that counts for nobody.")
    if tally.own:
        notes.append(f"{_times(tally.own)} both answers came from one candidate, drawn twice: that counts for nobody.")
    notes.append("A ranking of several answers counts as a comparison of each two. What a person was asked a second time is left out.")
    return f'<p class="quiet">{escape(" ".join(notes))}</p>'


def _times(number: int) -> str:
    return "Once" if number == 1 else f"{number:,} times"


if __name__ == "__main__":
    from backend.labelling.scoreboard import Vote, strengths

    made_up = [Vote(f"p{n}", *("three lines", "starter") if n % 3 else ("starter", "<b>ppo</b>"), tie=n % 7 == 0) for n in range(60)]
    tally = Tally(made_up, ["<b>ppo</b>", "starter", "three lines"], 62, 2, 0)
    with gr.Blocks() as demo:
        gr.HTML(scoreboard_html(tally, strengths(made_up)))
    demo.launch(css_paths=["assets/style.css", "assets/label.css"])
