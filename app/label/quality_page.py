"""How far people agree with each other and with themselves, and what is left to settle."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
import gradio as gr

from app.label.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class QualityPage:
    """The page's parts."""

    column: gr.Column


def quality_page(studio: Studio) -> QualityPage:
    """Lay it out."""
    with gr.Column() as column:
        pass
    return QualityPage(column)


def wire_quality_page(studio: Studio, page: QualityPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
