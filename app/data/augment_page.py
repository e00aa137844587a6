"""More rows from the ones there are: prompts in other words, and with the slips people make."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import QUIET, Desk, to_look
from app.studio import Studio


@dataclass(frozen=True)
class AugmentPage:
    """More rows from the ones there are: prompts in other words, and with the slips people make."""

    column: gr.Column
    cancel: gr.Button


def augment_page(studio: Studio) -> AugmentPage:
    """Lay out the page, hidden until somebody opens it."""
    with gr.Column(visible=False, elem_id="data-augment-page") as column:
        cancel = gr.Button("Cancel", elem_id="data-augment-cancel", min_width=120, scale=0)
    return AugmentPage(column, cancel)


def wire_augment_page(studio: Studio, page: AugmentPage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    begin.click(lambda: "augment", outputs=desk.place, **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
