"""The Check tab of a data set: what is wrong with its rows, and the mends."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class CheckTab:
    """The Check tab of a data set: what is wrong with its rows, and the mends."""

    tab: gr.Tab


def check_tab(studio: Studio) -> CheckTab:
    """Lay out the tab."""
    with gr.Tab("Check", id="data-tab-check") as tab:
        gr.HTML("")
    return CheckTab(tab)


def wire_check_tab(studio: Studio, part: CheckTab, desk: Desk) -> None:
    """Tie the tab to what is looked at."""
