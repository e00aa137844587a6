"""What the pages of the Data tab tie to: which data set is looked at, and which page is in view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.event_options import QUIET

LOOK = "look"  # the page on which a data set is looked at; the others make one
BUSY_TABS = ("tokens", "lengths", "check", "versions", "take_away")  # of the view: those that have to work for what they show

Chosen = dict[str, Any] | None  # {"id": ..., "version": ...}
Updates = tuple[Any, ...]


@dataclass(frozen=True)
class Desk:
    """States that the list of data sets, the view and the pages share.

    `place` is changed by clicks alone, so that nothing that comes late closes a page somebody works on.
    `turned` has a number for each busy tab, which grows when there is something new to show while that tab is the open one:
    work hangs on its change, so that nothing is done, nor even asked for, for a tab nobody looks at.
    """

    chosen: gr.State = field(default_factory=lambda: gr.State(None))  # {"id", "version"} of the data set looked at, or None
    changed: gr.State = field(default_factory=lambda: gr.State(0))  # grows when a data set comes or goes
    place: gr.State = field(default_factory=lambda: gr.State(LOOK))  # the page in view
    open_tab: gr.State = field(default_factory=lambda: gr.State("rows"))  # of the view
    turned: Mapping[str, gr.State] = field(default_factory=lambda: {name: gr.State(0) for name in BUSY_TABS})

    def lay(self, pages: Mapping[str, gr.Column]) -> None:
        """Show one of the pages at a time: the one `place` names."""

        def on_place(place: str) -> list[Any]:
            return [gr.Column(visible=name == place) for name in pages]

        self.place.change(on_place, self.place, list(pages.values()), **QUIET)

    def open_on(self, name: str, tab: gr.Tab) -> None:
        """A tab of the view is the open one from the moment one comes to it."""
        busy = [self.turned[name]] if name in self.turned else []
        tab.select(lambda *turns: (name, *(turn + 1 for turn in turns)), busy, [self.open_tab, *busy], **QUIET)

    def turn_on(self, event: Callable[..., Any]) -> None:
        """After this event the open tab has something new to show."""
        turns = list(self.turned.values())
        event(on_turn, [self.open_tab, *turns], turns, **QUIET)


def on_turn(open_tab: str, *turns: int) -> list[Any]:
    """The numbers of the busy tabs, of which the open one's grows."""
    return [turn + 1 if name == open_tab else gr.skip() for name, turn in zip(BUSY_TABS, turns, strict=True)]


def to_look() -> str:
    """Back to the data set that is looked at."""
    return LOOK
