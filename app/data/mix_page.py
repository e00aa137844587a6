"""Several data sets mixed into one."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import QUIET, Desk, to_look
from app.studio import Studio


@dataclass(frozen=True)
class MixPage:
    """Several data sets mixed into one."""

    column: gr.Column
    cancel: gr.Button


def mix_page(studio: Studio) -> MixPage:
    """Lay out the page, hidden until somebody opens it."""
    with gr.Column(visible=False, elem_id="data-mix-page") as column:
        cancel = gr.Button("Cancel", elem_id="data-mix-cancel", min_width=120, scale=0)
    return MixPage(column, cancel)


def wire_mix_page(studio: Studio, page: MixPage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    begin.click(lambda: "mix", outputs=desk.place, **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
