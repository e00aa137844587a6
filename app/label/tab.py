"""The Label tab: batches of answers to choose between, what people said of them, and what becomes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.event_options import QUIET
from app.label.begin_page import begin_page, wire_begin_page
from app.label.desk import BEGIN, WORK, Desk, Updates
from app.label.label_page import label_page, wire_label_page
from app.label.quality_page import quality_page, wire_quality_page
from app.label.scoreboard_page import scoreboard_page, wire_scoreboard_page
from app.label.scoring_page import scoring_page, wire_scoring_page
from app.label.take_away_page import take_away_page, wire_take_away_page
from app.studio import Studio, on
from backend.labelling.items import Batch
from components.notices import empty, lead
from components.text import count

NOTHING_YET = (
    "Nothing to label yet. Begin a batch: let models here answer some prompts, or bring pairs from a file. Twenty pairs take "
    "about five minutes."
)
NOT_SECRET = "a name, no secret"  # Gradio scrambles what the browser keeps, by default with a key that a restart forgets


@dataclass(frozen=True)
class LabelTab:
    """What other tabs and the page tie to."""

    batch: gr.State
    saved: gr.State  # grows when votes became a data set
    refresh_on: Callable[[Callable[..., Any]], None]  # reads everything again: refresh_on(some_gradio_tab.select)


def label_tab(studio: Studio) -> LabelTab:
    """Lay out the tab and wire it."""
    desk, saved = Desk(), gr.State(0)
    known_as = gr.BrowserState(None, storage_key="label-annotator", secret=NOT_SECRET)  # a reload leaves one's name as it is
    lead("Say which answer is better, without knowing whose it is. What you say teaches a model by DPO, a reward model or PPO.")
    with gr.Row(elem_classes="label-head"):
        picker = gr.Dropdown([], label="Batch", info="Newest first.", min_width=240, scale=2, filterable=False, elem_id="label-batch")
        annotator = gr.Textbox(
            "me", label="You label as", info="A name of your own keeps your votes apart from those of others.", max_length=80,
            max_lines=1, min_width=200, elem_id="label-annotator",
        )
        begin = gr.Button("Begin a batch", scale=0, min_width=160, elem_id="label-begin")
    with gr.Column() as work:
        nothing = gr.HTML(empty(NOTHING_YET), visible=False, elem_id="label-nothing")
        with gr.Tabs(elem_id="label-tabs") as tabs:
            with gr.Tab("Label", id="label-tab-label") as label_side:
                label = label_page(studio)
            with gr.Tab("Quality", id="label-tab-quality") as quality_side:
                quality = quality_page(studio)
            with gr.Tab("Take away", id="label-tab-take") as take_side:
                take_away = take_away_page(studio)
            with gr.Tab("Scoreboard", id="label-tab-scoreboard") as scoreboard_side:
                scoreboard = scoreboard_page(studio)
            with gr.Tab("Reward model", id="label-tab-scoring") as scoring_side:
                scoring = scoring_page(studio)
    beginning = begin_page(studio)
    desk.lay({WORK: work, BEGIN: beginning.column})

    wire_label_page(studio, label, desk, shown_on=label_side.select)
    wire_quality_page(studio, quality, desk, shown_on=quality_side.select)
    wire_take_away_page(studio, take_away, desk, shown_on=take_side.select, saved=saved)
    wire_scoreboard_page(studio, scoreboard, desk, shown_on=scoreboard_side.select)
    wire_scoring_page(studio, scoring, desk, shown_on=scoring_side.select)
    wire_begin_page(studio, beginning, desk)

    listing = [picker, desk.batch, nothing, tabs]
    begin.click(lambda: BEGIN, outputs=desk.place, **QUIET)
    picker.input(on_pick, picker, desk.batch, preprocess=False, **QUIET)
    # not while it is typed: each beginning of a name would be a person; Enter leaves the field, so that the keys vote again
    names = [annotator, desk.annotator, known_as]
    annotator.blur(on_annotator, annotator, names, **QUIET)
    annotator.submit(None, js="() => document.activeElement.blur()", **QUIET)
    desk.changed.change(on(studio, on_list), desk.batch, listing, **QUIET)

    def refresh_on(event: Callable[..., Any]) -> None:
        event(on_return, known_as, names[:2], **QUIET)  # the browser is asked once the tab is in view, not before
        event(on(studio, on_list), desk.batch, listing, **QUIET)

    return LabelTab(desk.batch, saved, refresh_on)


def on_list(studio: Studio, chosen: str | None) -> Updates:
    """The batches there are; what was chosen stays chosen if it is still there, else the newest is."""
    batches = studio.labels.batches()
    if chosen not in [batch.id for batch in batches]:
        chosen = batches[0].id if batches else None
    there = bool(batches)
    return gr.Dropdown(_choices(batches), value=chosen, visible=there), chosen, gr.HTML(visible=not there), gr.skip()


def on_pick(batch: str | None) -> str | None:
    return batch


def on_annotator(name: str) -> tuple[str, str, str]:
    """Who labels: on the page, on the desk, and in this browser for the next time. An empty name is "me"."""
    name = " ".join(name.split())[:80] or "me"
    return name, name, name


def on_return(name: str | None) -> Updates:
    """Who labelled in this browser before does so again."""
    return (name, name) if name else (gr.skip(), gr.skip())


def _choices(batches: Sequence[Batch]) -> list[tuple[str, str]]:
    return [(f"{batch.name} · {_items(batch.items)}", batch.id) for batch in batches]


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{count(number)} items"
