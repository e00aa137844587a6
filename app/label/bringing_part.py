"""Items that are there already: pairs somebody brings in a file, or a saved data set of preferences, to be labelled again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.event_options import PRIVATE, QUIET
from app.label.desk import Updates
from app.studio import Studio, on
from backend.answering.beginning import gathered_from_data, gathered_from_file
from backend.answering.settings import PromptSource
from backend.errors import UserError
from backend.specs import DatasetRef
from components.notices import empty
from components.text import rows_in_words

SHAPES = (
    "Columns prompt, chosen and rejected (texts or conversations); prompt, answer1 and answer2, not labelled yet; prompt and a list of "
    "answers; preferences as ShareGPT writes them; or tasks of Label Studio, labelled or not."
)
NO_PREFERENCES = (
    "No data set of preferences is saved yet. Import one in the Data tab, label a batch and save what people said, or bring pairs from a file."
)


@dataclass(frozen=True)
class FilePart:
    """A file with pairs."""

    column: gr.Column
    file: gr.File


@dataclass(frozen=True)
class SavedPart:
    """A saved data set of preferences, and how many of its rows."""

    column: gr.Column
    nothing: gr.HTML
    asked: gr.Row
    data: gr.Dropdown
    number: gr.Number
    seed: gr.Number


def file_part() -> FilePart:
    """Lay it out, hidden until somebody brings pairs."""
    with gr.Column(visible=False, elem_id="begin-file-part") as column:
        gr.HTML(f'<p class="quiet">JSON, JSON Lines, CSV, TSV or Parquet. {SHAPES}</p>')
        file = gr.File(label="A file of pairs or rankings", type="filepath", height=140, elem_id="begin-file")
    return FilePart(column, file)


def wire_file_part(studio: Studio, part: FilePart, gathered: gr.State) -> None:
    """Tie it to what is gathered."""
    part.file.upload(on(studio, on_file), part.file, gathered, show_progress_on=part.file, **PRIVATE)
    part.file.clear(lambda: None, outputs=gathered, **QUIET)


def saved_part(studio: Studio) -> SavedPart:
    """Lay it out, hidden until somebody labels a saved data set."""
    fields, choices = PromptSource.model_fields, preference_choices(studio)
    with gr.Column(visible=False, elem_id="begin-saved-part") as column:
        nothing = gr.HTML(empty(NO_PREFERENCES), visible=not choices, elem_id="begin-saved-nothing")
        with gr.Row(visible=bool(choices), elem_classes="settings") as asked:
            data = gr.Dropdown(
                choices, value=None, label="Data set", filterable=False, elem_id="begin-saved-data",
                info="Its answers are shown without what was said of them. The newest version is taken.",
            )
            number = gr.Number(100, precision=0, minimum=1, maximum=10_000, label="Rows", elem_id="begin-saved-number",
                               info="How many are drawn; all of them where there are fewer.")  # fmt: skip
            seed = gr.Number(0, precision=0, minimum=0, label=fields["seed"].title, elem_id="begin-saved-seed",
                             info="The same seed draws the same rows again.")  # fmt: skip
    return SavedPart(column, nothing, asked, data, number, seed)


def wire_saved_part(studio: Studio, part: SavedPart, gathered: gr.State) -> None:
    """Tie it to what is gathered."""
    for change in (part.data.input, part.number.change, part.seed.change):
        change(on(studio, on_saved), [part.data, part.number, part.seed], gathered, trigger_mode="always_last",
               show_progress_on=part.data, **PRIVATE)  # fmt: skip


def preference_choices(studio: Studio) -> list[tuple[str, str]]:
    """Data sets that can be labelled again: (what is shown, id)."""
    return [(f"{card.name} · {rows_in_words(card.rows)}", card.id) for card in studio.datasets.list() if card.record == "preferences"]


def saved_choices(studio: Studio) -> Updates:
    """(what stands where there is none, what is asked, the picker) as they are now."""
    choices = preference_choices(studio)
    return gr.HTML(visible=not choices), gr.Row(visible=bool(choices)), gr.Dropdown(choices, value=None)


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_file(studio: Studio, path: str | None) -> Any:
    """What the file holds."""
    return gathered_from_file(Path(path), name=Path(path).name) if path else None


def on_saved(studio: Studio, id: str | None, number: Any, seed: Any) -> Any:
    """The rows drawn, once a data set is chosen."""
    if not id:
        return None
    if not (isinstance(number, int) and number > 0 and isinstance(seed, int) and seed >= 0):
        raise UserError("Rows is a number from 1 up, and the seed one from 0 up. Type both.")
    return gathered_from_data(studio.datasets, DatasetRef(id=id), number=number, seed=seed)
