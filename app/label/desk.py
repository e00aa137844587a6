"""What the pages of the Label tab tie to: the batch that is worked on, who works, and which page is in view."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.event_options import QUIET
from app.studio import Studio

if TYPE_CHECKING:
    from backend.judging import Judge

WORK = "work"  # the page on which a batch is labelled and looked at; the other begins one
BEGIN = "begin"

Updates = tuple[Any, ...]


@dataclass(frozen=True)
class Desk:
    """States that the pages share. `batch` is an id or None; `changed` grows when a batch comes or goes."""

    batch: gr.State = field(default_factory=lambda: gr.State(None))
    annotator: gr.State = field(default_factory=lambda: gr.State("me"))
    changed: gr.State = field(default_factory=lambda: gr.State(0))
    place: gr.State = field(default_factory=lambda: gr.State(WORK))

    def lay(self, pages: Mapping[str, gr.Column]) -> None:
        """Show one of the pages at a time: the one `place` names."""

        def on_place(place: str) -> list[Any]:
            return [gr.Column(visible=name == place) for name in pages]

        self.place.change(on_place, self.place, list(pages.values()), **QUIET)


@contextmanager
def judge_at_work(studio: Studio, run_id: str) -> "Iterator[Judge]":
    """The reward model of a run, loaded if need be. Raises `UserError` where there is none, or memory runs out."""
    shelf = studio.engine.shelf
    with shelf.giving_way("Close other programs, or wait until the run that trains is done."):
        with studio.engine.turns.take(quick=True):
            judge = shelf.judge(run_id)
        yield judge
