"""Items that people disagree on: what each said, and buttons to settle it. Texts arrive as data and are set as text.

    shown = disagreement_list()
    button.click(lambda: disagreements([...]), outputs=shown)
    shown.select(on_settle, shown, ...)          its value's "asked" says what was decided

See it with `python -m components.disagreement_list`.
"""

from pathlib import Path
from typing import TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "disagreement_list.js"


class Turn(TypedDict):
    """Who speaks, and what; long texts are cut before they come here."""

    who: str
    text: str


class Answer(TypedDict):
    """An answer under its letter; `made` is empty while makers are hidden."""

    letter: str
    text: str
    made: str


class Opinion(TypedDict):
    """What some people said: "A is better", by "ada and ben"."""

    words: str
    people: str


class Choice(TypedDict):
    """A button: how an item can be settled. `chosen` where it was settled so."""

    key: str  # what comes back
    words: str
    chosen: bool


class Disagreement(TypedDict):
    """One item."""

    item: int
    title: str  # "Item 14"
    prompt: list[Turn]
    answers: list[Answer]
    opinions: list[Opinion]
    choices: list[Choice]
    settled: str  # "Settled by ada: A is better"; empty while it is open


class Asked(TypedDict):
    """What was decided by a button; the key "reopened" takes a decision back."""

    item: int
    key: str


class DisagreementList(TypedDict):
    """The value: the items of a page, what was asked last, and what stands there when there are none."""

    lines: list[Disagreement]
    asked: Asked | None
    empty: str


def disagreement_list(*, elem_id: str = "disagreements") -> gr.HTML:
    """The list, empty. `.select` fires when an item is settled or opened again."""
    return gr.HTML(
        disagreements([]), elem_id=elem_id, apply_default_css=False,  # type: ignore[arg-type]
        html_template='<ol class="disagreements"></ol><p class="empty" hidden></p>', js_on_load=SCRIPT.read_text(encoding="utf-8"),
    )


def disagreements(lines: list[Disagreement], *, empty: str = "") -> DisagreementList:
    """The list's value."""
    return {"lines": lines, "asked": None, "empty": empty}


if __name__ == "__main__":
    made_up = Disagreement(
        item=13, title="Item 14", prompt=[{"who": "user", "text": "How do I <b>descale</b> a kettle?"}],
        answers=[{"letter": "A", "text": "With vinegar.", "made": ""}, {"letter": "B", "text": "Buy a new one.", "made": ""}],
        opinions=[{"words": "A is better", "people": "ada"}, {"words": "B is better", "people": "ben"}],
        choices=[{"key": "1 2", "words": "A is better", "chosen": True}, {"key": "tie", "words": "equally good", "chosen": False}],
        settled="Settled by cy: A is better",
    )  # fmt: skip
    with gr.Blocks() as demo:
        shown, asked_for = disagreement_list(), gr.JSON()
        demo.load(lambda: disagreements([made_up]), outputs=shown)
        shown.select(lambda value: value["asked"], shown, asked_for)
    demo.launch(css_paths=[SCRIPT.with_name("style.css"), SCRIPT.with_name("label.css")])
