"""The Runs tab: every run in a table; one opened or several compared: curves, answers, settings, log."""

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.event_options import QUIET, TICK
from app.following import BEAT, REST, Following, catch_up, follow
from app.studio import Studio, on
from app.train_tab import chat_button, continue_button
from backend.errors import UserError
from backend.events import ENDED
from backend.headless import describe_event
from backend.runs import Summary, true_events
from components.live_plot import live_plot
from components.notices import empty, lead
from components.run_curves import STATUS_WORDS, probes_html, progress_html
from components.run_graph import RunGraph, graph, run_graph
from components.run_table import RunRow, RunTable, run_table, table
from components.text import escape

PAGE_SIZE = 50
NAMED = 5  # runs named in a warning; more are counted
LOG_LINES, LOG_BYTES = 500, 2**18  # shown of a run's log, and read for it; the whole of it is a file


@dataclass(frozen=True)
class RunsTab:
    """What other tabs and the page tie to."""

    runs: gr.HTML
    chat_with: gr.Button
    continue_from: gr.Button
    duplicate: gr.Button
    opened: gr.State
    refresh: tuple[Any, list[Any], list[Any]]  # (handler, inputs, outputs): the table anew, when the tab is shown


def runs_tab(studio: Studio) -> RunsTab:
    """Lay out the tab and wire it."""
    lead("Every training run. Open one to see it, tick several to lay their curves over each other.")
    page_number, opened, following = gr.State(0), gr.State(None), gr.State(None)
    runs = run_table()
    with gr.Row(elem_classes="pager", visible=False) as pager:
        previous = gr.Button("Newer", size="sm")
        where = gr.HTML()
        following_page = gr.Button("Older", size="sm")
    with gr.Column(visible=False, elem_id="run-detail") as detail:
        progress = gr.HTML()
        with gr.Row(elem_classes="actions"):
            chat_with = gr.Button("Chat with it", elem_id="runs-chat")
            continue_from = gr.Button("Continue from here", elem_id="runs-continue")
            stop = gr.Button("Stop and keep", elem_id="runs-stop")
            resume = gr.Button("Resume", elem_id="runs-resume")
            duplicate = gr.Button("Duplicate settings", elem_id="runs-duplicate")
            delete = gr.Button("Delete", elem_id="runs-delete")
            really = gr.Button("Really delete this run", variant="stop", visible=False, elem_id="runs-really-delete")
            keep = gr.Button("Keep it", visible=False, elem_id="runs-keep")
        standing = gr.HTML(elem_id="runs-standing")
        with gr.Tabs():
            with gr.Tab("Curves"):
                chart = live_plot(elem_id="runs-plot")
            with gr.Tab("Answers"):
                probes = gr.HTML()
            with gr.Tab("Where it comes from"):
                lineage = run_graph(elem_id="runs-graph")
            with gr.Tab("Settings"):
                settings = gr.HTML(elem_id="run-settings")
            with gr.Tab("Log"):
                log = gr.HTML(elem_id="run-log")
            with gr.Tab("Name and note"):
                name = gr.Textbox(label="Name", info="What to call this run.", max_length=120, elem_id="runs-name")
                note = gr.Textbox(label="Note", info="Anything worth remembering about it.", lines=3, max_length=2000, elem_id="runs-note")
                relabel = gr.Button("Keep name and note", elem_id="runs-relabel")

    buttons = [chat_with, continue_from, stop, resume, delete]
    asking = [delete, really, keep, standing]
    timer = gr.Timer(BEAT)
    view = [timer, detail, chart, following, progress, probes, lineage, settings, log, name, note, *buttons, *asking[1:]]
    listing = [runs, pager, where]
    runs.select(on(studio, on_show), runs, [opened, *view], trigger_mode="always_last", **TICK)
    for button, step in ((previous, -1), (following_page, 1)):
        button.click(on(studio, _turner(step)), [page_number, runs], [page_number, *listing], **TICK)
    stop.click(on(studio, on_stop), opened, [stop, timer], **QUIET)
    resume.click(on(studio, on_resume), [opened, runs], [*listing, *view], **QUIET)
    lineage.select(on(studio, on_open_relative), [lineage, runs], [runs, opened, *view], **QUIET)
    delete.click(on(studio, on_ask_delete), opened, asking, **QUIET)
    keep.click(lambda: _asking(False), outputs=asking, **QUIET)
    really.click(on(studio, on_delete), [opened, page_number], [opened, *listing, *view], **QUIET)
    relabel.click(on(studio, on_relabel), [opened, name, note, page_number, runs], [*listing, progress], **QUIET)
    chart.behind(on(studio, on_behind), [opened, runs], [chart, following], **TICK)
    timer.tick(on(studio, on_tick), [opened, following], [timer, chart, following, progress, probes, *buttons], **TICK)
    gr.Timer(5.0).tick(on(studio, on_refresh), [page_number, runs], listing, **TICK)
    return RunsTab(runs, chat_with, continue_from, duplicate, opened, (on(studio, on_refresh), [page_number, runs], listing))


# ---- the table -------------------------------------------------------------------------------------------------------


def on_refresh(studio: Studio, page_number: int, shown: RunTable) -> tuple[Any, ...]:
    """The table as it stands now; nothing travels if nothing changed."""
    fresh, pager, where = _page(studio, page_number, shown)
    if fresh["rows"] == shown["rows"]:
        return gr.skip(), gr.skip(), gr.skip()
    return fresh, pager, where


def _page(studio: Studio, page_number: int, shown: RunTable) -> tuple[RunTable, Any, Any]:
    total = len(studio.runs.ids())
    first = page_number * PAGE_SIZE
    rows = [_row(studio, summary) for summary in studio.runs.summaries(offset=first, limit=PAGE_SIZE)]
    words = f'<p class="quiet">runs {first + 1:,} to {first + len(rows):,} of {total:,}</p>'
    fresh = table(rows, ticked=shown["ticked"], opened=shown["open"], picks=shown["picks"])
    return fresh, gr.update(visible=total > PAGE_SIZE), words


def _row(studio: Studio, summary: Summary) -> RunRow:
    progress = summary.progress
    best = "" if progress.best_loss is None else f"{progress.best_loss:.3f}"
    if progress.best_reward is not None:  # what such a run goes down is the reward's negative
        best = f"reward {progress.best_reward:.3f}"
    steps = f"{progress.step:,} of {progress.total_steps:,}" if progress.total_steps else ""
    when = time.strftime("%d %b %H:%M", time.localtime(progress.created))
    cells = [
        STATUS_WORDS[progress.status], summary.name, summary.spec.method.title, _data_name(studio, summary), best, steps,
        when, summary.note,
    ]
    return RunRow(id=summary.id, status=progress.status, cells=cells)


def _data_name(studio: Studio, summary: Summary) -> str:
    try:
        card = studio.datasets.card(summary.spec.data.id or "", summary.spec.data.version)
        return f"{card.name} v{card.version}"
    except UserError:
        return "(deleted)"


def _turner(step: int) -> Any:
    def on_turn(studio: Studio, page_number: int, shown: RunTable) -> tuple[Any, ...]:
        last = max(0, (len(studio.runs.ids()) - 1) // PAGE_SIZE)
        page_number = min(max(page_number + step, 0), last)
        return page_number, *_page(studio, page_number, shown)

    return on_turn


# ---- one run, or several compared ------------------------------------------------------------------------------------


def on_show(studio: Studio, shown: RunTable) -> tuple[Any, ...]:
    """The opened run, its curves together with those of the ticked ones."""
    run_id = shown["open"] or (shown["ticked"][0] if shown["ticked"] else None)
    return run_id, *_view(studio, run_id, shown["ticked"])


def on_open_relative(studio: Studio, pressed: RunGraph, shown: RunTable) -> tuple[Any, ...]:
    """A run that was pressed in the graph of another's origins."""
    run_id = pressed["open"]
    return {**shown, "open": run_id}, run_id, *_view(studio, run_id, shown["ticked"])


def _view(studio: Studio, run_id: str | None, ticked: list[str]) -> tuple[Any, ...]:
    if run_id is None:
        return gr.Timer(REST), gr.update(visible=False), *(gr.skip(),) * 17
    run = studio.runs.get(run_id)
    compared = [run_id, *(other for other in ticked if other != run_id)]
    payload, following = follow(studio, compared)
    progress = following.runs[run_id].progress
    label = run.label
    return (
        gr.Timer(BEAT), gr.update(visible=True), payload, following, progress_html(label["name"], progress), probes_html(progress),
        graph(studio.family.lineage(run_id)), settings_html(studio, list(following.runs)), log_html(studio, run_id),
        label["name"], label["note"], *_buttons(studio, run_id, following), *_asking(False)[1:],
    )


def _buttons(studio: Studio, run_id: str, following: Following) -> tuple[Any, Any, Any, Any, Any]:
    """(chat, continue, stop, resume, delete): only what makes sense now."""
    status, run = following.runs[run_id].progress.status, studio.runs.get(run_id)
    ended = status in ENDED
    return (
        chat_button(studio, run, ended=ended), continue_button(run, ended=ended),
        gr.update(visible=not ended, interactive=not studio.engine.stopping(run_id)),
        gr.update(visible=status in ("stopped", "interrupted", "failed")),
        gr.update(visible=ended),
    )


def settings_html(studio: Studio, run_ids: list[str]) -> str:
    """All settings of one run; of several, only those that differ."""
    flat = {run_id: _flat(studio.runs.get(run_id).spec.model_dump(mode="json")) for run_id in run_ids}
    names = [name for name in dict.fromkeys(name for values in flat.values() for name in values)]
    if len(run_ids) > 1:
        names = [name for name in names if len({values.get(name) for values in flat.values()}) > 1]
    heads = "".join(f'<th scope="col">{escape(studio.runs.get(run_id).label["name"])}</th>' for run_id in run_ids)
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(values.get(name, ''))}</td>" for values in flat.values()) + "</tr>"
        for name in names
    )
    return f'<table class="settings-table"><thead><tr><th scope="col">setting</th>{heads}</tr></thead><tbody>{lines}</tbody></table>'


def _flat(values: dict[str, Any], above: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{name}.")
        elif value is not None:
            flat[above + name] = str(value)
    return flat


def log_html(studio: Studio, run_id: str) -> str:
    """What happened, line by line, the newest last."""
    events = studio.runs.get(run_id).events
    lines = [
        f"{time.strftime('%H:%M:%S', time.localtime(event['at']))}  {text}"
        for event in true_events(events.last(LOG_BYTES)) if (text := describe_event(event))
    ]
    if not lines:
        return empty("Nothing has happened yet: the run waits for its turn.")
    left_out = "(earlier lines are in events.jsonl)\n" if len(lines) > LOG_LINES or events.size > LOG_BYTES else ""
    return f'<pre class="log" tabindex="0">{escape(left_out + chr(10).join(lines[-LOG_LINES:]))}</pre>'


def on_tick(studio: Studio, run_id: str | None, following: Following | None) -> tuple[Any, ...]:
    """New points of the runs on the chart, and where the opened one stands; the page asks seldom where nothing can be new."""
    if run_id is None or following is None or run_id not in following.runs or following.is_over:
        return gr.update(value=REST), *(gr.skip(),) * 9
    payload, news = catch_up(studio, following)
    if not news:
        return (gr.skip(),) * 10
    followed = following.runs[run_id]
    stopping = following.stopping = studio.engine.stopping(run_id)
    beat, *beside = following.only_new(
        gr.update(value=following.beat), progress_html(followed.label, followed.progress, stopping=stopping), probes_html(followed.progress),
        *_buttons(studio, run_id, following),
    )
    return beat, payload, following, *beside


def on_behind(studio: Studio, run_id: str | None, shown: RunTable) -> tuple[Any, Any]:
    """The chart missed a payload: send it everything."""
    return follow(studio, [run_id, *(other for other in shown["ticked"] if other != run_id)] if run_id else [])


def on_stop(studio: Studio, run_id: str) -> tuple[Any, gr.Timer]:
    studio.engine.stop(run_id)
    return gr.update(interactive=False), gr.Timer(BEAT)  # whose end is awaited now


def on_resume(studio: Studio, run_id: str, shown: RunTable) -> tuple[Any, ...]:
    studio.engine.resume(run_id)
    return *_page(studio, 0, shown), *_view(studio, run_id, shown["ticked"])


def on_ask_delete(studio: Studio, run_id: str) -> tuple[Any, ...]:
    """Ask once more, and say who stands on the run."""
    return _asking(True, standing_html(studio.family.names_of_children(run_id)))


def _asking(asking: bool, standing: str = "") -> tuple[Any, Any, Any, str]:
    """(delete, really, keep, who stands on it): a run is deleted by two clicks, never by one."""
    return gr.update(visible=not asking), gr.update(visible=asking), gr.update(visible=asking), standing


def standing_html(names: list[str]) -> str:
    """Which runs came from one that is about to go, and what they lose by it."""
    if not names:
        return ""
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
    who = "1 run stands on it" if len(names) == 1 else f"{len(names):,} runs stand on it"
    return (
        f'<p class="warn" role="alert">{who}: {escape(listed)}. What they learnt stays and can be chatted with, but a run that has not '
        "ended can no longer go on, and their graph will say (deleted).</p>"
    )


def on_delete(studio: Studio, run_id: str, page_number: int) -> tuple[Any, ...]:
    studio.delete_run(run_id)
    nothing = table([])
    return None, *_page(studio, page_number, nothing), *_view(studio, None, [])


def on_relabel(studio: Studio, run_id: str, name: str, note: str, page_number: int, shown: RunTable) -> tuple[Any, ...]:
    run = studio.runs.get(run_id)
    run.relabel(name=name, note=note)
    return *_page(studio, page_number, shown), progress_html(run.label["name"], run.progress())
