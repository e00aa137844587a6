"""Who wins: votes of batches and of chat, counted by who answered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
import gradio as gr

from app.label.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class ScoreboardPage:
    """The page's parts."""

    column: gr.Column


def scoreboard_page(studio: Studio) -> ScoreboardPage:
    """Lay it out."""
    with gr.Column() as column:
        pass
    return ScoreboardPage(column)


def wire_scoreboard_page(studio: Studio, page: ScoreboardPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
