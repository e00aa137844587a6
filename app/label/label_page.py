"""Labelling: two answers side by side, or several to put in order, one item after the other.

What was said is kept by the studio before the next item is shown (app/label/labelling.py); the page itself remembers nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.event_options import TICK
from app.label.desk import Desk
from app.label.labelling import answer
from app.studio import Studio
from components.pair_labeller import Labelling, labelling, pair_labeller


@dataclass(frozen=True)
class LabelPage:
    """The page's parts."""

    column: gr.Column
    labeller: gr.HTML
    serial: gr.State  # grows when one comes to the page, so that it asks again


def label_page(studio: Studio) -> LabelPage:
    """Lay it out."""
    with gr.Column() as column:
        labeller = pair_labeller(lambda request: answer(studio.labels, request))
        return LabelPage(column, labeller, gr.State(0))


def wire_label_page(studio: Studio, page: LabelPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
    seat = [desk.batch, desk.annotator, page.serial]
    for event in (shown_on, desk.batch.change, desk.annotator.change):
        event(on_seat, seat, [page.serial, page.labeller], **TICK)


def on_seat(batch: str | None, annotator: str, serial: int) -> tuple[int, Labelling]:
    """Another batch, another person, or the same who come back."""
    return serial + 1, labelling(batch, annotator, serial + 1)
