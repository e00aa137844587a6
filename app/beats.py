"""Only the tab in view asks every second what is new: each question costs the browser a walk through the whole page."""

from collections.abc import Sequence

import gradio as gr

from app.event_options import TICK


def beat_in_view(page: gr.Blocks, tabs: Sequence[gr.Tab]) -> None:
    """Let the timers that stand in a tab tick while it is looked at, and no longer. The first tab is looked at first.

    Timers outside the tabs tick always, and those that begin inactive are left to whoever starts them.
    """
    timers = [(timer, tab) for timer in page.blocks.values() if isinstance(timer, gr.Timer) and timer.active and (tab := _tab_of(timer, tabs))]
    for timer, tab in timers:
        timer.active = tab is tabs[0]
    for seen in tabs:
        beating = [gr.Timer(active=tab is seen) for _, tab in timers]
        seen.select(lambda beating=beating: beating, outputs=[timer for timer, _ in timers], **TICK)


def _tab_of(timer: gr.Timer, tabs: Sequence[gr.Tab]) -> gr.Tab | None:
    """The tab a timer stands in."""
    block = timer.parent
    while block and block not in tabs:
        block = block.parent
    return block  # type: ignore[return-value]
