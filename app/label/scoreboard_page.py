"""Who wins: votes of batches and of chat, counted by who answered.

Labelling is blind, a scoreboard is not: of a batch that is still being labelled it shows only when somebody asks for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import gradio as gr

from app.event_options import PRIVATE, QUIET
from app.label.desk import Desk, Updates
from app.studio import Studio, on
from backend.labelling.scoreboard import all_met, strengths
from backend.labelling.talking import ChatVotes
from backend.labelling.tallying import said_in_chat, said_of_batch, still_open, tally_of
from components.notices import empty
from components.scoreboard_view import scoreboard_html

SOURCES = [("This batch", "batch"), ("All batches", "all"), ("Votes in chat", "chat")]


@dataclass(frozen=True)
class ScoreboardPage:
    """The page's parts."""

    column: gr.Column
    sources: gr.CheckboxGroup
    peek: gr.Checkbox
    again: gr.Button
    board: gr.HTML


def scoreboard_page(studio: Studio) -> ScoreboardPage:
    """Lay it out."""
    with gr.Column() as column:
        with gr.Row(elem_classes="label-head"):
            sources = gr.CheckboxGroup(
                SOURCES, value=["batch"], label="Votes to count", scale=2, min_width=280, elem_id="scores-sources",
                info="Labels are given blind. In chat one sees who answers, unless it is hidden there.",
            )
            again = gr.Button("Count again", scale=0, min_width=144, elem_id="scores-again")
        peek = gr.Checkbox(
            False, label="Show it all the same", visible=False, info="Best left until everybody is done: it says whose answers win.",
            elem_id="scores-peek",
        )
        board = gr.HTML(elem_id="scores-board", min_height=120)
    return ScoreboardPage(column, sources, peek, again, board)


def wire_scoreboard_page(studio: Studio, page: ScoreboardPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
    asked, shown = [page.sources, desk.batch, page.peek], [page.peek, page.board]
    counting: dict[str, Any] = {"show_progress_on": page.board, "trigger_mode": "always_last", **PRIVATE}
    desk.batch.change(on(studio, on_batch), [page.sources, desk.batch], [page.sources, page.peek], **QUIET).then(
        on(studio, on_count), asked, shown, **counting
    )
    shown_on(on(studio, on_count), asked, shown, **counting)
    for come in (page.sources.input, page.peek.input, page.again.click):
        come(on(studio, on_count), asked, shown, **counting)


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_batch(studio: Studio, sources: list[str], batch: str | None) -> Updates:
    """Another batch is not looked into before somebody asks for it; without any batch, chat is all there is."""
    return (["chat"] if batch is None and sources == ["batch"] else sources), False


def on_count(studio: Studio, sources: list[str], batch: str | None, peek: bool) -> Updates:
    """Count the votes of the ticked sources; while items are open, say so first."""
    batches = _batches(studio, sources, batch)
    left, items = map(sum, zip(*(still_open(studio.labels, each) for each in batches), strict=True)) if batches else (0, 0)
    closed = bool(left) and not peek
    board = _not_yet(left, items) if closed else _board(studio, batches, chat="chat" in sources)
    return gr.Checkbox(visible=bool(left)), board


def _batches(studio: Studio, sources: Sequence[str], batch: str | None) -> list[str]:
    """Ids of the batches to be counted."""
    there = [each.id for each in studio.labels.batches()]
    return there if "all" in sources else [each for each in there if each == batch and "batch" in sources]


def _board(studio: Studio, batches: Sequence[str], *, chat: bool) -> str:
    said = chain.from_iterable(said_of_batch(studio.labels, each) for each in batches)
    tally = tally_of(chain(said, said_in_chat(ChatVotes(studio.store)) if chat else ()))
    return scoreboard_html(tally, strengths(tally.votes) if all_met(tally.votes) else None)


def _not_yet(left: int, items: int) -> str:
    are = "item is" if left == 1 else "items are"
    return empty(f"{left:,} of {items:,} {are} still open. Looking now may sway those who label: finish first, or tick above to look all the same.")
