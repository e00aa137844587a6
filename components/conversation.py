"""One conversation on screen: questions, answers, and a quiet line under each answer. Text is shown as text.

The page part is `assets/conversation.js`, which sets every word as text; Gradio's own chat box reads its messages as
HTML, whatever its options say. While an answer grows the page asks for it past Gradio's events, each of which costs the
browser a walk through the page: ten a second for each of two panes took the machine half of what it would have said.
See it with `python -m components.conversation`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr

from backend.data.records import Message
from backend.labelling.items import Made

ASSETS = Path(__file__).parents[1] / "assets"

Look = Callable[[str], dict[str, str] | None]  # the last turn of the conversation with this key, as it is by now


@dataclass(frozen=True)
class Turn:
    """One question and what came back."""

    question: str
    answer: str = ""
    notice: str = ""  # why there is no answer, for the person at the screen; the model never reads it
    line: str = ""  # under the answer: how far it is, how long and fast it was
    by: str = ""  # who answered, by the name shown
    attempt: int = 0  # how often it was asked again
    read: tuple[Message, ...] = ()  # all the model had read when it answered, the question last
    made: Made | None = None  # how the answer came about; None where it is not whole


class Shown(TypedDict):
    """What the conversation takes as its value."""

    turns: list[dict[str, str]]  # question, answer, notice, line; oldest first
    busy: bool  # the last answer is still growing
    growing: str  # what the page asks with how it grows; empty where the page is told
    empty: str  # what stands there while nothing was asked


def conversation(*, label: str, empty: str, elem_id: str, look: Look = lambda key: None) -> gr.HTML:
    """The conversation, empty; give it `shown(...)` as its value. `look` gives the last turn as it is by now, None once it is over."""

    def grown(key: object) -> dict[str, str] | None:
        return look(str(key))

    return gr.HTML(
        shown((), empty=empty), label=label, elem_id=elem_id, elem_classes="conversation", apply_default_css=False,
        # Gradio runs `${...}` that it finds in templates, so this one is constant and data only comes through `watch`.
        html_template=_TEMPLATE, js_on_load=(ASSETS / "conversation.js").read_text(encoding="utf-8"), spoken=label, server_functions=[grown],
    )


def shown(turns: Sequence[Turn], *, empty: str, busy: bool = False, growing: str = "") -> Shown:
    """The value that shows these turns."""
    parts = [{"question": turn.question, "answer": turn.answer, "notice": turn.notice, "line": turn.line} for turn in turns]
    return {"turns": parts, "busy": busy, "growing": growing, "empty": empty}


def as_messages(turns: Sequence[Turn], *, system: str = "") -> list[dict[str, str]]:
    """The turns as a model reads them, the last question open. Those that brought no answer are left out."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for turn in turns[:-1]:
        if turn.answer:
            messages += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return [*messages, {"role": "user", "content": turns[-1].question}]


_TEMPLATE = '<div class="conversation-log" role="log" tabindex="0"></div>'


# The demo: an answer that grows word by word.


def demo() -> gr.Blocks:
    """A page that answers every question with the same sentence."""

    def on_ask(question: str) -> Any:
        words = "Fill it with equal parts of water and vinegar, boil it, and rinse it twice.".split()
        for number in range(1, len(words) + 1):
            answer = " ".join(words[:number])
            yield shown([Turn(question, answer, line=f"{number} words")], empty="", busy=number < len(words))

    with gr.Blocks(title="A conversation", analytics_enabled=False) as page:
        said = conversation(label="Conversation", empty="Ask something.", elem_id="demo")
        question = gr.Textbox(label="Your question")
        question.submit(on_ask, inputs=question, outputs=said)
    return page


if __name__ == "__main__":
    demo().launch(css_paths=[ASSETS / "style.css"])
