"""Rows written and edited by hand: a draft that is saved as it is typed, and made a version when it is ready.

`write_page` lays it out and `wire_write_page` ties it. The draft itself, its rows and the writing guidelines beside them, is a
component of its own, which asks `app/data/row_requests.py`.
"""

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from app.data.desk import LOOK, Chosen, Desk, Updates, to_look
from app.data.row_requests import answer
from app.data.view import reference
from app.event_options import PRIVATE, QUIET, TICK
from app.studio import Studio, on
from backend.data.drafts import Draft
from backend.data.guidelines import Guidelines
from backend.errors import UserError
from components.row_editor import Opened, opened, row_editor
from components.text import escape, rows_in_words

KINDS = {"Conversations: questions and answers": "messages", "Plain text: documents to go on from": "text"}


@dataclass(frozen=True)
class WritePage:
    """First a draft is chosen or begun, then it is written in."""

    column: gr.Column
    choosing: gr.Column
    there: gr.Column
    drafts: gr.Radio
    go_on: gr.Button
    new_name: gr.Textbox
    kind: gr.Radio
    begin: gr.Button
    cancel: gr.Button
    writing: gr.Column
    heading: gr.HTML
    behind: gr.Column
    behind_words: gr.HTML
    take_newest: gr.Button
    newest_question: gr.Column
    really_take_newest: gr.Button
    keep_mine: gr.Button
    editor: gr.HTML
    saving: gr.HTML
    close: gr.Button
    discard: gr.Button
    discard_question: gr.Column
    really_discard: gr.Button
    keep: gr.Button

    @property
    def chooser(self) -> list[Any]:
        """What is filled when a draft is to be chosen."""
        return [self.choosing, self.writing, self.there, self.drafts, self.new_name]

    @property
    def opening(self) -> list[Any]:
        """What is filled when a draft is opened."""
        return [
            self.choosing, self.writing, self.editor, self.heading, self.behind, self.behind_words, self.newest_question,
            self.discard_question, self.saving,
        ]  # fmt: skip


def write_page(studio: Studio) -> WritePage:
    """Lay out the page, hidden until somebody opens it."""

    def draft_answer(request: dict[str, Any]) -> dict[str, Any]:
        return answer(studio.drafts, request)

    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="data-write-page") as column:
        with gr.Column(elem_id="write-choosing") as choosing:
            _choosing(parts)
        with gr.Column(visible=False, elem_id="write-writing") as writing:
            _writing_head(parts)
            parts["editor"] = row_editor(draft_answer, guidelines=Guidelines, elem_id="row-editor")
            _writing_foot(parts)
    return WritePage(column=column, choosing=choosing, writing=writing, **parts)


def wire_write_page(studio: Studio, page: WritePage, desk: Desk, *, begin: gr.Button, edit: gr.Button) -> None:
    """Tie the page to the desk and to the buttons that open it."""
    begin.click(on(studio, on_choose), outputs=[desk.place, *page.chooser], **QUIET)
    edit.click(on(studio, on_edit), desk.chosen, [desk.place, *page.opening], show_progress_on=edit, **PRIVATE)
    page.go_on.click(on(studio, on_open), page.drafts, page.opening, **QUIET)
    gr.on(
        [page.begin.click, page.new_name.submit], on(studio, on_begin), [page.new_name, page.kind], page.opening,
        api_visibility="private",
    )
    for button in (page.cancel, page.close):
        button.click(to_look, outputs=desk.place, **QUIET)
    page.editor.described(on(studio, on_described), page.editor, page.heading, **QUIET)
    _wire_questions(studio, page)
    page.editor.submit(
        on(studio, on_save), [page.editor, desk.changed], [desk.chosen, desk.changed, desk.place], show_progress_on=page.saving, **PRIVATE
    )


# ---- layout ----------------------------------------------------------------------------------------------------------


def _choosing(parts: dict[str, Any]) -> None:
    """The drafts there are, and a new one."""
    gr.HTML('<h2 class="data-title">Write rows</h2><p class="quiet">You write in a draft, which is saved as you type. A version to '
            "learn from is made when you say so.</p>")  # fmt: skip
    with gr.Column(visible=False) as parts["there"]:
        parts["drafts"] = gr.Radio(
            [], label="Go on with a draft", info="The one changed last stands first.", elem_id="write-drafts", elem_classes="write-drafts"
        )
        with gr.Row(elem_classes="actions"):
            parts["go_on"] = gr.Button("Go on writing", elem_id="write-go-on", min_width=140, scale=0)
        gr.HTML('<h3 class="section-title">Or begin a new one</h3>')
    parts["new_name"] = gr.Textbox(
        label="Name", info="What you will find the data set by.", placeholder="Questions about cats", max_lines=1, max_length=120,
        elem_id="write-new-name",
    )
    parts["kind"] = gr.Radio(
        list(KINDS.items()), value="messages", label="Kind of rows", elem_id="write-kind",
        info="Conversations teach answering. Plain text teaches a manner of writing, or facts.",
    )
    with gr.Row(elem_classes="actions"):
        parts["begin"] = gr.Button("Begin", variant="primary", elem_id="write-begin", min_width=120, scale=0)
        parts["cancel"] = gr.Button("Cancel", elem_id="data-write-cancel", min_width=120, scale=0)


def _writing_head(parts: dict[str, Any]) -> None:
    """What is written on, and whether it is behind."""
    parts["heading"] = gr.HTML(elem_id="write-heading")
    with gr.Column(visible=False, elem_classes="data-question", elem_id="write-behind") as parts["behind"]:
        parts["behind_words"] = gr.HTML()
        with gr.Row(elem_classes="actions"):
            parts["take_newest"] = gr.Button("Take the newest version", elem_id="write-take-newest", min_width=200)
        with gr.Column(visible=False) as parts["newest_question"]:
            gr.HTML('<p class="warn">What you changed in this draft is lost, and cannot be brought back.</p>')
            with gr.Row(elem_classes="actions"):
                parts["really_take_newest"] = gr.Button(
                    "Really take it", variant="stop", elem_id="write-really-take-newest", min_width=160
                )
                parts["keep_mine"] = gr.Button("Keep my draft", min_width=140)


def _writing_foot(parts: dict[str, Any]) -> None:
    parts["saving"] = gr.HTML(elem_id="write-saving", min_height=32)
    with gr.Row(elem_classes="actions"):
        parts["close"] = gr.Button("Close", elem_id="write-close", min_width=120, scale=0)
        parts["discard"] = gr.Button("Discard this draft", elem_id="write-discard", min_width=160, scale=0)
    with gr.Column(visible=False, elem_classes="data-question") as parts["discard_question"]:
        gr.HTML('<p class="warn">The draft and everything in it that no version has are removed, and cannot be brought back. '
                "Versions saved from it stay.</p>")  # fmt: skip
        with gr.Row(elem_classes="actions"):
            parts["really_discard"] = gr.Button("Really discard", variant="stop", elem_id="write-really-discard", min_width=160)
            parts["keep"] = gr.Button("Keep", min_width=90)


# ---- wiring ----------------------------------------------------------------------------------------------------------


def _wire_questions(studio: Studio, page: WritePage) -> None:
    """What cannot be undone is asked twice."""
    for ask, question in ((page.take_newest, page.newest_question), (page.discard, page.discard_question)):
        ask.click(on_ask, outputs=question, **TICK)
    for keep, question in ((page.keep_mine, page.newest_question), (page.keep, page.discard_question)):
        keep.click(on_keep, outputs=question, **TICK)
    page.really_take_newest.click(on(studio, on_take_newest), page.editor, page.opening, show_progress_on=page.behind_words, **PRIVATE)
    page.really_discard.click(on(studio, on_discard), page.editor, [page.editor, *page.chooser], **PRIVATE)


# ---- choosing --------------------------------------------------------------------------------------------------------


def on_choose(studio: Studio) -> Updates:
    """The drafts there are, and a new one."""
    return "write", *_chooser(studio)


def _chooser(studio: Studio) -> Updates:
    drafts = studio.drafts.list()
    choices = [(_label(draft), draft.id) for draft in drafts]
    return (
        gr.Column(visible=True), gr.Column(visible=False), gr.Column(visible=bool(drafts)),
        gr.Radio(choices, value=drafts[0].id if drafts else None), "",
    )  # fmt: skip


def on_begin(studio: Studio, name: str, kind: str) -> Updates:
    """A new draft."""
    if any(card.name == name.strip() for card in studio.datasets.list()):
        raise UserError(f'There is a data set named "{name.strip()}" already. Choose another name; or look at it and press Edit rows.')
    return _opened(studio, studio.drafts.begin(name, kind, author=_author(studio)))  # type: ignore[arg-type]


def on_open(studio: Studio, id: str | None) -> Updates:
    """A draft that is there."""
    if id is None:
        raise UserError("No draft is chosen. Choose one of the list, or begin a new one.")
    return _opened(studio, studio.drafts.get(id))


def on_edit(studio: Studio, chosen: Chosen, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
    """The draft of the data set that is looked at; its newest version becomes one where there is none."""
    if chosen is None:
        raise UserError("No data set is chosen. Pick one in the list.")
    draft = studio.drafts.of_dataset(
        studio.datasets, chosen["id"], author=_author(studio), progress=lambda part: progress(part, desc="Copying the rows")
    )
    return "write", *_opened(studio, draft)


def _author(studio: Studio) -> str:
    """Who wrote last; at first whoever this machine says is at it."""
    try:
        return studio.drafts.last_author() or getpass.getuser()
    except (OSError, KeyError):  # a container may know nobody
        return ""


# ---- writing ---------------------------------------------------------------------------------------------------------


def _opened(studio: Studio, draft: Draft) -> Updates:
    behind = _behind_words(studio, draft)
    return (
        gr.Column(visible=False), gr.Column(visible=True), opened(draft.id), _heading(draft), gr.Column(visible=bool(behind)), behind,
        gr.Column(visible=False), gr.Column(visible=False), "",
    )  # fmt: skip


def on_described(studio: Studio, editor: Opened) -> str:
    """The draft may have another name."""
    return _heading(_draft(studio, editor))


def on_save(
    studio: Studio, editor: Opened, changed: int, progress: gr.Progress = gr.Progress()  # noqa: B008
) -> Updates:  # fmt: skip
    """The draft becomes a version, which is then looked at."""
    began = datetime.now(UTC)
    card = studio.drafts.save(
        _draft(studio, editor).id, studio.datasets, leave_out=editor["leave_out"], progress=lambda part: progress(part, desc="Saving")
    )
    if datetime.fromisoformat(card.created) < began:
        gr.Info(f"Nothing has changed since version {card.version} of “{escape(card.name)}”: it is shown.", duration=5)
    return reference(card), changed + 1, LOOK


def on_ask() -> Any:
    return gr.Column(visible=True)


def on_keep() -> Any:
    return gr.Column(visible=False)


def on_take_newest(studio: Studio, editor: Opened, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
    """The draft anew, from the newest version."""
    draft = _draft(studio, editor)
    assert draft.dataset, "a draft that is behind is of a data set"
    newest = studio.drafts.of_dataset(
        studio.datasets, draft.dataset, author=draft.author, anew=True, progress=lambda part: progress(part, desc="Copying the rows")
    )
    return _opened(studio, newest)


def on_discard(studio: Studio, editor: Opened) -> Updates:
    studio.drafts.discard(_draft(studio, editor).id)
    return opened(None), *_chooser(studio)


def _draft(studio: Studio, editor: Opened) -> Draft:
    """The draft that is open. Raises `UserError` where none is, or it was discarded elsewhere."""
    if not editor["draft"]:
        raise UserError("No draft is open. Press Write and choose one.")
    return studio.drafts.get(editor["draft"])


# ---- words -----------------------------------------------------------------------------------------------------------


def _label(draft: Draft) -> str:
    kind = "conversations" if draft.record == "messages" else "plain text"
    of = f"from v{draft.version}" if draft.version else "new"
    return f"{draft.name} · {rows_in_words(draft.rows)} · {kind} · {of} · {_when(draft.changed)}"


def _heading(draft: Draft) -> str:
    of = f"begun from version {draft.version}" if draft.version else "a new data set"
    return f'<h2 class="data-title">{escape(draft.name)}</h2><p class="quiet">A draft, {of}. Every change is saved at once.</p>'


def _behind_words(studio: Studio, draft: Draft) -> str:
    """That the data set has gone on without this draft; nothing where it has not."""
    if draft.dataset is None or not any(card.id == draft.dataset for card in studio.datasets.list()):
        return ""
    newest = studio.datasets.card(draft.dataset)
    if newest.version == draft.version:
        return ""
    return (
        f"<p>This draft was begun from version {draft.version}; the newest is version {newest.version}. Saving makes your draft the "
        "version after it, without what the newest changed.</p>"
    )


def _when(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%d %B, %H:%M")
