"""Tasks to review one at a time, by mouse or by key: a accepts, e edits, r rejects, u takes back.

    queue = review_queue(answer)            answer(request) -> dict, called from the page (see app/data/reviewing.py)
    button.click(lambda: reviewing("poems-1a2b3c", 0), outputs=queue)
    queue.change(on_reviewed, ...)          something was decided

The page part is `assets/review_queue.js`; texts are set as text. See it with `python -m components.review_queue`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "review_queue.js"


class Reviewing(TypedDict):
    """The value: whose tasks are reviewed, and a number that changes when more have come, so that the page asks again."""

    generation: str | None
    serial: int


def review_queue(answer: Callable[[dict[str, Any]], dict[str, Any]], *, elem_id: str = "review-queue") -> gr.HTML:
    """The queue, empty; give it `reviewing(...)` as its value."""

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        return answer(request)

    return gr.HTML(
        reviewing(None, 0), elem_id=elem_id, html_template=_TEMPLATE,  # type: ignore[arg-type]
        js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False, server_functions=[ask],
    )


def reviewing(generation: str | None, serial: int) -> Reviewing:
    """The value that shows the next task of a generation."""
    return {"generation": generation, "serial": serial}


# Gradio runs `${...}` that it finds in templates, so this one is constant and data only comes through `ask`.
_TEMPLATE = """
<section class="review" aria-label="Tasks to review">
  <p class="review-counts number" role="status" data-part="counts"></p>
  <div class="review-buttons">
    <button type="button" data-part="accept"><span data-part="accept-words">Accept</span> <kbd>A</kbd></button>
    <button type="button" data-part="edit"><span data-part="edit-words">Edit</span> <kbd data-part="edit-key">E</kbd></button>
    <button type="button" data-part="reject">Reject <kbd>R</kbd></button>
    <button type="button" data-part="undo">Undo <kbd>U</kbd></button>
  </div>
  <ul class="problems" role="alert" data-part="problems" hidden></ul>
  <p class="quiet" data-part="keys">The keys work while you are not typing. While you edit, Ctrl+Enter accepts and Escape leaves it as it was.</p>
  <div class="review-task" data-part="task" hidden>
    <label>Instruction<textarea rows="2" data-part="instruction" readonly dir="auto"></textarea></label>
    <label>Input <span class="quiet">what the instruction is about; may stay empty</span>
      <textarea rows="2" data-part="input" readonly dir="auto"></textarea></label>
    <label>Output<textarea rows="6" data-part="output" readonly dir="auto"></textarea></label>
    <label class="review-kind"><input type="checkbox" data-part="kind" disabled> Classification: the output is one of a few labels</label>
    <p class="quiet plain-text" data-part="nearest"></p>
  </div>
  <p class="empty" data-part="empty" hidden></p>
</section>
"""


def demo() -> gr.Blocks:
    """A page that reviews five made-up tasks and forgets them at once."""
    decided: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] in ("accept", "reject"):
            decided.append(request["do"])
        if request["do"] == "undo" and decided:
            decided.pop()
        n = len(decided)
        task = {
            "id": str(n), "instruction": f"Name {n} birds.", "input": "", "output": "A wren.", "is_classification": False,
            "nearest": "Name a bird.", "score": 0.5,
        }  # fmt: skip
        return {
            "task": task if n < 5 else None, "left": 5 - n, "accepted": decided.count("accept"),
            "rejected": decided.count("reject"), "more": False, "problems": [],
        }  # fmt: skip

    with gr.Blocks(title="A review queue", analytics_enabled=False) as page:
        queue = review_queue(answer)
        page.load(lambda: reviewing("made-up", 1), outputs=queue)
    return page


if __name__ == "__main__":
    demo().launch(css_paths=[SCRIPT.with_name("style.css")])
