"""The way in for files: found out, columns given a meaning, every row gone over, then saved as a version.

`import_page` lays it out and `wire_import_page` ties it; what it saves is chosen, to be looked at.
"""

import math
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from app.data.desk import LOOK, Desk, Updates
from app.data.stops import Stops
from app.data.view import DELIMITER_NAMES, SHAPES, record_card, reference
from app.event_options import PRIVATE, QUIET, TICK
from app.studio import Studio, on
from backend.data import hub
from backend.data.importing import (
    DUPLICATE,
    PROBLEMS_LISTED,
    Check,
    Column,
    Problem,
    Reached,
    check,
    import_file,
    preview,
)
from backend.data.readers import DELIMITERS, ENCODINGS, Source, inspect, inspect_folder, sample_rows, title
from backend.data.readers.formats import all_readers
from backend.data.readers.formats.documents import MEANT_FOR_ROWS
from backend.data.records import Record
from backend.data.shapes import ROLES, Mapping, guess_mapping, parse_mapping
from backend.data.versions import Card
from backend.errors import Stopped, UserError
from backend.labelling.columns import answer_columns, prompt_column
from components.notices import problems
from components.text import escape, rows_in_words

SLOTS = max(map(len, ROLES.values()))  # most columns a shape can ask for
FIRST_RECORDS = 3  # shown before the import
PROBLEMS_A_PAGE = 20
SURELY_LEFT_SECONDS = 24 * 3600  # after which nobody imports what was fetched


class Brought(NamedTuple):
    """What somebody brought to be imported."""

    paths: list[str]
    name: str | None = None  # what it is called, where the files' names do not say
    is_fetched: bool = False  # from a hub, into the workspace: done with once it is saved


@dataclass(frozen=True)
class ImportPage:
    """The way in: the files, what they are, what their columns mean, what can be used, and the name."""

    column: gr.Column
    work: gr.State  # a token under which this page works, so that a click can stop it
    brought: gr.State  # a `Brought`, or None
    source: gr.State  # what was read last; None while nothing can be saved
    file: gr.File
    folder: gr.UploadButton
    hub_name: gr.Textbox
    hub_config: gr.Textbox
    hub_split: gr.Textbox
    fetch: gr.Button
    found: gr.Column
    found_words: gr.HTML
    format: gr.Dropdown
    encoding: gr.Dropdown
    delimiter: gr.Dropdown
    list_field: gr.Textbox
    header: gr.Checkbox
    meaning: gr.Column
    shape: gr.Dropdown
    columns: list[gr.Dropdown]
    preview: gr.HTML
    counts: gr.HTML
    bad: gr.State  # the rows that cannot be used, as `Problem`s
    bad_page: gr.State
    bad_rows: gr.HTML
    bad_pager: gr.Row
    bad_back: gr.Button
    bad_words: gr.HTML
    bad_on: gr.Button
    skip: gr.Checkbox
    drop: gr.Checkbox
    name: gr.Textbox
    save: gr.Button
    cancel: gr.Button

    @property
    def reading(self) -> list[Component]:
        """How the file is read, as far as people can change it."""
        return [self.format, self.encoding, self.delimiter, self.list_field, self.header]

    @property
    def found_outputs(self) -> list[Any]:
        return [self.source, self.found, self.found_words, *self.reading, self.meaning, self.shape, *self.columns]

    @property
    def bad_outputs(self) -> list[Any]:
        return [self.bad_page, self.bad_rows, self.bad_pager, self.bad_words]

    @property
    def count_outputs(self) -> list[Any]:
        return [self.counts, self.skip, self.drop, self.save, self.bad, *self.bad_outputs]


def import_page() -> ImportPage:
    """Lay out the page, hidden until somebody imports."""
    parts: dict[str, Any] = {
        "work": gr.State(""), "brought": gr.State(None), "source": gr.State(None), "bad": gr.State([]), "bad_page": gr.State(0),
    }  # fmt: skip
    with gr.Column(visible=False, elem_id="data-import-form") as column:
        gr.HTML('<h2 class="data-title">Import</h2><p class="quiet">JSON, JSON Lines, CSV, TSV or Parquet; or texts, one or many. What '
                "it is gets judged by its content, up to 4 GB; nothing is saved before you press Save.</p>")  # fmt: skip
        parts["file"] = gr.File(
            label="A file with rows, or one or more texts (each becomes a row)", type="filepath", file_count="multiple", height=140,
            elem_id="data-file",
        )
        with gr.Row(elem_classes="actions"):
            parts["folder"] = gr.UploadButton(
                "Choose a folder of texts", file_count="directory", type="filepath", elem_id="data-folder", min_width=220, scale=0
            )
        _lay_hub(parts)
        _lay_found(parts)
        _lay_meaning(parts)
        with gr.Row(elem_classes="actions"):
            parts["save"] = gr.Button("Save", variant="primary", interactive=False, elem_id="data-save", min_width=120, scale=0)
            parts["cancel"] = gr.Button("Cancel", elem_id="data-cancel", min_width=120, scale=0)
    return ImportPage(column=column, **parts)


def wire_import_page(studio: Studio, form: ImportPage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    stops = Stops()
    forgotten = [form.source, form.meaning, form.save]
    forget_file = partial(on_no_file, stops=stops)
    begin.click(on_new_import, outputs=[form.work, desk.place, form.brought, form.file, form.found, *forgotten], **QUIET)
    form.cancel.click(partial(on_cancel, stops=stops), form.work, desk.place, **TICK)
    form.file.clear(forget_file, form.work, [form.brought, form.found, *forgotten], **TICK)

    mapping = [form.source, form.shape, *form.columns]
    chosen_by_hand = [form.format.input, form.encoding.input, form.delimiter.input, form.list_field.submit, form.header.input]
    read = gr.on(
        [form.file.upload, form.file.delete], forget_file, form.work, [form.brought, form.found, *forgotten], **TICK
    ).then(
        on(studio, on_upload), form.file, [form.brought, *form.found_outputs, form.name], show_progress_on=form.file, **PRIVATE
    )
    in_folder = form.folder.upload(forget_file, form.work, [form.brought, form.found, *forgotten], **TICK).then(
        on(studio, on_upload), form.folder, [form.brought, *form.found_outputs, form.name], show_progress_on=form.file, **PRIVATE
    )
    fetched = form.fetch.click(forget_file, form.work, [form.brought, form.found, *forgotten], **TICK).then(
        on(studio, partial(on_fetch, stops=stops)), [form.work, form.hub_name, form.hub_config, form.hub_split],
        [form.brought, *form.found_outputs, form.name], show_progress_on=form.hub_name, **PRIVATE,
    )
    reread = gr.on(chosen_by_hand, partial(on_reread, stops=stops), form.work, forgotten, **TICK).then(
        on(studio, on_read_so), [form.brought, *form.reading], form.found_outputs, show_progress_on=form.found_words, **PRIVATE
    )
    reshaped = form.shape.input(on_shape, [form.source, form.shape], form.columns, **QUIET)
    recolumned = gr.on([column.input for column in form.columns], partial(on_column, stops=stops), form.work, form.save, **TICK)
    for event in (read, in_folder, fetched, reread, reshaped, recolumned):
        event.success(on(studio, on_preview), mapping, [form.preview, *form.count_outputs], **QUIET).success(
            on(studio, partial(on_check, stops=stops)), [form.work, *mapping], form.count_outputs, show_progress_on=form.counts, **PRIVATE
        )
    for button, step in ((form.bad_back, -1), (form.bad_on, +1)):
        button.click(_turning(step), [form.bad, form.bad_page], form.bad_outputs, **TICK)
    form.save.click(
        on(studio, partial(on_save, stops=stops)),
        [form.work, form.brought, form.source, desk.changed, form.name, form.skip, form.drop, form.shape, *form.columns],
        [desk.chosen, desk.changed, desk.place], show_progress_on=form.counts, **PRIVATE,
    )


# ---- layout ----------------------------------------------------------------------------------------------------------


def _lay_hub(parts: dict[str, Any]) -> None:
    with gr.Accordion("Or fetch one from a hub", open=False, elem_id="data-hub"):
        with gr.Row(elem_classes="data-aligned data-finder"):
            parts["hub_name"] = gr.Textbox(
                label="Name on the hub", info="Owner and name. The studio goes to the network only when you press Fetch.",
                placeholder="owner/name", max_lines=1, min_width=220, elem_id="data-hub-name",
            )
            parts["hub_config"] = gr.Textbox(
                label="Configuration", info="Empty where there is one only.", max_lines=1, min_width=140, elem_id="data-hub-config",
            )
            parts["hub_split"] = gr.Textbox(
                "train", label="Split", info="Which part of it.", max_lines=1, min_width=120, elem_id="data-hub-split",
            )
            parts["fetch"] = gr.Button("Fetch", elem_id="data-hub-fetch", min_width=100, scale=0)


def _lay_found(parts: dict[str, Any]) -> None:
    formats = [(words, name) for reader in all_readers() for name, words in reader.formats.items()]
    with gr.Column(visible=False) as parts["found"]:
        parts["found_words"] = gr.HTML(elem_id="data-found")
        with gr.Row():
            parts["format"] = gr.Dropdown(
                formats, value=None, label="Read as", info="Change it if it was taken for something else.", filterable=False, min_width=160,
                elem_id="data-format",
            )
            parts["encoding"] = gr.Dropdown(
                list(ENCODINGS), label="Encoding", info="Change it if letters look wrong below.", min_width=160, elem_id="data-encoding",
            )
            parts["delimiter"] = gr.Dropdown(
                [(DELIMITER_NAMES[mark], mark) for mark in DELIMITERS], label="Columns are separated by", filterable=False,
                info="Change it if all stands in one column.", min_width=160, elem_id="data-delimiter",
            )
            parts["list_field"] = gr.Textbox(
                label="Rows are under", info="The key of the list of rows; empty if the file is the list itself.", max_lines=1,
                min_width=160, elem_id="data-list-field",
            )
            parts["header"] = gr.Checkbox(
                label="The first row names the columns", info="Untick it if the first row is an example already.", min_width=160,
                elem_id="data-header",
            )


def _lay_meaning(parts: dict[str, Any]) -> None:
    with gr.Column(visible=False) as parts["meaning"]:
        parts["shape"] = gr.Dropdown(
            list(SHAPES.items()), value=None, label="Shape", info="How the rows are written: decides which columns are needed.",
            filterable=False, elem_id="data-shape",
        )
        with gr.Row(elem_classes="data-aligned"):
            parts["columns"] = [
                gr.Dropdown([], label=f"Column {slot + 1}", info="Which column plays this part.", visible=False, min_width=220,
                            elem_id=f"data-column-{slot}")  # fmt: skip
                for slot in range(SLOTS)
            ]
        parts["preview"] = gr.HTML(elem_id="data-preview", min_height=80)
        parts["counts"] = gr.HTML(elem_id="data-counts", min_height=72)
        parts["bad_rows"] = gr.HTML(elem_id="data-bad-rows")
        with gr.Row(visible=False, elem_classes="pager") as parts["bad_pager"]:
            parts["bad_back"] = gr.Button("< Previous", elem_id="data-bad-back", min_width=140, scale=0)
            parts["bad_words"] = gr.HTML(elem_id="data-bad-words", min_width=140)
            parts["bad_on"] = gr.Button("Next >", elem_id="data-bad-on", min_width=140, scale=0)
        parts["skip"] = gr.Checkbox(visible=False, label="Leave out", elem_id="data-skip")
        parts["drop"] = gr.Checkbox(visible=False, label="Leave out exact duplicates", elem_id="data-drop")
        parts["name"] = gr.Textbox(
            label="Name", info="What you will find it by. The name of a data set there is makes its next version.", max_lines=1,
            max_length=120, elem_id="data-name",
        )


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_new_import() -> Updates:
    """The form, empty, and a token of its own to work under."""
    return secrets.token_hex(8), "import", None, None, gr.Column(visible=False), *_forgotten()


def on_cancel(work: str, *, stops: Stops) -> str:
    """Whatever is being read, gone over or saved ends now; nothing of it is kept."""
    stops.stop(work)
    return LOOK


def on_no_file(work: str, *, stops: Stops) -> Updates:
    """What was known of a file is forgotten before another is read, so that the wrong one is never saved."""
    return None, gr.Column(visible=False), *on_reread(work, stops=stops)


def on_reread(work: str, *, stops: Stops) -> Updates:
    """The file is about to be read differently: until then there is nothing to save."""
    stops.stop(work)
    return _forgotten()


def on_column(work: str, *, stops: Stops) -> Any:
    """Columns were chosen anew: nothing to save until they are checked."""
    stops.stop(work)
    return gr.Button(interactive=False)


def _forgotten() -> Updates:
    return None, gr.Column(visible=False), gr.Button(interactive=False)


def on_upload(studio: Studio, paths: list[str] | None) -> Any:
    """One file as it is found, or several as texts; nothing where the last one was taken away."""
    if not paths:
        return gr.skip()
    brought = Brought(paths)
    _require_texts(paths)
    name = _proposed_name(Path(paths[0])) if len(paths) == 1 else f"{len(paths)} texts"
    return brought, *_found_in(_source(brought)), name


def on_fetch(
    studio: Studio, work: str, name: str, config: str, split: str, progress: gr.Progress = gr.Progress(), *, stops: Stops  # noqa: B008
) -> Any:
    """A data set of a hub, brought here; from there on it is a file like any other."""
    if not name.strip():
        raise UserError("There is no name to fetch. Write it as the hub does: owner/name.")
    folder = studio.workspace.root / "fetched"
    _sweep(folder)
    try:
        with stops.heeded(work) as go_on:
            progress(None, desc="Asking the hub…")
            path = hub.fetch(
                name, config=config.strip() or None, split=split.strip() or "train", into=folder, folders=not studio.workspace.confined,
                progress=lambda part: (go_on(), progress(part, desc="Fetching"))[0],
            )
    except Stopped:
        return gr.skip()
    brought = Brought([str(path)], name=path.name, is_fetched=True)
    return brought, *_found_in(_source(brought)), _proposed_name(path)


def on_read_so(
    studio: Studio, brought: Brought | None, format: str, encoding: str, delimiter: str, list_field: str, header: bool
) -> Updates:
    """The file as somebody says it is to be read."""
    if brought is None:
        raise UserError("There is no file to read. Choose one.")
    said = {
        "format": format, "encoding": encoding, "delimiter": delimiter or None, "list_field": (list_field or "").strip() or None,
        "header": header,
    }  # fmt: skip
    return _found_in(_source(brought, **said))


def _source(brought: Brought, **said: Any) -> Source:
    """What was brought, looked into."""
    paths = list(map(Path, brought.paths))
    if len(paths) > 1:
        return inspect_folder(paths, names=[path.name for path in paths])
    return inspect(paths[0], name=brought.name or paths[0].name, **said)


def _require_texts(paths: Sequence[str]) -> None:
    """Raise `UserError` where rows and columns come along with other files."""
    table = next((Path(path).name for path in paths if path.lower().endswith(MEANT_FOR_ROWS)), None)
    if len(paths) > 1 and table:
        raise UserError(f"{table} holds rows. Bring it alone: several files at once are taken as texts, one row each.")


def _sweep(folder: Path) -> None:
    """Remove what was fetched long ago and never saved."""
    for left in folder.glob("*"):
        if time.time() - left.stat().st_mtime > SURELY_LEFT_SECONDS:
            left.unlink(missing_ok=True)

def _found_in(source: Source) -> Updates:
    """What a file turned out to be, and what its columns likely mean."""
    rows = sample_rows(source)
    guess = guess_mapping(rows)
    is_table = source.format in ("csv", "tsv")
    return (
        source, gr.Column(visible=True), _found_words(source) + _to_label(rows),
        gr.update(value=source.format, visible=not source.parts),
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
    no_consent = gr.Checkbox(value=False, visible=False)
    reset = "", no_consent, no_consent, gr.Button(interactive=False), [], *_bad_page([], 0)
    if source is None:
        return "", *reset
    mapping = _mapping(shape, columns)
    seen = preview(source, mapping)
    return _preview(seen.columns, seen.records, _missing(shape, columns)), *reset


def on_check(
    studio: Studio, work: str, source: Source | None, shape: str | None, column_0: str | None = None, column_1: str | None = None,
    column_2: str | None = None, column_3: str | None = None, column_4: str | None = None,
    progress: gr.Progress = gr.Progress(), *, stops: Stops,  # noqa: B008
) -> Any:  # fmt: skip
    """Every row is gone over: how many can be used, how many not and why."""
    mapping = _mapping(shape, (column_0, column_1, column_2, column_3, column_4))
    if source is None or mapping is None:
        return gr.skip()
    try:
        with stops.heeded(work) as go_on:
            found = check(source, mapping, progress=_telling(progress, go_on, "Going over every row", source))
    except Stopped:
        return gr.skip()
    bad, twice = sum(found.left_out.values()), found.notes.get(DUPLICATE, 0)
    return (
        _counts(found),
        gr.Checkbox(value=False, visible=bool(bad and found.rows), label=f"Leave out the {rows_in_words(bad)} that cannot be used",
                    info="Saving needs your consent: nothing is left out without it."),
        gr.Checkbox(value=False, visible=twice > 0, label=f"Leave out {twice:,} exact {'duplicate' if twice == 1 else 'duplicates'}",
                    info="A row that is there twice weighs twice, and may stand in training and validation at once."),
        gr.Button(interactive=found.rows > 0), found.problems, *_bad_page(found.problems, 0),
    )  # fmt: skip


def on_save(
    studio: Studio, work: str, brought: Brought | None, source: Source | None, changed: int, name: str, skip: bool, drop: bool,
    shape: str | None, column_0: str | None = None, column_1: str | None = None, column_2: str | None = None, column_3: str | None = None,
    column_4: str | None = None, progress: gr.Progress = gr.Progress(), *, stops: Stops,  # noqa: B008
) -> Any:  # fmt: skip
    """The rows become a version, which is then looked at."""
    if source is None:
        raise UserError("No file has been read yet. Choose one, or wait until it is read.")
    columns = (column_0, column_1, column_2, column_3, column_4)
    mapping = parse_mapping(shape or "", dict(zip(ROLES.get(shape, {}), columns, strict=False)))
    began = datetime.now(UTC)
    try:
        with stops.heeded(work) as go_on:
            card = import_file(
                studio.datasets, source, mapping, name=name, skip_problems=skip, drop_duplicates=drop,
                progress=_telling(progress, go_on, "Saving", source),
            )  # fmt: skip
    except Stopped:
        return gr.skip()
    _tell_of_the_same(studio, card, began)
    if brought and brought.is_fetched:
        source.path.unlink(missing_ok=True)
    return reference(card), changed + 1, LOOK


def _proposed_name(path: Path) -> str:
    """What a file is called, without what taking away adds to a data set's name: "three-lines-1a2b3c-v2-messages"."""
    name = re.sub(r"-[0-9a-f]{6}-v\d+-\w+$", "", path.stem)
    return (name if name == path.stem else name.replace("-", " ")).replace("_", " ")[:120]


def _tell_of_the_same(studio: Studio, card: Card, began: datetime) -> None:
    """Say so where the rows were there already, under this name or another."""
    if datetime.fromisoformat(card.created) < began:
        gr.Info(f"These rows are saved already: “{escape(card.name)}”, version {card.version}.", duration=5)
        return
    same = next((other for other in studio.datasets.list() if other.sha256 == card.sha256 and other.id != card.id), None)
    if same:
        gr.Info(f"The same rows are saved as “{escape(same.name)}”, version {same.version}, too.", duration=10)


def _telling(progress: gr.Progress, go_on: Callable[[], None], doing: str, source: Source) -> Callable[[Reached], None]:
    """Shows how far it has come, and ends it where somebody asked to stop."""

    def tell(reached: Reached) -> None:
        go_on()
        megabytes = f"{reached.size / 1e6:,.0f} of {source.size / 1e6:,.0f} MB"
        progress(reached.share, desc=f"{doing}: {rows_in_words(reached.rows)}, {megabytes}")

    return tell


def _turning(step: int) -> Callable[[list[Problem], int], Updates]:
    def on_turn(bad: list[Problem], page: int) -> Updates:
        return _bad_page(bad, page + step)

    return on_turn


def _bad_page(bad: list[Problem], page: int) -> Updates:
    """A page of the rows that cannot be used: its number, its rows, whether there are more pages, and where it stands."""
    pages = max(1, math.ceil(len(bad) / PROBLEMS_A_PAGE))
    page = min(max(page, 0), pages - 1)
    shown = bad[page * PROBLEMS_A_PAGE : (page + 1) * PROBLEMS_A_PAGE]
    listed = f"the first {PROBLEMS_LISTED:,}" if len(bad) >= PROBLEMS_LISTED else f"{len(bad):,}"
    return page, _bad_rows(shown), gr.Row(visible=pages > 1), f'<p class="quiet">page {page + 1:,} of {pages:,}, {listed} listed</p>'


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


# ---- words -----------------------------------------------------------------------------------------------------------


def _found_words(source: Source) -> str:
    return (
        f'<h3 class="section-title">What was found</h3><p class="plain-text">{escape(source.name)}: '
        f"{escape(title(source))}, {source.size:,} bytes.</p>"
    )


def _to_label(rows: Sequence[dict[str, Any]]) -> str:
    """Where rows with several answers belong."""
    names = dict.fromkeys(name for row in rows for name in row)
    if not (prompt_column(names) and answer_columns(names)):
        return ""
    return '<p class="quiet">Each row has several answers to one prompt. To say which is better, begin a batch with this file on the Label tab.</p>'


def _bad_rows(bad: Sequence[Problem]) -> str:
    """The rows that cannot be used, by number."""
    if not bad:
        return ""
    rows = "".join(
        f'<tr><th scope="row" class="number">{problem.number:,}</th><td>{escape(problem.reason)}</td>'
        f'<td dir="auto"><div>{escape(problem.text)}</div></td></tr>'
        for problem in bad
    )
    head = '<tr><th scope="col">row</th><th scope="col">why it cannot be used</th><th scope="col">how it begins</th></tr>'
    return (
        '<h3 class="section-title">Rows that cannot be used</h3>'
        f'<table class="data-columns data-bad"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    )


def _preview(columns: list[Column], records: list[Record], missing: list[str]) -> str:
    parts = ['<h3 class="section-title">Columns</h3>', _columns_table(columns)]
    parts += [problems(missing)] if missing else []
    if records:
        shown = records[:FIRST_RECORDS]
        parts += ['<h3 class="section-title">The first rows, as they would be saved</h3>', '<div class="data-rows data-few">']
        parts += [*(record_card(record, None) for record in shown), "</div>"]
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


def _each(count: int, reason: str) -> str:
    """How many rows, and what is the matter with each: "1 row is an exact duplicate."."""
    return f"1 row {reason}." if count == 1 else f"{count:,} rows, each of which {reason}."


def _counts(found: Check) -> str:
    """What an import would take, leave out and note."""
    bad = sum(found.left_out.values())
    good = f'<p><span class="good">{found.rows:,} of {rows_in_words(found.rows + bad)}</span> can be used.</p>'
    sentences = [f"Cannot be used: {_each(count, reason)}" for reason, count in found.left_out.items()]
    sentences += [f"Worth a look: {_each(count, reason)}" for reason, count in found.notes.items()]
    if not found.rows:
        sentences.append("None of the rows can be used like this. Check shape and columns above.")
    if found.rows == 1:
        sentences.append("It is one row only: none can be held out to see whether the model learns.")
    return good + (problems(sentences) if sentences else "")
