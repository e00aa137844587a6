"""What people said as rows to learn from: a data set, or a file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
import gradio as gr

from app.label.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class TakeAwayPage:
    """The page's parts."""

    column: gr.Column


def take_away_page(studio: Studio) -> TakeAwayPage:
    """Lay it out."""
    with gr.Column() as column:
        pass
    return TakeAwayPage(column)


def wire_take_away_page(studio: Studio, page: TakeAwayPage, desk: Desk, *, shown_on: Callable[..., Any], saved: gr.State) -> None:
    """Tie it to the desk."""
