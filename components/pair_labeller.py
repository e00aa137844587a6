"""Answers to choose between, one item after the other, by mouse or by key: 1 and 2 pick, 3 is a tie, 4 both bad.

    labeller = pair_labeller(answer)              answer(request) -> dict, called from the page (see app/label/labelling.py)
    batch.change(lambda: labelling("first-round-1a2b3c", "ada", 1), outputs=labeller)

Three to nine answers are put in order instead: by their numbers, best first, or dragged. The page part is
`assets/pair_labeller.js`; texts are set as text. See it with `python -m components.pair_labeller`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "pair_labeller.js"


class Labelling(TypedDict):
    """The value: which batch is labelled by whom, and a number that changes when the page shall ask again."""

    batch: str | None
    annotator: str
    serial: int


def pair_labeller(answer: Callable[[dict[str, Any]], dict[str, Any]], *, elem_id: str = "pair-labeller") -> gr.HTML:
    """The screen, empty; give it `labelling(...)` as its value."""

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        return answer(request)

    return gr.HTML(
        labelling(None, "", 0), elem_id=elem_id, html_template=_TEMPLATE,  # type: ignore[arg-type]
        js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False, server_functions=[ask],
    )


def labelling(batch: str | None, annotator: str, serial: int) -> Labelling:
    """The value that shows somebody the next item of a batch."""
    return {"batch": batch, "annotator": annotator, "serial": serial}


# Gradio runs `${...}` that it finds in templates, so this one is constant and data only comes through `ask`.
_TEMPLATE = """
<section class="labeller" aria-label="Answers to choose between">
  <p class="empty" data-part="empty">Nothing to label here yet. Choose a batch above, or begin one.</p>
  <div class="labeller-work" data-part="work" hidden>
    <div class="labeller-head">
      <h3 data-part="question"></h3>
      <p><strong class="number" data-part="progress"></strong> <span class="quiet number" data-part="pace"></span>
        <span class="quiet" data-part="who"></span></p>
      <button type="button" data-do="guidelines" aria-controls="labeller-pane" aria-expanded="false">Guidelines <kbd>G</kbd></button>
    </div>
    <progress data-part="bar" aria-label="Items done" max="1" value="0"></progress>
    <p class="labeller-spoken" role="status" data-part="spoken"></p>
    <ul class="problems" role="alert" data-part="problems" hidden></ul>
    <p class="labeller-note" role="status" data-part="note" hidden></p>
    <div class="labeller-desk">
      <div class="labeller-main">
        <div class="labeller-item" data-part="item">
          <div class="labeller-stage">
            <div class="labeller-prompt" role="group" aria-label="What was asked" tabindex="0" data-part="prompt"></div>
            <div class="labeller-answers" data-part="answers"></div>
          </div>
          <div class="labeller-bar">
            <div class="labeller-order" data-part="ranking" hidden>
              <span data-part="order-title">Your order</span>
              <ol aria-label="Your order, the best first" data-part="order"></ol>
              <span class="quiet" data-part="order-hint"></span>
            </div>
            <div class="labeller-strength" role="group" aria-label="How much better" data-part="strength">
              <span>How much better? <span class="quiet">May stay open; press it before you choose.</span></span>
              <button type="button" data-strength="1" aria-pressed="false">A little <kbd>Q</kbd></button>
              <button type="button" data-strength="2" aria-pressed="false">Clearly <kbd>W</kbd></button>
              <button type="button" data-strength="3" aria-pressed="false">Much <kbd>E</kbd></button>
            </div>
            <div class="labeller-buttons" role="group" aria-label="What you say of it">
              <button type="button" class="labeller-first" data-do="first"><kbd>1</kbd> Answer 1 is better</button>
              <button type="button" class="labeller-confirm" data-do="confirm">Keep this order <kbd>Enter</kbd></button>
              <button type="button" data-do="tie">Equally good <kbd>3</kbd></button>
              <button type="button" data-do="equal">As good as the one before <kbd>=</kbd></button>
              <button type="button" data-do="bad"><span data-part="bad-words">Both bad</span> <kbd data-part="bad-key">4</kbd></button>
              <button type="button" data-do="skip">Skip <kbd>S</kbd></button>
              <button type="button" data-do="undo">Undo <kbd>U</kbd></button>
              <button type="button" class="labeller-second" data-do="second">Answer 2 is better <kbd>2</kbd></button>
            </div>
          </div>
          <p class="quiet">The keys work while you are not typing. Some items come a second time, to see how steady a judgement is.</p>
        </div>
        <div class="empty" data-part="done" hidden>
          <p data-part="done-words"></p>
          <div class="labeller-buttons">
            <button type="button" data-do="again">Look again</button>
            <button type="button" data-do="back">Undo <kbd>U</kbd></button>
          </div>
        </div>
      </div>
      <aside class="labeller-pane" id="labeller-pane" aria-label="Guidelines" data-part="pane" hidden>
        <h4>Guidelines</h4>
        <p class="plain-text" dir="auto" tabindex="0" data-part="guidelines"></p>
        <label class="labeller-writing" data-part="writing" hidden>What makes an answer better
          <textarea rows="10" maxlength="20000" dir="auto" data-part="written"></textarea>
          <span class="quiet">Everybody who labels this batch reads this. Ctrl+Enter saves, Escape leaves it as it was.</span></label>
        <div class="labeller-buttons">
          <button type="button" data-do="edit">Edit</button>
          <button type="button" data-do="save">Save</button>
          <button type="button" data-do="leave">Leave as it was</button>
        </div>
      </aside>
    </div>
  </div>
</section>
"""


def demo() -> gr.Blocks:
    """A page with a pair, four answers to put in order, and a pair again; what is said is forgotten at once."""
    said: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "vote":
            said.append(request["verdict"])
        if request["do"] == "undo" and said:
            said.pop()
        number, total = len(said), 3
        answers = [[{"role": "assistant", "content": f"Answer number {n}. " * 12}] for n in range(4 if number == 1 else 2)]
        item = {"number": number, "prompt": [{"role": "user", "content": "How do I descale a kettle?"}], "answers": answers}
        return {
            "item": item if number < total else None, "turn": number, "guidelines": "Prefer the shorter answer.", "done": number,
            "skipped": 0, "total": total, "left": total - number, "with_others": 0, "progress": f"{number} of {total} done", "pace": "",
            "note": "", "problems": [],
        }  # fmt: skip

    with gr.Blocks(title="A pair labeller", analytics_enabled=False) as page:
        labeller = pair_labeller(answer)
        page.load(lambda: labelling("made-up", "ada", 1), outputs=labeller)
    return page


if __name__ == "__main__":
    demo().launch(css_paths=[SCRIPT.with_name("style.css"), SCRIPT.with_name("label.css")])
