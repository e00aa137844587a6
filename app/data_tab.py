"""The Data tab: the data sets, what is in them, how the model sees them; and the way in for a file."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from app.studio import Studio, on
from backend.data.readers import DELIMITERS, ENCODINGS, Source, inspect, sample_rows
from backend.data.shapes import ROLES, Mapping, Record, guess_mapping, parse_mapping
from backend.data.starter import import_starter
from backend.data.versions import DUPLICATE, Card, Check, Column, Problem, clipped
from backend.data.views import Lengths, RowTokens, row_tokens, token_lengths
from backend.errors import UserError
from backend.events import ENDED
from backend.models import STARTER, available, load_tokenizer, locate
from backend.specs import TrainingSettings
from components.length_histogram import length_histogram
from components.notices import empty, lead, problems
from components.text import escape, share
from components.token_view import token_view

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
TICK: dict[str, Any] = {**QUIET, "queue": False}
PAGE = 50  # rows
CHARACTERS_SHOWN = 500  # of a turn, in a page of rows
SETS_LISTED = 200  # the rest is found by its name
FIND_FROM = 12  # data sets from which on there is a box to find them
SLOTS = max(map(len, ROLES.values()))  # most columns a shape can ask for
FIRST_RECORDS, FIRST_PROBLEMS = 3, 5  # shown before the import
MAX_LENGTH = TrainingSettings().max_length

SHAPES = {  # label, name
    "Messages: a list of turns with role and content (OpenAI)": "messages",
    "Conversations: a list of turns with from and value (ShareGPT)": "sharegpt",
    "Instruction, input, output (Alpaca)": "alpaca",
    "Prompt and completion": "prompt_completion",
    "Plain text": "text",
}
KINDS = {"messages": "conversations", "text": "plain text"}
FORMATS = {"jsonl": "JSON Lines", "json": "JSON", "csv": "table (CSV)", "tsv": "table (TSV)", "parquet": "Parquet"}
DELIMITER_NAMES = {"\t": "tab", ",": "comma ,", ";": "semicolon ;", "|": "bar |"}
Chosen = dict[str, Any] | None  # {"id": ..., "version": ...}
Updates = tuple[Any, ...]


@dataclass(frozen=True)
class DataTab:
    """What other tabs and the page tie to."""

    chosen: gr.State  # {"id": ..., "version": ...} of the data set that is looked at, or None
    changed: gr.State  # a number that grows when a data set comes or goes; listen to its .change
    train_on_this: gr.Button
    refresh_on: Callable[[Callable[..., Any]], None]  # reads the list again: refresh_on(some_gradio_tab.select)


def data_tab(studio: Studio) -> DataTab:
    """Lay out the tab and wire it."""
    chosen, changed = gr.State(None), gr.State(0)
    lead("Bring the examples a model shall learn from, and look at them the way the model will.")
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            sets = _list_of_sets()
        with gr.Column(scale=3, min_width=560):
            with gr.Column() as looking:
                view, nothing = _view(studio), _nothing_yet()
            form = _import_form()
    pages = [looking, form.page]  # changed by clicks alone, so that nothing that comes late closes an open form
    _wire_list(studio, sets, view, nothing, pages, chosen, changed)
    _wire_view(studio, view, nothing, chosen, changed)
    _wire_import(studio, sets, form, pages, chosen, changed)

    def refresh_on(event: Callable[..., Any]) -> None:
        event(on(studio, on_refresh), [chosen, sets.find], [*sets.outputs, chosen], **QUIET)

    return DataTab(chosen, changed, view.train, refresh_on)


# ---- layout ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sets:
    """The left column. Writing rows, a table and generation get their buttons beside `import_file`."""

    picker: gr.Radio
    find: gr.Textbox
    more: gr.HTML
    import_file: gr.Button

    @property
    def outputs(self) -> list[Component]:
        return [self.picker, self.find, self.more]


def _list_of_sets() -> _Sets:
    find = gr.Textbox(
        label="Find", info="Part of a name.", placeholder="Name", visible=False, max_lines=1, elem_id="data-find",
    )
    picker = gr.Radio(
        [], label="Data sets", info="Newest first: name · version · rows · kind.", elem_id="data-sets", visible=False,
    )
    more = gr.HTML(visible=False)
    return _Sets(picker, find, more, gr.Button("Import", elem_id="data-import"))


@dataclass(frozen=True)
class _Nothing:
    page: gr.Column
    starter: gr.Button


def _nothing_yet() -> _Nothing:
    with gr.Column(visible=False, elem_id="data-nothing") as page:
        gr.HTML(empty("No data sets yet. Import a file of yours, or begin with the starter data: short answers that all keep one form."))
        with gr.Row(elem_classes="actions"):
            starter = gr.Button("Use the starter data", elem_id="data-starter")
    return _Nothing(page, starter)


@dataclass(frozen=True)
class _View:
    """A data set, looked at."""

    page: gr.Column
    heading: gr.HTML
    version: gr.Dropdown
    train: gr.Button
    delete: gr.Button
    confirmation: gr.Column
    question: gr.HTML
    really: gr.Button
    keep: gr.Button
    model: gr.Dropdown
    max_length: gr.Number
    tabs: dict[str, gr.Tab]
    rows: gr.HTML
    page_number: gr.State
    pager: gr.Row
    page_words: gr.HTML
    page_back: gr.Button
    page_on: gr.Button
    row: gr.Number
    row_back: gr.Button
    row_on: gr.Button
    row_words: gr.HTML
    tokens: gr.HTML
    lengths_words: gr.HTML
    lengths: gr.Plot
    about: gr.HTML
    open_tab: gr.State

    @property
    def page_outputs(self) -> list[Any]:
        return [self.rows, self.page_number, self.pager, self.page_words]


def _view(studio: Studio) -> _View:
    parts: dict[str, Any] = {"open_tab": gr.State("rows"), "page_number": gr.State(0)}
    with gr.Column(visible=False, elem_id="data-view") as page:
        with gr.Row(elem_classes="data-top"):
            with gr.Column(scale=3, min_width=260):
                parts["heading"] = gr.HTML(elem_id="data-heading")
            with gr.Column(scale=0, min_width=290), gr.Row(elem_classes="data-buttons"):
                parts["train"] = gr.Button("Train on this", elem_id="data-train", min_width=130)
                parts["delete"] = gr.Button("Delete", elem_id="data-delete", min_width=90)
        with gr.Column(visible=False, elem_classes="data-question") as confirmation:
            parts["question"] = gr.HTML()
            with gr.Row(elem_classes="actions"):
                parts["really"] = gr.Button("Really delete", variant="stop", elem_id="data-really-delete", min_width=160)
                parts["keep"] = gr.Button("Keep", elem_id="data-keep", min_width=90)
        with gr.Row(elem_classes="data-aligned"):
            parts["version"] = gr.Dropdown(
                label="Version", info="Saved again under one name: a new version.", filterable=False, min_width=140,
                elem_id="data-version",
            )
            parts["model"] = gr.Dropdown(
                _models(studio), value=STARTER, label="Seen by", info="The model whose tokens are counted.",
                filterable=False, min_width=140, elem_id="data-model",
            )
            parts["max_length"] = gr.Number(
                MAX_LENGTH, precision=0, label="Cut at (tokens)", info="The longest row training takes in.", min_width=140,
                elem_id="data-max-length",
            )
        with gr.Tabs(elem_id="data-tabs"):
            parts["tabs"] = {
                "rows": _rows_tab(parts), "tokens": _tokens_tab(parts), "lengths": _lengths_tab(parts), "about": _about_tab(parts),
            }  # fmt: skip
    return _View(page=page, confirmation=confirmation, **parts)


def _rows_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("Rows", id="data-tab-rows") as tab:
        parts["rows"] = gr.HTML(elem_id="data-rows")
        with gr.Row(visible=False, elem_classes="pager") as parts["pager"]:
            parts["page_back"] = gr.Button("< Previous", elem_id="data-page-back", min_width=140, scale=0)
            parts["page_words"] = gr.HTML(elem_id="data-page-words", min_width=140)
            parts["page_on"] = gr.Button("Next >", elem_id="data-page-on", min_width=140, scale=0)
    return tab


def _tokens_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("As the model sees it", id="data-tab-tokens") as tab:
        with gr.Row(elem_classes="row-picker"):
            parts["row_back"] = gr.Button("<", elem_id="data-row-back", min_width=44, scale=0)
            parts["row"] = gr.Number(1, precision=0, label="Row", info="Counted from 1.", min_width=120, scale=0, elem_id="data-row")
            parts["row_on"] = gr.Button(">", elem_id="data-row-on", min_width=44, scale=0)
            parts["row_words"] = gr.HTML(elem_id="data-row-words", min_width=200)
        parts["tokens"] = gr.HTML(elem_id="data-tokens", min_height=160)
    return tab


def _lengths_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("Lengths", id="data-tab-lengths") as tab:
        parts["lengths_words"] = gr.HTML(elem_id="data-lengths-words", min_height=24)
        parts["lengths"] = gr.Plot(show_label=False, label="Rows by length", elem_id="data-lengths")
    return tab


def _about_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("About", id="data-tab-about") as tab:
        parts["about"] = gr.HTML(elem_id="data-about")
    return tab


@dataclass(frozen=True)
class _ImportForm:
    """The way in for a file: what it is, what its columns mean, what can be used, and its name."""

    page: gr.Column
    source: gr.State  # the file as it was read last; None while nothing can be saved
    file: gr.File
    found: gr.Column
    found_words: gr.HTML
    encoding: gr.Dropdown
    delimiter: gr.Dropdown
    list_field: gr.Textbox
    header: gr.Checkbox
    meaning: gr.Column
    shape: gr.Dropdown
    columns: list[gr.Dropdown]
    preview: gr.HTML
    counts: gr.HTML
    skip: gr.Checkbox
    drop: gr.Checkbox
    name: gr.Textbox
    save: gr.Button
    cancel: gr.Button

    @property
    def reading(self) -> list[Component]:
        """How the file is read, as far as people can change it."""
        return [self.encoding, self.delimiter, self.list_field, self.header]

    @property
    def found_outputs(self) -> list[Any]:
        return [self.source, self.found, self.found_words, *self.reading, self.meaning, self.shape, *self.columns]

    @property
    def preview_outputs(self) -> list[Any]:
        return [self.preview, self.counts, self.skip, self.drop, self.save]


def _import_form() -> _ImportForm:
    source = gr.State(None)
    with gr.Column(visible=False, elem_id="data-import-form") as page:
        gr.HTML('<h2 class="data-title">Import a file</h2><p class="quiet">JSON, JSON Lines, CSV, TSV or Parquet. What it is gets '
                "judged by its content; nothing is saved before you press Save.</p>")  # fmt: skip
        file = gr.File(label="File", type="filepath", height=140, elem_id="data-file")
        found, reading = _found()
        meaning, parts = _meaning()
        with gr.Row(elem_classes="actions"):
            save = gr.Button("Save", variant="primary", interactive=False, elem_id="data-save", min_width=120, scale=0)
            cancel = gr.Button("Cancel", elem_id="data-cancel", min_width=120, scale=0)
    return _ImportForm(page=page, source=source, file=file, found=found, meaning=meaning, save=save, cancel=cancel, **reading, **parts)


def _found() -> tuple[gr.Column, dict[str, Any]]:
    with gr.Column(visible=False) as found:
        words = gr.HTML(elem_id="data-found")
        with gr.Row():
            encoding = gr.Dropdown(
                list(ENCODINGS), label="Encoding", info="Change it if letters look wrong below.", min_width=160, elem_id="data-encoding",
            )
            delimiter = gr.Dropdown(
                [(DELIMITER_NAMES[mark], mark) for mark in DELIMITERS], label="Columns are separated by", filterable=False,
                info="Change it if all stands in one column.", min_width=160, elem_id="data-delimiter",
            )
            list_field = gr.Textbox(
                label="Rows are under", info="The key of the list of rows; empty if the file is the list itself.", max_lines=1,
                min_width=160, elem_id="data-list-field",
            )
            header = gr.Checkbox(
                label="The first row names the columns", info="Untick it if the first row is an example already.", min_width=160,
                elem_id="data-header",
            )
    return found, {
        "found_words": words, "encoding": encoding, "delimiter": delimiter, "list_field": list_field, "header": header,
    }  # fmt: skip


def _meaning() -> tuple[gr.Column, dict[str, Any]]:
    with gr.Column(visible=False) as meaning:
        shape = gr.Dropdown(
            list(SHAPES.items()), value=None, label="Shape", info="How the rows are written: decides which columns are needed.",
            filterable=False, elem_id="data-shape",
        )
        with gr.Row(elem_classes="data-aligned"):
            columns = [
                gr.Dropdown([], label=f"Column {slot + 1}", info="Which column plays this part.", visible=False, min_width=220,
                            elem_id=f"data-column-{slot}")  # fmt: skip
                for slot in range(SLOTS)
            ]
        preview = gr.HTML(elem_id="data-preview", min_height=80)
        counts = gr.HTML(elem_id="data-counts", min_height=48)
        skip = gr.Checkbox(visible=False, label="Leave out", elem_id="data-skip")
        drop = gr.Checkbox(visible=False, label="Leave out exact duplicates", elem_id="data-drop")
        name = gr.Textbox(
            label="Name", info="What you will find it by. The name of a data set there is makes its next version.", max_lines=1,
            max_length=120, elem_id="data-name",
        )
    return meaning, {
        "shape": shape, "columns": columns, "preview": preview, "counts": counts, "skip": skip, "drop": drop, "name": name,
    }  # fmt: skip


# ---- wiring ----------------------------------------------------------------------------------------------------------


def _wire_list(
    studio: Studio, sets: _Sets, view: _View, nothing: _Nothing, pages: list[Any], chosen: gr.State, changed: gr.State
) -> None:
    gr.on(None, on(studio, on_open), outputs=[*sets.outputs, chosen, view.page, nothing.page], **QUIET)  # when the page opens
    changed.change(on(studio, on_refresh), [chosen, sets.find], [*sets.outputs, chosen], **QUIET)
    sets.find.change(on(studio, on_find), [chosen, sets.find], sets.outputs, trigger_mode="always_last", **QUIET)
    # unprocessed: Gradio would refuse, in words of its own, a choice that a restarted studio has not listed yet
    sets.picker.input(on(studio, on_pick), sets.picker, [chosen, *pages], preprocess=False, **QUIET)
    nothing.starter.click(on(studio, on_starter), changed, [chosen, changed], **PRIVATE)


def _wire_view(studio: Studio, view: _View, nothing: _Nothing, chosen: gr.State, changed: gr.State) -> None:
    heading = [view.heading, view.version, view.confirmation, view.row, view.about]
    shown = chosen.change(on(studio, on_show), chosen, [view.page, nothing.page, *heading, *view.page_outputs], **QUIET)
    view.version.input(on_version, [chosen, view.version], chosen, **QUIET)

    for button, step in ((view.page_back, -1), (view.page_on, +1)):
        button.click(on(studio, _turning(step)), [chosen, view.page_number], view.page_outputs, **QUIET)

    for name, tab in view.tabs.items():
        tab.select(_opening(name), outputs=view.open_tab, **QUIET)
    steps = [
        button.click(on(studio, _stepping(step)), [chosen, view.row], view.row, **QUIET)
        for button, step in ((view.row_back, -1), (view.row_on, +1))
    ]
    looks = [chosen, view.open_tab, view.model, view.max_length]
    changes: list[Any] = [shown.then, view.open_tab.change, view.model.input, view.max_length.input]
    for event in (*changes, view.row.input, *(step.then for step in steps)):
        event(
            on(studio, on_tokens), [*looks, view.row], [view.tokens, view.row_words], show_progress_on=view.tokens,
            trigger_mode="always_last", **PRIVATE,
        )
    for event in changes:
        event(
            on(studio, on_lengths), looks, [view.lengths, view.lengths_words], show_progress_on=view.lengths,
            trigger_mode="always_last", **PRIVATE,
        )

    view.delete.click(on(studio, on_ask_delete), chosen, [view.confirmation, view.question, view.really], **QUIET)
    view.keep.click(on_keep, outputs=view.confirmation, **TICK)
    view.really.click(on(studio, on_delete), [chosen, changed], [chosen, changed, view.confirmation], **PRIVATE)


def _wire_import(studio: Studio, sets: _Sets, form: _ImportForm, pages: list[Any], chosen: gr.State, changed: gr.State) -> None:
    forgotten = [form.source, form.meaning, form.save]
    sets.import_file.click(on_new_import, outputs=[*pages, form.file, form.found, *forgotten], **QUIET)
    form.cancel.click(on_cancel, outputs=pages, **QUIET)
    form.file.clear(on_no_file, outputs=[form.found, *forgotten], **TICK)

    mapping = [form.source, form.shape, *form.columns]
    chosen_by_hand = [form.encoding.input, form.delimiter.input, form.list_field.submit, form.header.input]
    read = form.file.upload(on_no_file, outputs=[form.found, *forgotten], **TICK).then(
        on(studio, on_upload), form.file, [*form.found_outputs, form.name], show_progress_on=form.file, **PRIVATE
    )
    reread = gr.on(chosen_by_hand, on_reread, outputs=forgotten, **TICK).then(
        on(studio, on_read_so), [form.file, *form.reading], form.found_outputs, show_progress_on=form.found_words, **PRIVATE
    )
    reshaped = form.shape.input(on_shape, [form.source, form.shape], form.columns, **QUIET)
    recolumned = gr.on([column.input for column in form.columns], on_column, outputs=form.save, **TICK)
    for event in (read, reread, reshaped, recolumned):
        event.success(on(studio, on_preview), mapping, form.preview_outputs, **QUIET).success(
            on(studio, on_check), mapping, [form.counts, form.skip, form.drop, form.save], show_progress_on=form.counts, **PRIVATE
        )
    form.save.click(
        on(studio, on_save), [form.source, changed, form.name, form.skip, form.drop, form.shape, *form.columns],
        [chosen, changed, *pages], show_progress_on=form.counts, **PRIVATE,
    )


# ---- the list --------------------------------------------------------------------------------------------------------


def on_open(studio: Studio) -> Updates:
    """The page opens: the list, the newest data set chosen."""
    cards = studio.datasets.list()
    chosen = _reference(cards[0]) if cards else None
    return *_listed(cards, chosen, ""), chosen, *_showing(bool(cards))


def on_refresh(studio: Studio, chosen: Chosen, find: str) -> Updates:
    """Data sets came or went, here or elsewhere: what was chosen stays chosen if it is still there."""
    cards = studio.datasets.list()
    if not any(chosen and card.id == chosen["id"] for card in cards):
        chosen = _reference(cards[0]) if cards else None
    return *_listed(cards, chosen, find), chosen


def on_find(studio: Studio, chosen: Chosen, find: str) -> Updates:
    return _listed(studio.datasets.list(), chosen, find)


def on_pick(studio: Studio, id: str | None) -> Updates:
    """One of the list is looked at; an import begun is put away."""
    return _reference(studio.datasets.card(id)) if id else None, *_importing(False)


def on_starter(studio: Studio, changed: int) -> Updates:
    return _reference(import_starter(studio.datasets)), changed + 1


def _reference(card: Card) -> Chosen:
    return {"id": card.id, "version": card.version}


def _listed(cards: Sequence[Card], chosen: Chosen, find: str) -> Updates:
    """The list, the box to find in it, and how many more there are."""
    found = [card for card in cards if (find or "").casefold() in card.name.casefold()]
    choices = [(_label(card), card.id) for card in found[:SETS_LISTED]]
    value = chosen["id"] if chosen and any(id == chosen["id"] for _, id in choices) else None
    left = len(found) - len(choices)
    words = f"{left:,} older ones are not listed; find them by name." if left else "" if found else "No name has this in it."
    return (
        gr.Radio(choices, value=value, visible=bool(choices)),
        gr.Textbox(visible=len(cards) > FIND_FROM),
        gr.HTML(f'<p class="quiet">{words}</p>', visible=bool(cards) and bool(words)),
    )


def _label(card: Card) -> str:
    return f"{card.name} · v{card.version} · {_rows(card.rows)} · {KINDS[card.record]}"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"


def _showing(a_set: bool) -> Updates:
    """A data set, or what to do where there is none."""
    return gr.Column(visible=a_set), gr.Column(visible=not a_set)


def _importing(is_open: bool) -> Updates:
    """The import form, or what is looked at."""
    return gr.Column(visible=not is_open), gr.Column(visible=is_open)


# ---- one data set ----------------------------------------------------------------------------------------------------


def on_show(studio: Studio, chosen: Chosen) -> Updates:
    """Another data set or version is looked at: everything about it, from its first row on."""
    if chosen is None:
        return *_showing(False), *[gr.skip()] * 9
    card = studio.datasets.card(**chosen)
    versions = [(f"v{number}", number) for number in reversed(studio.datasets.versions(card.id))]
    return (
        *_showing(True), _heading(card), gr.Dropdown(versions, value=card.version), gr.Column(visible=False),
        gr.Number(1, info=f"1 to {card.rows:,}."), _about(card), *_page_of(studio, chosen, 0),
    )  # fmt: skip


def on_version(chosen: Chosen, version: int) -> Chosen:
    return {**chosen, "version": version} if chosen else None


def _turning(step: int) -> Callable[..., Updates]:
    def on_turn(studio: Studio, chosen: Chosen, page: int) -> Updates:
        return _page_of(studio, chosen, page + step) if chosen else (gr.skip(),) * 4

    return on_turn


def _page_of(studio: Studio, chosen: dict[str, Any], page: int) -> Updates:
    card = studio.datasets.card(**chosen)
    pages = max(1, math.ceil(card.rows / PAGE))
    page = min(max(page, 0), pages - 1)
    records = studio.datasets.rows(card.id, card.version, offset=page * PAGE, limit=PAGE)
    first, last = page * PAGE + 1, page * PAGE + len(records)
    words = f'<p class="quiet">page {page + 1:,} of {pages:,}, rows {first:,} to {last:,} of {card.rows:,}</p>'
    return _records(records, first=first), page, gr.Row(visible=pages > 1), words


def _opening(name: str) -> Callable[[], str]:
    def on_open_tab() -> str:
        return name

    return on_open_tab


def _stepping(step: int) -> Callable[..., int]:
    def on_step(studio: Studio, chosen: Chosen, row: float | None) -> int:
        last = studio.datasets.card(**chosen).rows if chosen else 1
        return min(max(int(row or 1) + step, 1), last)

    return on_step


def on_tokens(
    studio: Studio, chosen: Chosen, open_tab: str, model: str, max_length: float | None, row: float | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by its default
) -> Updates:  # fmt: skip
    """One row as the model sees it."""
    if chosen is None or open_tab != "tokens":
        return gr.skip(), gr.skip()
    card = studio.datasets.card(**chosen)
    wrong = _wrong_numbers(max_length, row, card.rows)
    if wrong:
        return problems(wrong), ""
    tokenizer = _tokenizer(studio, model, progress)
    (record,) = studio.datasets.rows(card.id, card.version, offset=int(row) - 1, limit=1)
    tokens = row_tokens(record, tokenizer)
    html = token_view(tokens.tokens, max_length=int(max_length), count=len(tokens.encoded.ids))
    return html, _row_words(tokens, int(max_length), row=int(row), rows=card.rows)


def on_lengths(
    studio: Studio, chosen: Chosen, open_tab: str, model: str, max_length: float | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """How long the rows are, and what the limit cuts."""
    if chosen is None or open_tab != "lengths":
        return gr.skip(), gr.skip()
    wrong = _wrong_numbers(max_length)
    if wrong:
        return gr.skip(), problems(wrong)
    tokenizer = _tokenizer(studio, model, progress)
    lengths = token_lengths(
        studio.datasets, chosen["id"], chosen["version"], tokenizer, progress=lambda part: progress(part, desc="Counting tokens")
    )
    figure = length_histogram([row.tokens for row in lengths.measured], max_length=int(max_length))
    return figure, _lengths_words(lengths, int(max_length))


def _wrong_numbers(max_length: float | None, row: float | None = 1, rows: int = 1) -> list[str]:
    sentences = []
    if max_length is None or max_length < 1:
        sentences.append("The length at which rows are cut is a whole number of tokens, 1 or more. 512 is usual.")
    if row is None or not 1 <= row <= rows:
        sentences.append(f"There is no such row. Give a whole number from 1 to {rows:,}.")
    return sentences


def _tokenizer(studio: Studio, model: str, progress: gr.Progress) -> Any:
    if not studio.engine.ready.is_set():
        progress(None, desc="The engine is getting ready…")
        studio.engine.wait_until_ready()
    return load_tokenizer(locate(model, studio.workspace))


def _models(studio: Studio) -> list[tuple[str, str]]:
    return [("starter model" if name == STARTER else Path(name).name, name) for name in available(studio.workspace)]


def on_ask_delete(studio: Studio, chosen: Chosen) -> Updates:
    if chosen is None:
        return (gr.skip(),) * 3
    card = studio.datasets.card(**chosen)
    versions = len(studio.datasets.versions(card.id))
    every = "Its rows are" if versions == 1 else f"All its {versions} versions are"
    used = sum(spec_data == card.id for spec_data, _, _ in _runs(studio))
    runs = f" {used} {'run' if used == 1 else 'runs'} learnt from it: kept, but no longer to be resumed." if used else ""
    question = f'<p class="warn">{every} removed from the workspace and cannot be brought back.{runs}</p>'
    return gr.Column(visible=True), question, f"Really delete “{card.name}”?"


def on_keep() -> Any:
    return gr.Column(visible=False)


def on_delete(studio: Studio, chosen: Chosen, changed: int) -> Updates:
    if chosen is None:
        return (gr.skip(),) * 3
    busy = [name for id, name, status in _runs(studio) if id == chosen["id"] and status not in ENDED]
    if busy:
        raise UserError(f"The run {busy[0]} still learns from this data set. Stop it first, then delete the data set.")
    studio.datasets.delete(chosen["id"])
    cards = studio.datasets.list()
    return _reference(cards[0]) if cards else None, changed + 1, gr.Column(visible=False)


def _runs(studio: Studio) -> list[tuple[str | None, str, str]]:
    """(data set, name, status) of every run."""
    runs = map(studio.runs.get, studio.runs.ids())
    return [(run.spec.data.id, run.label["name"], run.status) for run in runs]


# ---- the import ------------------------------------------------------------------------------------------------------


def on_new_import() -> Updates:
    """The form, empty."""
    return *_importing(True), None, *on_no_file()


def on_cancel() -> Updates:
    return _importing(False)


def on_no_file() -> Updates:
    """What was known of a file is forgotten before another is read, so that the wrong one is never saved."""
    return gr.Column(visible=False), *on_reread()


def on_reread() -> Updates:
    """The file is about to be read differently: until then there is nothing to save."""
    return None, gr.Column(visible=False), gr.Button(interactive=False)


def on_column() -> Any:
    """Columns were chosen anew: nothing to save until they are checked."""
    return gr.Button(interactive=False)


def on_upload(studio: Studio, path: str) -> Updates:
    source = inspect(Path(path), name=Path(path).name)
    return *_found_in(source), Path(path).stem.replace("_", " ")[:120]


def on_read_so(studio: Studio, path: str | None, encoding: str, delimiter: str, list_field: str, header: bool) -> Updates:
    """The file as somebody says it is to be read."""
    if path is None:
        raise UserError("There is no file to read. Choose one.")
    source = inspect(
        Path(path), name=Path(path).name, encoding=encoding, delimiter=delimiter or None, list_field=(list_field or "").strip() or None,
        header=header,
    )  # fmt: skip
    return _found_in(source)


def _found_in(source: Source) -> Updates:
    """What a file turned out to be, and what its columns likely mean."""
    rows = sample_rows(source)
    guess = guess_mapping(rows)
    is_table = source.format in ("csv", "tsv")
    return (
        source, gr.Column(visible=True), _found_words(source),
        gr.update(value=source.encoding, visible=source.encoding is not None),
        gr.update(value=source.delimiter, visible=is_table),
        gr.Textbox(value=source.list_field or "", visible=source.format == "json"),
        gr.Checkbox(value=source.header, visible=is_table),
        gr.Column(visible=True), gr.update(value=guess.shape if guess else None), *_slots(rows, guess.shape if guess else None),
    )  # fmt: skip


def on_shape(source: Source | None, shape: str | None) -> Updates:
    return tuple(_slots(sample_rows(source), shape)) if source else (gr.skip(),) * SLOTS


def _slots(rows: list[dict[str, Any]], shape: str | None) -> list[Any]:
    """A choice of column for each part of the shape; filled in where the columns tell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    guess = guess_mapping(rows)
    likely = guess.columns if guess and guess.shape == shape else {name: name for name in names}
    roles = list(ROLES[shape].items()) if shape in ROLES else []
    slots = []
    for name, role in roles:
        choices = [(column, column) for column in names]
        choices = choices if role.required else [("none", ""), *choices]
        label = name if role.required else f"{name} (if there is one)"
        slots.append(gr.Dropdown(choices, value=likely.get(name, None if role.required else ""), label=label, info=role.help, visible=True))
    return [*slots, *[gr.Dropdown(visible=False, value=None, choices=[])] * (SLOTS - len(roles))]


def on_preview(studio: Studio, source: Source | None, shape: str | None, *columns: str | None) -> Updates:
    """The first rows as they would be saved; consent given before does not count any more."""
    reset = "", gr.Checkbox(value=False, visible=False), gr.Checkbox(value=False, visible=False), gr.Button(interactive=False)
    if source is None:
        return "", *reset
    mapping = _mapping(shape, columns)
    seen = studio.datasets.preview(source, mapping)
    return _preview(source, seen.columns, seen.records, seen.problems, _missing(shape, columns)), *reset


def on_check(
    studio: Studio, source: Source | None, shape: str | None, column_0: str | None = None, column_1: str | None = None,
    column_2: str | None = None, column_3: str | None = None, column_4: str | None = None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """Every row is gone over: how many can be used, how many not and why."""
    mapping = _mapping(shape, (column_0, column_1, column_2, column_3, column_4))
    if source is None or mapping is None:
        return (gr.skip(),) * 4
    check = studio.datasets.check(source, mapping, progress=lambda part: progress(part, desc="Going over every row"))
    bad, twice = sum(check.left_out.values()), check.notes.get(DUPLICATE, 0)
    return (
        _counts(check),
        gr.Checkbox(value=False, visible=bool(bad and check.rows), label=f"Leave out the {_rows(bad)} that cannot be used",
                    info="Saving needs your consent: nothing is left out without it."),
        gr.Checkbox(value=False, visible=twice > 0, label=f"Leave out {twice:,} exact {'duplicate' if twice == 1 else 'duplicates'}",
                    info="A row that is there twice weighs twice, and may stand in training and validation at once."),
        gr.Button(interactive=check.rows > 0),
    )  # fmt: skip


def on_save(
    studio: Studio, source: Source | None, changed: int, name: str, skip: bool, drop: bool, shape: str | None,
    column_0: str | None = None, column_1: str | None = None, column_2: str | None = None, column_3: str | None = None,
    column_4: str | None = None, progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """The rows become a version, which is then looked at."""
    if source is None:
        raise UserError("No file has been read yet. Choose one, or wait until it is read.")
    columns = (column_0, column_1, column_2, column_3, column_4)
    mapping = parse_mapping(shape or "", dict(zip(ROLES.get(shape, {}), columns, strict=False)))
    began = datetime.now(UTC)
    card = studio.datasets.import_file(
        source, mapping, name=name, skip_problems=skip, drop_duplicates=drop, progress=lambda part: progress(part, desc="Saving")
    )
    if datetime.fromisoformat(card.created) < began:
        gr.Info(f"These rows are saved already: “{escape(card.name)}”, version {card.version}.", duration=5)
    return _reference(card), changed + 1, *_importing(False)


def _mapping(shape: str | None, columns: Sequence[str | None]) -> Mapping | None:
    """The mapping on the form; None while something is missing."""
    if shape not in ROLES or _missing(shape, columns):
        return None
    return parse_mapping(shape, dict(zip(ROLES[shape], columns, strict=False)))


def _missing(shape: str | None, columns: Sequence[str | None]) -> list[str]:
    """What is still to be chosen, in sentences."""
    if shape not in ROLES:
        return ["What the columns mean is not clear. Choose the shape, then a column for each of its parts."]
    parts = zip(ROLES[shape].items(), columns, strict=False)
    return [f"Choose the column for {name}." for (name, role), column in parts if role.required and not column]


# ---- words and pictures ----------------------------------------------------------------------------------------------


def _heading(card: Card) -> str:
    return (
        f'<h2 class="data-title">{escape(card.name)}</h2><p class="quiet">version {card.version} · {_rows(card.rows)} · '
        f"{escape(_shape_words(card.shape))} · from {escape(card.source.get('file', 'elsewhere'))}</p>"
    )


def _shape_words(shape: str) -> str:
    return next((label for label, name in SHAPES.items() if name == shape), shape).split(":")[0]


def _records(records: Sequence[Record], *, first: int) -> str:
    """Rows as cards: who says what. Each text is cut to be shown."""
    cards = (_record(record, number) for number, record in enumerate(records, first))
    note = f"Texts are shown up to {CHARACTERS_SHOWN} characters. The whole row stands under “As the model sees it”."
    below = f'<p class="quiet">{note}</p>' if any(clipped(record, max_chars=CHARACTERS_SHOWN) != record for record in records) else ""
    return f'<div class="data-rows" tabindex="0" role="group" aria-label="Rows">{"".join(cards)}</div>{below}'


def _record(record: Record, number: int | None) -> str:
    short = clipped(record, max_chars=CHARACTERS_SHOWN)
    turns = short["messages"] if "messages" in short else [{"role": "text", "content": short["text"]}]
    said = "".join(
        f'<dt class="data-role">{escape(turn["role"])}</dt><dd class="plain-text" dir="auto">{escape(turn["content"])}</dd>' for turn in turns
    )
    left = len(record["messages"]) - len(turns) if "messages" in record else 0
    more = f'<p class="quiet">and {left:,} more turns</p>' if left else ""
    label = f'<span class="data-number number">{number:,}</span>' if number else ""
    return f'<div class="data-row">{label}<div><dl>{said}</dl>{more}</div></div>'


def _row_words(tokens: RowTokens, max_length: int, *, row: int, rows: int) -> str:
    count, trained = len(tokens.encoded.ids), tokens.encoded.trained_count
    words = f"row {row:,} of {rows:,} · trained {trained:,} of {count:,} tokens"
    if count <= max_length:
        return f'<p class="number">{words}</p>'
    kept, lost = tokens.trained_within(max_length), count - max_length
    cut = f"{share(lost, count)} of the row is cut; {kept:,} of {trained:,} trained tokens are left"
    none = " Nothing is left to learn from: training leaves this row out." if kept == 0 else ""
    return f'<p class="number">{words}</p><p class="warn">{cut}.{none}</p>'


def _lengths_words(lengths: Lengths, max_length: int) -> str:
    measured, cut, lost = len(lengths.measured), lengths.cut_rows(max_length), lengths.lost_rows(max_length)
    of = f"{measured:,} rows spread evenly over all {lengths.rows:,}" if lengths.is_sample else _rows(measured)
    longest = max((row.tokens for row in lengths.measured), default=0)
    if not cut:
        return f'<p>None of {of} is cut at {max_length:,} tokens. The longest has {longest:,}.</p>'
    tokens = share(lengths.cut_tokens(max_length), lengths.tokens)
    sentence = f"{cut:,} of {of} ({share(cut, measured)}) are cut at {max_length:,} tokens, and with them {tokens} of all tokens."
    none = f' <span class="warn">Of {_rows(lost)} nothing to learn from is left.</span>' if lost else ""
    return f"<p>{sentence} The longest has {longest:,}.{none}</p>"


def _about(card: Card) -> str:
    source = card.source
    mapping = (source.get("mapping") or {}).get("columns") or {}
    lines = {
        "File": source.get("file"),
        "Format": FORMATS.get(source.get("format", ""), source.get("format")),
        "Encoding": source.get("encoding"),
        "Columns separated by": DELIMITER_NAMES.get(source.get("delimiter") or "", source.get("delimiter")),
        "Rows were under": source.get("list_field"),
        "Shape": _shape_words(card.shape),
        "Columns": ", ".join(f"{role} from “{column}”" for role, column in mapping.items()),
        "Rows": f"{card.rows:,}",
        "Left out": _tally(card.left_out),
        "Worth a look": _tally(card.notes),
        "Saved": _moment(card.created),
        "SHA-256 of the rows": card.sha256,
    }
    items = "".join(f"<dt>{label}</dt><dd>{escape(value)}</dd>" for label, value in lines.items() if value)
    return f'<div class="card data-about"><h3>Where it comes from</h3><dl>{items}</dl></div>'


def _tally(reasons: dict[str, int]) -> str:
    return "; ".join(f"{reason} ({_rows(count)})" for reason, count in reasons.items()) or "none"


def _moment(created: str) -> str:
    return datetime.fromisoformat(created).astimezone().strftime("%d %B %Y, %H:%M")


def _found_words(source: Source) -> str:
    return (
        f'<h3 class="section-title">What was found</h3><p class="plain-text">{escape(source.name)}: '
        f"{FORMATS[source.format]}, {source.size:,} bytes.</p>"
    )


def _preview(source: Source, columns: list[Column], records: list[Record], bad: list[Problem], missing: list[str]) -> str:
    parts = ['<h3 class="section-title">Columns</h3>', _columns_table(columns)]
    parts += [problems(missing)] if missing else []
    if records:
        shown = records[:FIRST_RECORDS]
        parts += ['<h3 class="section-title">The first rows, as they would be saved</h3>', '<div class="data-rows data-few">']
        parts += [*(_record(record, None) for record in shown), "</div>"]
    if bad:
        sentences = [f"Row {problem.number:,} {problem.reason}. It begins: {problem.text[:120]}" for problem in bad[:FIRST_PROBLEMS]]
        parts += [f'<h3 class="section-title">The first rows of {escape(source.name)} that cannot be used</h3>', problems(sentences)]
    return "".join(parts)


def _columns_table(columns: list[Column]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(column.name)}</th><td>{escape(_kinds(column))}</td>'
        f'<td dir="auto"><div>{escape(column.sample)}</div></td></tr>'
        for column in columns[:50]
    )
    left = f'<p class="quiet">and {len(columns) - 50:,} more columns</p>' if len(columns) > 50 else ""
    head = '<tr><th scope="col">column</th><th scope="col">holds, in the first rows</th><th scope="col">for example</th></tr>'
    return f'<table class="data-columns"><thead>{head}</thead><tbody>{rows}</tbody></table>{left}'


def _kinds(column: Column) -> str:
    if len(column.kinds) == 1:
        return next(iter(column.kinds))
    return ", ".join(f"{kind} {count}×" for kind, count in column.kinds.items())


def _counts(check: Check) -> str:
    """What an import would take, leave out and note."""
    bad = sum(check.left_out.values())
    good = f'<p><span class="good">{check.rows:,} of {_rows(check.rows + bad)}</span> can be used.</p>'
    sentences = [f"Cannot be used: {reason} ({_rows(count)})." for reason, count in check.left_out.items()]
    sentences += [f"Worth a look: {reason} ({_rows(count)})." for reason, count in check.notes.items()]
    if not check.rows:
        sentences.append("None of the rows can be used like this. Check shape and columns above.")
    if check.rows == 1:
        sentences.append("It is one row only: none can be held out to see whether the model learns.")
    return good + (problems(sentences) if sentences else "")
