"""The parts of a mixture, to be weighed: one line each, with its version, weight and cap; and what comes of them, as bars.

    parts = mix_table()                    .input fires when somebody changed a part or took one out
    outcome = gr.HTML(shares([...]))

The lines are drawn by `assets/mix_table.js`, which sets every word as text. See it with `python -m components.mix_table`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import gradio as gr

from components.text import escape, share

SCRIPT = Path(__file__).parents[1] / "assets" / "mix_table.js"
EMPTY = "No data set is in the mixture yet. Add one above, then another."


class MixPart(TypedDict):
    """One line. What people type stays text until the recipe is made: it may be wrong."""

    id: str
    name: str
    versions: dict[str, int]  # version -> rows, newest first
    version: str
    weight: str
    cap: str
    fixed: bool  # whether its share is fixed, whatever the others do
    share: str  # per cent of all rows, where it is


class Bar(NamedTuple):
    """What a mixture takes from a part. Shares are between 0 and 1; tokens None where nobody has counted them yet."""

    name: str
    rows: int
    row_share: float
    token_share: float | None
    repeats: float


def mix_table(*, elem_id: str = "mix-parts") -> gr.HTML:
    """The lines, none yet. The value is a list of `MixPart`."""
    return gr.HTML(
        [], elem_id=elem_id, js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,  # type: ignore[arg-type]
        html_template=f'<div class="mix-parts"></div><p class="empty">{EMPTY}</p>',
    )


def shares(bars: Sequence[Bar]) -> str:
    """What comes of the parts: rows, and each part's share of all rows and of all tokens."""
    if not bars:
        return ""
    head = "".join(f'<th scope="col">{title}</th>' for title in ("", "rows", "share of rows", "share of tokens"))
    return f'<table class="mix-shares"><thead><tr>{head}</tr></thead><tbody>{"".join(map(_line, bars))}</tbody></table>'


def _line(bar: Bar) -> str:
    again = f' <span class="warn">each {bar.repeats:.1f} times</span>' if bar.repeats > 1 else ""
    return (
        f'<tr><th scope="row">{escape(bar.name)}</th><td class="number">{bar.rows:,}{again}</td>'
        f"<td>{_bar(bar.row_share)}</td><td>{_bar(bar.token_share)}</td></tr>"
    )


def _bar(part: float | None) -> str:
    if part is None:
        return '<span class="quiet">…</span>'
    words = share(part, 1) if part else "0 %"
    return f'<span class="mix-bar" style="--part: {part:.4f}"><span class="number">{words}</span></span>'


if __name__ == "__main__":
    made_up = [
        MixPart(id=f"set-{n}", name=f"set {n} <b>", versions={"2": 1200, "1": 1000}, version="2", weight="1", cap="", fixed=n == 2, share="5")
        for n in range(3)
    ]
    with gr.Blocks() as demo:
        table = mix_table()
        said = gr.JSON()
        gr.HTML(shares([Bar("one", 950, 0.95, 0.9, 0.5), Bar("two", 50, 0.05, None, 2.5)]))
        demo.load(lambda: made_up, outputs=table)
        table.input(lambda parts: parts, table, said)
    demo.launch(css_paths=[SCRIPT.with_name("style.css")])
