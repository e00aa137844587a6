"""A labelled table turned into instructions by templates: brought, its columns given a part, worded, looked at, saved.

`table_page` lays it out and `wire_table_page` ties it. The table is a file, or the rows of a saved data set, whose
prompts the same templates put into other words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from app.data.desk import LOOK, Desk, Updates, to_look
from app.data.template_bench import Wordings, keep_set, on_the_bench, set_of, wordings
from app.data.view import DELIMITER_NAMES, FORMATS, record_card, reference
from app.event_options import PRIVATE, QUIET, TICK
from app.studio import Studio, on
from backend.data.readers import DELIMITERS, ENCODINGS, inspect
from backend.data.templating import rendering
from backend.data.templating.rendering import Recipe, Rendering, Yield, count, rendered, save_rendered, sentences_on
from backend.data.templating.sets import MOST_COLUMNS, MOST_WORDS, TemplateSet, template_sets
from backend.data.templating.tables import (
    MOST_LABELS,
    ROWS_GUESSED_FROM,
    FileTable,
    SavedTable,
    Survey,
    Table,
    TableRow,
    column_names,
    first_rows,
    guess_columns,
    guess_set,
    name_labels,
    survey,
)  # fmt: skip
from backend.errors import UserError
from backend.settings import sentences
from components.label_names import LabelNames, label_names, named, names_of
from components.notices import empty, problems
from components.settings_form import plain_values, settings_form
from components.template_bench import Bench
from components.text import escape, rows_in_words

FILE, SAVED = "a file", "a saved data set"
PROBLEMS_SHOWN = 6


@dataclass(frozen=True)
class TablePage:
    """Where rows come from, what their columns are, the templates, and what they make."""

    column: gr.Column
    table: gr.State  # a `Table`; None while there is none
    survey: gr.State  # its `Survey`; None until it has been gone over
    origin: gr.Radio
    file: gr.File
    saved: gr.Dropdown
    found: gr.HTML
    reading: gr.Row
    encoding: gr.Dropdown
    delimiter: gr.Dropdown
    header: gr.Checkbox
    task: gr.Column
    set: gr.Dropdown
    set_words: gr.HTML
    columns: list[gr.Dropdown]
    words: list[gr.Textbox]
    labels: gr.HTML
    wordings: Wordings
    rendering: dict[str, Component]
    counts: gr.HTML
    skip: gr.Checkbox
    name: gr.Textbox
    save: gr.Button
    cancel: gr.Button

    @property
    def form(self) -> dict[str, Component]:
        """All that decides what is made of the table, by its name in a handler's values."""
        return {
            "set": self.set, "labels": self.labels, "templates": self.wordings.bench, **self.rendering,
            **{f"column_{slot}": column for slot, column in enumerate(self.columns)},
            **{f"word_{slot}": word for slot, word in enumerate(self.words)},
        }  # fmt: skip

    @property
    def task_outputs(self) -> list[Any]:
        """What another set fills."""
        return [self.set_words, *self.columns, *self.words, self.wordings.bench]

    @property
    def found_outputs(self) -> list[Any]:
        """What another table fills."""
        return [
            self.table,
            self.survey,
            self.found,
            self.reading,
            self.encoding,
            self.delimiter,
            self.header,
            self.task,
            self.set,
            *self.task_outputs,
        ]

    @property
    def made_outputs(self) -> list[Any]:
        """What is shown of the rows to be made."""
        return [
            self.wordings.preview,
            self.wordings.row,
            self.wordings.row_words,
            self.wordings.names,
            self.counts,
            self.skip,
            self.save,
        ]


def table_page(studio: Studio) -> TablePage:
    """Lay out the page, hidden until somebody opens it."""
    parts: dict[str, Any] = {"table": gr.State(None), "survey": gr.State(None)}
    with gr.Column(visible=False, elem_id="data-table-page") as column:
        gr.HTML('<h2 class="data-title">Turn a table into instructions</h2><p class="quiet">Each row is written out by templates: '
                "the text asks, the label answers, or the other way round. Nothing is saved before you press Save.</p>")  # fmt: skip
        _origin(parts)
        with gr.Column(visible=False) as parts["task"]:
            _task(parts)
            gr.HTML('<h3 class="section-title">Templates</h3>')
            parts["wordings"] = wordings()
            _making(parts)
        with gr.Row(elem_classes="actions"):
            parts["save"] = gr.Button("Save", variant="primary", interactive=False, elem_id="table-save", min_width=120, scale=0)
            parts["cancel"] = gr.Button("Cancel", elem_id="data-table-cancel", min_width=120, scale=0)
    return TablePage(column=column, **parts)


def wire_table_page(studio: Studio, page: TablePage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it.

    What comes from the form is taken unprocessed: while another table fills it, Gradio would refuse, in words of its own,
    a column that the table before had.
    """
    begin.click(on(studio, on_new_table), outputs=[desk.place, page.origin, page.file, page.saved, *_forgotten(page)], **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
    page.origin.input(on(studio, on_origin), page.origin, [page.file, page.saved, *_forgotten(page)], **QUIET)
    page.file.clear(on_no_table, outputs=_forgotten(page), **TICK)
    _wire_tables(studio, page)
    _wire_making(studio, page)
    page.save.click(
        on(studio, on_save), [page.table, desk.changed, page.name, page.skip], [desk.chosen, desk.changed, desk.place],
        inputs_kwargs=page.form, preprocess=False, show_progress_on=page.counts, **PRIVATE,
    )  # fmt: skip


def _forgotten(page: TablePage) -> list[Any]:
    return [page.table, page.survey, page.found, page.reading, page.task, page.counts, page.skip, page.save]


def _wire_tables(studio: Studio, page: TablePage) -> None:
    """A table is brought, or read otherwise; it is gone over; its label's values get names."""
    brought = page.file.upload(on_no_table, outputs=_forgotten(page), **TICK).then(
        on(studio, on_file), page.file, [*page.found_outputs, page.name], show_progress_on=page.file, **PRIVATE
    )
    reread = gr.on(
        [page.encoding.input, page.delimiter.input, page.header.input], on_reread, outputs=[page.survey, page.save], **TICK
    ).then(
        on(studio, on_read_so),
        [page.file, page.encoding, page.delimiter, page.header],
        page.found_outputs,
        show_progress_on=page.found,
        **PRIVATE,
    )
    chosen = page.saved.input(
        on(studio, on_saved),
        page.saved,
        [*page.found_outputs, page.name],
        show_progress_on=page.found,
        preprocess=False,
        **PRIVATE,
    )
    for event in (brought, reread, chosen):
        event.success(on(studio, on_survey), page.table, page.survey, show_progress_on=page.counts, **PRIVATE).success(
            on(studio, on_labels), [page.survey], page.labels, inputs_kwargs=page.form, preprocess=False, **QUIET
        ).success(
            on(studio, on_look),
            [page.table, page.survey, page.wordings.row],
            page.made_outputs,
            inputs_kwargs=page.form,
            preprocess=False,
            **QUIET,
        )


def _wire_making(studio: Studio, page: TablePage) -> None:
    """Whatever decides what is made is shown at once on a real row, and counted."""
    reset = page.set.input(on(studio, on_set), [page.table, page.set], page.task_outputs, **QUIET)
    recolumned = gr.on([column.input for column in page.columns], on_column, outputs=page.save, **TICK)
    for event in (reset, recolumned):
        event.success(
            on(studio, on_labels), [page.survey], page.labels, inputs_kwargs=page.form, preprocess=False, **QUIET
        ).success(
            on(studio, on_look),
            [page.table, page.survey, page.wordings.row],
            page.made_outputs,
            inputs_kwargs=page.form,
            preprocess=False,
            **QUIET,
        )
    changes: list[Callable[..., Any]] = [
        page.wordings.bench.change,
        page.labels.change,
        *(word.change for word in page.words),
        *(each.change for each in page.rendering.values()),
    ]
    for event in changes:
        event(
            on(studio, on_look), [page.table, page.survey, page.wordings.row], page.made_outputs, inputs_kwargs=page.form,
            preprocess=False, trigger_mode="always_last", **QUIET,
        )  # fmt: skip
    for button, step in ((page.wordings.row_back, -1), (page.wordings.row_on, +1)):
        shown = [page.wordings.preview, page.wordings.row, page.wordings.row_words]
        button.click(
            on(studio, _stepping(step)), [page.table, page.wordings.row], shown, inputs_kwargs=page.form, preprocess=False, **QUIET
        )
    page.wordings.keep.click(
        on(studio, on_keep_set), [page.set, page.wordings.bench, page.wordings.title], [page.set, page.wordings.title], **PRIVATE
    )


# ---- layout ----------------------------------------------------------------------------------------------------------


def _origin(parts: dict[str, Any]) -> None:
    parts["origin"] = gr.Radio(
        [FILE, SAVED],
        value=FILE,
        label="Where the rows are",
        info="A table has its columns in a file. A saved data set has prompts, which templates put into other words.",
        elem_id="table-origin",
    )
    parts["file"] = gr.File(
        label="File: JSON, JSON Lines, CSV, TSV or Parquet", type="filepath", height=140, elem_id="table-file"
    )
    parts["saved"] = gr.Dropdown(
        [],
        label="Data set",
        info="Its newest version is read; it stays as it is.",
        visible=False,
        filterable=False,
        elem_id="table-saved",
    )
    parts["found"] = gr.HTML(elem_id="table-found")
    with gr.Row(visible=False) as parts["reading"]:
        parts["encoding"] = gr.Dropdown(
            list(ENCODINGS),
            label="Encoding",
            info="Change it if letters look wrong below.",
            min_width=160,
            elem_id="table-encoding",
        )
        parts["delimiter"] = gr.Dropdown(
            [(DELIMITER_NAMES[mark], mark) for mark in DELIMITERS],
            label="Columns are separated by",
            filterable=False,
            info="Change it if all stands in one column.",
            min_width=160,
            elem_id="table-delimiter",
        )
        parts["header"] = gr.Checkbox(
            label="The first row names the columns",
            info="Untick it if the first row is an example already.",
            min_width=160,
            elem_id="table-header",
        )


def _task(parts: dict[str, Any]) -> None:
    gr.HTML('<h3 class="section-title">What the rows teach</h3>')
    parts["set"] = gr.Dropdown(
        [],
        label="Task",
        info="Its templates, and the columns it needs. Your own sets are listed last.",
        filterable=False,
        elem_id="table-set",
    )
    parts["set_words"] = gr.HTML(elem_id="table-set-words")
    with gr.Row(elem_classes="data-aligned"):
        parts["columns"] = [
            gr.Dropdown(
                [],
                label=f"Column {slot + 1}",
                info="Which column plays this part.",
                visible=False,
                min_width=200,
                elem_id=f"table-column-{slot}",
            )
            for slot in range(MOST_COLUMNS)
        ]
    with gr.Row(elem_classes="data-aligned"):
        parts["words"] = [
            gr.Textbox(
                label=f"Word {slot + 1}",
                info="Stands in the templates.",
                visible=False,
                max_lines=1,
                min_width=200,
                elem_id=f"table-word-{slot}",
            )
            for slot in range(MOST_WORDS)
        ]
    parts["labels"] = label_names(elem_id="table-labels")


def _making(parts: dict[str, Any]) -> None:
    gr.HTML('<h3 class="section-title">How many rows</h3>')
    parts["rendering"] = settings_form(Rendering, "table")
    parts["counts"] = gr.HTML(elem_id="table-counts", min_height=48)
    parts["skip"] = gr.Checkbox(visible=False, label="Leave out", elem_id="table-skip")
    parts["name"] = gr.Textbox(
        label="Name",
        info="What you will find it by. The name of a data set there is makes its next version.",
        max_lines=1,
        max_length=120,
        elem_id="table-name",
    )


# ---- a table is brought ----------------------------------------------------------------------------------------------


def on_new_table(studio: Studio) -> Updates:
    """The page, empty, with the data sets there are to choose from."""
    file, saved, *forgotten = on_origin(studio, FILE)
    return "table", FILE, file, saved, *forgotten


def on_origin(studio: Studio, origin: str) -> Updates:
    """A file or a saved data set: the way to bring the one, and nothing known yet."""
    choices = [
        (f"{card.name} · {rows_in_words(card.rows)}", card.id)
        for card in studio.datasets.list()
        if card.record in ("messages", "text")
    ]
    saved = gr.Dropdown(choices, value=None, visible=origin == SAVED)
    return gr.File(value=None, visible=origin == FILE), saved, *on_no_table()


def on_no_table() -> Updates:
    """What was known of a table is forgotten before another is read, so that the wrong one is never saved."""
    return (
        None,
        None,
        "",
        gr.Row(visible=False),
        gr.Column(visible=False),
        "",
        gr.Checkbox(visible=False, value=False),
        gr.Button(interactive=False),
    )


def on_reread() -> Updates:
    """The file is about to be read differently: until then there is nothing to save."""
    return None, gr.Button(interactive=False)


def on_file(studio: Studio, path: str) -> Updates:
    source = inspect(Path(path), name=Path(path).name)
    return *_brought(studio, FileTable(source)), Path(path).stem.replace("_", " ")[:120]


def on_read_so(studio: Studio, path: str | None, encoding: str, delimiter: str, header: bool) -> Updates:
    """The file as somebody says it is to be read."""
    if path is None:
        raise UserError("There is no file to read. Choose one.")
    return _brought(
        studio,
        FileTable(inspect(Path(path), name=Path(path).name, encoding=encoding, delimiter=delimiter or None, header=header)),
    )


def on_saved(studio: Studio, id: str | None) -> Updates:
    if not id:
        raise UserError("No data set is chosen. Pick one in the list.")
    card = studio.datasets.card(id)
    return *_brought(studio, SavedTable(studio.datasets, card.id, card.version)), f"{card.name}, in other words"[:120]


def _brought(studio: Studio, table: Table) -> Updates:
    """What a table turned out to be, and the task it likely is for."""
    found = template_sets(studio.workspace)
    rows = first_rows(table)
    names = column_names(rows)
    fitting = {id: templates for id, templates in found.sets.items() if not templates.keeps_answers or _has_answers(table)}
    guess = guess_set(rows, fitting, keeping_answers=_has_answers(table))
    source = table.source if isinstance(table, FileTable) else None
    return (
        table, None, _found_words(table, names, found.problems), gr.Row(visible=bool(source and source.format in ("csv", "tsv"))),
        source.encoding if source else gr.skip(), source.delimiter if source else gr.skip(), source.header if source else gr.skip(),
        gr.Column(visible=True), gr.Dropdown([(templates.title, id) for id, templates in fitting.items()], value=guess),
        *_task_of(fitting[guess], rows),
    )  # fmt: skip


def on_survey(studio: Studio, table: Table | None, progress: gr.Progress = gr.Progress()) -> Survey | None:  # noqa: B008
    """Every row is gone over once: what is empty, and which labels there are."""
    return survey(table, progress=lambda part: progress(part, desc="Going over every row")) if table else None


# ---- a task is chosen ------------------------------------------------------------------------------------------------


def on_set(studio: Studio, table: Table | None, id: str) -> Updates:
    """The templates of another task, and the columns it needs."""
    return _task_of(_set_called(studio, id), first_rows(table) if table else [])


def on_column() -> Any:
    """Columns were chosen anew: nothing to save until they are looked at."""
    return gr.Button(interactive=False)


def on_labels(studio: Studio, found: Survey | None, **values: Any) -> LabelNames:
    """The labels of the column that holds them, named as the task usually names them."""
    if found is None or not values["set"]:
        return {"labels": []}
    templates = _set_called(studio, values["set"])
    column = _columns_of(templates, values).get(templates.label_part or "")
    rows = found.labels(column) if column else None
    return named(rows, name_labels(rows, templates)) if rows else {"labels": []}


def on_keep_set(studio: Studio, id: str, bench: Bench, title: str) -> Updates:
    """The templates as a set of the user's own, which is chosen from then on."""
    kept = keep_set(studio, _set_called(studio, id), bench["templates"], title)
    gr.Info(f"Kept in the workspace as “{escape(title.strip())}”.", duration=5)
    sets = template_sets(studio.workspace).sets
    return gr.Dropdown([(each.title, each_id) for each_id, each in sets.items()], value=kept), ""


def _set_called(studio: Studio, id: str | None) -> TemplateSet:
    sets = template_sets(studio.workspace).sets
    if id not in sets:
        raise UserError("These templates are not there any more. Choose another task.")
    return sets[id]


def _task_of(templates: TemplateSet, rows: list[TableRow]) -> Updates:
    """A task on the page: its sentence, a column for each part, its words, its templates."""
    guessed, names = guess_columns(rows, templates), column_names(rows)
    columns = [
        gr.Dropdown(names, value=guessed.get(part), label=part.replace("_", " "), info=described.help, visible=True)
        for part, described in templates.columns.items()
    ]
    words = [
        gr.Textbox(value=text, label=name.replace("_", " "), info=f"Stands for {{{name}}} in the templates.", visible=True)
        for name, text in templates.words.items()
    ]
    return (
        f'<p class="quiet">{escape(templates.sentence)}</p>',
        *columns, *[gr.Dropdown(visible=False, value=None, choices=[])] * (MOST_COLUMNS - len(columns)),
        *words, *[gr.Textbox(visible=False, value="")] * (MOST_WORDS - len(words)), on_the_bench(templates),
    )  # fmt: skip


# ---- what is made ----------------------------------------------------------------------------------------------------


def on_look(studio: Studio, table: Table | None, found: Survey | None, at: int, **values: Any) -> Updates:
    """The open template on a real row, and how many rows will be made; consent given before does not count any more."""
    if table is None or not values["set"]:  # a page that fills tells of its parts one by one
        return (gr.skip(),) * 7
    rows = first_rows(table)
    templates = _set_called(studio, values["set"])
    names = _recipe_names(templates, values, column_names(rows))
    return *_preview(templates, values, rows, at), _names_words(names), *_counts(templates, values, found, column_names(rows))


def _stepping(step: int) -> Callable[..., Updates]:
    def on_step(studio: Studio, table: Table | None, at: int, **values: Any) -> Updates:
        return _preview(_set_called(studio, values["set"]), values, first_rows(table), at + step) if table else (gr.skip(),) * 3

    return on_step


def _preview(templates: TemplateSet, values: dict[str, Any], rows: list[TableRow], at: int) -> Updates:
    """What the open template makes of one row, or why it cannot."""
    if not rows:
        return (
            problems([f"None of the first {ROWS_GUESSED_FROM:,} rows can be read. Read the table otherwise above, or mend it."]),
            0,
            "",
        )
    at = min(max(at, 0), len(rows) - 1)
    row, bench = rows[at], values["templates"]
    try:
        recipe = recipe_of(templates, values, [bench["templates"][bench["open"]]])
        wrong = rendering.problems(recipe, column_names(rows)) or [
            f"Row {row.number:,} is left out: {reason}." for reason in [recipe.fits(row)] if reason
        ]
        shown = (
            problems(wrong) if wrong else f'<div class="data-rows data-few">{record_card(rendered(row, 0, recipe), None)}</div>'
        )
    except UserError as error:
        shown = problems(error.problems)
    return shown, at, f'<p class="quiet">row {row.number:,} of the table, as it would be saved</p>'


def _counts(templates: TemplateSet, values: dict[str, Any], found: Survey | None, columns: list[str]) -> Updates:
    """(how many rows will be made, consent to leave rows out, Save), as far as the form allows."""
    nothing = gr.Checkbox(value=False, visible=False), gr.Button(interactive=False)
    if found is None:
        return gr.skip(), *nothing
    try:
        recipe = recipe_of(templates, values)
        wrong = _missing(templates, values) or [*rendering.problems(recipe, columns), *_too_many_labels(recipe, found)]
    except UserError as error:
        wrong = list(error.problems)
    if wrong:
        left = len(wrong) - PROBLEMS_SHOWN
        return problems([*wrong[:PROBLEMS_SHOWN], *([f"And {left:,} more of the kind."] if left > 0 else [])]), *nothing
    made = count(found, recipe)
    bad = sum(rows.count for rows in made.left_out.values())
    consent = gr.Checkbox(
        value=False,
        visible=bool(bad and made.usable),
        label=f"Leave out the {rows_in_words(bad)} that cannot be used",
        info="Saving needs your consent: nothing is left out without it.",
    )
    return _made_words(made, found), consent, gr.Button(interactive=made.usable > 0)


def on_save(
    studio: Studio, table: Table | None, changed: int, name: str, skip: bool, progress: gr.Progress = gr.Progress(),  # noqa: B008
    **values: Any,
) -> Updates:  # fmt: skip
    """The rows become a version, which is then looked at."""
    if table is None:
        raise UserError("No table has been read yet. Choose a file or a data set, or wait until it is read.")
    templates = _set_called(studio, values["set"])
    recipe = recipe_of(templates, values)
    wrong = _missing(templates, values) or rendering.problems(recipe, column_names(first_rows(table)))
    if wrong:
        raise UserError(*wrong)
    card = save_rendered(
        studio.datasets,
        table,
        recipe,
        name=name or "",
        skip=skip,
        progress=lambda part: progress(part, desc="Writing the rows out"),
    )
    return reference(card), changed + 1, LOOK


# ---- from the form to a recipe ---------------------------------------------------------------------------------------


def recipe_of(templates: TemplateSet, values: Mapping[str, Any], lines: Sequence[Any] | None = None) -> Recipe:
    """The recipe a form describes, of some of its templates or of those that are ticked. Raises `UserError`."""
    used = lines if lines is not None else [line for line in values["templates"]["templates"] if line["used"]]
    columns = _columns_of(templates, values)
    label = columns.get(templates.label_part or "")
    return Recipe(
        templates=set_of(templates, used), columns=columns, labels=names_of(values["labels"]) if label else {},
        words=_words_of(templates, values), rendering=_rendering_of(values),
    )  # fmt: skip


def _columns_of(templates: TemplateSet, values: Mapping[str, Any]) -> dict[str, str]:
    slots = ((part, values[f"column_{slot}"]) for slot, part in enumerate(templates.columns))
    return {part: column for part, column in slots if column}


def _words_of(templates: TemplateSet, values: Mapping[str, Any]) -> dict[str, str]:
    return {name: values[f"word_{slot}"] or "" for slot, name in enumerate(templates.words)}


def _rendering_of(values: Mapping[str, Any]) -> Rendering:
    set_here = plain_values(Rendering, {name: values[name] for name in Rendering.model_fields})
    try:
        return Rendering.model_validate(set_here)
    except ValidationError as error:
        raise UserError(*sentences(error)) from error


def _recipe_names(templates: TemplateSet, values: Mapping[str, Any], columns: list[str]) -> list[str]:
    """What a template can ask for; found out without the templates, which may be wrong."""
    recipe = Recipe(templates=templates, columns=_columns_of(templates, values), words=_words_of(templates, values))
    return recipe.names(columns)


def _missing(templates: TemplateSet, values: Mapping[str, Any]) -> list[str]:
    """What is still to be chosen, in sentences."""
    chosen, words = _columns_of(templates, values), _words_of(templates, values)
    used = "".join(f"{line['prompt']}{line['completion']}" for line in values["templates"]["templates"] if line["used"])
    asked = [part for part in templates.columns if part not in chosen and f"{{{part}}}" in used]
    return [
        *(f'Choose the column for "{part.replace("_", " ")}", or untick the templates that ask for it.' for part in asked),
        *(
            f'Fill in "{name.replace("_", " ")}": templates ask for it.'
            for name, text in words.items()
            if not text.strip() and f"{{{name}}}" in used
        ),
    ]


def _too_many_labels(recipe: Recipe, found: Survey) -> list[str]:
    column = recipe.label_column
    if not column or column not in recipe.needed or found.labels(column) is not None:
        return []
    return [
        f'The column "{column}" holds more than {MOST_LABELS} different values, and labels are a few. '
        "Choose another column, or another task."
    ]


def _has_answers(table: Table) -> bool:
    """Whether its rows are conversations, whose prompts can be put otherwise."""
    return isinstance(table, SavedTable) and table.datasets.card(table.id, table.version).record == "messages"


# ---- words -----------------------------------------------------------------------------------------------------------


def _found_words(table: Table, columns: list[str], wrong: list[str]) -> str:
    named = ", ".join(columns[:20]) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
    if isinstance(table, FileTable):
        words = f"{table.source.name}: {FORMATS[table.source.format]}, {table.source.size:,} bytes. Columns: {named}."
    else:
        words = f"A saved data set. Its rows have: {named}."
    return f'<p class="plain-text">{escape(words)}</p>{problems(wrong) if wrong else ""}'


def _names_words(names: list[str]) -> str:
    shown = ", ".join(f"{{{name}}}" for name in names[:30])
    return f'<p class="quiet">A template can ask for {escape(shown)}. Write {escape("{{")} and {escape("}}")} for braces.</p>'


def _made_words(made: Yield, found: Survey) -> str:
    sentence = (
        f'<p><span class="good">{rows_in_words(made.made)}</span> will be made of {rows_in_words(made.usable)} of the table.</p>'
    )
    if not made.usable:
        sentence = empty("None of the rows can be used like this. Check columns and label names above.")
    return sentence + (problems(sentences_on(made.left_out)) if made.left_out else "")
