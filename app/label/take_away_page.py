"""What people said as rows to learn from: a data set, or a file in the form another tool reads.

Every look and every taking counts anew from the votes that stand, so nothing taken is older than the click.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import orjson
from gradio.components import Component

from app.data.take_away_tab import download_link
from app.data.view import record_card
from app.event_options import PRIVATE, QUIET
from app.label.desk import Desk, Updates
from app.studio import Studio, on
from backend.data.readers import clip
from backend.data.records import prompt_of
from backend.errors import UserError
from backend.labelling.filters import prompts_of
from backend.labelling.outcomes import Judged, judged_in_chat, judged_items, records
from backend.labelling.taking import (
    DATA_SET,
    FORMS,
    Form,
    Taken,
    TakingSettings,
    configuration,
    first_rows,
    form_named,
    parse_taking,
    save,
    take,
    write,
)
from backend.labelling.talking import ChatVotes
from components.notices import empty, problems
from components.settings_form import plain_values, settings_form
from components.text import escape, rows_in_words

BATCH, CHAT = "batch", "chat"
SETTING = "settings__"  # before the name of a setting in a click's values
ROWS_SHOWN = 3
LEFT_OUT_SHOWN = 100
CHARACTERS_SHOWN = 4000  # of the first rows of a file
NO_BATCH = "There is no batch yet. Begin one and label it; what people say can then be taken away from here."
NO_CHAT = "No vote in chat can be learnt from yet. Ask both sides the same thing in Chat, then vote for the better answer."


@dataclass(frozen=True)
class TakeAwayPage:
    """What is taken and how, what that comes to, and what it became."""

    column: gr.Column
    form: dict[str, Component]  # everything chosen, by its name in a click's values
    filters: gr.Accordion
    fit: gr.HTML
    preview: gr.HTML
    make: gr.Button
    result: gr.HTML

    @property
    def looked(self) -> list[Any]:
        """What a look fills."""
        return [self.fit, self.preview, self.make]

    @property
    def depending(self) -> list[Component]:
        """What is asked for one form and not for another."""
        return [self.form[SETTING + "ties"], self.form[SETTING + "both_bad"], self.form["name"]]


def take_away_page(studio: Studio) -> TakeAwayPage:
    """Lay it out."""
    with gr.Column(elem_id="label-take") as column:
        with gr.Row():
            source = gr.Radio(
                [("The votes of this batch", BATCH), ("The votes in chat", CHAT)], value=BATCH, label="What to take", min_width=260,
                info="Votes in chat count where both sides had read the same.", elem_id="label-take-source",
            )
            kind = gr.Dropdown(
                [(form.title, form.name) for form in FORMS], value=DATA_SET.name, label="As", filterable=False, min_width=260,
                info="What it becomes: a data set of this studio, or a file for another tool.", elem_id="label-take-form",
            )
        with gr.Accordion("Filters", open=False, elem_id="label-take-filters") as filters:
            settings = settings_form(TakingSettings, "label-take")
            held_out = gr.Dropdown(
                [("none", "")], value="", label="Kept for evaluation", elem_id="label-take-held-out",
                info="A data set a model will be measured on: items that ask what it asks are left out.",
            )
        fit = gr.HTML(elem_id="label-take-fit", min_height=72)
        preview = gr.HTML(elem_id="label-take-preview")
        name = gr.Textbox(
            label="Name", info="What you will find it by; left empty, what stands there in grey. The name of a data set there is makes its "
            "next version.", max_lines=1, max_length=120, elem_id="label-take-name",
        )
        with gr.Row(elem_classes="actions"):
            make = gr.Button("Save as a data set", variant="primary", interactive=False, min_width=200, scale=0, elem_id="label-take-make")
        result = gr.HTML(elem_id="label-take-result")
    chosen = {"source": source, "kind": kind, "held_out": held_out, "name": name}
    return TakeAwayPage(column, chosen | {SETTING + each: part for each, part in settings.items()}, filters, fit, preview, make, result)


def wire_take_away_page(studio: Studio, page: TakeAwayPage, desk: Desk, *, shown_on: Callable[..., Any], saved: gr.State) -> None:
    """Tie it to the desk."""
    values = {"batch": desk.batch, **page.form}
    look: dict[str, Any] = {
        "fn": on(studio, on_look), "inputs_kwargs": values, "outputs": page.looked, "trigger_mode": "always_last", "show_progress_on": page.fit,
        **PRIVATE,
    }  # fmt: skip
    for come in (shown_on, desk.batch.change, page.form["source"].input):  # type: ignore[attr-defined]
        come(on(studio, on_come), [desk.batch, page.form["source"], page.form["held_out"]],
             [page.form["name"], page.form["held_out"], page.result], **QUIET).then(**look)  # fmt: skip
    page.form["kind"].input(on_kind, page.form["kind"], [*page.depending, page.filters, page.result], **QUIET).then(**look)  # type: ignore[attr-defined]
    changes = [page.form["held_out"].input, *(part.input for name, part in page.form.items() if name.startswith(SETTING))]  # type: ignore[attr-defined]
    gr.on(changes, **look)
    page.make.click(
        on(studio, on_make), inputs_kwargs={**values, "saved": saved}, outputs=[page.result, saved], show_progress_on=page.result, **PRIVATE
    ).then(**look)


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_come(studio: Studio, batch: str | None, source: str, held_out: str | None) -> Updates:
    """A name to save under, which overwrites none that is being typed, and the data sets there are to be kept out."""
    choices = [("none", ""), *((f"{card.name} · {rows_in_words(card.rows)}", card.id) for card in studio.datasets.list())]
    still = held_out if held_out in [id for _, id in choices] else ""
    name = _proposed(studio, source, batch) if source == CHAT or batch else ""
    return gr.Textbox(placeholder=name), gr.Dropdown(choices=choices, value=still), ""


def on_kind(kind: str) -> Updates:
    """Only what the form needs is asked for."""
    form = form_named(kind)
    is_data_set = form is DATA_SET
    return gr.Checkbox(visible=is_data_set), gr.Checkbox(visible=is_data_set), gr.Textbox(visible=is_data_set), gr.Accordion(visible=form.is_filtered), ""


def on_look(studio: Studio, **values: Any) -> Updates:
    """What would be taken and what would not, and how it begins."""
    form = form_named(values["kind"])
    label = "Save as a data set" if form is DATA_SET else "Make the file"
    judged = _judged(studio, values)
    if not judged:
        return empty(NO_CHAT if values["source"] == CHAT else NO_BATCH), "", gr.Button(label, interactive=False)
    try:
        taken = _taken(studio, judged, form, values)
    except UserError as fault:  # of the settings: said where they stand, as they are typed
        return problems(fault.problems), "", gr.Button(label, interactive=False)
    return _fit(form, judged, taken), _preview(form, taken), gr.Button(label, interactive=bool(taken.judged))


def on_make(studio: Studio, **values: Any) -> Updates:
    """The data set or the file, and the way on from there."""
    form, judged = form_named(values["kind"]), _judged(studio, values)
    taken = _taken(studio, judged, form, values)
    if form is DATA_SET:
        name = values["name"].strip() or _proposed(studio, values["source"], values["batch"])
        card = save(taken, studio.datasets, name=name, source=_origin(studio, values))
        return _saved(card.name, card.version, card.rows), values["saved"] + 1
    path = write(taken, form, studio.workspace.exports, name="chat" if values["source"] == CHAT else values["batch"])
    return f'<div role="status">{download_link(path, f"Download {path.name}")}</div>', values["saved"]


def _proposed(studio: Studio, source: str, batch: str) -> str:
    return "votes in chat" if source == CHAT else studio.labels.batch(batch).name


def _judged(studio: Studio, values: dict[str, Any]) -> list[Judged]:
    """Every item of what is to be taken."""
    if values["source"] == CHAT:
        return judged_in_chat(ChatVotes(studio.store).votes())
    return judged_items(studio.labels, values["batch"]) if values["batch"] else []


def _taken(studio: Studio, judged: Sequence[Judged], form: Form, values: dict[str, Any]) -> Taken:
    chosen = {name.removeprefix(SETTING): value for name, value in values.items() if name.startswith(SETTING)}
    settings = parse_taking(plain_values(TakingSettings, chosen))
    is_needed = values["held_out"] and settings.held_out and form.is_filtered
    return take(judged, form, settings, held_out=prompts_of(studio.datasets.iterate(values["held_out"])) if is_needed else ())


def _origin(studio: Studio, values: dict[str, Any]) -> dict[str, Any]:
    """What the card says of where its rows come from."""
    if values["source"] == CHAT:
        return {"made": "voted on in chat"}
    batch = studio.labels.batch(values["batch"])
    return {"made": "labelled by hand", "batch": {"id": batch.id, "name": batch.name}, "annotators": len(studio.labels.annotators(batch.id))}


# ---- words -----------------------------------------------------------------------------------------------------------


def _fit(form: Form, judged: Sequence[Judged], taken: Taken) -> str:
    """How much is taken, and what is left out and why."""
    whole = f'<p class="quiet">{escape(form.sentence)}</p><p><span class="good">{len(taken.judged):,} of {_items(len(judged))} taken.</span></p>'
    return whole + (_left_out(judged, taken) if taken.left_out else "")


def _left_out(judged: Sequence[Judged], taken: Taken) -> str:
    asked = {each.number: _question(each) for each in judged}
    reasons = "".join(f"<li>{count:,}: {escape(why)}</li>" for why, count in taken.counts.items())
    listed = "".join(
        f"<li>Item {number:,} {escape(reason)}. <span class=\"quiet\" dir=\"auto\">{escape(asked[number])}</span></li>"
        for number, _, reason in taken.left_out[:LEFT_OUT_SHOWN]
    )
    more = len(taken.left_out) - LEFT_OUT_SHOWN
    rest = f'<p class="quiet">and {more:,} more</p>' if more > 0 else ""
    return (
        f'<div class="label-left-out"><p>{_items(len(taken.left_out))} left out, each counted once, for what it was left out first:</p>'
        f"<ul>{reasons}</ul><details><summary>Which ones</summary><ul tabindex=\"0\" aria-label=\"Items left out\">{listed}</ul>{rest}</details></div>"
    )


def _preview(form: Form, taken: Taken) -> str:
    """The first rows, without who made the answers: who still labels may be looking."""
    if not taken.judged:
        return ""
    if form is DATA_SET:
        body = "".join(record_card(record, number) for number, record in enumerate(records(taken.judged[:ROWS_SHOWN]), 1))
        return f'<h3 class="section-title">The first rows</h3><div class="data-rows" tabindex="0" role="group" aria-label="The first rows">{body}</div>'
    lines = "\n\n".join(orjson.dumps(_nameless(row), option=orjson.OPT_INDENT_2).decode() for row in first_rows(taken, form, limit=ROWS_SHOWN))
    return _setup(form, taken) + _log("How the file begins", clip(lines, max_chars=CHARACTERS_SHOWN))


def _setup(form: Form, taken: Taken) -> str:
    return _log("Configuration of the project", configuration(taken.judged)) if form.name == "label-studio" else ""


def _log(title: str, text: str) -> str:
    return f'<h3 class="section-title">{escape(title)}</h3><pre class="log label-rows" tabindex="0" aria-label="{escape(title)}">{escape(text)}</pre>'


def _nameless(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is shown: who made an answer stands in the file, and not on a page others may be labelling by."""
    if "candidates" not in row:
        return row
    return {**row, "candidates": [{**each, "made": "in the file, not shown here"} for each in row["candidates"]]}


def _saved(name: str, version: int, rows: int) -> str:
    return (
        f'<p class="good" role="status">Saved: “{escape(name)}”, version {version}, {rows_in_words(rows)}. Train on it: choose it on the Train '
        "tab, with DPO, KTO or a reward model as what is learnt.</p>"
    )


def _question(judged: Judged) -> str:
    return clip(prompt_of({"prompt": judged.item.prompt, "answers": [], "ranks": []}), max_chars=90)


def _items(number: int) -> str:
    return "1 item is" if number == 1 else f"{number:,} items are"
