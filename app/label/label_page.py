"""Labelling: two answers side by side, or several to put in order, one item after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
import gradio as gr

from app.label.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class LabelPage:
    """The page's parts."""

    column: gr.Column


def label_page(studio: Studio) -> LabelPage:
    """Lay it out."""
    with gr.Column() as column:
        pass
    return LabelPage(column)


def wire_label_page(studio: Studio, page: LabelPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
