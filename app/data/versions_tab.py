"""The Versions tab of a data set: what changed from one to the next, and the way back."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import gradio as gr

from app.data.desk import Chosen, Desk, Updates
from app.event_options import PRIVATE, QUIET
from app.studio import Studio, on
from backend.data import history
from backend.data.history import PAGE, Changes, Difference, compare, restore, shown
from backend.data.readers import clip
from backend.data.records import Record, said
from backend.data.versions import Card
from components.notices import empty
from components.text import escape, moment, rows_in_words
from components.word_diff import differences

ROWS_COUNTED = 100_000  # of all versions listed: what changed from one to the next is counted while one waits
VERSIONS_LISTED = 50
CHARACTERS_SHOWN = 2000  # of a row


@dataclass(frozen=True)
class VersionsTab:
    """The versions there are, two of them compared, and the way back to the one that is looked at."""

    tab: gr.Tab
    table: gr.HTML
    restore_words: gr.HTML
    restore: gr.Button
    comparing: gr.Column
    older: gr.Dropdown
    newer: gr.Dropdown
    changes: gr.State  # of the two chosen
    summary: gr.HTML
    page_number: gr.State
    rows: gr.HTML
    pager: gr.Row
    page_words: gr.HTML
    back: gr.Button
    on: gr.Button

    @property
    def page_outputs(self) -> list[Any]:
        return [self.rows, self.page_number, self.pager, self.page_words]


def versions_tab(studio: Studio) -> VersionsTab:
    """Lay out the tab."""
    with gr.Tab("Versions", id="data-tab-versions") as tab:
        parts: dict[str, Any] = {"changes": gr.State(None), "page_number": gr.State(0)}  # between tabs, the bar would count them
        parts["table"] = gr.HTML(elem_id="versions-table", min_height=80)
        with gr.Row(elem_classes="pager"):
            parts["restore"] = gr.Button("Restore this version", elem_id="versions-restore", min_width=180, scale=0)
            parts["restore_words"] = gr.HTML(elem_id="versions-restore-words", min_width=200)
        with gr.Column(visible=False) as parts["comparing"]:
            _comparing(parts)
    return VersionsTab(tab=tab, **parts)


def wire_versions_tab(studio: Studio, part: VersionsTab, desk: Desk) -> None:
    """Tie the tab to what is looked at."""
    pair = [desk.chosen, part.older, part.newer]
    desk.turned["versions"].change(
        on(studio, on_versions), desk.chosen, [part.table, part.restore_words, part.restore, part.comparing, part.older, part.newer],
        show_progress_on=part.table, trigger_mode="always_last", **PRIVATE,
    ).then(on(studio, on_compare), pair, [part.changes, part.summary, *part.page_outputs], show_progress_on=part.summary, **PRIVATE)
    gr.on(
        [part.older.input, part.newer.input], on(studio, on_compare), pair, [part.changes, part.summary, *part.page_outputs],
        show_progress_on=part.summary, trigger_mode="always_last", **PRIVATE,
    )  # fmt: skip
    for button, step in ((part.back, -1), (part.on, +1)):
        button.click(
            on(studio, _turning(step)), [desk.chosen, part.older, part.newer, part.changes, part.page_number], part.page_outputs, **QUIET
        )
    part.restore.click(
        on(studio, on_restore), [desk.chosen, desk.changed], [desk.chosen, desk.changed], show_progress_on=part.restore_words, **PRIVATE
    )


# ---- layout ----------------------------------------------------------------------------------------------------------


def _comparing(parts: dict[str, Any]) -> None:
    gr.HTML('<h3 class="section-title">What changed</h3>')
    with gr.Row(elem_classes="data-aligned"):
        for name, label, info in (("older", "From", "The version before."), ("newer", "To", "The version after.")):
            parts[name] = gr.Dropdown([], label=label, info=info, filterable=False, min_width=140, elem_id=f"versions-{name}")
    parts["summary"] = gr.HTML(elem_id="versions-summary", min_height=32)
    parts["rows"] = gr.HTML(elem_id="versions-rows")
    with gr.Row(visible=False, elem_classes="pager") as parts["pager"]:
        parts["back"] = gr.Button("< Previous", elem_id="versions-back", min_width=140, scale=0)
        parts["page_words"] = gr.HTML(min_width=140)
        parts["on"] = gr.Button("Next >", elem_id="versions-on", min_width=140, scale=0)


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_versions(studio: Studio, chosen: Chosen) -> Updates:
    """The versions of the data set that is looked at."""
    if chosen is None:
        return (gr.skip(),) * 6
    cards = _cards(studio, chosen["id"])
    newest, looked_at = cards[0], next((card for card in cards if card.version == chosen["version"]), cards[0])
    choices = [(f"v{card.version}", card.version) for card in cards]
    before = next((card.version for card in cards if card.version < looked_at.version), looked_at.version)
    return (
        _table(cards, _counted(studio, cards), looked_at), _restore_words(looked_at, newest),
        gr.Button(f"Restore version {looked_at.version}", interactive=looked_at != newest), gr.Column(visible=len(cards) > 1),
        gr.Dropdown(choices, value=before), gr.Dropdown(choices, value=looked_at.version if len(cards) > 1 else None),
    )  # fmt: skip


def on_compare(
    studio: Studio, chosen: Chosen, older: int | None, newer: int | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """Two versions, row by row."""
    if chosen is None or older is None or newer is None:
        return (gr.skip(),) * 6
    before, after = (studio.datasets.card(chosen["id"], version) for version in (older, newer))
    changes = compare(studio.datasets, before, after, progress=lambda part: progress(part, desc="Comparing row by row"))
    return changes, _summary(before, after, changes), *_page(studio, before, after, changes, 0)


def _turning(step: int) -> Callable[..., Updates]:
    def on_turn(studio: Studio, chosen: Chosen, older: int, newer: int, changes: Changes | None, page: int) -> Updates:
        if chosen is None or changes is None:
            return (gr.skip(),) * 4
        return _page(studio, studio.datasets.card(chosen["id"], older), studio.datasets.card(chosen["id"], newer), changes, page + step)

    return on_turn


def on_restore(studio: Studio, chosen: Chosen, changed: int, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
    """The rows of the version that is looked at, as the newest."""
    if chosen is None:
        return gr.skip(), gr.skip()
    card = restore(studio.datasets, studio.datasets.card(**chosen), progress=lambda part: progress(part, desc="Saving"))
    return {"id": card.id, "version": card.version}, changed + 1


def _cards(studio: Studio, id: str) -> Sequence[Card]:
    """The versions of a data set, the newest first."""
    return [studio.datasets.card(id, version) for version in reversed(studio.datasets.versions(id)[-VERSIONS_LISTED:])]


def _counted(studio: Studio, cards: Sequence[Card]) -> dict[int, Changes]:
    """What changed in each version against the one before, as far as that is quickly counted."""
    known: dict[int, history.Digests] = {}
    rows, counted = 0, {}
    for newer, older in pairwise(cards):
        for card in (newer, older):
            rows += 0 if card.version in known else card.rows
            if rows <= ROWS_COUNTED and card.version not in known:
                known[card.version] = history.digests(studio.datasets, card)
        if newer.version in known and older.version in known:
            counted[newer.version] = history.changes(known[older.version], known[newer.version])
    return counted


def _page(studio: Studio, older: Card, newer: Card, changes: Changes, page: int) -> Updates:
    pages = max(1, math.ceil(changes.count / PAGE))
    page = min(max(page, 0), pages - 1)
    rows = "".join(_difference(one, older, newer) for one in shown(studio.datasets, older, newer, changes, page=page))
    return rows, page, gr.Row(visible=pages > 1), f'<p class="quiet">page {page + 1:,} of {pages:,}, {changes.count:,} changes</p>'


# ---- words -----------------------------------------------------------------------------------------------------------


def _table(cards: Sequence[Card], counted: dict[int, Changes], looked_at: Card) -> str:
    names = ("version", "saved", "rows", "changed", "how it was made")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    first = cards[-1].version == 1
    lines = "".join(
        f'<tr{" class=open" if card == looked_at else ""}><th scope="row">v{card.version}</th><td>{moment(card.created)}</td>'
        f'<td class="number">{card.rows:,}</td><td class="number">'
        f'{"first" if first and card.version == 1 else _counts(counted.get(card.version))}</td><td>{escape(_made(card))}</td></tr>'
        for card in cards
    )
    table = f'<table class="data-columns versions"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'
    one = "Each time you save changed rows, another version stands here, and what changed can be seen."
    more = f"The newest {VERSIONS_LISTED} are listed." if len(cards) == VERSIONS_LISTED else ""
    return table + (empty(one) if len(cards) == 1 else f'<p class="quiet">{more}</p>' if more else "")


def _counts(changes: Changes | None) -> str:
    if changes is None:
        return "compare to see"
    signs = (("+", "added", changes.added), ("−", "removed", changes.removed), ("~", "edited", changes.edited))
    said = [f'<span title="{word}">{sign}{len(rows):,}</span>' for sign, word, rows in signs if rows]
    return " ".join(said) or "no row"


def _made(card: Card) -> str:
    """How a version came about, in a few words."""
    if card.source.get("made") == "restored":
        return f"restored from v{card.source['from_version']}"
    if file := card.source.get("file"):
        return f"imported from {clip(str(file), max_chars=60)}"
    return str(card.source.get("made") or "elsewhere")


def _restore_words(looked_at: Card, newest: Card) -> str:
    if looked_at == newest:
        return '<p class="quiet">This is the newest version. To go back to another, choose it above under Version, then restore it.</p>'
    return f'<p class="quiet">Makes version {newest.version + 1} with the rows of version {looked_at.version}. Nothing is lost.</p>'


def _summary(older: Card, newer: Card, changes: Changes) -> str:
    if older.version == newer.version:
        return "<p>This is the same version twice. Choose another to compare it with.</p>"
    if changes.count:
        counts = ((len(changes.added), "added"), (len(changes.removed), "removed"), (len(changes.edited), "edited"))
        return f'<p class="number">{", ".join(f"{rows_in_words(count)} {word}" for count, word in counts if count)}.</p>'
    if older.sha256 != newer.sha256:
        return "<p>The same rows, in another order.</p>"
    if older.about_sha256 != newer.about_sha256:
        return "<p>The same rows; what is known about them differs (tags, authors, tasks).</p>"
    return "<p>The same rows. Name or guidelines may differ.</p>"


def _difference(one: Difference, older: Card, newer: Card) -> str:
    """One change as text: word by word where a row was edited."""
    before, after = (f"v{card.version}, row {number:,}" if number else "" for card, number in (
        (older, one.number_before), (newer, one.number_after),
    ))  # fmt: skip
    if one.before and one.after:
        return f'<div class="difference">{differences(_said(one.before), _said(one.after), left=before, right=after)}</div>'
    record, sign, word = (one.after, "+", "added") if one.after else (one.before, "−", "removed")
    assert record, "a row was added, removed or edited"
    return (
        f'<div class="difference difference-{word}"><p class="quiet">{sign} {word}: {before or after}</p>'
        f'<p class="plain-text" dir="auto">{escape(_said(record))}</p></div>'
    )


def _said(record: Record) -> str:
    text = record["text"] if "text" in record else "\n\n".join(f"{who}: {what}" for who, what in said(record))
    return clip(text, max_chars=CHARACTERS_SHOWN)
