"""The Take away tab of a data set: files to download, and its card."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class TakeAwayTab:
    """The Take away tab of a data set: files to download, and its card."""

    tab: gr.Tab


def take_away_tab(studio: Studio) -> TakeAwayTab:
    """Lay out the tab."""
    with gr.Tab("Take away", id="data-tab-take-away") as tab:
        gr.HTML("")
    return TakeAwayTab(tab)


def wire_take_away_tab(studio: Studio, part: TakeAwayTab, desk: Desk) -> None:
    """Tie the tab to what is looked at."""
