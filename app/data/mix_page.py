"""Several data sets mixed into one: parts are added and weighed, what comes of it is shown, then it is saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.data.desk import LOOK, Chosen, Desk, Updates, to_look
from app.data.view import reference
from app.event_options import PRIVATE, QUIET
from app.studio import Studio, on
from backend.data.mixtures import (
    REPLAY_SHARE,
    ROWS_TOKENISED,
    Ingredient,
    Plan,
    Recipe,
    general_instructions,
    parse_recipe,
    plan_mixture,
    save_mixture,
    tokens_per_row,
)
from backend.data.records import KINDS
from backend.data.versions import Card
from backend.errors import UserError
from backend.models import STARTER, available, load_tokenizer, locate
from components.mix_table import Bar, MixPart, mix_table, shares
from components.notices import problems
from components.text import rows_in_words

COMES_ALONG = ""  # stands for the general instructions that come with the studio


@dataclass(frozen=True)
class MixPage:
    """The parts, how they are drawn, what comes of it, and the name."""

    column: gr.Column
    add: gr.Dropdown
    parts: gr.HTML
    replay_from: gr.Dropdown
    replay_share: gr.Number
    replay: gr.Button
    temperature: gr.Slider
    rows: gr.Textbox
    repeat: gr.Checkbox
    seed: gr.Number
    model: gr.Dropdown
    outcome: gr.HTML
    token_means: gr.State  # {"id:version:model": tokens in a row}, measured so far
    name: gr.Textbox
    save: gr.Button
    cancel: gr.Button

    @property
    def recipe(self) -> list[Any]:
        """What the recipe is made of."""
        return [self.parts, self.temperature, self.rows, self.repeat, self.seed]


def mix_page(studio: Studio) -> MixPage:
    """Lay out the page, hidden until somebody opens it."""
    fields: dict[str, Any] = {"token_means": gr.State({})}
    with gr.Column(visible=False, elem_id="data-mix-page") as column:
        gr.HTML('<h2 class="data-title">Mix data sets</h2><p class="quiet">Rows of several data sets in one, shuffled: for a model '
                "that shall learn several things at once, or learn one and keep the others.</p>")  # fmt: skip
        fields["add"] = gr.Dropdown(
            [], value=None, label="Add a data set", info="Its newest version comes into the mixture; another can be chosen there.",
            elem_id="mix-add",
        )
        fields["parts"] = mix_table()
        _lay_replay(fields)
        _lay_drawing(studio, fields)
        fields["outcome"] = gr.HTML(elem_id="mix-outcome", min_height=48)
        fields["name"] = gr.Textbox(
            label="Name", info="What you will find it by. The name of a data set there is makes its next version.",
            placeholder="The names of its parts", max_lines=1, max_length=120, elem_id="mix-name",
        )
        with gr.Row(elem_classes="actions"):
            fields["save"] = gr.Button("Save", variant="primary", interactive=False, elem_id="mix-save", min_width=120, scale=0)
            fields["cancel"] = gr.Button("Cancel", elem_id="data-mix-cancel", min_width=120, scale=0)
    return MixPage(column=column, **fields)


def wire_mix_page(studio: Studio, page: MixPage, desk: Desk, *, begin: gr.Button) -> None:
    """Tie the page to the desk and to the button that opens it."""
    fresh = [desk.place, page.add, page.parts, page.replay_from, page.model, page.name]
    begun = begin.click(on(studio, on_new_mixture), desk.chosen, fresh, **QUIET)
    page.cancel.click(to_look, outputs=desk.place, **QUIET)
    added = page.add.input(on(studio, on_add), [page.parts, page.add], [page.parts, page.add], **QUIET)
    replayed = page.replay.click(
        on(studio, on_replay), [page.parts, page.replay_from, page.replay_share, desk.changed], [page.parts, desk.changed], **QUIET
    )
    changes: list[Any] = [
        begun.success, added.success, replayed.success, page.parts.input, page.temperature.change, page.rows.change, page.repeat.input,
        page.seed.change, page.model.input,
    ]  # fmt: skip
    for change in changes:
        change(
            on(studio, on_shares), [*page.recipe, page.model, page.token_means], [page.outcome, page.save],
            trigger_mode="always_last", **QUIET,
        ).then(
            on(studio, on_tokens), [*page.recipe, page.model, page.token_means], [page.token_means, page.outcome],
            trigger_mode="always_last", show_progress_on=page.outcome, **PRIVATE,
        )
    page.save.click(
        on(studio, on_save), [*page.recipe, page.name, desk.changed], [desk.chosen, desk.changed, desk.place],
        show_progress_on=page.outcome, **PRIVATE,
    )


# ---- layout ----------------------------------------------------------------------------------------------------------


def _lay_replay(fields: dict[str, Any]) -> None:
    with gr.Row(elem_classes="mix-replay data-aligned"):
        fields["replay_from"] = gr.Dropdown(
            [("General instructions that come along", COMES_ALONG)], value=COMES_ALONG, label="Against forgetting",
            info="General rows, mixed in so that the model keeps what it could before.", min_width=240, elem_id="mix-replay-from",
        )
        fields["replay_share"] = gr.Number(
            100 * REPLAY_SHARE, label="Per cent of all rows", info="A few are enough: 1 to 5.", minimum=0.1, maximum=50, step=0.5,
            min_width=220, scale=0, elem_id="mix-replay-share",
        )
        fields["replay"] = gr.Button("Add general rows", elem_id="mix-replay", min_width=180, scale=0)


def _lay_drawing(studio: Studio, fields: dict[str, Any]) -> None:
    told = Recipe.model_fields
    with gr.Row(elem_classes="settings"):
        fields["temperature"] = gr.Slider(1, 100, value=1, step=0.5, elem_id="mix-temperature", **_told(told["temperature"]))
        fields["rows"] = gr.Textbox("", placeholder="as many as possible", max_lines=1, elem_id="mix-rows", **_told(told["rows"]))
        fields["repeat"] = gr.Checkbox(False, elem_id="mix-repeat", **_told(told["repeat"]))
        fields["seed"] = gr.Number(0, precision=0, elem_id="mix-seed", **_told(told["seed"]))
        fields["model"] = gr.Dropdown(
            _models(studio), value=STARTER, label="Seen by", info="The model whose tokens are counted, on some rows of each part.",
            filterable=False, elem_id="mix-model",
        )


def _told(field: Any) -> dict[str, Any]:
    return {"label": field.title, "info": field.description}


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_new_mixture(studio: Studio, chosen: Chosen) -> Updates:
    """The page with the data set that was looked at as its first part."""
    cards = studio.datasets.list()
    first = [_part(studio, studio.datasets.card(chosen["id"]))] if chosen else []
    general = [("General instructions that come along", COMES_ALONG)]
    return (
        "mix", gr.Dropdown(_choices(cards), value=None), first,
        gr.Dropdown(general + _choices([card for card in cards if card.record == "messages"]), value=COMES_ALONG),
        gr.Dropdown(_models(studio)), "",
    )  # fmt: skip


def on_add(studio: Studio, parts: list[MixPart], id: str | None) -> Updates:
    """One more part; the box is ready for the next."""
    card = studio.datasets.card(id) if id else None
    return [*parts, _part(studio, card)] if card else gr.skip(), gr.Dropdown(value=None)


def on_replay(studio: Studio, parts: list[MixPart], id: str, percent: float | None, changed: int) -> Updates:
    """General rows in the mixture, with a fixed share; in place of those that were in it so."""
    if not percent or not 0 < percent <= 50:
        raise UserError("The share of general rows is a number above 0 and up to 50 per cent. 5 is usual.")
    card = studio.datasets.card(id) if id else general_instructions(studio.datasets)
    others = [part for part in parts if not part["fixed"] and part["id"] != card.id]
    return [*others, {**_part(studio, card), "fixed": True, "share": f"{percent:g}"}], changed + (id == COMES_ALONG)


def on_shares(
    studio: Studio, parts: list[MixPart], temperature: float, rows: str, repeat: bool, seed: float, model: str,
    token_means: dict[str, float],
) -> Updates:
    """What comes of the parts as they stand, or what is wrong with them."""
    if not parts:
        return "", gr.Button(interactive=False)
    try:
        plan = plan_mixture(studio.datasets, _recipe(parts, temperature, rows, repeat, seed))
    except UserError as error:
        return problems(error.problems), gr.Button(interactive=False)
    return _outcome(plan, model, token_means), gr.Button(interactive=True)


def on_tokens(
    studio: Studio, parts: list[MixPart], temperature: float, rows: str, repeat: bool, seed: float, model: str,
    token_means: dict[str, float], progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by its default
) -> Updates:  # fmt: skip
    """The same with shares of tokens: parts not measured yet are measured now."""
    try:
        plan = plan_mixture(studio.datasets, _recipe(parts, temperature, rows, repeat, seed))
    except UserError:
        return gr.skip(), gr.skip()  # said already
    missing = [taken.part for taken in plan.taken if _key(taken.part, model) not in token_means]
    if missing:
        tokenizer = _tokenizer(studio, model, progress)
        token_means = token_means | {_key(part, model): tokens_per_row(studio.datasets, part, tokenizer) for part in missing}
    return token_means, _outcome(plan, model, token_means)


def on_save(
    studio: Studio, parts: list[MixPart], temperature: float, rows: str, repeat: bool, seed: float, name: str, changed: int,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """The mixture becomes a version, which is then looked at."""
    recipe = _recipe(parts, temperature, rows, repeat, seed)
    name = name.strip() or " + ".join(part["name"] for part in parts)[:120]
    card = save_mixture(studio.datasets, recipe, name=name, progress=lambda part: progress(part, desc="Mixing"))
    return reference(card), changed + 1, LOOK


def _part(studio: Studio, card: Card) -> MixPart:
    """A data set as a line of the table: its newest version, all of it."""
    versions = {str(number): studio.datasets.card(card.id, number).rows for number in reversed(studio.datasets.versions(card.id))}
    return MixPart(
        id=card.id, name=card.name, versions=versions, version=str(card.version), weight="1", cap="", fixed=False, share="",
    )


def _choices(cards: Sequence[Card]) -> list[tuple[str, str]]:
    return [(f"{card.name} · v{card.version} · {rows_in_words(card.rows)} · {KINDS[card.record]}", card.id) for card in cards]


# ---- from what was typed to a recipe ---------------------------------------------------------------------------------


def _recipe(parts: list[MixPart], temperature: float, rows: str, repeat: bool, seed: float) -> Recipe:
    """The recipe on the page. Raises `UserError` with all that is wrong, part by part."""
    wrong: list[str] = []
    read = [_read_part(part, wrong) for part in parts]
    wanted = _whole(rows, "Rows", wrong)
    if wrong:
        raise UserError(*wrong)
    return parse_recipe({"parts": tuple(read), "temperature": temperature, "rows": wanted, "repeat": repeat, "seed": seed or 0})


def _read_part(part: MixPart, wrong: list[str]) -> Ingredient:
    """A line of the table as a part; what cannot be is put into words."""
    weight = 1.0 if part["fixed"] else _between(part["weight"], 0, 1000, f"The weight of “{part['name']}”", wrong)
    share = _between(part["share"], 0.1, 50, f"The fixed share of “{part['name']}”", wrong) / 100 if part["fixed"] else None
    cap = _whole(part["cap"], f"The cap of “{part['name']}”", wrong)
    return Ingredient(id=part["id"], version=int(part["version"]), weight=weight, cap=cap, share=share)


def _between(text: str, low: float, high: float, what: str, wrong: list[str]) -> float:
    """The number in a text; where there is none between the bounds, that is put into words and the lower one given."""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = float("nan")
    if low <= number <= high:
        return number
    wrong.append(f"{what} is a number from {low:g} to {high:g}; it is “{text}”.")
    return max(low, 1.0)


def _whole(text: str, what: str, wrong: list[str]) -> int | None:
    """The whole number in a text, None where it is empty; commas and spaces between thousands are allowed."""
    digits = (text or "").strip().replace(",", "").replace(" ", "")
    if not digits:
        return None
    if digits.isdecimal() and 1 <= int(digits[:12]) <= 10_000_000:
        return int(digits)
    wrong.append(f"{what}: give a whole number from 1 to 10,000,000, or leave it empty; it is “{text}”.")
    return None


# ---- words and pictures ----------------------------------------------------------------------------------------------


def _outcome(plan: Plan, model: str, token_means: dict[str, float]) -> str:
    """What the mixture takes from each part, and what is worth a look."""
    means = [token_means.get(_key(taken.part, model)) for taken in plan.taken]
    tokens = [taken.rows * mean for taken, mean in zip(plan.taken, means, strict=True) if mean is not None]
    known = len(tokens) == len(means)
    token_shares = [each / sum(tokens) for each in tokens] if known else [None] * len(means)
    bars = [
        Bar(f"{taken.card.name}, v{taken.card.version}", taken.rows, taken.rows / plan.rows, token_share, taken.repeats)
        for taken, token_share in zip(plan.taken, token_shares, strict=True)
    ]
    total = f"<strong>{rows_in_words(plan.rows)}</strong>" + (f", about {sum(tokens):,.0f} tokens" if known else "")
    note = f'<p class="quiet">Tokens are measured on a sample of up to {ROWS_TOKENISED} rows of each part.</p>'
    card = f'<div class="card mix-outcome"><h3>What comes of it</h3><p>{total}</p>{shares(bars)}{note}</div>'
    return card + (problems(plan.notes) if plan.notes else "")


def _key(part: Ingredient, model: str) -> str:
    return f"{part.id}:{part.version}:{model}"


def _tokenizer(studio: Studio, model: str, progress: gr.Progress) -> Any:
    if not studio.engine.ready.is_set():
        progress(None, desc="The engine is getting ready…")
        studio.engine.wait_until_ready()
    return load_tokenizer(locate(model, studio.workspace))


def _models(studio: Studio) -> list[tuple[str, str]]:
    return [("starter model" if name == STARTER else Path(name).name, name) for name in available(studio.workspace)]
