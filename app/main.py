"""The page: a header that always tells what the engine does, and one tab per kind of work, in the order of the work."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import psutil
from starlette.middleware import Middleware

from app.api import public_api
from app.beats import beat_in_view
from app.chat_tab import chat_tab, on_chat_with, on_refresh
from app.data.tab import data_tab
from app.departures import Departures
from app.doors import Password, doors, is_loopback
from app.event_options import QUIET
from app.label.tab import label_tab
from app.prelude import Prelude, name_in_address
from app.presence import Presence
from app.queue_line import queue_line
from app.runs_tab import runs_tab
from app.studio import Studio, on
from app.theme import theme
from app.train_tab import SEPARATOR, data_choices, form_continuing, form_of, judge_choices, start_choices, train_tab
from backend.errors import UserError
from backend.jobs import note_holder
from backend.models import available
from backend.objectives import all_objectives
from backend.workspace import Workspace
from components.header import Standing, header
from components.live_plot import LIVE_PLOT_CSS, preload, static_paths
from components.row_editor import ROW_EDITOR_CSS
from components.text import gigabytes

ASSETS = Path(__file__).resolve().parents[1] / "assets"
LARGEST_FILE = 4 * 2**30  # bytes of one file brought to the page, which says so of a larger one
# Between two looks at the queue of clicks, and at bars that grow. Gradio's own 1 ms and 10 ms take 3 % of a core all the time.
QUEUE_SECONDS, UPDATE_SECONDS = 0.02, 0.1
log = logging.getLogger(__name__)


def serve(workspace_dir: Path, *, host: str, port: int, open_browser: bool) -> None:
    """Open the studio on a workspace and serve it until interrupted. Raises `UserError`."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    entry = {} if is_loopback(host) else entry_for_others(Workspace(workspace_dir).prepare())
    studio = Studio.open(workspace_dir, confined=not is_loopback(host))
    page, address = build(studio), f"http://{host}:{port}"
    note_holder(studio.workspace, address)
    page._queue.sleep_when_free, page._queue.progress_update_sleep_when_free = QUEUE_SECONDS, UPDATE_SECONDS
    print(f"Fine-Tuning Studio: {address}  (workspace {studio.workspace.root}; Ctrl-C ends it)", flush=True)
    try:
        page.launch(**launch_options(page, host, port, open_browser), **entry, allowed_paths=[str(studio.workspace.exports)])
    except OSError as error:
        raise UserError(f"Port {port} cannot be opened ({error}). Choose another with --port.") from error


def entry_for_others(workspace: Workspace) -> dict[str, Any]:
    """How people on other machines come in. Raises `UserError` where no password is set."""
    password = Password(workspace)
    if not password.is_set:
        raise UserError(
            "Other machines may only come in with a password, and none is set. Set one with: python3 launch.py password "
            f"--workspace {workspace.root}"
        )
    print(
        "Open to other machines: whoever knows the password can read and change everything in this workspace, train and chat. "
        "What is sent is not encrypted; use a network you trust, or a tunnel.",
        flush=True,
    )
    return {"auth": password.admits, "auth_message": "Your name, as others shall see it, and this studio's password."}


def launch_options(page: gr.Blocks, host: str, port: int, open_browser: bool) -> dict[str, Any]:
    """How the page is served: to this machine alone, asking no other."""
    gr.set_static_paths(static_paths())
    return {
        "server_name": host, "server_port": port, "inbrowser": open_browser, "share": False, "quiet": True,
        "max_file_size": LARGEST_FILE, "show_error": False, "ssr_mode": False, "enable_monitoring": False, "run_history": False, "footer_links": [],
        "theme": theme(), "css_paths": [ASSETS / "style.css", ASSETS / "label.css", LIVE_PLOT_CSS, ROW_EDITOR_CSS], "favicon_path": ASSETS / "logo.svg",
        "app_kwargs": {
            "openapi_url": None, "docs_url": None, "redoc_url": None, "lifespan": doors(host),
            "middleware": [Middleware(Departures, page=page), Middleware(Presence), Middleware(Prelude)],
        },
    }


def build(studio: Studio) -> gr.Blocks:
    """The page, laid out and wired."""
    with gr.Blocks(title="Fine-Tuning Studio", analytics_enabled=False, fill_width=True) as page:
        header(studio.workspace.root, partial(standing, studio))
        with gr.Tabs(selected="data", elem_id="tabs") as tabs:
            with gr.Tab("Data", id="data") as data_page:
                data = data_tab(studio)
            with gr.Tab("Train", id="train") as train_page:
                train = train_tab(studio, page)
            with gr.Tab("Runs", id="runs") as runs_page:
                queue_line(studio)
                runs = runs_tab(studio)
            with gr.Tab("Label", id="label") as label_page:
                label = label_tab(studio)
            with gr.Tab("Chat", id="chat") as chat_page:
                chat = chat_tab(studio)
        public_api(studio)

        page.load(None, js=preload(), **QUIET)
        pages = [data_page, train_page, runs_page, label_page, chat_page]
        name_in_address(pages)
        beat_in_view(page, pages)
        # a tab shows what has happened elsewhere when one comes to it, the first one when the page opens among them
        judges = [name for name in train.form if name.endswith(f"{SEPARATOR}reward_run")]
        pickers = [train.form[name] for name in ("data", "base_model", "start_from", *judges)]
        data.refresh_on(data_page.select)
        data.refresh_on(label.saved.change)
        for come in (page.load, train_page.select, data.changed.change, label.saved.change):
            come(on(studio, on_pickers), [train.form[name] for name in ("data", "start_from", *judges)], pickers, **QUIET)
        label.refresh_on(label_page.select)
        runs_page.select(runs.refresh[0], *runs.refresh[1:], **QUIET)
        chat_page.select(on(studio, on_refresh), chat.refresh_inputs, chat.refresh_outputs, **QUIET)
        # from one tab to the next, in the order of the work
        data.train_on_this.click(on(studio, on_train_on), data.chosen, [tabs, train.form["data"], train.form["objective"]], **QUIET)
        for button, run_id in ((train.chat_with, train.run_id), (runs.chat_with, runs.opened)):
            button.click(on(studio, on_chat_with), run_id, chat.pickers, **QUIET).then(
                lambda: gr.update(selected="chat"), outputs=tabs, **QUIET
            )
        filled = [tabs, train.run_id, *train.pages, *train.form.values()]
        runs.duplicate.click(on(studio, partial(on_duplicate, names=list(train.form))), runs.opened, filled, **QUIET)
        go_on = partial(on_continue, names=list(train.form))
        for button, run_id in ((train.continue_from, train.run_id), (runs.continue_from, runs.opened), (chat.continue_from, chat.run_id)):
            button.click(on(studio, go_on), [run_id, train.form["data"]], filled, **QUIET)
    return page


def on_pickers(studio: Studio, data: str | None, start_from: str, *judges: str) -> tuple[Any, ...]:
    """The pickers of the Train tab, with what is there now; what was picked stays picked while it is there."""
    return (
        _picker(data_choices(studio), data), gr.update(choices=available(studio.workspace)),
        _picker(start_choices(studio), start_from), *(_picker(judge_choices(studio), judge) for judge in judges),
    )  # fmt: skip


def _picker(choices: list[tuple[str, str]], chosen: str | None) -> Any:
    there = [id for _, id in choices]
    return gr.update(choices=choices, value=chosen if chosen in there else next(iter(there), None))


def on_train_on(studio: Studio, chosen: dict[str, Any] | None) -> tuple[Any, Any, Any]:
    """To the Train tab with a data set, and with the objective that fits its rows."""
    if not chosen:
        raise UserError("No data set is chosen. Pick one in the list, or import a file.")
    card = studio.datasets.card(chosen["id"])
    fitting = next(name for name, kind in all_objectives().items() if kind.record == card.record)
    return gr.update(selected="train"), gr.update(choices=data_choices(studio), value=card.id), fitting


def on_duplicate(studio: Studio, run_id: str, *, names: list[str]) -> tuple[Any, ...]:
    """To the Train tab with a run's settings filled in."""
    return _to_setup(form_of(studio.runs.get(run_id).spec), names)


def on_continue(studio: Studio, run_id: str, data: str | None, *, names: list[str]) -> tuple[Any, ...]:
    """To the Train tab, to go on from what a run made, or to align with the reward model it made."""
    return _to_setup(form_continuing(studio, studio.runs.get(run_id), data), names)


def _to_setup(filled: dict[str, Any], names: list[str]) -> tuple[Any, ...]:
    """(tabs, watched run, where one sets a run up, where one watches it, every setting)"""
    shown = [gr.update(visible=True), gr.update(visible=False)]
    return gr.update(selected="train"), None, *shown, *(filled.get(name, gr.skip()) for name in names)


def standing(studio: Studio) -> Standing:
    """What the engine is doing, in a few words."""
    status = studio.engine.status()
    words = {
        "getting ready": f"engine getting ready: {status.doing}", "ready": "ready", "out of order": status.doing,
        "working": status.doing,
    }.get(status.state, "training")
    if status.run_id:
        run = studio.runs.get(status.run_id)
        progress = studio.runs.progress(run)
        share = f" {progress.step / progress.total_steps:.0%}" if progress.total_steps else ""
        words = f'training "{run.label["name"]}"{share}'
    if status.queued:
        words += f" · {status.queued} queued"
    if status.held:
        words += " · queue paused"
    memory = psutil.virtual_memory()
    used = f"memory {(memory.total - memory.available) / 1e9:.1f} of {gigabytes(memory.total)}"
    machine = f"{status.device} · {used}" if status.device else used
    return {"state": status.state, "words": words, "machine": machine}
