"""The templates of a set on the bench, what the open one makes of a real row, and keeping them as a set of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import ValidationError

from app.studio import Studio
from backend.data.templating.sets import TemplateSet, save_set
from backend.errors import UserError
from components.template_bench import Bench, Line, template_bench


@dataclass(frozen=True)
class Wordings:
    """The bench and the row it is tried on."""

    bench: gr.HTML  # its value is a `Bench`
    names: gr.HTML  # what a template can ask for
    preview: gr.HTML
    row: gr.State  # which of the first rows is shown, from 0
    row_back: gr.Button
    row_words: gr.HTML
    row_on: gr.Button
    title: gr.Textbox
    keep: gr.Button


def wordings() -> Wordings:
    """Lay it out: the bench, a row in the open template's words, and a folded way to keep the set."""
    parts: dict[str, Any] = {"row": gr.State(0), "bench": template_bench(), "names": gr.HTML(elem_id="template-names")}
    with gr.Row(elem_classes="row-picker"):
        parts["row_back"] = gr.Button("<", elem_id="template-row-back", min_width=44, scale=0)
        parts["row_words"] = gr.HTML(elem_id="template-row-words", min_width=140)
        parts["row_on"] = gr.Button(">", elem_id="template-row-on", min_width=44, scale=0)
    parts["preview"] = gr.HTML(elem_id="template-preview", min_height=120)
    with gr.Accordion("Keep these templates as a set of my own", open=False):
        parts["title"] = gr.Textbox(
            label="Title",
            info="What to call the set. A set of your own with this title is replaced.",
            max_lines=1,
            max_length=80,
            elem_id="template-title",
        )
        parts["keep"] = gr.Button("Keep as a set", elem_id="template-keep", min_width=140)
    return Wordings(**parts)


def on_the_bench(templates: TemplateSet) -> Bench:
    """A set on the bench, all of it ticked, its first template open."""
    return {
        "templates": [Line(**template.model_dump(), used=True) for template in templates.templates],
        "open": 0,
        "keeps_answers": templates.keeps_answers,
    }


def set_of(base: TemplateSet, lines: Sequence[Line], **changed: Any) -> TemplateSet:
    """A set with the task of `base` and the templates of some lines. Raises `UserError` naming what is wrong with them."""
    templates = [{name: value for name, value in line.items() if name != "used"} for line in lines]
    try:
        return TemplateSet.model_validate({**base.model_dump(), "templates": templates, **changed})
    except ValidationError as error:
        raise UserError(*(_in_words(problem, lines) for problem in error.errors())) from error


def keep_set(studio: Studio, base: TemplateSet, lines: Sequence[Line], title: str) -> str:
    """Keep what is on the bench as a set of the workspace; returns its id. Raises `UserError`."""
    if not title.strip():
        raise UserError("The set has no title. Give it one, so that you can find it again.")
    return f"own-{save_set(studio.workspace, set_of(base, lines, title=title.strip())).stem}"


def _in_words(problem: Any, lines: Sequence[Line]) -> str:
    """One of pydantic's findings as a sentence about the template it is in."""
    where = problem["loc"]
    if len(where) > 2 and where[0] == "templates":
        name = lines[where[1]]["name"]
        return f'The {where[2]} of template {where[1] + 1}, "{name}", is empty or too long. Write it anew, or remove the template.'
    if problem["type"] == "too_short":
        return "No template is ticked. Tick at least one."
    message = problem["msg"].removeprefix("Value error, ")
    return f"{message[0].upper()}{message[1:]}."
