"""Two conversations side by side under one prompt box: what is on screen, and what is written into it.

The conversations are plain values (`Turn`), kept by whoever owns the screen; nothing is read back from the chat boxes.
See it with `python -m components.dual_chat`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from backend.sampling import Sampling
from components.settings_form import settings_form
from components.text import escape

Side = Literal["left", "right"]

INVITATION = "Ask both something: the same question goes to the left and the right model."
NO_RUN_YET = "No run to compare yet. Train one in the Train tab: the starter data takes about three minutes."
QUIET = "No answer yet."


@dataclass(frozen=True)
class Turn:
    """One question and what came back."""

    question: str
    answer: str = ""
    notice: str = ""  # why there is no answer, for the person at the screen
    attempt: int = 0  # how often it was asked again


@dataclass(frozen=True)
class Pane:
    """One side: who speaks, what was said, how fast."""

    speaker: gr.Dropdown
    chat: gr.Chatbot
    stats: gr.HTML
    again: gr.Button
    system: gr.Textbox
    sampling: dict[str, Component]  # the fields of `Sampling`
    settings: gr.Column  # what holds the two above
    title: gr.HTML  # and says whose they are

    @property
    def fields(self) -> dict[str, Component]:
        """Everything that says how an answer is made, by name."""
        return {"speaker": self.speaker, "system": self.system, **self.sampling}


@dataclass(frozen=True)
class DualChat:
    """Both sides and what they share."""

    left: Pane
    right: Pane
    prompt: gr.Textbox
    hint: gr.HTML
    send: gr.Button
    stop: gr.Button
    clear: gr.Button
    differ: gr.Checkbox
    differences: gr.HTML
    same: gr.Checkbox

    def side(self, side: Side) -> Pane:
        return self.left if side == "left" else self.right

    @property
    def fields(self) -> dict[str, Component]:
        """Inputs by name for a handler `on_...(**values)`: "left_speaker", "right_temperature", "same"..."""
        sides: tuple[Side, ...] = ("left", "right")
        named = {f"{side}_{name}": field for side in sides for name, field in self.side(side).fields.items()}
        return {**named, "same": self.same}


def dual_chat(*, choices: Sequence[tuple[str, str]], left: str, right: str, placeholder: str = INVITATION) -> DualChat:
    """The two panes, the prompt box and the settings. `choices` are (label, value) pairs of who can speak."""
    with gr.Row(elem_classes="panes"):
        first = _pane("left", choices, left, placeholder)
        second = _pane("right", choices, right, placeholder)
    with gr.Row(elem_classes="asking"):
        prompt = gr.Textbox(
            label="Your question", info="Goes to both sides. Enter sends; Shift+Enter begins a new line.",
            placeholder="How do I descale a kettle?", lines=1, max_lines=8, scale=6, min_width=320, elem_id="chat-prompt",
        )
        with gr.Row(elem_classes="asking-buttons"):
            send = gr.Button("Send", variant="primary", min_width=96, elem_id="chat-send")
            stop = gr.Button("Stop", min_width=80, elem_id="chat-stop")
            clear = gr.Button("Clear", min_width=80, elem_id="chat-clear")
    hint = gr.HTML(hint_line(""))
    differ = gr.Checkbox(
        False, label="Show differences", info="Marks, word by word, what only one of the two last answers says.",
        elem_id="chat-differ",
    )
    differences = gr.HTML(visible=False)
    with gr.Accordion("How answers are made", open=False):
        same = gr.Checkbox(
            True, label="Same settings on both sides",
            info="On: one set of settings for both, so that only the models differ. Off: each side has its own.",
            elem_id="chat-same",
        )
        with gr.Row():
            settings = [_settings("left"), _settings("right", visible=False)]
    panes = [Pane(*shown, *fields) for shown, fields in zip((first, second), settings, strict=True)]
    return DualChat(*panes, prompt, hint, send, stop, clear, differ, differences, same)


def _pane(
    side: Side, choices: Sequence[tuple[str, str]], speaker: str, placeholder: str
) -> tuple[gr.Dropdown, gr.Chatbot, gr.HTML, gr.Button]:
    name = side.capitalize()
    with gr.Column(min_width=420, elem_classes="pane"):  # two fit from about 880 pixels on
        chosen = gr.Dropdown(
            list(choices), value=speaker, label=f"{name} model", info="A base model, or a run that has a result.",
            elem_id=f"chat-{side}-model",
        )
        chat = gr.Chatbot(
            label=f"{name} conversation", height=400, buttons=["copy"], placeholder=shown_placeholder(placeholder),
            sanitize_html=True, render_markdown=False, latex_delimiters=[], group_consecutive_messages=False,
            elem_id=f"chat-{side}", elem_classes="conversation",
        )
        with gr.Row(elem_classes="pane-foot"):
            stats = gr.HTML(stats_line(QUIET), elem_id=f"chat-{side}-stats")
            again = gr.Button(f"Regenerate {side}", size="sm", scale=0, min_width=136, elem_id=f"chat-{side}-again")
    return chosen, chat, stats, again


def _settings(side: Side, *, visible: bool = True) -> tuple[gr.Textbox, dict[str, Component], gr.Column, gr.HTML]:
    with gr.Column(visible=visible, min_width=420, elem_id=f"chat-{side}-settings") as column:
        title = gr.HTML(settings_title(side, same=side == "left"))
        system = gr.Textbox(
            label="System prompt", info="What the model is told before the conversation. Empty: whatever it says of itself by default.",
            placeholder="You answer briefly.", lines=2, max_lines=8,
        )
        return system, settings_form(Sampling), column, title


def settings_title(side: Side, *, same: bool) -> str:
    """The heading over a set of settings."""
    return f"<h3>{'Both sides' if same else side.capitalize() + ' side'}</h3>"


def shown_placeholder(sentence: str) -> str:
    """What stands in an empty conversation."""
    return f'<p class="quiet">{escape(sentence)}</p>'


def hint_line(sentence: str) -> str:
    """The line under the prompt box: quiet, and always as high, so that nothing jumps."""
    return f'<p class="chat-line" role="status">{escape(sentence) or "&nbsp;"}</p>'


def stats_line(sentence: str, *, failed: bool = False) -> str:
    """The line under a conversation."""
    return f'<p class="chat-line number{" warn" if failed else ""}">{escape(sentence)}</p>'


def as_chat(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """A conversation as the chat box takes it. Blocks of text, since Gradio trims and re-indents plain strings."""
    messages = []
    for turn in turns:
        messages.append(_message("user", turn.question))
        if said := "\n\n".join(filter(None, (turn.answer, turn.notice))):
            messages.append(_message("assistant", said))
    return messages


def as_messages(turns: Sequence[Turn], *, system: str = "") -> list[dict[str, str]]:
    """A conversation as a model reads it, the last question open. Turns that brought no answer are left out."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for turn in turns[:-1]:
        if turn.answer:
            messages += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return [*messages, {"role": "user", "content": turns[-1].question}]


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


# The demo: both sides repeat what is asked.


def demo() -> gr.Blocks:
    """A page where both sides are echoes."""

    def on_send(prompt: str) -> tuple[Any, ...]:
        turn = Turn(prompt, prompt)
        return "", as_chat([turn]), as_chat([replace(turn, answer=prompt.upper())])

    with gr.Blocks(title="Two conversations", analytics_enabled=False) as page:
        chat = dual_chat(choices=[("Echo", "base:echo"), ("Loud echo", "base:loud")], left="base:echo", right="base:loud")
        gr.on(
            [chat.prompt.submit, chat.send.click], on_send, inputs=chat.prompt,
            outputs=[chat.prompt, chat.left.chat, chat.right.chat],
        )
    return page


if __name__ == "__main__":
    demo().launch(css_paths=["assets/style.css"])
