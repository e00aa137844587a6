"""The way in for a file: found out, its columns given a meaning, every row gone over, then saved as a version.

`import_page` lays it out and `wire_import_page` ties it; what it saves is chosen, to be looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from app.data.desk import LOOK, PRIVATE, QUIET, TICK, Desk, Updates, to_look
from app.data.view import DELIMITER_NAMES, FORMATS, SHAPES, record_card, reference, rows_in_words
from app.studio import Studio, on
from backend.data.importing import DUPLICATE, Check, Column, Problem, check, import_file, preview
from backend.data.readers import DELIMITERS, ENCODINGS, Source, inspect, sample_rows
from backend.data.records import Record
from backend.data.shapes import ROLES, Mapping, guess_mapping, parse_mapping
from backend.errors import UserError
from components.notices import problems
from components.text import escape

SLOTS = max(map(len, ROLES.values()))  # most columns a shape can ask for
FIRST_RECORDS, FIRST_PROBLEMS = 3, 5  # shown before the import


@dataclass(frozen=True)
class ImportPage:
    """The way in for a file: what it is, what its columns mean, what can be used, and its name."""

    column: gr.Column
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


def import_page() -> ImportPage:
    """Lay out the page, hidden until somebody imports."""
    source = gr.State(None)
    with gr.Column(visible=False, elem_id="data-import-form") as column:
        gr.HTML('<h2 class="data-title">Import a file</h2><p class="quiet">JSON, JSON Lines, CSV, TSV or Parquet. What it is gets '
                "judged by its content; nothing is saved before you press Save.</p>")  # fmt: skip
        file = gr.File(label="File", type="filepath", height=140, elem_id="data-file")
        found, reading = _found()
        meaning, parts = _meaning()
        with gr.Row(elem_classes="actions"):
            save = gr.Button("Save", variant="primary", interactive=False, elem_id="data-save", min_width=120, scale=0)
            cancel = gr.Button("Cancel", elem_id="data-cancel", min_width=120, scale=0)
    return ImportPage(column=column, source=source, file=file, found=found, meaning=meaning, save=save, cancel=cancel, **reading, **parts)


def wire_import_page(studio: Studio, form: ImportPage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    forgotten = [form.source, form.meaning, form.save]
    begin.click(on_new_import, outputs=[desk.place, form.file, form.found, *forgotten], **QUIET)
    form.cancel.click(to_look, outputs=desk.place, **QUIET)
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
        on(studio, on_save), [form.source, desk.changed, form.name, form.skip, form.drop, form.shape, *form.columns],
        [desk.chosen, desk.changed, desk.place], show_progress_on=form.counts, **PRIVATE,
    )


# ---- layout ----------------------------------------------------------------------------------------------------------


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


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_new_import() -> Updates:
    """The form, empty."""
    return "import", None, *on_no_file()


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
    seen = preview(source, mapping)
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
    found = check(source, mapping, progress=lambda part: progress(part, desc="Going over every row"))
    bad, twice = sum(found.left_out.values()), found.notes.get(DUPLICATE, 0)
    return (
        _counts(found),
        gr.Checkbox(value=False, visible=bool(bad and found.rows), label=f"Leave out the {rows_in_words(bad)} that cannot be used",
                    info="Saving needs your consent: nothing is left out without it."),
        gr.Checkbox(value=False, visible=twice > 0, label=f"Leave out {twice:,} exact {'duplicate' if twice == 1 else 'duplicates'}",
                    info="A row that is there twice weighs twice, and may stand in training and validation at once."),
        gr.Button(interactive=found.rows > 0),
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
    card = import_file(
        studio.datasets, source, mapping, name=name, skip_problems=skip, drop_duplicates=drop, progress=lambda part: progress(part, desc="Saving")
    )
    if datetime.fromisoformat(card.created) < began:
        gr.Info(f"These rows are saved already: “{escape(card.name)}”, version {card.version}.", duration=5)
    return reference(card), changed + 1, LOOK


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
        f"{FORMATS[source.format]}, {source.size:,} bytes.</p>"
    )


def _preview(source: Source, columns: list[Column], records: list[Record], bad: list[Problem], missing: list[str]) -> str:
    parts = ['<h3 class="section-title">Columns</h3>', _columns_table(columns)]
    parts += [problems(missing)] if missing else []
    if records:
        shown = records[:FIRST_RECORDS]
        parts += ['<h3 class="section-title">The first rows, as they would be saved</h3>', '<div class="data-rows data-few">']
        parts += [*(record_card(record, None) for record in shown), "</div>"]
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


def _counts(found: Check) -> str:
    """What an import would take, leave out and note."""
    bad = sum(found.left_out.values())
    good = f'<p><span class="good">{found.rows:,} of {rows_in_words(found.rows + bad)}</span> can be used.</p>'
    sentences = [f"Cannot be used: {reason} ({rows_in_words(count)})." for reason, count in found.left_out.items()]
    sentences += [f"Worth a look: {reason} ({rows_in_words(count)})." for reason, count in found.notes.items()]
    if not found.rows:
        sentences.append("None of the rows can be used like this. Check shape and columns above.")
    if found.rows == 1:
        sentences.append("It is one row only: none can be held out to see whether the model learns.")
    return good + (problems(sentences) if sentences else "")
