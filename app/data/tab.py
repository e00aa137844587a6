"""The Data tab: the list of data sets, beside it the one that is looked at, or a page on which another is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.data.augment_page import augment_page, wire_augment_page
from app.data.desk import LOOK, Chosen, Desk, Updates
from app.data.generate_page import generate_page, wire_generate_page
from app.data.import_page import import_page, wire_import_page
from app.data.mix_page import mix_page, wire_mix_page
from app.data.table_page import table_page, wire_table_page
from app.data.view import dataset_view, reference, showing, wire_dataset_view
from app.data.write_page import wire_write_page, write_page
from app.event_options import PRIVATE, QUIET
from app.studio import Studio, on
from backend.data.records import KINDS
from backend.data.starter import import_starter
from backend.data.versions import Card
from components.notices import empty, lead
from components.text import rows_in_words

SETS_LISTED = 200  # the rest is found by its name
FIND_FROM = 12  # data sets from which on there is a box to find them
WAYS_IN = {  # page: its button, and what happens there
    "write": ("Write", "rows by hand"),
    "import": ("Import", "a file you have"),
    "table": ("From a table", "labels become instructions"),
    "mix": ("Mix", "several sets in one"),
    "generate": ("Generate", "a model writes from examples"),
    "augment": ("Augment", "the same answers, other prompts"),
}


@dataclass(frozen=True)
class DataTab:
    """What other tabs and the page tie to."""

    chosen: gr.State  # {"id": ..., "version": ...} of the data set that is looked at, or None
    changed: gr.State  # a number that grows when a data set comes or goes; listen to its .change
    train_on_this: gr.Button
    refresh_on: Callable[[Callable[..., Any]], None]  # reads the list again: refresh_on(some_gradio_tab.select)


def data_tab(studio: Studio) -> DataTab:
    """Lay out the tab and wire it."""
    desk = Desk()
    lead("Bring or make the examples a model shall learn from, and look at them the way the model will.")
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            sets = _list_of_sets()
        with gr.Column(scale=3, min_width=560):
            with gr.Column() as looking:
                view, nothing = dataset_view(studio), _nothing_yet()
            pages = {
                "write": write_page(studio), "import": import_page(), "table": table_page(studio), "mix": mix_page(studio),
                "generate": generate_page(studio), "augment": augment_page(studio),
            }  # fmt: skip
    desk.lay({LOOK: looking} | {name: page.column for name, page in pages.items()})
    desk.place.change(on_place, desk.place, list(sets.ways_in.values()), **QUIET)
    _wire_list(studio, sets, nothing, desk)
    wire_dataset_view(studio, view, desk, nothing=nothing.page)
    wire_write_page(studio, pages["write"], desk, begin=sets.ways_in["write"], edit=view.edit)
    wire_import_page(studio, pages["import"], desk, begin=sets.ways_in["import"])
    wire_table_page(studio, pages["table"], desk, begin=sets.ways_in["table"])
    wire_mix_page(studio, pages["mix"], desk, begin=sets.ways_in["mix"])
    wire_generate_page(studio, pages["generate"], desk, begin=sets.ways_in["generate"])
    wire_augment_page(studio, pages["augment"], desk, begin=sets.ways_in["augment"])

    def refresh_on(event: Callable[..., Any]) -> None:
        shown = [*sets.outputs, desk.chosen, view.page, nothing.page]
        event(on(studio, on_refresh), [desk.chosen, sets.find], shown, **QUIET)

    refresh_on(desk.changed.change)
    return DataTab(desk.chosen, desk.changed, view.train, refresh_on)


# ---- layout ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sets:
    """The left column: the data sets there are, and the ways to another."""

    picker: gr.Radio
    find: gr.Textbox
    more: gr.HTML
    ways_in: dict[str, gr.Button]

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
    gr.HTML('<h3 class="section-title">Make a data set</h3>')
    with gr.Row(elem_classes="data-ways-in"):
        ways_in = {page: gr.Button(label, elem_id=f"data-{page}", min_width=110) for page, (label, _) in WAYS_IN.items()}
    said = "".join(f"<dt>{label}</dt><dd>{what}</dd>" for label, what in WAYS_IN.values())
    gr.HTML(f'<dl class="data-ways-in-help quiet">{said}</dl>')
    return _Sets(picker, find, more, ways_in)


@dataclass(frozen=True)
class _Nothing:
    page: gr.Column
    starter: gr.Button


def _nothing_yet() -> _Nothing:
    with gr.Column(visible=False, elem_id="data-nothing") as page:
        gr.HTML(empty(
            "No data sets yet. Write rows or import a file on the left, or begin with the starter data: short answers that all "
            "keep one form."
        ))  # fmt: skip
        with gr.Row(elem_classes="actions"):
            starter = gr.Button("Use the starter data", elem_id="data-starter")
    return _Nothing(page, starter)


# ---- wiring ----------------------------------------------------------------------------------------------------------


def _wire_list(studio: Studio, sets: _Sets, nothing: _Nothing, desk: Desk) -> None:
    sets.find.change(on(studio, on_find), [desk.chosen, sets.find], sets.outputs, trigger_mode="always_last", **QUIET)
    # unprocessed: Gradio would refuse, in words of its own, a choice that a restarted studio has not listed yet
    sets.picker.input(on(studio, on_pick), sets.picker, [desk.chosen, desk.place], preprocess=False, **QUIET)
    nothing.starter.click(on(studio, on_starter), desk.changed, [desk.chosen, desk.changed], **PRIVATE)


# ---- the list --------------------------------------------------------------------------------------------------------


def on_place(place: str) -> list[Any]:
    """The button of the page in view is marked."""
    return [gr.Button(elem_classes=["data-here"] if page == place else []) for page in WAYS_IN]


def on_refresh(studio: Studio, chosen: Chosen, find: str) -> Updates:
    """The tab is looked at, or data sets came or went: what was chosen stays chosen if it is still there, else the newest is."""
    cards = studio.datasets.list()
    if not any(chosen and card.id == chosen["id"] for card in cards):
        chosen = reference(cards[0]) if cards else None
    return *_listed(cards, chosen, find), chosen, *showing(bool(cards))


def on_find(studio: Studio, chosen: Chosen, find: str) -> Updates:
    return _listed(studio.datasets.list(), chosen, find)


def on_pick(studio: Studio, id: str | None) -> Updates:
    """One of the list is looked at; a page begun is put away."""
    return reference(studio.datasets.card(id)) if id else None, LOOK


def on_starter(studio: Studio, changed: int) -> Updates:
    return reference(import_starter(studio.datasets)), changed + 1


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
    return f"{card.name} · v{card.version} · {rows_in_words(card.rows)} · {KINDS[card.record]}"
