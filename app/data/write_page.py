"""Rows written and edited by hand: a draft that is saved as it is typed."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import QUIET, Desk, to_look
from app.studio import Studio


@dataclass(frozen=True)
class WritePage:
    """Rows written and edited by hand: a draft that is saved as it is typed."""

    column: gr.Column
    cancel: gr.Button


def write_page(studio: Studio) -> WritePage:
    """Lay out the page, hidden until somebody opens it."""
    with gr.Column(visible=False, elem_id="data-write-page") as column:
        cancel = gr.Button("Cancel", elem_id="data-write-cancel", min_width=120, scale=0)
    return WritePage(column, cancel)


def wire_write_page(studio: Studio, page: WritePage, desk: Desk, *, begin: gr.Button, edit: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    begin.click(lambda: "write", outputs=desk.place, **QUIET)
    edit.click(lambda: "write", outputs=desk.place, **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
