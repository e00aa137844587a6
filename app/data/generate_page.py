"""Instructions written by a model from a few examples, and reviewed by hand (Self-Instruct).

Where one sets a generation up, and where one watches and reviews it (`generation_view`); an earlier one can be opened.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import gradio as gr
from gradio.components import Component

from app.chat_tab import speaker_choices
from app.data.desk import Desk, Updates, to_look
from app.data.generation_view import GenerationView, generation_view, shown, wire_generation_view
from app.event_options import QUIET
from app.studio import Studio, on
from backend.errors import UserError
from backend.events import ENDED
from backend.generating.generation import Generation, Generations, make_generation
from backend.generating.review import Review
from backend.generating.settings import (
    GenerationSettings,
    GenerationSpec,
    WriterSettings,
    parse_generation,
)
from components.settings_form import plain_values, settings_form
from components.text import rows_in_words

SETTING, WRITER = "settings__", "writer__"  # before the name of a setting in a click's values
NEW = "new"  # instead of an earlier generation's id
LISTED = 50  # earlier generations, the newest first


@dataclass(frozen=True)
class GeneratePage:
    """Set up on one half, watched and reviewed on the other; one of them is in view."""

    column: gr.Column
    earlier: gr.Dropdown
    setup: gr.Column
    form: dict[str, Component]  # every setting, by its name in a click's values
    start: gr.Button
    view: GenerationView
    cancel: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """What opening a generation, or none, fills."""
        return [self.earlier, self.setup, self.view.column, *self.view.outputs]


def generate_page(studio: Studio) -> GeneratePage:
    """Lay out the page, hidden until somebody opens it."""
    with gr.Column(visible=False, elem_id="data-generate-page") as column:
        gr.HTML('<h2 class="data-title">Generate</h2><p class="quiet">A model reads some of your rows and writes new tasks in their manner. '
                "What is too much like another is thrown out; what is left you accept, edit or reject.</p>")  # fmt: skip
        earlier = gr.Dropdown(
            [("Set up a new one", NEW)], value=NEW, label="Generation", info="Set up a new one, or open an earlier one.", filterable=False,
            visible=False, elem_id="generate-earlier",
        )
        with gr.Column() as setup:
            form = _form(studio)
            with gr.Row(elem_classes="actions"):
                start = gr.Button("Start", variant="primary", elem_id="generate-start", min_width=120, scale=0)
        view = generation_view(studio)
        with gr.Row(elem_classes="actions"):
            cancel = gr.Button("Back to the data sets", elem_id="data-generate-cancel", min_width=120, scale=0)
    return GeneratePage(column, earlier, setup, form, start, view, cancel)


def wire_generate_page(studio: Studio, page: GeneratePage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    writer = [page.form[WRITER + name] for name in ("speaker", "url", "endpoint_model")]
    begin.click(on(studio, on_begin), desk.chosen, [desk.place, page.form["seeds"], writer[0], *page.outputs], **QUIET)
    page.form[WRITER + "kind"].change(on_kind, page.form[WRITER + "kind"], writer, **QUIET)
    # unprocessed: Gradio would refuse, in words of its own, a choice that a restarted studio has not listed yet
    page.earlier.input(on(studio, on_pick), page.earlier, page.outputs, preprocess=False, **QUIET)
    page.start.click(on(studio, on_start), outputs=page.outputs, inputs_kwargs=page.form, **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
    wire_generation_view(studio, page.view, desk)


# ---- layout ----------------------------------------------------------------------------------------------------------


def _form(studio: Studio) -> dict[str, Component]:
    name = GenerationSpec.model_fields["name"]
    with gr.Row(elem_classes="sentence"):
        seeds = gr.Dropdown(
            _seed_choices(studio), label="From the rows of", info="The model is shown some of their questions. Ten to a few hundred do.",
            min_width=200, elem_id="generate-seeds",
        )
        kind = gr.Radio(
            [("A model here", "model"), ("An endpoint", "endpoint")], value="model", label=_title("kind"), info=_help("kind"), min_width=200,
            elem_id="generate-kind",
        )
        speaker = gr.Dropdown(
            speaker_choices(studio), value="base:starter", label=_title("speaker"), info=_help("speaker"), min_width=200, elem_id="generate-speaker",
        )
        url = gr.Textbox(
            label=_title("url"), info=_help("url"), placeholder="http://127.0.0.1:8000/v1", max_lines=1, visible=False, min_width=200,
            elem_id="generate-url",
        )
        model = gr.Textbox(
            label=_title("endpoint_model"), info=_help("endpoint_model"), max_lines=1, visible=False, min_width=200, elem_id="generate-model",
        )
        called = gr.Textbox(
            label="and call it", info=name.description, placeholder="named after the rows", max_lines=1, max_length=120, min_width=200,
            elem_id="generate-name",
        )
    settings = settings_form(GenerationSettings, "generate")
    writer = {"kind": kind, "speaker": speaker, "url": url, "endpoint_model": model}
    return {
        "seeds": seeds, "name": called, **{WRITER + each: component for each, component in writer.items()},
        **{SETTING + each: component for each, component in settings.items()},
    }  # fmt: skip


def _title(field: str) -> str | None:
    return WriterSettings.model_fields[field].title


def _help(field: str) -> str | None:
    return WriterSettings.model_fields[field].description


def _seed_choices(studio: Studio) -> list[tuple[str, str]]:
    """Data sets whose rows can be seeds: (what is shown, id)."""
    return [(f"{card.name} · {rows_in_words(card.rows)}", card.id) for card in studio.datasets.list() if card.record == "messages"]


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_begin(studio: Studio, chosen: dict[str, Any] | None) -> Updates:
    """The page opens on what is being written or waits to be reviewed, else on a new one from the data set looked at."""
    choices = _seed_choices(studio)
    ids = [id for _, id in choices]
    seeds = chosen["id"] if chosen and chosen["id"] in ids else next(iter(ids), None)
    speakers = gr.Dropdown(choices=speaker_choices(studio))
    return "generate", gr.Dropdown(choices=choices, value=seeds), speakers, *_opened(studio, _unfinished(studio))


def on_pick(studio: Studio, id: str | None) -> Updates:
    return _opened(studio, None if id in (None, NEW) else id)


def on_kind(kind: str) -> Updates:
    """Only what the kind of writer needs is asked for."""
    is_model = kind == "model"
    return gr.Dropdown(visible=is_model), gr.Textbox(visible=not is_model), gr.Textbox(visible=not is_model)


def on_start(studio: Studio, **values: Any) -> Updates:
    """Put the generation on the queue and show it."""
    generation = make_generation(studio.workspace, spec_of(studio, values))
    return _opened(studio, studio.engine.put(generation))


def spec_of(studio: Studio, values: dict[str, Any]) -> GenerationSpec:
    """The spec a form describes. Raises `UserError` naming everything that is wrong."""
    if not values["seeds"]:
        raise UserError("No rows are chosen to begin with. Choose a data set of conversations, or write or import one first.")
    card = studio.datasets.card(values["seeds"])
    settings = {name.removeprefix(SETTING): value for name, value in values.items() if name.startswith(SETTING)}
    writer = {name.removeprefix(WRITER): value or "" for name, value in values.items() if name.startswith(WRITER)}
    return parse_generation({
        "name": (values["name"] or "").strip() or f"{card.name}, more"[:120], "seeds": {"id": card.id, "version": card.version},
        "writer": writer, "settings": plain_values(GenerationSettings, settings),
    })  # fmt: skip


def _opened(studio: Studio, id: str | None) -> Updates:
    """A generation, or what sets one up, for the page's outputs."""
    earlier = [(_label(each), each.id) for each in Generations(studio.workspace).readable()[:LISTED]]
    picker = gr.Dropdown(choices=[("Set up a new one", NEW), *earlier], value=id or NEW, visible=bool(earlier))
    return picker, gr.Column(visible=id is None), gr.Column(visible=id is not None), *shown(studio, id)


def _label(generation: Generation) -> str:
    begun = datetime.fromtimestamp(next((event["at"] for event in generation.events.read()[0]), 0.0))
    return f"{generation.label['name']} · {begun:%d %b %Y, %H:%M}"


def _unfinished(studio: Studio) -> str | None:
    """The newest generation, if it is not over or has tasks to review."""
    newest = next(iter(Generations(studio.workspace).readable()), None)
    return newest.id if newest and (newest.status not in ENDED or Review(newest).queue()) else None
