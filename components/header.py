"""Always there: the studio's name, what the engine is doing, on which device, with how much memory."""

from pathlib import Path

import gradio as gr

from components.text import escape

LOGO = Path(__file__).parents[1] / "assets" / "logo.svg"


def header_html(workspace: Path, *, state: str, words: str, machine: str) -> str:
    """`state` is one of the engine's states and colours the chip; `words` stand in it; `machine` is the line below."""
    return (
        f'<div class="studio-header">{LOGO.read_text(encoding="utf-8")}'
        f'<div class="studio-name"><h1>Fine-Tuning Studio</h1><span class="quiet" title="{escape(workspace)}">workspace: {escape(workspace.name)}</span></div>'
        f'<div class="studio-engine"><span class="chip chip-{escape(state.replace(" ", "-"))}" role="status">{escape(words)}</span>'
        f'<span class="quiet number">{escape(machine)}</span></div></div>'
    )


def header(value: str) -> gr.HTML:
    """The header; give it `header_html(...)` anew as things change."""
    return gr.HTML(value, elem_id="studio-header")
