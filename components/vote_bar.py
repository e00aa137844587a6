"""Which of two answers is better: four buttons, each with its key, and a line that says what became of the vote.

    bar = vote_bar(elem_id="chat-votes")
    bar.select(on_vote, [talk, bar], ...)        somebody voted or took a vote back: `bar["asked"]` says which
    return votes(turn=3, open=True, line="Which answer is better?")

The page part is `assets/vote_bar.js`. See it with `python -m components.vote_bar`.
"""

from pathlib import Path
from typing import Literal, TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "vote_bar.js"
Choice = Literal["left", "right", "tie", "both bad"]


class Asked(TypedDict):
    """What a button asked for, and of which question: the page may be behind."""

    do: Literal["left", "right", "tie", "both bad", "undo"]
    turn: int


class Votes(TypedDict):
    """The value."""

    turn: int  # the number of the question that is voted on
    open: bool  # whether it can be voted on
    vote: Choice | Literal[""]  # what stands
    undo: bool  # whether there is a vote to take back
    line: str  # what became of the last vote, or what is missing for one
    asked: Asked | None


def vote_bar(*, elem_id: str) -> gr.HTML:
    """The buttons, out of use; `.select` fires when one is pressed."""
    return gr.HTML(
        votes(line="Ask both something, then say which answer is better."), elem_id=elem_id,  # type: ignore[arg-type]
        html_template=_TEMPLATE, js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,
    )


def votes(*, turn: int = 0, open: bool = False, vote: Choice | Literal[""] = "", undo: bool = False, line: str = "") -> Votes:
    """The value that shows what can be voted on, and what was."""
    return {"turn": turn, "open": open, "vote": vote, "undo": undo, "line": line, "asked": None}


# Gradio runs `${...}` that it finds in templates, so this one is constant and data only comes through `watch`.
_TEMPLATE = """
<section class="vote-bar" aria-label="Which answer is better?" tabindex="-1">
  <div class="vote-buttons">
    <button type="button" data-do="left" aria-pressed="false">Left better <kbd>1</kbd></button>
    <button type="button" data-do="right" aria-pressed="false">Right better <kbd>2</kbd></button>
    <button type="button" data-do="tie" aria-pressed="false">Tie <kbd>3</kbd></button>
    <button type="button" data-do="both bad" aria-pressed="false">Both bad <kbd>4</kbd></button>
    <button type="button" data-do="undo" class="vote-undo">Undo vote <kbd>U</kbd></button>
  </div>
  <p class="vote-line" role="status"></p>
</section>
"""


def demo() -> gr.Blocks:
    """A bar that keeps nothing."""

    def on_vote(bar: Votes) -> Votes:
        asked = bar["asked"]
        done = asked["do"] if asked else "undo"
        return votes(open=True, vote="" if done == "undo" else done, undo=done != "undo", line=f"You said: {done}.")

    with gr.Blocks(title="Votes", analytics_enabled=False) as page:
        bar = vote_bar(elem_id="demo")
        page.load(lambda: votes(open=True, line="Which answer is better?"), outputs=bar)
        bar.select(on_vote, bar, bar)
    return page


if __name__ == "__main__":
    demo().launch(css_paths=[SCRIPT.with_name("style.css"), SCRIPT.with_name("label.css")])
