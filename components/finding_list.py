"""What a check of a data set found, line by line, the gravest first; each with its rows to show and its mend.

Sentences arrive as data and are set as text. See it with `python -m components.finding_list`.
"""

from pathlib import Path
from typing import Literal, TypedDict

import gradio as gr

ASSETS = Path(__file__).parents[1] / "assets"


class FindingLine(TypedDict):
    """One finding."""

    check: str
    title: str
    gravity: Literal["wrong", "doubtful", "notable"]
    number: str  # "14 rows, 1.4 %"
    sentence: str
    rows: bool  # whether there are rows to show
    mend: str  # what the button says; empty where there is no mend


class Asked(TypedDict):
    """What somebody asked for by a button."""

    what: Literal["rows", "mend"]
    check: str
    title: str


class FindingList(TypedDict):
    """The value: the lines, and what was asked for last."""

    lines: list[FindingLine]
    asked: Asked | None


def finding_list(*, elem_id: str) -> gr.HTML:
    """The list, empty. `.select` fires when rows or a mend are asked for: its value then says which."""
    return gr.HTML(
        findings([]), elem_id=elem_id, html_template='<ul class="findings"></ul>', apply_default_css=False,  # type: ignore[arg-type]
        js_on_load=(ASSETS / "finding_list.js").read_text(encoding="utf-8"),
    )


def findings(lines: list[FindingLine], *, asked: Asked | None = None) -> FindingList:
    """The list's value."""
    return {"lines": lines, "asked": asked}


if __name__ == "__main__":
    made_up = [
        FindingLine(check="a", title="Exact duplicates", gravity="wrong", number="14 rows, 1.4 %", sentence="14 rows say <b>so</b>.", rows=True,
                    mend="Leave the copies out"),
        FindingLine(check="b", title="One-word answers", gravity="notable", number="3 rows, 0.3 %", sentence="Curt.", rows=True, mend=""),
    ]  # fmt: skip
    with gr.Blocks() as demo:
        shown, asked_for = finding_list(elem_id="demo"), gr.JSON()
        demo.load(lambda: findings(made_up), outputs=shown)
        shown.select(lambda value: value["asked"], shown, asked_for)
    demo.launch(css_paths=[ASSETS / "style.css"])
