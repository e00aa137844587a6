"""A reward model at work: scores for any text, and how far it can be trusted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
import gradio as gr

from app.label.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class ScoringPage:
    """The page's parts."""

    column: gr.Column


def scoring_page(studio: Studio) -> ScoringPage:
    """Lay it out."""
    with gr.Column() as column:
        pass
    return ScoringPage(column)


def wire_scoring_page(studio: Studio, page: ScoringPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
