"""Beginning a batch: prompts and who answers them, or pairs that somebody brings."""

from dataclasses import dataclass

import gradio as gr

from app.label.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class BeginPage:
    """The page's parts."""

    column: gr.Column


def begin_page(studio: Studio) -> BeginPage:
    """Lay it out."""
    with gr.Column(visible=False) as column:
        pass
    return BeginPage(column)


def wire_begin_page(studio: Studio, page: BeginPage, desk: Desk) -> None:
    """Tie it to the desk."""
