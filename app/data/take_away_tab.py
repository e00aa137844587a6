"""The Take away tab of a data set: a file in the form another tool reads, and its card.

Files are made in the workspace's `exports` and fetched from there: no other folder of it is handed out (`main.serve`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from app.data.desk import Chosen, Desk, Updates
from app.event_options import PRIVATE, QUIET, TICK
from app.studio import Studio, on
from backend.data.dataset_card import card_markdown, facts, save_card
from backend.data.exports import Survey, export, form_named, forms, survey
from backend.errors import UserError
from components.notices import problems
from components.text import escape, gigabytes

CARD_SHOWN = 20_000  # characters
MISFITS_SHOWN = 50


@dataclass(frozen=True)
class TakeAwayTab:
    """The form, how the rows fit it, and the files."""

    tab: gr.Tab
    form: gr.Dropdown
    fit: gr.HTML
    survey: gr.State  # of the form that is chosen; None while it is made
    leave_out: gr.Checkbox
    make: gr.Button
    file: gr.HTML
    card: gr.HTML


def take_away_tab(studio: Studio) -> TakeAwayTab:
    """Lay out the tab."""
    with gr.Tab("Take away", id="data-tab-take-away") as tab:
        found = gr.State(None)
        form = gr.Dropdown(
            [], label="Form", info="What reads the file. Whichever it is: importing it here gives the same rows again.", filterable=False,
            elem_id="take-form",
        )
        fit = gr.HTML(elem_id="take-fit", min_height=48)
        leave_out = gr.Checkbox(visible=False, label="Leave out", elem_id="take-leave-out")
        with gr.Row(elem_classes="actions"):
            make = gr.Button("Make the file", interactive=False, elem_id="take-make", min_width=160, scale=0)
        file = gr.HTML(elem_id="take-file")
        card = gr.HTML(elem_id="take-card", min_height=80)
    return TakeAwayTab(tab, form, fit, found, leave_out, make, file, card)


def wire_take_away_tab(studio: Studio, part: TakeAwayTab, desk: Desk) -> None:
    """Tie the tab to what is looked at."""
    fit = [part.survey, part.fit, part.leave_out, part.make]
    come = desk.turned["take_away"].change(
        on(studio, on_come), desk.chosen, [part.form, *fit, part.file, part.card], trigger_mode="always_last", **QUIET
    )
    other = part.form.input(on_other_form, outputs=[*fit, part.file], **TICK)
    for asked in (come, other):
        asked.then(on(studio, on_form), [desk.chosen, part.form], fit, show_progress_on=part.fit, trigger_mode="always_last", **PRIVATE)
    part.make.click(
        on(studio, on_make), [desk.chosen, part.form, part.survey, part.leave_out], part.file, show_progress_on=part.file, **PRIVATE
    )


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_come(studio: Studio, chosen: Chosen) -> Updates:
    """The tab is opened, or shows another version: its forms, and its card."""
    if chosen is None:
        return gr.skip(), *on_other_form(), gr.skip()
    card = studio.datasets.card(**chosen)
    choices = [(form.title, form.name) for form in forms(card.record)]
    return gr.Dropdown(choices, value=choices[0][1]), *on_other_form(), _card(studio, chosen)


def on_other_form() -> Updates:
    """Nothing is known of how the rows fit another form, and its file is not made."""
    return None, "", gr.Checkbox(visible=False, value=False), gr.Button(interactive=False), ""


def on_form(
    studio: Studio, chosen: Chosen, form_name: str | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by its default
) -> Updates:  # fmt: skip
    """Every row is gone over: how many fit the form, and why the others do not."""
    if chosen is None or form_name is None:
        return (gr.skip(),) * 4
    card, form = studio.datasets.card(**chosen), form_named(form_name)
    found = survey(studio.datasets, card, form, progress=lambda part: progress(part, desc="Looking which rows fit"))
    bad = found.left_out.total()
    few = "1 row that does" if bad == 1 else f"{bad:,} rows that do"
    leave_out = gr.Checkbox(
        value=False, visible=bool(bad and found.rows), label=f"Leave out the {few} not fit",
        info="The file needs your consent: nothing is left out without it.",
    )
    return found, _fit(form.sentence, found), leave_out, gr.Button(interactive=found.rows > 0)


def on_make(
    studio: Studio, chosen: Chosen, form_name: str, found: Survey | None, leave_out: bool,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> str:  # fmt: skip
    """The file, and the way to fetch it."""
    if chosen is None or found is None:
        raise UserError("How the rows fit this form is not known yet. Wait a moment, then try again.")
    card = studio.datasets.card(**chosen)
    path = export(
        studio.datasets, card, form_named(form_name), found, studio.workspace.exports, leave_out=leave_out,
        progress=lambda part: progress(part, desc="Writing"),
    )  # fmt: skip
    return download_link(path, f"Download {path.name}")


def _card(studio: Studio, chosen: dict[str, Any]) -> str:
    """The card to read, and the way to fetch it."""
    card = studio.datasets.card(**chosen)
    text = card_markdown(card, facts(studio.datasets, card))
    path = save_card(card, text, studio.workspace.exports)
    shown = text if len(text) <= CARD_SHOWN else text[:CARD_SHOWN] + "\n…"
    return (
        f'<h3 class="section-title">Its card, in Markdown</h3><pre class="log" tabindex="0" aria-label="The card">{escape(shown)}</pre>'
        f"{download_link(path, 'Download the card')}"
    )


# ---- words -----------------------------------------------------------------------------------------------------------


def _fit(sentence: str, found: Survey) -> str:
    """Which rows fit, and which do not."""
    bad = found.left_out.total()
    whole = f"{found.rows:,} of {found.rows + bad:,} rows fit."
    words = f'<p class="quiet">{escape(sentence)}</p><p><span class="good">{whole}</span>{_altered(found)}</p>'
    reasons = [f"{count:,} {'row' if count == 1 else 'rows'} {_each(reason, count)}." for reason, count in found.left_out.items()]
    listed = ", ".join(f"{number:,}" for number, _ in found.misfits[:MISFITS_SHOWN])
    more = f" and {bad - MISFITS_SHOWN:,} more" if bad > MISFITS_SHOWN else ""
    return words + (problems([*reasons, f"Rows that do not fit: {listed}{more}."]) if bad else "")


def _altered(found: Survey) -> str:
    if not found.neutralised:
        return ""
    few = "1 row has" if found.neutralised == 1 else f"{found.neutralised:,} rows have"
    return f" {few} a cell that a spreadsheet would run as a formula: it gets an apostrophe before it, and a column says so."


def _each(reason: str, count: int) -> str:
    """ "has several turns" as it is said of several rows."""
    return reason if count == 1 else reason.replace("has ", "have ", 1).replace("is ", "are ", 1)


def download_link(path: Path, words: str) -> str:
    """A link that fetches a file as it lies there: Gradio's own button would copy it first."""
    size = gigabytes(path.stat().st_size) if path.stat().st_size >= 1e6 else f"{path.stat().st_size:,} bytes"
    address = f"gradio_api/file={quote(str(path))}"
    return f'<p><a class="download" href="{escape(address)}" download="{escape(path.name)}">{escape(words)}</a> <span class="quiet">{size}</span></p>'
