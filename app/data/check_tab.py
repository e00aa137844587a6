"""The Check tab of a data set: what is wrong with its rows, the rows themselves, the mends, and pictures.

The report is made in the background the first time somebody looks, and is there at once from then on.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from app.data.desk import Chosen, Desk, Updates
from app.event_options import PRIVATE, QUIET, TICK
from app.studio import Studio, on
from backend.data.checks import Check, Finding, Row, all_checks, parse
from backend.data.mends import Change, Preview, mend, preview, undo
from backend.data.report import BARS_PER_DOUBLING, Pictures, Report, Work, usual_checks
from backend.data.versions import Card
from backend.errors import UserError
from backend.settings import sentences
from components.finding_list import Asked, FindingLine, FindingList, finding_list, findings
from components.found_rows import found_rows, marked_row, row_beside, row_mended
from components.length_histogram import length_histogram
from components.notices import problems
from components.quality_plots import bars, length_bars, prompt_scatter
from components.settings_form import form_values, plain_values, settings_form
from components.text import escape, minutes, moment, rows_in_words, share

PAGE = 20  # rows
TICK_SECONDS = 0.5
WAYS = {"hand": "by hand", "imported": "imported", "template": "by a template", "generated": "generated", "augmented": "augmented"}
LABELLED_TASKS = 3  # tasks whose labels are drawn
REPORT_PARTS = 13  # what a report fills beside the settings: see `CheckTab.report_outputs`

Forms = dict[str, dict[str, Component]]  # check: field: component


@dataclass(frozen=True)
class CheckTab:
    """The parts of the tab."""

    tab: gr.Tab
    status: gr.HTML
    again: gr.Button
    stop: gr.Button
    undone: gr.Column
    undo_words: gr.HTML
    undo: gr.Button
    list: gr.HTML
    rows: gr.Column
    rows_heading: gr.HTML
    rows_shown: gr.HTML
    rows_page: gr.State
    pager: gr.Row
    page_words: gr.HTML
    page_back: gr.Button
    page_on: gr.Button
    rows_close: gr.Button
    mend: gr.Column
    mend_words: gr.HTML
    mend_rows: gr.HTML
    mend_do: gr.Button
    mend_cancel: gr.Button
    pictures: gr.Column
    lengths: gr.Plot
    ways: gr.Plot
    tasks: gr.Plot
    labels: gr.Plot
    prompts: gr.Plot
    forms: Forms
    timer: gr.Timer

    @property
    def fields(self) -> list[Component]:
        """The settings of all checks, in the order of their forms."""
        return [component for form in self.forms.values() for component in form.values()]

    @property
    def report_outputs(self) -> list[Any]:
        """What a report fills."""
        plots = [self.lengths, self.ways, self.tasks, self.labels, self.prompts]
        return [self.status, self.again, self.stop, self.list, self.rows, self.mend, self.pictures, *plots, *self.fields, self.timer]

    @property
    def rows_outputs(self) -> list[Any]:
        return [self.rows, self.mend, self.rows_heading, self.rows_shown, self.rows_page, self.pager, self.page_words]

    @property
    def mend_outputs(self) -> list[Any]:
        return [self.mend, self.rows, self.mend_words, self.mend_rows, self.mend_do]


def check_tab(studio: Studio) -> CheckTab:
    """Lay out the tab."""
    parts: dict[str, Any] = {}
    with gr.Tab("Check", id="data-tab-check") as tab:
        with gr.Row(elem_classes="check-top"):
            parts["status"] = gr.HTML(elem_id="check-status", min_height=48)
            parts["again"] = gr.Button("Check again", elem_id="check-again", min_width=130, scale=0, visible=False)
            parts["stop"] = gr.Button("Stop", elem_id="check-stop", min_width=90, scale=0, visible=False)
        with gr.Column(visible=False, elem_classes="check-undo") as parts["undone"], gr.Row(elem_classes="check-top"):
            parts["undo_words"] = gr.HTML(elem_id="check-undo-words")
            parts["undo"] = gr.Button("Undo", elem_id="check-undo", min_width=90, scale=0)
        parts["list"] = finding_list(elem_id="check-findings")
        _rows_panel(parts)
        _mend_panel(parts)
        _pictures(parts)
        parts["forms"] = _forms()
        parts["timer"] = gr.Timer(TICK_SECONDS, active=False)
    return CheckTab(tab=tab, **parts)


def wire_check_tab(studio: Studio, part: CheckTab, desk: Desk) -> None:
    """Tie the tab to what is looked at."""
    desk.turned["check"].change(on(studio, on_come), desk.chosen, [*part.report_outputs, part.undone, part.undo_words], **QUIET)
    part.timer.tick(on(studio, on_tick), [desk.chosen, desk.open_tab, part.status], part.report_outputs, **TICK)
    again = partial(on_again, places=[(check, field) for check, form in part.forms.items() for field in form])
    part.again.click(on(studio, again), [desk.chosen, *part.fields], [part.status, part.again, part.stop, part.timer], **QUIET)
    part.stop.click(on(studio, on_stop), desk.chosen, **QUIET)

    part.list.select(
        on(studio, on_ask), [desk.chosen, part.list], [*part.rows_outputs, *part.mend_outputs[2:]], show_progress_on=part.list, **PRIVATE
    )
    for button, step in ((part.page_back, -1), (part.page_on, +1)):
        button.click(on(studio, _turning(step)), [desk.chosen, part.list, part.rows_page], part.rows_outputs, **QUIET)
    for button in (part.rows_close, part.mend_cancel):
        button.click(on_close, part.list, [part.list, part.rows, part.mend], **TICK)
    part.mend_do.click(
        on(studio, on_mend), [desk.chosen, desk.changed, part.list], [desk.chosen, desk.changed], show_progress_on=part.mend_words, **PRIVATE
    )
    part.undo.click(
        on(studio, on_undo), [desk.chosen, desk.changed], [desk.chosen, desk.changed], show_progress_on=part.undo_words, **PRIVATE
    )


# ---- layout ----------------------------------------------------------------------------------------------------------


def _rows_panel(parts: dict[str, Any]) -> None:
    with gr.Column(visible=False, elem_classes="check-panel") as parts["rows"]:
        with gr.Row(elem_classes="check-top"):
            parts["rows_heading"] = gr.HTML(elem_id="check-rows-heading")
            parts["rows_close"] = gr.Button("Close", elem_id="check-rows-close", min_width=90, scale=0)
        parts["rows_shown"] = gr.HTML(elem_id="check-rows")
        parts["rows_page"] = gr.State(0)
        with gr.Row(visible=False, elem_classes="pager") as parts["pager"]:
            parts["page_back"] = gr.Button("< Previous", elem_id="check-page-back", min_width=140, scale=0)
            parts["page_words"] = gr.HTML(elem_id="check-page-words", min_width=140)
            parts["page_on"] = gr.Button("Next >", elem_id="check-page-on", min_width=140, scale=0)


def _mend_panel(parts: dict[str, Any]) -> None:
    with gr.Column(visible=False, elem_classes="check-panel") as parts["mend"]:
        parts["mend_words"] = gr.HTML(elem_id="check-mend-words")
        with gr.Row(elem_classes="actions"):
            parts["mend_do"] = gr.Button("Make the version", variant="primary", elem_id="check-mend", min_width=160)
            parts["mend_cancel"] = gr.Button("Cancel", elem_id="check-mend-cancel", min_width=90)
        parts["mend_rows"] = gr.HTML(elem_id="check-mend-rows")


def _pictures(parts: dict[str, Any]) -> None:
    with gr.Column(visible=False, elem_id="check-pictures") as parts["pictures"]:
        with gr.Row(elem_classes="check-plots"):
            for name, label in (("lengths", "Rows by length"), ("ways", "Rows by where they come from"), ("tasks", "Rows by task"),
                                ("labels", "Rows by label")):  # fmt: skip
                parts[name] = gr.Plot(label=label, elem_id=f"check-plot-{name}", elem_classes="check-plot", min_width=320)
        parts["prompts"] = gr.Plot(label="What the prompts ask about", elem_id="check-plot-prompts", elem_classes="check-plot")


def _forms() -> Forms:
    """The settings of the checks that have some, folded away."""
    forms = {}
    with gr.Accordion("How it is checked", open=False, elem_id="check-settings"):
        gr.HTML('<p class="quiet">Change a rule, then press Check again.</p>')
        with gr.Row(elem_classes="check-forms"):
            for name, kind in _with_settings().items():
                with gr.Column(min_width=240):
                    gr.HTML(f'<h3 class="section-title">{escape(kind.title)}</h3>')
                    forms[name] = settings_form(kind, f"check-{name.replace('_', '-')}")
    return forms


def _with_settings() -> dict[str, type[Check]]:
    """Checks whose rule can be changed."""
    return {name: kind for name, kind in all_checks().items() if set(kind.model_fields) != {"name"}}


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_come(studio: Studio, chosen: Chosen) -> Updates:
    """Somebody looks at the tab, or at another version: its report, or the beginning of one."""
    if chosen is None:
        return (gr.skip(),) * (_report_places() + 2)
    card = studio.datasets.card(**chosen)
    work, report = studio.reports.work(card), studio.reports.saved(card)
    if report and (work is None or work.is_over):
        return *_reported(report), *_undoing(studio, card)
    if work is None:
        studio.reports.begin(card)
    return *_in_the_making(studio.reports.work(card)), *_undoing(studio, card)


def on_tick(studio: Studio, chosen: Chosen, open_tab: str, shown: str) -> Updates:
    """How far the report is; the report, once it is there."""
    quiet = (gr.skip(),) * (_report_places() - 1)
    if chosen is None or open_tab != "check":
        return *quiet, gr.Timer(active=False)
    card = studio.datasets.card(**chosen)
    work = studio.reports.work(card)
    if work is None:
        report = studio.reports.saved(card)
        return _reported(report) if report else (*quiet, gr.Timer(active=False))
    if work.is_over:
        return _given_up(work)
    words = _progress(work)
    return gr.skip() if words == shown else words, *quiet


def on_again(studio: Studio, chosen: Chosen, *values: Any, places: Sequence[tuple[str, str]]) -> Updates:
    """Check anew by the rules on the forms; `places` says of which check and field each value is."""
    if chosen is None:
        return (gr.skip(),) * 4
    filled: dict[str, dict[str, Any]] = {}
    for (check, field), value in zip(places, values, strict=True):
        filled.setdefault(check, {})[field] = value
    card = studio.datasets.card(**chosen)
    studio.reports.begin(card, _checks(filled))
    return _progress(studio.reports.work(card)), gr.Button(visible=False), gr.Button(visible=True), gr.Timer(active=True)


def _checks(filled: Mapping[str, dict[str, Any]]) -> list[Check]:
    """The checks with their settings. Raises `UserError` naming everything that cannot be."""
    kinds, settings, wrong = all_checks(), {}, []
    for check, values in filled.items():
        try:
            settings[check] = kinds[check](name=check, **plain_values(kinds[check], values)).model_dump()
        except ValidationError as error:
            wrong += sentences(error, within=kinds[check].title)
    if wrong:
        raise UserError(*wrong)
    return usual_checks(settings)


def on_stop(studio: Studio, chosen: Chosen) -> None:
    if chosen:
        studio.reports.stop(studio.datasets.card(**chosen))


def on_ask(
    studio: Studio, chosen: Chosen, listed: FindingList,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """Rows of a finding, or what its mend would do."""
    asked = listed["asked"]
    if chosen is None or asked is None:
        return (gr.skip(),) * 10
    card, finding, check = _found(studio, chosen, asked)
    if asked["what"] == "rows":
        return *_rows_of(studio, card, finding, check, 0), *(gr.skip(),) * 3
    seen = preview(studio.datasets, card, finding, check, progress=lambda part: progress(part, desc="Trying it out"))
    hidden = gr.Column(visible=False), gr.Column(visible=True), *(gr.skip(),) * 5
    return *hidden, _mend_words(card, finding, seen), _changes(seen, finding), gr.Button(_version_words(studio, card), interactive=_does_something(seen))


def _turning(step: int) -> Callable[..., Updates]:
    def on_turn(studio: Studio, chosen: Chosen, listed: FindingList, page: int) -> Updates:
        if chosen is None or listed["asked"] is None:
            return (gr.skip(),) * 7
        return _rows_of(studio, *_found(studio, chosen, listed["asked"]), page + step)

    return on_turn


def on_close(listed: FindingList) -> Updates:
    """The rows, or the mend, are put away."""
    return findings(listed["lines"]), gr.Column(visible=False), gr.Column(visible=False)


def on_mend(
    studio: Studio, chosen: Chosen, changed: int, listed: FindingList,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Updates:  # fmt: skip
    """The mend makes a version, which is then looked at."""
    if chosen is None or listed["asked"] is None:
        return gr.skip(), gr.skip()
    card, finding, check = _found(studio, chosen, listed["asked"])
    made = mend(studio.datasets, card, finding, check, progress=lambda part: progress(part, desc="Saving"))
    return _looked_at(made), changed + 1


def on_undo(studio: Studio, chosen: Chosen, changed: int, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
    """The version before the mend, as the newest."""
    if chosen is None:
        return gr.skip(), gr.skip()
    made = undo(studio.datasets, studio.datasets.card(**chosen), progress=lambda part: progress(part, desc="Saving"))
    return _looked_at(made), changed + 1


def _found(studio: Studio, chosen: dict[str, Any], asked: Asked) -> tuple[Card, Finding, Check]:
    """The finding somebody asked for, and the check that found it, with the settings it had."""
    card = studio.datasets.card(**chosen)
    report = studio.reports.saved(card)
    if report is None:
        raise UserError("The rows have not been checked yet. Wait until the report is there.")
    finding = report.finding(asked["check"], asked["title"])
    return card, finding, parse(report.checks[finding.check])


def _looked_at(card: Card) -> Chosen:
    return {"id": card.id, "version": card.version}


# ---- the report ------------------------------------------------------------------------------------------------------


def _report_places() -> int:
    """How many places `report_outputs` has."""
    return REPORT_PARTS + sum(len(kind.model_fields) - 1 for kind in all_checks().values())


def _reported(report: Report) -> Updates:
    """The whole report."""
    hidden = gr.Column(visible=False)
    return (
        _summary(report), gr.Button(visible=True), gr.Button(visible=False), findings([_line(found) for found in report.findings]), hidden, hidden,
        gr.Column(visible=True), *_plots(report), *_settings_shown(report), gr.Timer(active=False),
    )  # fmt: skip


def _in_the_making(work: Work | None) -> Updates:
    """Nothing yet but how far it is."""
    if work is not None and work.is_over:
        return _given_up(work)
    hidden, settings = gr.Column(visible=False), _report_places() - REPORT_PARTS
    return (
        _progress(work), gr.Button(visible=False), gr.Button(visible=True), findings([]), hidden, hidden, hidden, *(gr.skip(),) * (5 + settings),
        gr.Timer(active=True),
    )  # fmt: skip


def _given_up(work: Work) -> Updates:
    """Why there is no new report; the old one, if there is one, stays in view."""
    left = (gr.skip(),) * (_report_places() - 4)
    return problems([work.failed]), gr.Button(visible=True), gr.Button(visible=False), *left, gr.Timer(active=False)


def _undoing(studio: Studio, card: Card) -> Updates:
    """What a mend made this version from, and the way back, while nothing newer was made of it."""
    if card.source.get("made") != "mended" or card.version != studio.datasets.versions(card.id)[-1]:
        return gr.Column(visible=False), ""
    before, finding = card.source["from_version"], card.source.get("finding", "")
    words = f"<p>Version {card.version} was made from version {before:,} by a mend: {escape(finding)}. Undo makes a version with the rows of before.</p>"
    return gr.Column(visible=True), words


def _settings_shown(report: Report) -> list[Any]:
    """The settings the report was made with, as the forms show them."""
    shown = []
    for name, kind in all_checks().items():
        values = form_values(parse(report.checks[name]) if name in report.checks else kind(name=name))
        shown += [values[field] for field in kind.model_fields if field != "name"]
    return shown


def _line(found: Finding) -> FindingLine:
    rows = "row" if found.count == 1 else "rows"
    number = f"{'at least ' if found.at_least else ''}{found.count:,} {rows}, {share(found.count, found.of)}"
    return FindingLine(
        check=found.check, title=found.title, gravity=found.gravity, number=number, sentence=found.sentence, rows=bool(found.rows),
        mend=found.mend if found.to_mend else "",
    )  # fmt: skip


# ---- rows and mends --------------------------------------------------------------------------------------------------


def _rows_of(studio: Studio, card: Card, finding: Finding, check: Check, page: int) -> Updates:
    """A page of the rows of a finding, what was found in them marked."""
    pages = max(1, math.ceil(len(finding.rows) / PAGE))
    page = min(max(page, 0), pages - 1)
    numbers = finding.rows[page * PAGE : (page + 1) * PAGE]
    others = finding.others[page * PAGE : (page + 1) * PAGE]
    rows = _rows(studio, card, {*numbers, *others})
    cards = [_card(rows[number], check, rows.get(other)) for number, other in zip(numbers, others or numbers, strict=True)]
    words = f'<p class="quiet">page {page + 1:,} of {pages:,}, {len(finding.rows):,} rows in all</p>'
    return (
        gr.Column(visible=True), gr.Column(visible=False), _rows_heading(finding), found_rows(cards), page, gr.Row(visible=pages > 1), words,
    )  # fmt: skip


def _rows(studio: Studio, card: Card, numbers: set[int]) -> dict[int, Row]:
    """Rows by their number."""
    ordered = sorted(numbers)
    records = studio.datasets.at(card.id, card.version, [number - 1 for number in ordered])
    return {number: Row(number, record) for number, record in zip(ordered, records, strict=True)}


def _card(row: Row, check: Check, other: Row | None) -> str:
    if other is not None and other.number != row.number:
        return row_beside(row.number, row.said, other.number, other.said)
    return marked_row(row.number, row.said, check.marks(row))


def _changes(seen: Preview, finding: Finding) -> str:
    """The first rows a mend changes, before and after."""
    family = {number: rows for rows in finding.families for number in rows}
    return found_rows((_change(change, family.get(change.number, [])) for change in seen.first), label="Before and after") if seen.first else ""


def _change(change: Change, family: list[int]) -> str:
    before, after = Row(change.number, change.before), change.after and Row(change.number, change.after)
    others = ", ".join(f"{number:,}" for number in family[:8] if number != change.number)
    return row_mended(change.number, before.said, after and after.said, note=f"stays on one side with {others}" if family else "")


# ---- words and pictures ----------------------------------------------------------------------------------------------


def _progress(work: Work | None) -> str:
    share_done, doing = (work.share, work.doing) if work else (0.0, "Beginning")
    return (
        f'<div class="run-progress"><p class="quiet">{escape(doing)}…</p>'
        f'<progress max="1" value="{share_done:.3f}" aria-label="Checking the rows"></progress></div>'
    )


def _summary(report: Report) -> str:
    """One warm sentence where all is well, else how much there is to do; then what was looked for."""
    made = f'<p class="quiet number">{rows_in_words(report.rows)} checked on {moment(report.created)}, in {minutes(report.seconds)}.</p>'
    undone = problems(report.left_undone) if report.left_undone else ""
    found = {finding.check for finding in report.findings}
    clean = [kind.looks_for for name, kind in all_checks().items() if name in report.checks and name not in found]
    if not report.findings:
        return f'<p class="check-clear good">All clear: these rows are in good order.</p>{_none_of(clean)}{made}{undone}'
    grave = sum(finding.gravity == "wrong" for finding in report.findings)
    words = f"{grave} {'thing' if grave == 1 else 'things'} to mend" if grave else "Nothing grave; some things are worth a look"
    return f'<p class="check-clear">{words}.</p>{_none_of(clean)}{made}{undone}'


def _none_of(clean: list[str]) -> str:
    if not clean:
        return ""
    listed = ", ".join(clean[:-1]) + (" and no " if len(clean) > 1 else "") + clean[-1]
    return f'<p class="quiet">No {escape(listed)}.</p>'


def _rows_heading(finding: Finding) -> str:
    rows = "The row" if len(finding.rows) == 1 else f"The {len(finding.rows):,} rows"
    beside = "each beside the earlier row it is like" if finding.others else "what was found in them marked"
    kept = "" if finding.rows_are_whole else f" There are {finding.count:,}; the first {len(finding.rows):,} are listed."
    return f'<h3 class="section-title">{rows}</h3><p class="quiet">Numbered as in the data set, {beside}.{kept}</p>'


def _mend_words(card: Card, finding: Finding, seen: Preview) -> str:
    done = [f"{seen.gone:,} {'row goes' if seen.gone == 1 else 'rows go'}"] if seen.gone else []
    done += [f"{seen.changed:,} {'row is' if seen.changed == 1 else 'rows are'} changed"] if seen.changed else []
    rest = f" {seen.untouched:,} cannot be put right so and stay as they are." if seen.untouched else ""
    more = "" if finding.families or finding.rows_are_whole else f" Only the first {len(finding.rows):,} are mended at once; check again afterwards."
    first = f" Below, the first {len(seen.first)}." if seen.gone + seen.changed > len(seen.first) else ""
    words = " and ".join(done).capitalize() or "Nothing can be put right so"
    return (
        f'<h3 class="section-title">{escape(finding.mend)}</h3><p>{words}; {seen.left:,} rows are in the new version. '
        f"Version {card.version} stays as it is, and the mend can be undone.{rest}{more}{first}</p>"
    )


def _version_words(studio: Studio, card: Card) -> str:
    return f"Make version {studio.datasets.versions(card.id)[-1] + 1}"


def _does_something(seen: Preview) -> bool:
    return bool(seen.gone or seen.changed) and seen.left > 0


def _plots(report: Report) -> list[Any]:
    """Lengths, ways, tasks, labels, prompts; those that would say nothing are hidden."""
    pictures, prompts = report.pictures, report.pictures.prompts
    return [
        gr.Plot(_lengths(report)),
        _shown(bars({WAYS.get(way, way): count for way, count in pictures.ways.items()}, what="rows") if len(pictures.ways) > 1 else None),
        _shown(bars(pictures.tasks, what="rows") if pictures.tasks else None),
        _shown(bars(_labels(pictures), what="rows") if pictures.labels else None),
        _shown(prompt_scatter(prompts.x, prompts.y, prompts.group, prompts.prompts, prompts.names) if prompts else None),
    ]


def _lengths(report: Report) -> Any:
    """Tokens where they were counted, else characters."""
    limit = report.checks.get("long_rows", {}).get("max_length")
    if report.pictures.tokens and limit:
        return length_histogram(report.pictures.tokens, max_length=limit)
    return length_bars(report.pictures.characters, per_doubling=BARS_PER_DOUBLING)


def _labels(pictures: Pictures) -> dict[str, int]:
    """Labels of the first tasks, each under its task's name where there are several."""
    tasks = list(pictures.labels.items())[:LABELLED_TASKS]
    return {f"{task}: {label}" if len(tasks) > 1 and task else label: count for task, labels in tasks for label, count in labels.items()}


def _shown(figure: Any) -> Any:
    return gr.Plot(figure, visible=True) if figure is not None else gr.Plot(None, visible=False)
