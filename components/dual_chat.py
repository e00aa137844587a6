"""Two conversations side by side under one prompt box: what is on screen, and what is written into it.

The conversations are plain values (`Turn`), kept by whoever owns the screen; nothing is read back from the page.
See it with `python -m components.dual_chat`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from backend.sampling import Sampling
from components.conversation import Look, Turn, conversation, shown
from components.settings_form import settings_form
from components.text import escape
from components.vote_bar import vote_bar

Side = Literal["left", "right"]

INVITATION = "Ask both something: the same question goes to the left and the right model."
NO_RUN_YET = "No run to compare yet. Train one in the Train tab: the starter data takes about three minutes."


@dataclass(frozen=True)
class Pane:
    """One side: who speaks, and what was said."""

    speaker: gr.Dropdown
    said: gr.HTML  # takes `shown(...)`
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
    votes: gr.HTML  # takes `vote_bar.votes(...)`
    carry_on: gr.Checkbox
    hide: gr.Checkbox
    annotator: gr.Textbox
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


def dual_chat(
    *, choices: Sequence[tuple[str, str]], left: str, right: str, placeholder: str = INVITATION, look: Look = lambda key: None
) -> DualChat:
    """The two panes, the prompt box and the settings. `choices` are (label, value) pairs of who can speak, `look` is asked how an
    answer grows (`conversation`)."""
    with gr.Row(elem_classes="panes"):
        first = _pane("left", choices, left, placeholder, look)
        second = _pane("right", choices, right, placeholder, look)
    votes = vote_bar(elem_id="chat-votes")
    with gr.Row(elem_classes="asking"):
        prompt = gr.Textbox(
            label="Your question", info="Goes to both sides. Enter sends; Shift+Enter begins a new line.",
            placeholder="How do I descale a kettle?", lines=1, max_lines=8, scale=6, min_width=320, elem_id="chat-prompt",
        )
        send = gr.Button("Send", variant="primary", scale=0, min_width=96, elem_id="chat-send")
        stop = gr.Button("Stop", scale=0, min_width=88, elem_id="chat-stop")
        clear = gr.Button("Clear", scale=0, min_width=88, elem_id="chat-clear")
    hint = gr.HTML(hint_line(""))
    with gr.Row(elem_classes="chat-ticks"):
        differ = gr.Checkbox(
            False, label="Show differences", info="Marks, word by word, what only one of the two last answers says.", min_width=220,
            elem_id="chat-differ",
        )
        carry_on = gr.Checkbox(
            True, label="Continue from the winner",
            info="After a vote, both sides go on from the better answer, so that the next vote teaches too. Off: each goes on from its own.",
            min_width=220, elem_id="chat-carry-on",
        )
        hide = gr.Checkbox(
            False, label="Hide who is who",
            info="Draws for each question which model answers on which side, and says so after your vote.", min_width=220,
            elem_id="chat-hide",
        )
        annotator = gr.Textbox(
            "me", label="You vote as", info="A name of your own keeps your votes apart from those of others.", max_lines=1, max_length=80,
            min_width=220, elem_id="chat-annotator",
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
    return DualChat(*panes, prompt, hint, send, stop, clear, votes, carry_on, hide, annotator, differ, differences, same)


def _pane(
    side: Side, choices: Sequence[tuple[str, str]], speaker: str, placeholder: str, look: Look
) -> tuple[gr.Dropdown, gr.HTML, gr.Button]:
    name = side.capitalize()
    with gr.Column(min_width=420, elem_classes="pane"):  # two fit from about 880 pixels on
        chosen = gr.Dropdown(
            list(choices), value=speaker, elem_id=f"chat-{side}-model", **picker_words(side, hide=False),
        )
        said = conversation(label=f"{name} conversation", empty=placeholder, elem_id=f"chat-{side}", look=look)
        with gr.Row(elem_classes="pane-foot"):
            gr.HTML('<p class="chat-line">Regenerate answers the last question once more, with the next seed.</p>')
            again = gr.Button(f"Regenerate {side}", size="sm", scale=0, min_width=144, elem_id=f"chat-{side}-again")
    return chosen, said, again


def _settings(side: Side, *, visible: bool = True) -> tuple[gr.Textbox, dict[str, Component], gr.Column, gr.HTML]:
    with gr.Column(visible=visible, min_width=420, elem_id=f"chat-{side}-settings") as column:
        title = gr.HTML(settings_title(side, same=side == "left"))
        system = gr.Textbox(
            "", label="System prompt", info="What the model is told before the conversation. Empty: whatever it says of itself by default.",
            placeholder="You answer briefly.", lines=2, max_lines=8, elem_id=f"chat-{side}-system",
        )
        return system, settings_form(Sampling, f"chat-{side}"), column, title


def picker_words(side: Side, *, hide: bool) -> dict[str, str]:
    """Label and help of a side's picker. With `hide` it does not say which side its model answers on."""
    if hide:
        one = "One model" if side == "left" else "The other model"
        return {"label": one, "info": "Which side it answers on is drawn for each question."}
    return {"label": f"{side.capitalize()} model", "info": "A base model, or a run that has a result."}


def settings_title(side: Side, *, same: bool) -> str:
    """The heading over a set of settings."""
    return f"<h3>{'Both sides' if same else side.capitalize() + ' side'}</h3>"


def hint_line(sentence: str) -> str:
    """The line under the prompt box: quiet, and always as high, so that nothing jumps."""
    return f'<p class="chat-line" role="status">{escape(sentence) or "&nbsp;"}</p>'


# The demo: both sides repeat what is asked.


def demo() -> gr.Blocks:
    """A page where both sides are echoes."""

    def on_send(prompt: str) -> tuple[Any, ...]:
        turn = Turn(prompt, prompt)
        return "", *(shown([one], empty=INVITATION) for one in (turn, replace(turn, answer=prompt.upper())))

    with gr.Blocks(title="Two conversations", analytics_enabled=False) as page:
        chat = dual_chat(choices=[("Echo", "base:echo"), ("Loud echo", "base:loud")], left="base:echo", right="base:loud")
        gr.on(
            [chat.prompt.submit, chat.send.click], on_send, inputs=chat.prompt,
            outputs=[chat.prompt, chat.left.said, chat.right.said],
        )
    return page


if __name__ == "__main__":
    demo().launch(css_paths=["assets/style.css"])
