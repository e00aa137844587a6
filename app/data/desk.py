"""What the pages of the Data tab tie to: which data set is looked at, and which page is in view."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.event_options import QUIET

LOOK = "look"  # the page on which a data set is looked at; the others make one

Chosen = dict[str, Any] | None  # {"id": ..., "version": ...}
Updates = tuple[Any, ...]


@dataclass(frozen=True)
class Desk:
    """States that the list of data sets, the view and the pages share.

    `place` is changed by clicks alone, so that nothing that comes late closes a page somebody works on.
    """

    chosen: gr.State = field(default_factory=lambda: gr.State(None))  # {"id", "version"} of the data set looked at, or None
    changed: gr.State = field(default_factory=lambda: gr.State(0))  # grows when a data set comes or goes
    place: gr.State = field(default_factory=lambda: gr.State(LOOK))  # the page in view
    open_tab: gr.State = field(default_factory=lambda: gr.State("rows"))  # of the view: work is done for the open one alone

    def lay(self, pages: Mapping[str, gr.Column]) -> None:
        """Show one of the pages at a time: the one `place` names."""

        def on_place(place: str) -> list[Any]:
            return [gr.Column(visible=name == place) for name in pages]

        self.place.change(on_place, self.place, list(pages.values()), **QUIET)


def to_look() -> str:
    """Back to the data set that is looked at."""
    return LOOK
