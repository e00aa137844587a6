"""Always there: the studio's name, what the engine is doing, on which device, with how much memory.

    header(folder, look)        look() -> Standing, asked every two seconds

The page part is `assets/header.js`. It asks past Gradio's events, each of which costs the browser a walk through the page.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict
from uuid import uuid4

import gradio as gr

from components.text import escape

ASSETS = Path(__file__).parents[1] / "assets"


class Standing(TypedDict):
    """What the engine does now."""

    state: str  # one of the engine's states; it colours the chip
    words: str
    machine: str  # the device and its memory


def header(workspace: Path, look: Callable[[], Standing]) -> gr.HTML:
    """The header, which keeps itself up to date, and loads the page anew once another studio answers in this one's place."""
    studio = uuid4().hex

    def ask(_: object) -> dict[str, str]:
        return {**look(), "studio": studio}

    return gr.HTML(
        header_html(workspace, look()), elem_id="studio-header", server_functions=[ask],
        js_on_load=(ASSETS / "header.js").read_text(encoding="utf-8"),
    )


def header_html(workspace: Path, now: Standing) -> str:
    logo = (ASSETS / "logo.svg").read_text(encoding="utf-8")
    return (
        f'<div class="studio-header">{logo}'
        f'<div class="studio-name"><h1>Fine-Tuning Studio</h1><span class="quiet" title="{escape(workspace)}">workspace: {escape(workspace.name)}</span></div>'
        f'<div class="studio-engine"><span class="chip chip-{escape(now["state"].replace(" ", "-"))}" role="status">{escape(now["words"])}</span>'
        f'<span class="quiet number">{escape(now["machine"])}</span></div></div>'
    )
