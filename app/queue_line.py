"""The line above the runs that says what waits, and lets one pause the queue and go on with it."""

from typing import Any

import gradio as gr

from app.event_options import QUIET, TICK
from app.studio import Studio, on
from components.text import escape

Seen = tuple[str, int]  # why the queue is held, and how many jobs wait


def queue_line(studio: Studio) -> None:
    """Lay out the line and wire it. It takes no room while nothing waits and nothing is paused."""
    seen = gr.State(None)
    with gr.Row(visible=False, elem_classes="queue-line", elem_id="queue-line") as line:
        words = gr.HTML(min_width=240)
        pause = gr.Button("Pause the queue", size="sm", scale=0, min_width=144, elem_id="queue-pause")
        go_on = gr.Button("Go on with the queue", size="sm", scale=0, min_width=176, visible=False, elem_id="queue-go-on")
    parts = [seen, line, words, pause, go_on]
    pause.click(on(studio, on_pause), outputs=parts, **QUIET)
    go_on.click(on(studio, on_go_on), outputs=parts, **QUIET)
    gr.Timer(5.0).tick(on(studio, on_tick), seen, parts, **TICK)


def on_pause(studio: Studio) -> tuple[Any, ...]:
    studio.engine.hold()
    return _line(_look(studio))


def on_go_on(studio: Studio) -> tuple[Any, ...]:
    studio.engine.go_on()
    return _line(_look(studio))


def on_tick(studio: Studio, seen: Seen | None) -> tuple[Any, ...]:
    """The line anew, if something has changed."""
    now = _look(studio)
    return (gr.skip(),) * 5 if seen and now == tuple(seen) else _line(now)


def _look(studio: Studio) -> Seen:
    status = studio.engine.status()
    return status.held, status.queued


def _line(now: Seen) -> tuple[Any, ...]:
    held, queued = now
    waiting = f"{queued} {'job waits' if queued == 1 else 'jobs wait'} in the queue."
    said = f'<p class="warn" role="status">The queue is paused. {escape(held)} {waiting}</p>' if held else f'<p class="quiet">{waiting}</p>'
    return now, gr.Row(visible=bool(held or queued)), said, gr.Button(visible=not held), gr.Button(visible=bool(held))
