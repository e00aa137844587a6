"""Who answers: one line each, with how it writes and how often. Help stands with the first line and goes for all.

    table = answerer_table()               .input fires when somebody changed, added or took out a line
    button.click(lambda: answerers([...], speakers), outputs=table)

The lines are drawn by `assets/answerer_table.js`, which sets every word as text. See it with `python -m components.answerer_table`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr

from backend.answering.settings import MOST_ANSWERERS, Answerer

SCRIPT = Path(__file__).parents[1] / "assets" / "answerer_table.js"
NUMBERS = ("draws", "temperature", "top_p", "max_tokens", "seed")


class AnswererLine(TypedDict):
    """One line. What people type stays text until it is asked for: it may be wrong."""

    speaker: str
    draws: str
    temperature: str
    top_p: str
    max_tokens: str
    seed: str


class Answerers(TypedDict):
    """The value: the lines, and who can be chosen as (what is shown, speaker)."""

    lines: list[AnswererLine]
    speakers: list[tuple[str, str]]


def answerer_table(*, elem_id: str = "answerers") -> gr.HTML:
    """The lines, none yet; give it `answerers(...)` as its value."""
    return gr.HTML(
        answerers([], []), elem_id=elem_id, js_on_load=_FIELDS + SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,  # type: ignore[arg-type]
        html_template=_TEMPLATE,
    )


def answerers(chosen: Sequence[Answerer], speakers: Sequence[tuple[str, str]]) -> Answerers:
    """The value that shows some answerers; one that is no longer there stays chosen, so that it can be seen and changed."""
    there = {value for _, value in speakers}
    gone = dict.fromkeys(each.speaker for each in chosen if each.speaker not in there)
    return {"lines": [_line(each) for each in chosen], "speakers": [*speakers, *((f"{name} (gone)", name) for name in gone)]}


def _line(answerer: Answerer) -> AnswererLine:
    return {"speaker": answerer.speaker, **{name: f"{getattr(answerer, name):g}" for name in NUMBERS}}  # type: ignore[typeddict-item,return-value]


def _field(name: str) -> dict[str, Any]:
    field = Answerer.model_fields[name]
    return {"name": name, "title": field.title, "help": field.description}


_FIELDS = f"const FIELDS = {json.dumps([_field(name) for name in ('speaker', *NUMBERS)])};\nconst MOST = {MOST_ANSWERERS};\n"
# Gradio runs `${...}` that it finds in templates, so this one is constant.
_TEMPLATE = """
<section class="answerers" aria-label="Who answers">
  <div data-part="lines"></div>
  <p><button type="button" class="answerer-button" data-part="add">Add who answers</button></p>
</section>
"""


if __name__ == "__main__":
    with gr.Blocks() as demo:
        table = answerer_table()
        said = gr.JSON()
        demo.load(lambda: answerers([Answerer(draws=2)], [("Base · starter", "base:starter"), ("<b>", "run:x")]), outputs=table)
        table.input(lambda value: value, table, said)
    demo.launch(css_paths=[SCRIPT.with_name("style.css"), SCRIPT.with_name("label.css")])
