"""More rows from the ones there are: prompts in other words, and with the slips people make.

`augment_page` lays it out and `wire_augment_page` ties it; it works on the data set that is looked at.
"""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from app.data.desk import LOOK, Chosen, Desk, Updates, to_look
from app.data.rewriting_part import (
    RewritingPart,
    on_follow,
    other_words,
    rewriting_part,
    used_by_the_page,
    wire_rewriting_part,
)
from app.data.view import reference
from app.event_options import PRIVATE, QUIET
from app.studio import Studio, on
from backend.data.augment import Augmentation, Count, cannot, count, examples, save_augmented
from backend.data.readers import clip
from backend.data.records import prompt_of
from backend.data.templating.sets import TemplateSet, template_sets
from backend.errors import UserError
from backend.settings import sentences
from components.notices import empty, problems
from components.settings_form import plain_values, settings_form
from components.text import escape, rows_in_words, share
from components.word_diff import word_diff

COPIES_SHOWN, ROWS_TRIED = 8, 50
CHARACTERS_SHOWN = 600  # of a prompt


@dataclass(frozen=True)
class AugmentPage:
    """How many copies, how different, what they look like, and the share they will have."""

    column: gr.Column
    heading: gr.HTML
    frames: gr.Dropdown
    settings: dict[str, Component]
    rewriting: RewritingPart
    share: gr.HTML
    copies: gr.HTML
    name: gr.Textbox
    save: gr.Button
    cancel: gr.Button

    @property
    def form(self) -> dict[str, Component]:
        """What decides which copies are made, by its name in a handler's values."""
        return {"frames": self.frames, "rewriting": self.rewriting.used, **self.settings}

    @property
    def made_outputs(self) -> list[Any]:
        return [self.share, self.copies, self.save]


def augment_page(studio: Studio) -> AugmentPage:
    """Lay out the page, hidden until somebody opens it."""
    parts: dict[str, Any] = {}
    with gr.Column(visible=False, elem_id="data-augment-page") as column:
        parts["heading"] = gr.HTML(elem_id="augment-heading")
        parts["settings"] = settings_form(Augmentation, "augment")
        parts["frames"] = gr.Dropdown(
            [],
            label="Other words",
            info="The frames prompts are put into. Make your own under From a table, with a saved data set.",
            filterable=False,
            elem_id="augment-frames",
        )
        parts["rewriting"] = rewriting_part(studio)
        parts["share"] = gr.HTML(elem_id="augment-made", min_height=32)
        parts["copies"] = gr.HTML(elem_id="augment-copies", min_height=80)
        parts["name"] = gr.Textbox(
            label="Name",
            info="As it is, this makes the next version of the data set. Another name makes another data set.",
            max_lines=1,
            max_length=120,
            elem_id="augment-name",
        )
        with gr.Row(elem_classes="actions"):
            parts["save"] = gr.Button(
                "Save", variant="primary", interactive=False, elem_id="augment-save", min_width=120, scale=0
            )
            parts["cancel"] = gr.Button("Cancel", elem_id="data-augment-cancel", min_width=120, scale=0)
    return AugmentPage(column=column, **parts)


def wire_augment_page(studio: Studio, page: AugmentPage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
    begun = begin.click(
        on(studio, on_new_augmentation),
        desk.chosen,
        [desk.place, page.heading, page.frames, page.name, page.rewriting.used],
        **QUIET,
    )
    begun.success(on(studio, on_follow), page.rewriting.used, page.rewriting.outputs, **QUIET)
    wire_rewriting_part(studio, page.rewriting, desk)
    for event in (
        begun.success,
        page.rewriting.seen.change,
        page.frames.input,
        *(component.change for component in page.settings.values()),
    ):
        event(
            on(studio, on_look_at_copies), desk.chosen, page.made_outputs, inputs_kwargs=page.form, preprocess=False,
            trigger_mode="always_last", show_progress_on=page.share, **PRIVATE,
        )  # fmt: skip
    page.save.click(
        on(studio, on_save_augmented), [desk.chosen, desk.changed, page.name], [desk.chosen, desk.changed, desk.place],
        inputs_kwargs=page.form, preprocess=False, show_progress_on=page.share, **PRIVATE,
    )  # fmt: skip


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_new_augmentation(studio: Studio, chosen: Chosen) -> Updates:
    """The page, for the data set that is looked at."""
    if chosen is None:
        raise UserError("No data set is chosen. Pick one in the list, or import a file; then augment it.")
    card = studio.datasets.card(**chosen)
    heading = (
        f'<h2 class="data-title">Augment “{escape(card.name)}”, version {card.version}</h2>'
        '<p class="quiet">Copies of its rows that ask the same '
        "in another way, so that few rows are not learnt by heart. Answers stay as they are, and nothing is measured on copies.</p>"
    )
    frames = [(templates.title, id) for id, templates in _frames(studio).items()]
    return "augment", heading, gr.Dropdown(frames, value=frames[0][1]), card.name, used_by_the_page(studio, chosen)


def on_look_at_copies(studio: Studio, chosen: Chosen, **values: Any) -> Updates:
    """(the share of augmented rows, some of them, Save), as the form is filled in."""
    if chosen is None or not values["frames"]:
        return (gr.skip(),) * 3
    card = studio.datasets.card(**chosen)
    try:
        settings, frames = _settings_of(values), _frames_called(studio, values["frames"])
        found = other_words(studio, values["rewriting"])
        wrong = cannot(card, settings, found)
        made = None if wrong else count(studio.datasets, card.id, card.version, settings, frames, found)
    except UserError as error:
        return problems(error.problems), "", gr.Button(interactive=False)
    if made is None:
        return problems([wrong or ""]), "", gr.Button(interactive=False)
    rows = studio.datasets.rows(card.id, card.version, limit=ROWS_TRIED)
    shown = islice(examples(rows, settings, frames, found), COPIES_SHOWN)
    copies = [(prompt, prompt_of(copy), copy["about"]["author"]) for prompt, copy in shown]  # type: ignore[typeddict-item]
    return _share_words(made, card.rows), _copies_html(copies), gr.Button(interactive=made.augmented > 0)


def on_save_augmented(
    studio: Studio,
    chosen: Chosen,
    changed: int,
    name: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
    **values: Any,
) -> Updates:
    """The rows and their copies become a version, which is then looked at."""
    if chosen is None:
        raise UserError("The data set is not there any more. Pick another in the list.")
    card = save_augmented(
        studio.datasets,
        chosen["id"],
        chosen["version"],
        _settings_of(values),
        _frames_called(studio, values["frames"]),
        name=name or "",
        other_words=other_words(studio, values["rewriting"]),
        progress=lambda part: progress(part, desc="Making copies"),
    )
    return reference(card), changed + 1, LOOK


def _frames(studio: Studio) -> dict[str, TemplateSet]:
    """The sets that only put prompts into other words."""
    return {id: templates for id, templates in template_sets(studio.workspace).sets.items() if templates.keeps_answers}


def _frames_called(studio: Studio, id: str) -> TemplateSet:
    frames = _frames(studio)
    if id not in frames:
        raise UserError("These templates are not there any more. Choose others.")
    return frames[id]


def _settings_of(values: dict[str, Any]) -> Augmentation:
    try:
        return Augmentation.model_validate(plain_values(Augmentation, {name: values[name] for name in Augmentation.model_fields}))
    except ValidationError as error:
        raise UserError(*sentences(error)) from error


# ---- words -----------------------------------------------------------------------------------------------------------


def _share_words(made: Count, rows: int) -> str:
    if not made.augmented:
        return empty("No copies come of this. Ask for more copies, or for a larger share of the rows.")
    about = "about " if made.looked_at < rows else ""
    judged = f" Judged by {made.looked_at:,} of {rows:,} rows." if about else ""
    return (
        f'<p>{about}<span class="good">{rows_in_words(made.rows)}</span>, {about}{made.augmented:,} of them augmented '
        f"({share(made.augmented, made.rows)}).{judged} They can be left out of a training run again.</p>"
    )


def _copies_html(copies: list[tuple[str, str, str]]) -> str:
    """Some prompts, each with its copies below; what a copy adds or alters is marked."""
    if not copies:
        return ""
    parts = []
    for original in dict.fromkeys(prompt for prompt, _, _ in copies):
        said = "".join(
            f'<dt class="data-role">{escape(author.rpartition(": ")[2])}</dt>'
            f'<dd class="plain-text" dir="auto">{_marked(original, copy)}</dd>'
            for prompt, copy, author in copies if prompt == original
        )  # fmt: skip
        as_it_is = escape(clip(original, max_chars=CHARACTERS_SHOWN))
        first = f'<dt class="data-role">as it is</dt><dd class="plain-text" dir="auto">{as_it_is}</dd>'
        parts.append(f"<section><dl>{first}{said}</dl></section>")
    return f'<h3 class="section-title">The first copies</h3><div class="copies" tabindex="0" role="region" aria-label="the first copies">{"".join(parts)}</div>'


def _marked(original: str, copy: str) -> str:
    """A copy, with what differs from its original marked."""
    pieces = word_diff(clip(original, max_chars=CHARACTERS_SHOWN), clip(copy, max_chars=CHARACTERS_SHOWN))
    return "".join(_inserted(piece.right) if piece.kind == "right" else escape(piece.right) for piece in pieces)


def _inserted(text: str) -> str:
    """The words marked, the white space behind them not, so that no underline hangs over."""
    words = text.rstrip()
    return f"<ins>{escape(words)}</ins>{escape(text[len(words) :])}"
