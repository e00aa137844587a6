"""Instructions written by a model from a few examples, and reviewed by hand."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import QUIET, Desk, to_look
from app.studio import Studio


@dataclass(frozen=True)
class GeneratePage:
    """Instructions written by a model from a few examples, and reviewed by hand."""

    column: gr.Column
    cancel: gr.Button


def generate_page(studio: Studio) -> GeneratePage:
    """Lay out the page, hidden until somebody opens it."""
    with gr.Column(visible=False, elem_id="data-generate-page") as column:
        cancel = gr.Button("Cancel", elem_id="data-generate-cancel", min_width=120, scale=0)
    return GeneratePage(column, cancel)


def wire_generate_page(studio: Studio, page: GeneratePage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    begin.click(lambda: "generate", outputs=desk.place, **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
