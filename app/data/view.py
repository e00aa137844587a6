"""One data set, looked at: its rows, how the model sees them, how long they are, where they come from.

`dataset_view` lays it out and `wire_dataset_view` ties it to what is chosen. What an import shows of rows is shown alike.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from app.data.check_tab import CheckTab, check_tab, wire_check_tab
from app.data.desk import Chosen, Desk, Updates
from app.data.take_away_tab import TakeAwayTab, take_away_tab, wire_take_away_tab
from app.data.versions_tab import VersionsTab, versions_tab, wire_versions_tab
from app.event_options import PRIVATE, QUIET, TICK
from app.studio import Studio, on
from backend.data.guidelines import Guidelines
from backend.data.records import TURNS_SHOWN, Record, clipped, said
from backend.data.search import Found, excerpt, search
from backend.data.versions import Card
from backend.data.views import Lengths, RowTokens, row_tokens, token_lengths
from backend.errors import UserError
from backend.events import ENDED
from backend.models import STARTER, available, load_tokenizer, locate
from backend.specs import TrainingSettings
from components.length_histogram import length_histogram
from components.notices import empty, problems
from components.text import escape, moment, rows_in_words, share
from components.token_view import token_view

PAGE = 50  # rows
CHARACTERS_SHOWN = 500  # of a turn, in a page of rows
MAX_LENGTH = TrainingSettings().max_length

SHAPES = {  # label, name
    "Messages: a list of turns with role and content (OpenAI)": "messages",
    "Conversations: a list of turns with from and value (ShareGPT)": "sharegpt",
    "Instruction, input, output (Alpaca)": "alpaca",
    "Prompt and completion": "prompt_completion",
    "Preferences: a better and a worse answer (TRL, ShareGPT)": "preferences",
    "Good and bad answers: a prompt, a completion, and true or false (KTO)": "unpaired",
    "Plain text": "text",
}
FORMATS = {
    "jsonl": "JSON Lines", "json": "JSON", "csv": "table (CSV)", "tsv": "table (TSV)", "parquet": "Parquet", "documents": "plain text",
}  # fmt: skip
DELIMITER_NAMES = {"\t": "tab", ",": "comma ,", ";": "semicolon ;", "|": "bar |"}


class Hits(NamedTuple):
    """The rows that hold a text, as far as was looked."""

    text: str
    found: Found


@dataclass(frozen=True)
class DatasetView:
    """A data set, looked at."""

    page: gr.Column
    heading: gr.HTML
    version: gr.Dropdown
    train: gr.Button
    delete: gr.Button
    confirmation: gr.Column
    question: gr.HTML
    really: gr.Button
    keep: gr.Button
    model: gr.Dropdown
    max_length: gr.Number
    tabs: dict[str, gr.Tab]
    find: gr.Textbox
    find_words: gr.HTML
    find_on: gr.Button
    hits: gr.State  # a `Hits` while only rows with a certain text are shown, else None
    rows: gr.HTML
    page_number: gr.State
    pager: gr.Row
    page_words: gr.HTML
    page_back: gr.Button
    page_on: gr.Button
    row: gr.Number
    row_back: gr.Button
    row_on: gr.Button
    row_words: gr.HTML
    tokens: gr.HTML
    lengths_words: gr.HTML
    lengths: gr.Plot
    about: gr.HTML
    edit: gr.Button
    check: CheckTab
    versions: VersionsTab
    take_away: TakeAwayTab

    @property
    def find_outputs(self) -> list[Any]:
        return [self.hits, self.find_words, self.find_on]

    @property
    def page_outputs(self) -> list[Any]:
        return [self.rows, self.page_number, self.pager, self.page_words]


def dataset_view(studio: Studio) -> DatasetView:
    """Lay out the view, hidden until there is a data set."""
    parts: dict[str, Any] = {"page_number": gr.State(0), "hits": gr.State(None)}
    with gr.Column(visible=False, elem_id="data-view") as page:
        with gr.Row(elem_classes="data-top"):
            with gr.Column(scale=3, min_width=260):
                parts["heading"] = gr.HTML(elem_id="data-heading")
            with gr.Column(scale=0, min_width=420), gr.Row(elem_classes="data-buttons"):
                parts["train"] = gr.Button("Train on this", elem_id="data-train", min_width=150)
                parts["edit"] = gr.Button("Edit rows", elem_id="data-edit", min_width=110)
                parts["delete"] = gr.Button("Delete", elem_id="data-delete", min_width=90)
        with gr.Column(visible=False, elem_classes="data-question") as confirmation:
            parts["question"] = gr.HTML()
            with gr.Row(elem_classes="actions"):
                parts["really"] = gr.Button("Really delete", variant="stop", elem_id="data-really-delete", min_width=160)
                parts["keep"] = gr.Button("Keep", elem_id="data-keep", min_width=90)
        with gr.Row(elem_classes="data-aligned"):
            parts["version"] = gr.Dropdown(
                label="Version", info="Saved again under one name: a new version.", filterable=False, min_width=140,
                elem_id="data-version",
            )
            parts["model"] = gr.Dropdown(
                _models(studio), value=STARTER, label="Seen by", info="The model whose tokens are counted.",
                filterable=False, min_width=140, elem_id="data-model",
            )
            parts["max_length"] = gr.Number(
                MAX_LENGTH, precision=0, label="Cut at (tokens)", info="The longest row training takes in.", min_width=140,
                elem_id="data-max-length",
            )
        with gr.Tabs(elem_id="data-tabs"):
            rows, tokens, lengths = _rows_tab(parts), _tokens_tab(parts), _lengths_tab(parts)
            parts |= {"check": check_tab(studio), "versions": versions_tab(studio), "take_away": take_away_tab(studio)}
            parts["tabs"] = {
                "rows": rows, "tokens": tokens, "lengths": lengths, "check": parts["check"].tab, "versions": parts["versions"].tab,
                "take_away": parts["take_away"].tab, "about": _about_tab(parts),
            }  # fmt: skip
    return DatasetView(page=page, confirmation=confirmation, **parts)


def wire_dataset_view(studio: Studio, view: DatasetView, desk: Desk, *, nothing: gr.Column) -> None:
    """Tie the view to what is chosen; `nothing` is shown in its place while there is no data set."""
    chosen, changed = desk.chosen, desk.changed
    heading = [view.heading, view.version, view.confirmation, view.row, view.about]
    shown = chosen.change(
        on(studio, on_show), chosen, [view.page, nothing, *heading, view.find, *view.find_outputs, *view.page_outputs], **QUIET
    )
    view.version.input(on_version, [chosen, view.version], chosen, **QUIET)

    for button, step in ((view.page_back, -1), (view.page_on, +1)):
        button.click(on(studio, _turning(step)), [chosen, view.page_number, view.hits], view.page_outputs, **QUIET)
    found = [*view.find_outputs, *view.page_outputs]
    view.find.submit(on(studio, on_find_rows), [chosen, view.find], found, show_progress_on=view.rows, **PRIVATE)
    view.find_on.click(on(studio, on_find_on), [chosen, view.hits, view.page_number], found, show_progress_on=view.rows, **PRIVATE)

    for name, tab in view.tabs.items():
        desk.open_on(name, tab)
    for event in (shown.then, view.model.input, view.max_length.input):
        desk.turn_on(event)
    steps = [
        button.click(on(studio, _stepping(step)), [chosen, view.row], view.row, **QUIET)
        for button, step in ((view.row_back, -1), (view.row_on, +1))
    ]
    looks = [chosen, view.model, view.max_length]
    for event in (desk.turned["tokens"].change, view.row.input, *(step.then for step in steps)):
        event(
            on(studio, on_tokens), [*looks, view.row], [view.tokens, view.row_words], show_progress_on=view.tokens,
            trigger_mode="always_last", **PRIVATE,
        )
    desk.turned["lengths"].change(
        on(studio, on_lengths), looks, [view.lengths, view.lengths_words], show_progress_on=view.lengths,
        trigger_mode="always_last", **PRIVATE,
    )  # fmt: skip

    wire_check_tab(studio, view.check, desk)
    wire_versions_tab(studio, view.versions, desk)
    wire_take_away_tab(studio, view.take_away, desk)
    view.delete.click(on(studio, on_ask_delete), chosen, [view.confirmation, view.question, view.really], **QUIET)
    view.keep.click(on_keep, outputs=view.confirmation, **TICK)
    view.really.click(on(studio, on_delete), [chosen, changed], [chosen, changed, view.confirmation], **PRIVATE)


# ---- shared with the list and the import -----------------------------------------------------------------------------


def reference(card: Card) -> Chosen:
    """What `chosen` holds of a data set: which one, and which version."""
    return {"id": card.id, "version": card.version}


def showing(a_set: bool) -> Updates:
    """A data set, or what to do where there is none."""
    return gr.Column(visible=a_set), gr.Column(visible=not a_set)


def record_card(record: Record, number: int | None) -> str:
    """A row as a card, numbered or not: who says what. Each text is cut to be shown."""
    short = clipped(record, max_chars=CHARACTERS_SHOWN)
    turns = "".join(
        f'<dt class="data-role">{escape(who)}</dt><dd class="plain-text" dir="auto">{escape(what)}</dd>' for who, what in said(short)
    )
    left = len(said(record)) - len(said(short))
    more = f'<p class="quiet">and {left:,} more turns</p>' if left else ""
    label = f'<span class="data-number number">{number:,}</span>' if number else ""
    return f'<div class="data-row">{label}<div><dl>{turns}</dl>{more}</div></div>'


# ---- the tabs --------------------------------------------------------------------------------------------------------


def _rows_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("Rows", id="data-tab-rows") as tab:
        with gr.Row(elem_classes="data-finder"):
            parts["find"] = gr.Textbox(
                label="Find in the rows", info="Part of a text, capital or small. Enter finds it; empty shows all rows again.",
                max_lines=1, min_width=240, elem_id="data-find-rows",
            )
            parts["find_on"] = gr.Button("Search on", visible=False, elem_id="data-find-on", min_width=120, scale=0)
        parts["find_words"] = gr.HTML(elem_id="data-find-words")
        parts["rows"] = gr.HTML(elem_id="data-rows")
        with gr.Row(visible=False, elem_classes="pager") as parts["pager"]:
            parts["page_back"] = gr.Button("< Previous", elem_id="data-page-back", min_width=140, scale=0)
            parts["page_words"] = gr.HTML(elem_id="data-page-words", min_width=140)
            parts["page_on"] = gr.Button("Next >", elem_id="data-page-on", min_width=140, scale=0)
    return tab


def _tokens_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("As the model sees it", id="data-tab-tokens") as tab:
        with gr.Row(elem_classes="row-picker"):
            parts["row_back"] = gr.Button("<", elem_id="data-row-back", min_width=44, scale=0)
            parts["row"] = gr.Number(1, precision=0, label="Row", info="Counted from 1.", min_width=120, scale=0, elem_id="data-row")
            parts["row_on"] = gr.Button(">", elem_id="data-row-on", min_width=44, scale=0)
            parts["row_words"] = gr.HTML(elem_id="data-row-words", min_width=200)
        parts["tokens"] = gr.HTML(elem_id="data-tokens", min_height=160)
    return tab


def _lengths_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("Lengths", id="data-tab-lengths") as tab:
        parts["lengths_words"] = gr.HTML(elem_id="data-lengths-words", min_height=24)
        parts["lengths"] = gr.Plot(show_label=False, label="Rows by length", elem_id="data-lengths")
    return tab


def _about_tab(parts: dict[str, Any]) -> gr.Tab:
    with gr.Tab("About", id="data-tab-about") as tab:
        parts["about"] = gr.HTML(elem_id="data-about")
    return tab


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_show(studio: Studio, chosen: Chosen) -> Updates:
    """Another data set or version is looked at: everything about it, from its first row on."""
    if chosen is None:
        return *showing(False), *[gr.skip()] * 13
    card = studio.datasets.card(**chosen)
    versions = [(f"v{number}", number) for number in reversed(studio.datasets.versions(card.id))]
    return (
        *showing(True), _heading(card), gr.Dropdown(versions, value=card.version), gr.Column(visible=False),
        gr.Number(1, info=f"1 to {card.rows:,}."), _about(card), "", *_finding(None), *_page_of(studio, chosen, 0),
    )  # fmt: skip


def on_version(chosen: Chosen, version: int) -> Chosen:
    return {**chosen, "version": version} if chosen else None


def _turning(step: int) -> Callable[..., Updates]:
    def on_turn(studio: Studio, chosen: Chosen, page: int, hits: Hits | None) -> Updates:
        return _page_of(studio, chosen, page + step, hits) if chosen else (gr.skip(),) * 4

    return on_turn


def on_find_rows(studio: Studio, chosen: Chosen, text: str) -> Updates:
    """Only the rows that hold a text; all of them where there is none."""
    if chosen is None:
        return (gr.skip(),) * 7
    if not text.strip():
        return *_finding(None), *_page_of(studio, chosen, 0)
    hits = Hits(text.strip(), search(studio.datasets, chosen["id"], chosen["version"], text))
    return *_finding(hits), *_page_of(studio, chosen, 0, hits)


def on_find_on(studio: Studio, chosen: Chosen, hits: Hits | None, page: int) -> Updates:
    """The search goes on from where its time was up."""
    if chosen is None or hits is None:
        return (gr.skip(),) * 7
    more = search(studio.datasets, chosen["id"], chosen["version"], hits.text, start=hits.found.searched)
    hits = Hits(hits.text, replace(more, numbers=hits.found.numbers + more.numbers))
    return *_finding(hits), *_page_of(studio, chosen, page, hits)


def _page_of(studio: Studio, chosen: dict[str, Any], page: int, hits: Hits | None = None) -> Updates:
    """A page of all rows, or of those that hold what is looked for."""
    card = studio.datasets.card(**chosen)
    count = len(hits.found.numbers) if hits else card.rows
    pages = max(1, math.ceil(count / PAGE))
    page = min(max(page, 0), pages - 1)
    if hits:
        numbers = hits.found.numbers[page * PAGE : (page + 1) * PAGE]
        shown = _hits(studio.datasets.at(card.id, card.version, numbers), numbers, hits.text)
    else:
        shown = _records(studio.datasets.rows(card.id, card.version, offset=page * PAGE, limit=PAGE), first=page * PAGE + 1)
    first, last = page * PAGE + 1, min((page + 1) * PAGE, count)
    what = "hits" if hits else "rows"
    words = f'<p class="quiet">page {page + 1:,} of {pages:,}, {what} {first:,} to {last:,} of {count:,}</p>'
    return shown, page, gr.Row(visible=pages > 1), words


def _finding(hits: Hits | None) -> Updates:
    """What is looked for, how far, and whether to go on."""
    if hits is None:
        return None, "", gr.Button(visible=False)
    found = hits.found
    far = f"searched all {found.rows:,} rows" if found.is_whole else f"searched the first {found.searched:,} of {found.rows:,} rows"
    hold = f"{rows_in_words(len(found.numbers))} {'holds' if len(found.numbers) == 1 else 'hold'}"
    words = f'<p class="quiet" role="status">{hold} “{escape(hits.text[:80])}”; {far}.</p>'
    return hits, words, gr.Button(visible=not found.is_whole)


def _stepping(step: int) -> Callable[..., int]:
    def on_step(studio: Studio, chosen: Chosen, row: float | None) -> int:
        last = studio.datasets.card(**chosen).rows if chosen else 1
        return min(max(int(row or 1) + step, 1), last)

    return on_step


def on_tokens(
    studio: Studio, chosen: Chosen, model: str, max_length: float | None, row: float | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by its default
) -> Updates:  # fmt: skip
    """One row as the model sees it."""
    if chosen is None:
        return gr.skip(), gr.skip()
    card = studio.datasets.card(**chosen)
    wrong = _wrong_numbers(max_length, row, card.rows)
    if wrong:
        return problems(wrong), ""
    tokenizer = _tokenizer(studio, model, progress)
    (record,) = studio.datasets.rows(card.id, card.version, offset=int(row) - 1, limit=1)
    tokens = row_tokens(record, tokenizer)
    html = token_view(tokens.tokens, max_length=int(max_length), count=len(tokens.encoded.ids))
    return html, _row_words(tokens, int(max_length), row=int(row), rows=card.rows)


def on_lengths(
    studio: Studio, chosen: Chosen, model: str, max_length: float | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """How long the rows are, and what the limit cuts."""
    if chosen is None:
        return gr.skip(), gr.skip()
    wrong = _wrong_numbers(max_length)
    if wrong:
        return gr.skip(), problems(wrong)
    tokenizer = _tokenizer(studio, model, progress)
    lengths = token_lengths(
        studio.datasets, chosen["id"], chosen["version"], tokenizer, progress=lambda part: progress(part, desc="Counting tokens")
    )
    figure = length_histogram([row.tokens for row in lengths.measured], max_length=int(max_length))
    return figure, _lengths_words(lengths, int(max_length))


def _wrong_numbers(max_length: float | None, row: float | None = 1, rows: int = 1) -> list[str]:
    sentences = []
    if max_length is None or max_length < 1:
        sentences.append("The length at which rows are cut is a whole number of tokens, 1 or more. 512 is usual.")
    if row is None or not 1 <= row <= rows:
        sentences.append(f"There is no such row. Give a whole number from 1 to {rows:,}.")
    return sentences


def _tokenizer(studio: Studio, model: str, progress: gr.Progress) -> Any:
    if not studio.engine.ready.is_set():
        progress(None, desc="The engine is getting ready…")
        studio.engine.wait_until_ready()
    return load_tokenizer(locate(model, studio.workspace))


def _models(studio: Studio) -> list[tuple[str, str]]:
    return [("starter model" if name == STARTER else Path(name).name, name) for name in available(studio.workspace)]


def on_ask_delete(studio: Studio, chosen: Chosen) -> Updates:
    if chosen is None:
        return (gr.skip(),) * 3
    card = studio.datasets.card(**chosen)
    versions = len(studio.datasets.versions(card.id))
    every = "Its rows are" if versions == 1 else f"All its {versions} versions are"
    used = sum(spec_data == card.id for spec_data, _, _ in _runs(studio))
    runs = f" {used} {'run' if used == 1 else 'runs'} learnt from it: kept, but no longer to be resumed." if used else ""
    question = f'<p class="warn">{every} removed from the workspace and cannot be brought back.{runs}</p>'
    return gr.Column(visible=True), question, f"Really delete “{card.name}”?"


def on_keep() -> Any:
    return gr.Column(visible=False)


def on_delete(studio: Studio, chosen: Chosen, changed: int) -> Updates:
    if chosen is None:
        return (gr.skip(),) * 3
    busy = [name for id, name, status in _runs(studio) if id == chosen["id"] and status not in ENDED]
    if busy:
        raise UserError(f"The run {busy[0]} still learns from this data set. Stop it first, then delete the data set.")
    studio.datasets.delete(chosen["id"])
    cards = studio.datasets.list()
    return reference(cards[0]) if cards else None, changed + 1, gr.Column(visible=False)


def _runs(studio: Studio) -> list[tuple[str | None, str, str]]:
    """(data set, name, status) of every run."""
    runs = map(studio.runs.get, studio.runs.ids())
    return [(run.spec.data.id, run.label["name"], run.status) for run in runs]


# ---- words and pictures ----------------------------------------------------------------------------------------------


def _heading(card: Card) -> str:
    return (
        f'<h2 class="data-title">{escape(card.name)}</h2><p class="quiet">version {card.version} · {rows_in_words(card.rows)} · '
        f"{escape(_shape_words(card.shape))} · {escape(_origin(card))}</p>"
    )


def _origin(card: Card) -> str:
    """Where its rows come from, in a few words."""
    file, made = card.source.get("file"), card.source.get("made")
    return f"from {file}" if file else str(made) if made else "from elsewhere"


def _shape_words(shape: str) -> str:
    return next((label for label, name in SHAPES.items() if name == shape), shape).split(":")[0]


def _records(records: Sequence[Record], *, first: int) -> str:
    """Rows as cards: who says what. Each text is cut to be shown."""
    cards = (record_card(record, number) for number, record in enumerate(records, first))
    note = f"Texts are shown up to {CHARACTERS_SHOWN} characters. The whole row stands under “As the model sees it”."
    below = f'<p class="quiet">{note}</p>' if any(clipped(record, max_chars=CHARACTERS_SHOWN) != record for record in records) else ""
    return f'<div class="data-rows" tabindex="0" role="group" aria-label="Rows">{"".join(cards)}</div>{below}'


def _hits(records: Sequence[Record], numbers: Sequence[int], text: str) -> str:
    """Rows that hold a text, as cards: what was found is marked, with what stands around it."""
    if not records:
        return empty("No row looked at so far holds this. Try a part of it, or empty the box to see all rows.")
    cards = (_hit(record, number + 1, text) for record, number in zip(records, numbers, strict=True))
    return f'<div class="data-rows" tabindex="0" role="group" aria-label="Rows that hold it">{"".join(cards)}</div>'


def _hit(record: Record, number: int, text: str) -> str:
    turns = "".join(
        f'<dt class="data-role">{escape(who)}</dt><dd class="plain-text" dir="auto">{_marked(what, text)}</dd>'
        for who, what in said(record)[:TURNS_SHOWN]
    )
    return f'<div class="data-row"><span class="data-number number">{number:,}</span><div><dl>{turns}</dl></div></div>'


def _marked(content: str, text: str) -> str:
    before, found, after = map(escape, excerpt(content, text))
    return f"{before}<mark>{found}</mark>{after}" if found else before


def _row_words(tokens: RowTokens, max_length: int, *, row: int, rows: int) -> str:
    count, trained = len(tokens.encoded.ids), tokens.encoded.trained_count
    words = f"row {row:,} of {rows:,} · trained {trained:,} of {count:,} tokens"
    if count <= max_length:
        return f'<p class="number">{words}</p>'
    kept, lost = tokens.trained_within(max_length), count - max_length
    cut = f"{share(lost, count)} of the row is cut; {kept:,} of {trained:,} trained tokens are left"
    none = " Nothing is left to learn from: training leaves this row out." if kept == 0 else ""
    return f'<p class="number">{words}</p><p class="warn">{cut}.{none}</p>'


def _lengths_words(lengths: Lengths, max_length: int) -> str:
    measured, cut, lost = len(lengths.measured), lengths.cut_rows(max_length), lengths.lost_rows(max_length)
    of = f"{measured:,} rows spread evenly over all {lengths.rows:,}" if lengths.is_sample else rows_in_words(measured)
    longest = max((row.tokens for row in lengths.measured), default=0)
    if not cut:
        return f'<p>None of {of} is cut at {max_length:,} tokens. The longest has {longest:,}.</p>'
    tokens = share(lengths.cut_tokens(max_length), lengths.tokens)
    sentence = f"{cut:,} of {of} ({share(cut, measured)}) are cut at {max_length:,} tokens, and with them {tokens} of all tokens."
    none = f' <span class="warn">Of {rows_in_words(lost)} nothing to learn from is left.</span>' if lost else ""
    return f"<p>{sentence} The longest has {longest:,}.{none}</p>"


def _about(card: Card) -> str:
    source = card.source
    mapping = (source.get("mapping") or {}).get("columns") or {}
    lines = {
        "File": source.get("file"),
        "Made": source.get("made"),
        "Mixed from": _parts(source) if source.get("made") == "mixture" else None,
        "Format": FORMATS.get(source.get("format", ""), source.get("format")),
        "Encoding": source.get("encoding"),
        "Columns separated by": DELIMITER_NAMES.get(source.get("delimiter") or "", source.get("delimiter")),
        "Rows were under": source.get("list_field"),
        "Shape": _shape_words(card.shape),
        "Columns": ", ".join(f"{role} from “{column}”" for role, column in mapping.items()),
        "Rows": f"{card.rows:,}",
        "Left out": _tally(card.left_out),
        "Worth a look": _tally(card.notes),
        "Saved": moment(card.created),
        "SHA-256 of the rows": card.sha256,
    }
    items = "".join(f"<dt>{label}</dt><dd>{escape(value)}</dd>" for label, value in lines.items() if value)
    return f'<div class="card data-about"><h3>Where it comes from</h3><dl>{items}</dl></div>{_guidelines(card)}'


def _guidelines(card: Card) -> str:
    """How its rows are to be written; nothing where nobody said."""
    items = "".join(
        f'<dt>{Guidelines.model_fields[part].title}</dt><dd class="plain-text" dir="auto">{escape(text)}</dd>'
        for part, text in Guidelines.of(card.guidelines).kept().items()
    )
    return items and f'<div class="card data-about"><h3>How its rows are written</h3><dl>{items}</dl></div>'


def _parts(source: dict[str, Any]) -> str:
    """The versions a mixture was made from."""
    return ", ".join(f"{part['name']}, v{part['version']} ({rows_in_words(part['rows'])})" for part in source["parts"])


def _tally(reasons: dict[str, int]) -> str:
    return "; ".join(f"{reason} ({rows_in_words(count)})" for reason, count in reasons.items()) or "none"
