"""The table of runs: open one, tick several. Rows arrive as data and are set as text. See `python -m components.run_table`."""

from pathlib import Path
from typing import TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "run_table.js"
COLUMNS = ("status", "name", "method", "data", "best held-out loss", "steps", "when", "note")


class RunRow(TypedDict):
    """One run; `cells` in the order of COLUMNS."""

    id: str
    status: str
    cells: list[str]


class RunTable(TypedDict):
    """The value: a page of rows, which runs are ticked, and which one is open."""

    columns: list[str]
    rows: list[RunRow]
    ticked: list[str]
    open: str | None
    picks: int | None  # made on the page when this was asked for: one that has picked since keeps its own; None for all pages


def run_table(*, elem_id: str = "run-table") -> gr.HTML:
    """The table, empty. `.select` fires when a run is opened, ticked or unticked by hand, and never at a new value."""
    return gr.HTML(
        table([], picks=0), elem_id=elem_id,  # type: ignore[arg-type]
        html_template='<div class="run-table"><table><thead></thead><tbody></tbody></table><p class="empty" hidden></p></div>',
        js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,
    )


def table(
    rows: list[RunRow], *, ticked: list[str] | None = None, opened: str | None = None, picks: int | None = None,
) -> RunTable:
    """The table's value. Ticks of runs that are not on this page stay."""
    return {"columns": list(COLUMNS), "rows": rows, "ticked": ticked or [], "open": opened, "picks": picks}


if __name__ == "__main__":
    made_up = [
        RunRow(id=f"run-{n}", status="done", cells=["done", f"run {n}", "LoRA", "three lines", "1.64", "60", "today", "<b>x</b>"])
        for n in range(20)
    ]
    with gr.Blocks() as demo:
        shown = run_table()
        demo.load(lambda: table(made_up, opened="run-1"), outputs=shown)
    demo.launch(css_paths=[SCRIPT.with_name("style.css")])
