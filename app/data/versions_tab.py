"""The Versions tab of a data set: what changed from one to the next, and the way back."""

from dataclasses import dataclass

import gradio as gr

from app.data.desk import Desk
from app.studio import Studio


@dataclass(frozen=True)
class VersionsTab:
    """The Versions tab of a data set: what changed from one to the next, and the way back."""

    tab: gr.Tab


def versions_tab(studio: Studio) -> VersionsTab:
    """Lay out the tab."""
    with gr.Tab("Versions", id="data-tab-versions") as tab:
        gr.HTML("")
    return VersionsTab(tab)


def wire_versions_tab(studio: Studio, part: VersionsTab, desk: Desk) -> None:
    """Tie the tab to what is looked at."""
