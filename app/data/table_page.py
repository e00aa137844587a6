"""A labelled table turned into instructions by templates."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import QUIET, Desk, to_look
from app.studio import Studio


@dataclass(frozen=True)
class TablePage:
    """A labelled table turned into instructions by templates."""

    column: gr.Column
    cancel: gr.Button


def table_page(studio: Studio) -> TablePage:
    """Lay out the page, hidden until somebody opens it."""
    with gr.Column(visible=False, elem_id="data-table-page") as column:
        cancel = gr.Button("Cancel", elem_id="data-table-cancel", min_width=120, scale=0)
    return TablePage(column, cancel)


def wire_table_page(studio: Studio, page: TablePage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    begin.click(lambda: "table", outputs=desk.place, **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
