"""Templates on the bench: ticked, opened, reworded, added, removed. See `python -m components.template_bench`.

Everything happens in the page itself, so that typing is never behind; `.change` fires after each of it.
"""

from pathlib import Path
from typing import TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "template_bench.js"


class Line(TypedDict):
    """One template. Texts are shown letter by letter."""

    name: str
    prompt: str
    completion: str
    turned_around: bool
    used: bool


class Bench(TypedDict):
    """The value: the templates in order, and which of them is open."""

    templates: list[Line]
    open: int
    keeps_answers: bool  # whether templates have no completion, because rows keep their own answer


def template_bench(*, elem_id: str = "template-bench") -> gr.HTML:
    """The bench, empty."""
    return gr.HTML(
        {"templates": [], "open": 0, "keeps_answers": False},
        elem_id=elem_id,  # type: ignore[arg-type]
        html_template='<div class="template-bench"></div>',
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        apply_default_css=False,
    )


if __name__ == "__main__":
    made_up = [
        Line(name=f"wording {n}", prompt="Is this {options}?\n\n{text}", completion="{label}", turned_around=n > 7, used=n != 3)
        for n in range(1, 11)
    ]
    with gr.Blocks() as demo:
        shown, value = template_bench(), gr.JSON()
        demo.load(lambda: {"templates": made_up, "open": 0, "keeps_answers": False}, outputs=shown)
        shown.change(lambda value: value, shown, value)
    demo.launch(css_paths=[SCRIPT.with_name("style.css")])
