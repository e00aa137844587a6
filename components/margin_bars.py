"""How much more a reward model gives the better answer of held-out pairs: bars, those it gets wrong in another colour."""

from collections.abc import Sequence

from backend.progress import MARGIN_EDGES
from components.text import escape


def margin_bars(counts: Sequence[int]) -> str:
    """A bar for each range of margins. `counts` are pairs below the first edge, between each two, and above the last."""
    most, pairs = max(counts) or 1, sum(counts)
    bars = "".join(
        f'<li class="{"margin-wrong" if wrong else "margin-right"}"><span class="margin-range number">{escape(words)}</span>'
        f'<span class="margin-bar" style="width: {count / most * 60:.1f}%"></span>'
        f'<span class="number">{count:,} {"pair" if count == 1 else "pairs"}</span></li>'
        for count, (words, wrong) in zip(counts, _ranges(), strict=True)
    )
    return (
        '<div class="margins"><h3 class="section-title">How far apart it puts the two answers</h3>'
        f'<p class="quiet">Reward of the better answer less that of the worse, of {pairs:,} held-out pairs. '
        "Below 0 it prefers the one that people do not.</p>"
        f'<ul class="margin-bars">{bars}</ul></div>'
    )


def _ranges() -> list[tuple[str, bool]]:
    """(the range in words, whether the model is wrong in it)."""
    inner = [(f"{low:g} to {high:g}", high <= 0) for low, high in zip(MARGIN_EDGES, MARGIN_EDGES[1:], strict=False)]
    return [(f"below {MARGIN_EDGES[0]:g}", True), *inner, (f"above {MARGIN_EDGES[-1]:g}", False)]
