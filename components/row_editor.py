"""Rows of a draft as cards one writes in, a page at a time; every change goes to `answer` at once.

    editor = row_editor(answer, guidelines=Guidelines, elem_id="rows")    answer(request) -> dict, called from the page
    button.click(lambda: opened("cats-1f"), outputs=editor)
    editor.submit(on_save, editor, ...)              the version shall be saved; its value says whether rows are left out
    editor.described(on_described, editor, ...)      the draft may have another name

What it asks, `app/data/row_requests.py` answers. The draft's name, who writes and the writing guidelines are kept in the same
way as the rows: Gradio's own fields do not tell of what is pasted by mouse. The page part is `assets/row_editor.js` and `assets/row_card.js`, its looks `assets/row_editor.css`. Texts are set as text. See it with
`python -m components.row_editor`.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr
from pydantic import BaseModel

from components.text import escape

ASSETS = Path(__file__).parents[1] / "assets"
ROW_EDITOR_CSS = ASSETS / "row_editor.css"


class Opened(TypedDict):
    """The value: which draft is open. A new serial makes the page read it again."""

    draft: str | None
    serial: int
    leave_out: bool  # of `submit`: rows that cannot be learnt from yet are left out


_serials = itertools.count(time.time_ns() // 1_000_000)  # begins at the clock, so that a page left open outlives a restart


def row_editor(answer: Callable[[dict[str, Any]], dict[str, Any]], *, guidelines: type[BaseModel], elem_id: str) -> gr.HTML:
    """The editor, without a draft; give it `opened(...)` as its value. Each field of `guidelines` is a text beside the rows."""

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        return answer(request)

    return gr.HTML(
        opened(None), elem_id=elem_id,  # type: ignore[arg-type]
        # Gradio runs `${...}` that it finds in templates, so this one is constant and data only comes through `ask`.
        html_template=_TEMPLATE.replace("GUIDELINES", _guidelines(guidelines)), js_on_load=_script(), apply_default_css=False, server_functions=[ask],
    )


def _script() -> str:
    """The page part: the row first, then the editor, which uses it at once."""
    return "".join((ASSETS / name).read_text(encoding="utf-8") for name in ("row_card.js", "row_editor.js"))


def _guidelines(model: type[BaseModel]) -> str:
    """A text field for each part of the guidelines."""
    return "".join(
        f'<label>{escape(field.title)}<span class="row-editor-help">{escape(field.description)}</span>'
        f'<textarea data-guideline="{name}" rows="2" placeholder=" "></textarea></label>'
        for name, field in model.model_fields.items()
    )


def opened(draft: str | None) -> Opened:
    """The value that opens a draft, or reads it again."""
    return {"draft": draft, "serial": next(_serials), "leave_out": False}


_TEMPLATE = """
<div class="row-editor">
<div class="row-editor-about">
  <label>Name <span class="row-editor-help">Another name renames the data set with its next version.</span>
    <input data-part="name" maxlength="120"></label>
  <label>Written by <span class="row-editor-help">Stands at each row you write. Empty names nobody.</span>
    <input data-part="author" maxlength="120"></label>
</div>
<div class="row-editor-columns">
<div class="row-editor-main">
  <div class="row-editor-bar" role="toolbar" aria-label="The draft">
    <button type="button" data-part="add" title="Ctrl+Enter in a row">Add a row</button>
    <button type="button" data-part="undo" title="Ctrl+Z outside of a text">Undo</button>
    <button type="button" data-part="redo" title="Ctrl+Shift+Z outside of a text">Redo</button>
    <button type="button" data-part="paste" aria-expanded="false">Paste rows</button>
    <span class="row-editor-saved" data-part="saved" role="status"></span>
    <button type="button" data-part="save" class="row-editor-primary">Save version</button>
  </div>
  <section class="row-editor-panel" data-part="paste-panel" aria-label="Paste rows" hidden>
    <label>Cells from a spreadsheet
      <span class="row-editor-help" data-part="paste-help"></span>
      <textarea data-part="paste-text" rows="4"></textarea></label>
    <p data-part="paste-words" role="status"></p>
    <div class="row-editor-buttons">
      <button type="button" data-part="paste-add" disabled>Add rows</button>
      <button type="button" data-part="paste-inside" hidden>Put it into the field as text</button>
      <button type="button" data-part="paste-close">Close</button>
    </div>
  </section>
  <section class="row-editor-panel row-editor-warning" data-part="check-panel" aria-label="Unfinished rows" tabindex="-1" hidden>
    <p data-part="check-words"></p>
    <ul data-part="check-rows"></ul>
    <div class="row-editor-buttons">
      <button type="button" data-part="check-leave-out">Leave them out and save</button>
      <button type="button" data-part="check-close">Go on writing</button>
    </div>
  </section>
  <div class="row-editor-panel row-editor-warning" data-part="notice" role="alert" hidden>
    <p data-part="notice-words"></p>
    <div class="row-editor-buttons">
      <button type="button" data-part="notice-do" hidden></button>
      <button type="button" data-part="notice-close">Close</button>
    </div>
  </div>
  <div class="row-editor-find" role="search" aria-label="Find rows">
    <label>Search <input type="search" data-part="words" placeholder="Words in a row"></label>
    <label>Tag <select data-part="tag"></select></label>
    <label>Made <select data-part="how"></select></label>
    <label class="row-editor-tick"><input type="checkbox" data-part="unfinished"> Unfinished only</label>
  </div>
  <div class="row-editor-many" role="toolbar" aria-label="Ticked rows" data-part="many" hidden>
    <label class="row-editor-tick"><input type="checkbox" data-part="tick-page"> All on this page</label>
    <button type="button" data-part="tick-found" hidden></button>
    <span data-part="ticked" role="status"></span>
    <span class="row-editor-buttons" data-part="many-buttons" hidden>
      <button type="button" data-part="many-duplicate">Duplicate</button>
      <button type="button" data-part="many-delete">Delete</button>
      <input data-part="many-tag-text" placeholder="Tag" aria-label="Tag for the ticked rows" maxlength="60">
      <button type="button" data-part="many-tag">Tag</button>
      <button type="button" data-part="many-untag">Untag</button>
    </span>
  </div>
  <datalist data-part="tags"></datalist>
  <ol class="row-editor-rows" data-part="rows" aria-label="Rows"></ol>
  <p class="empty" data-part="empty" hidden></p>
  <div class="row-editor-pager" data-part="pager" hidden>
    <button type="button" data-part="back">&lt; Previous</button>
    <span data-part="page-words"></span>
    <button type="button" data-part="on">Next &gt;</button>
  </div>
</div>
<details class="row-editor-guidelines" open>
  <summary>Writing guidelines</summary>
  <p class="row-editor-help">They belong to the data set, and go with each version.</p>
  <p class="row-editor-help row-editor-narrow">They are written on a wider screen.</p>
  GUIDELINES
</details>
</div>
</div>
"""


# The demo: three rows that live in this page alone.


def demo() -> gr.Blocks:
    """A page with a draft in memory: rows can be added and edited."""
    from backend.data.guidelines import Guidelines

    rows = [_demo_row(number) for number in (1, 2, 3)]

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "add":
            rows.append(_demo_row(len(rows) + 1))
        if request["do"] == "edit":
            row = next(row for row in rows if row["id"] == request["row"])
            row.update(record=request["record"], revision=row["revision"] + 1)
            return {"row": row, "undo": None, "redo": None}
        shown = [{**row, "number": number} for number, row in enumerate(rows, start=1)]
        return {
            "name": "Demo", "author": "Ada", "guidelines": {}, "record": "messages", "undo": None, "redo": None, "there": len(rows), "rows": shown, "page": 0, "pages": 1,
            "found": len(rows), "unfinished": 0, "tags": [], "hows": [("hand", len(rows))],
        }  # fmt: skip

    with gr.Blocks(title="Rows", analytics_enabled=False) as page:
        editor = row_editor(answer, guidelines=Guidelines, elem_id="demo")
        page.load(lambda: opened("demo"), outputs=editor)
    return page


def _demo_row(number: int) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"Question {number}"}, {"role": "assistant", "content": ""}]
    return {
        "id": number, "number": number, "revision": 0, "record": {"messages": turns}, "long": False, "how": "hand", "author": "Ada",
        "tags": [], "problem": None,
    }  # fmt: skip


if __name__ == "__main__":
    demo().launch(css_paths=[ASSETS / "style.css", ROW_EDITOR_CSS], ssr_mode=False, server_name="127.0.0.1")
