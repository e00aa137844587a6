"""Beginning a batch: models here answer prompts, somebody brings pairs, or a saved data set is labelled again."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.event_options import QUIET
from app.label.answering_part import (
    AnsweringPart,
    answering_part,
    data_choices,
    first_answerers,
    moving,
    on_estimate,
    opening,
    shown,
    wire_answering_part,
)
from app.label.bringing_part import (
    FilePart,
    SavedPart,
    file_part,
    saved_choices,
    saved_part,
    wire_file_part,
    wire_saved_part,
)
from app.label.desk import BEGIN, WORK, Desk, Updates
from app.label.gathering_part import GatheringPart, gathering_part, wire_gathering_part
from app.studio import Studio, on

WAYS = {"answers": "Let models here answer prompts", "file": "Bring pairs from a file", "saved": "Label a saved data set again"}


@dataclass(frozen=True)
class BeginPage:
    """The page's parts."""

    column: gr.Column
    way: gr.Radio
    answering: AnsweringPart
    file: FilePart
    saved: SavedPart
    gathering: GatheringPart
    back: gr.Button


def begin_page(studio: Studio) -> BeginPage:
    """Lay it out, hidden until somebody begins a batch."""
    with gr.Column(visible=False, elem_id="begin-page") as column:
        gr.HTML('<h2 class="data-title">Begin a batch</h2><p class="quiet">A batch is a set of answers to be compared. First comes what is '
                "compared, then what is left out, then how it is labelled.</p>")  # fmt: skip
        way = gr.Radio(
            [(words, name) for name, words in WAYS.items()], value="answers", label="Where the answers come from",
            info="Whichever way: nobody who labels sees whose an answer is.", elem_id="begin-way",
        )
        parts = (answering_part(studio), file_part(), saved_part(studio), gathering_part(studio))
        with gr.Row(elem_classes="actions"):
            back = gr.Button("Back to labelling", elem_id="begin-back", min_width=160, scale=0)
    return BeginPage(column, way, *parts, back)


def wire_begin_page(studio: Studio, page: BeginPage, desk: Desk) -> None:
    """Tie it to the desk."""
    answering, gathered = page.answering, page.gathering.gathered
    opened = [answering.form["data"], answering.form["answerers"], page.saved.nothing, page.saved.asked, page.saved.data, *answering.outputs]
    desk.place.change(on(studio, on_open), desk.place, opened, **QUIET).then(
        on(studio, on_estimate), outputs=answering.estimate, inputs_kwargs=answering.form, **QUIET
    )
    page.way.change(
        on(studio, on_way), [page.way, answering.opened],
        [answering.column, page.file.column, page.saved.column, page.file.file, page.saved.data, gathered, *answering.moving], **QUIET,
    )  # fmt: skip
    page.back.click(lambda: WORK, outputs=desk.place, **QUIET)
    wire_answering_part(studio, answering, gathered)
    wire_file_part(studio, page.file, gathered)
    wire_saved_part(studio, page.saved, gathered)
    wire_gathering_part(studio, page.gathering, desk)


def on_open(studio: Studio, place: str) -> Any:
    """Who can answer and which data sets there are, and the answers that wait to be compared."""
    if place != BEGIN:
        return gr.skip()
    data = data_choices(studio)
    picker = gr.Dropdown(data, value=data[0][1] if data else None)
    return picker, first_answerers(studio), *saved_choices(studio), *shown(studio, opening(studio))


def on_way(studio: Studio, way: str, opened: str | None) -> Updates:
    """Another way: what was gathered on the one before is let go of, and the answers that were looked at come up again."""
    columns = (gr.Column(visible=way == name) for name in WAYS)
    return *columns, None, None, None, *moving(studio, opened if way == "answers" else None)
