"""The methods as cards one picks from: what each does, what it trains, what it needs. See `python -m components.method_cards`."""

from pathlib import Path
from typing import TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "method_cards.js"


class Card(TypedDict):
    """One method. Texts are shown letter by letter."""

    name: str
    title: str
    sentence: str
    trains: str  # "921,600 parameters, 0.69 %"
    memory: str  # "about 1.9 GB"
    arithmetic: str  # the saving for one real matrix; empty where there is none to show
    paper: str  # address


class Cards(TypedDict):
    """The value: the cards, and the name of the chosen one."""

    chosen: str
    cards: list[Card]
    picks: int | None  # made on the page when this was asked for: one that has picked since keeps its own; None for all pages


def method_cards(value: Cards, *, elem_id: str = "method-cards") -> gr.HTML:
    """The cards as radio buttons. Listen to `.change`; the value's `chosen` is the method picked."""
    return gr.HTML(
        value,  # type: ignore[arg-type]
        elem_id=elem_id, html_template='<fieldset class="cards"><legend>Method</legend></fieldset>',
        js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,
    )


if __name__ == "__main__":
    sample: Card = {
        "name": "lora", "title": "LoRA", "sentence": "Learns a small correction.", "trains": "0.69 %", "memory": "1.9 GB",
        "arithmetic": "q_proj: 576 x 576", "paper": "https://arxiv.org/abs/2106.09685",
    }
    with gr.Blocks() as demo:
        cards = method_cards({"chosen": "lora", "picks": None, "cards": [sample, {**sample, "name": "full", "title": "Full"}]})
        chosen = gr.JSON()
        cards.change(lambda value: value, cards, chosen)
    demo.launch(css_paths=[SCRIPT.with_name("style.css")])
