"""From items to a batch: what was found, what the filters leave, what people are told, and the button that begins it.

Whoever gathers items writes a `Gathered` into `part.gathered`; everything here follows from it.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.event_options import PRIVATE, QUIET
from app.label.desk import WORK, Desk, Updates
from app.studio import Studio, on
from backend.answering.beginning import BatchSettings, Gathered, begin_batch, parse_batch, parse_filters
from backend.errors import UserError
from backend.labelling.filters import FilterSettings, Sieved, prompts_of, sieve
from components.candidates_view import found_html, sieved_html
from components.notices import problems
from components.settings_form import plain_values, settings_form
from components.text import rows_in_words

NONE = ""  # no data set is kept for evaluation


@dataclass(frozen=True)
class GatheringPart:
    """What was gathered, and what it takes to begin."""

    gathered: gr.State  # a `Gathered`, or None
    column: gr.Column
    found: gr.HTML
    consent: gr.Checkbox
    with_votes: gr.Checkbox
    filters: dict[str, Component]
    held_out: gr.Dropdown
    outcome: gr.HTML
    batch: dict[str, Component]  # the fields of `BatchSettings`
    begin: gr.Button

    @property
    def fields(self) -> dict[str, Any]:
        """What a click is told, by name."""
        filters = {f"filter_{name}": component for name, component in self.filters.items()}
        batch = {f"batch_{name}": component for name, component in self.batch.items()}
        return {"gathered": self.gathered, "consent": self.consent, "with_votes": self.with_votes, "held_out": self.held_out, **filters, **batch}

    @property
    def left(self) -> list[Any]:
        """What the filters leave, and whether it can begin."""
        return [self.outcome, self.begin]


def gathering_part(studio: Studio) -> GatheringPart:
    """Lay it out, hidden until something was gathered."""
    parts: dict[str, Any] = {"gathered": gr.State(None)}
    with gr.Column(visible=False, elem_id="begin-gathering") as column:
        gr.HTML('<h3 class="section-title">What there is to label</h3>')
        parts["found"] = gr.HTML(elem_id="begin-found", min_height=24)
        parts["consent"] = gr.Checkbox(False, visible=False, label="Leave out", elem_id="begin-consent")
        parts["with_votes"] = gr.Checkbox(False, visible=False, label="Keep votes", elem_id="begin-with-votes")
        with gr.Accordion("What is left out", open=False, elem_id="begin-filters"):
            parts["filters"] = settings_form(FilterSettings, "begin-filter")
            parts["held_out"] = gr.Dropdown(
                _held_out_choices(studio), value=NONE, label="Kept for evaluation", filterable=False, elem_id="begin-held-out",
                info="The data set you will measure models on. Items with one of its prompts are left out.",
            )
        parts["outcome"] = gr.HTML(elem_id="begin-outcome", min_height=48)
        gr.HTML('<h3 class="section-title">How it is labelled</h3>')
        parts["batch"] = _batch_form()
        with gr.Row(elem_classes="actions"):
            begin = gr.Button("Begin labelling", variant="primary", interactive=False, elem_id="begin-labelling", min_width=200, scale=0)
    return GatheringPart(column=column, begin=begin, **parts)


def wire_gathering_part(studio: Studio, part: GatheringPart, desk: Desk) -> None:
    """Tie it to what is gathered, and to the desk."""
    part.gathered.change(
        on(studio, on_gathered), outputs=[part.column, part.found, part.consent, part.with_votes, part.batch["name"], part.held_out, *part.left],
        inputs_kwargs=part.fields, **QUIET,
    )  # fmt: skip
    for change in (*(component.change for component in part.filters.values()), part.held_out.input, part.consent.input, part.batch["overlap"].change):
        change(on(studio, on_sieve), outputs=part.left, inputs_kwargs=part.fields, trigger_mode="always_last", **QUIET)
    part.begin.click(
        on(studio, on_begin), outputs=[desk.batch, desk.changed, desk.place, part.gathered],
        inputs_kwargs={"changed": desk.changed, **part.fields}, show_progress_on=part.outcome, **PRIVATE,
    )  # fmt: skip


# ---- layout ----------------------------------------------------------------------------------------------------------


def _batch_form() -> dict[str, Component]:
    told = {name: {"label": field.title, "info": field.description, "elem_id": f"begin-{name}"} for name, field in BatchSettings.model_fields.items()}
    default = BatchSettings()
    with gr.Row(elem_classes="settings"):
        form: dict[str, Component] = {
            "name": gr.Textbox(max_lines=1, max_length=120, **told["name"]),
            "overlap": gr.Number(default.overlap, precision=0, minimum=1, maximum=20, **told["overlap"]),
            "seed": gr.Number(default.seed, precision=0, minimum=0, **told["seed"]),
        }
    return {**form, "guidelines": gr.Textbox(default.guidelines, lines=4, max_lines=12, **told["guidelines"])}


def _held_out_choices(studio: Studio) -> list[tuple[str, str]]:
    cards = [card for card in studio.datasets.list() if card.record != "text"]
    return [("none", NONE), *((f"{card.name} · {rows_in_words(card.rows)}", card.id) for card in cards)]


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_gathered(studio: Studio, gathered: Gathered | None, **values: Any) -> Updates:
    """(column, what was found, consent, votes, name, data sets for evaluation, outcome, begin); consent given before counts no more."""
    if gathered is None:
        return gr.Column(visible=False), "", *(gr.Checkbox(value=False, visible=False),) * 2, gr.skip(), gr.skip(), "", gr.Button(interactive=False)
    bad, votes = len(gathered.problems), len(gathered.votes)
    return (
        gr.Column(visible=True), found_html(gathered.words, gathered.problems),
        gr.Checkbox(value=False, visible=bad > 0, label=f"Leave out the {rows_in_words(bad)} that cannot be used",
                    info="Beginning needs your consent: nothing is left out without it."),
        gr.Checkbox(value=gathered.source["from"] == "file", visible=votes > 0, label=f"Keep the {_counted(votes)} that came along",
                    info="They are kept under a name of their own, beside those cast here, so that you see how far they agree. "
                    "Nobody sees them while labelling."),
        gathered.name, gr.Dropdown(_held_out_choices(studio)), *on_sieve(studio, gathered, **(values | {"consent": False})),
    )  # fmt: skip


def on_sieve(studio: Studio, gathered: Gathered | None, consent: bool, with_votes: bool, held_out: str, **values: Any) -> Updates:
    """What the filters leave, and whether it can begin; or what is wrong with them."""
    if gathered is None:
        return "", gr.Button(interactive=False)
    try:
        sieved = _sieved(studio, gathered, held_out, values)
    except UserError as error:
        return problems(error.problems), gr.Button(interactive=False)
    people = values["batch_overlap"] if isinstance(values["batch_overlap"], int) else 1
    may_begin = bool(sieved.kept) and (consent or not gathered.problems)
    return sieved_html(sieved, gathered.items, max(people, 1)), gr.Button(interactive=may_begin)


def on_begin(studio: Studio, changed: int, gathered: Gathered | None, consent: bool, with_votes: bool, held_out: str, **values: Any) -> Updates:
    """The batch is there and put before whoever works here."""
    if gathered is None:
        raise UserError("There is nothing to label yet. Let models answer prompts, or bring pairs.")
    if gathered.problems and not consent:
        raise UserError(f"{rows_in_words(len(gathered.problems))} cannot be used. Tick that they are left out, or mend the file and bring it again.")
    settings = parse_batch(plain_values(BatchSettings, _named("batch_", values)))
    batch = begin_batch(studio.labels, gathered, _sieved(studio, gathered, held_out, values), settings, with_votes=with_votes)
    return batch.id, changed + 1, WORK, None


def _sieved(studio: Studio, gathered: Gathered, held_out: str, values: dict[str, Any]) -> Sieved:
    settings = parse_filters(plain_values(FilterSettings, _named("filter_", values)))
    kept_apart = prompts_of(studio.datasets.iterate(held_out)) if held_out and settings.held_out else set()
    return sieve(gathered.items, settings, held_out=kept_apart)


def _named(group: str, values: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(group): value for name, value in values.items() if name.startswith(group)}


def _counted(votes: int) -> str:
    return "1 vote" if votes == 1 else f"{votes:,} votes"
