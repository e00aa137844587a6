"""One generation: how far it is, what waits to be reviewed, what was rejected and why, and the way into a data set.

`generation_view` lays it out and `wire_generation_view` ties it. Everything is read off the generation's folder, so a
reload, another tab and a restart show the same.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.data.desk import LOOK, Desk, Updates
from app.data.reviewing import answer
from app.data.view import reference
from app.event_options import PRIVATE, QUIET, TICK
from app.studio import Studio, on
from backend.errors import UserError
from backend.events import ENDED
from backend.generating.generation import Generation, Generations
from backend.generating.review import Review
from components.generated import progress_html, rejected_html, rejected_words
from components.review_queue import Reviewing, review_queue, reviewing
from components.text import rows_in_words

Seen = tuple[Any, ...]  # what the page was last told of: the sizes of those files, and whether it is stopping


@dataclass(frozen=True)
class GenerationView:
    """One generation, watched and reviewed."""

    column: gr.Column
    opened: gr.State  # its id, or None
    seen: gr.State
    progress: gr.HTML
    stop: gr.Button
    resume: gr.Button
    queue: gr.HTML
    name: gr.Textbox
    save: gr.Button
    folded: gr.Accordion
    rejected: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What another generation fills."""
        return [self.opened, self.name, self.seen, *self.moving]

    @property
    def moving(self) -> list[Any]:
        """What changes while it writes and is reviewed."""
        return [self.progress, self.stop, self.resume, self.queue, self.save, self.folded, self.rejected]


def generation_view(studio: Studio) -> GenerationView:
    """Lay it out, hidden until one is opened."""
    opened, seen = gr.State(None), gr.State(None)
    with gr.Column(visible=False, elem_id="generation") as column:
        progress = gr.HTML(elem_id="generation-progress")
        with gr.Row(elem_classes="actions"):
            stop = gr.Button("Stop", elem_id="generation-stop", min_width=120, scale=0)
            resume = gr.Button("Resume", visible=False, elem_id="generation-resume", min_width=120, scale=0)
        gr.HTML('<h3 class="section-title">Review what passed the filter</h3>')
        queue = review_queue(lambda request: answer(studio.workspace, request))
        with gr.Row(elem_classes="data-aligned"):
            name = gr.Textbox(
                label="Name", info="What you will find the rows by. The name of a data set there is makes its next version.", max_lines=1,
                max_length=120, min_width=240, elem_id="generation-name",
            )
        with gr.Row(elem_classes="actions"):
            save = gr.Button("Save as data set", variant="primary", interactive=False, elem_id="generation-save", min_width=200, scale=0)
        with gr.Accordion("Rejected", open=False, elem_id="generation-rejected") as folded:
            rejected = gr.HTML()
    return GenerationView(column, opened, seen, progress, stop, resume, queue, name, save, folded, rejected)


def wire_generation_view(studio: Studio, view: GenerationView, desk: Desk) -> None:
    """Tie it to its files and to the desk."""
    told = [view.seen, *view.moving]
    timer = gr.Timer(2.0, active=False)
    timer.tick(on(studio, on_tick), [view.opened, view.seen], told, **TICK)
    desk.place.change(lambda place: gr.Timer(active=place == "generate"), desk.place, timer, **QUIET)
    view.stop.click(on(studio, on_stop), view.opened, told, **QUIET)
    view.resume.click(on(studio, on_resume), view.opened, told, **QUIET)
    view.queue.change(on(studio, on_decided), view.opened, view.save, **QUIET)
    view.save.click(
        on(studio, on_save), [view.opened, view.name, desk.changed], [desk.chosen, desk.changed, desk.place], **PRIVATE
    )


def shown(studio: Studio, id: str | None) -> Updates:
    """A generation for the view's outputs; None: nothing is opened."""
    if id is None:
        return None, "", None, *(gr.skip(),) * 7
    generation = Generations(studio.workspace).get(id)
    return id, generation.label["name"], _seen(studio, generation), *_moving(studio, generation)


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_tick(studio: Studio, id: str | None, seen: Seen | None) -> Updates:
    """Only what has changed is told."""
    if id is None:
        return (gr.skip(),) * 8
    generation = Generations(studio.workspace).get(id)
    now = _seen(studio, generation)
    return (gr.skip(),) * 8 if list(now) == list(seen or ()) else (now, *_moving(studio, generation))


def on_stop(studio: Studio, id: str) -> Updates:
    studio.engine.stop(id)
    return _told(studio, id)


def on_resume(studio: Studio, id: str) -> Updates:
    studio.engine.resume(id)
    return _told(studio, id)


def on_decided(studio: Studio, id: str | None) -> Any:
    """Something was accepted, rejected or taken back: what there is to save."""
    return _save(Generations(studio.workspace).get(id)) if id else gr.skip()


def on_save(studio: Studio, id: str | None, name: str, changed: int) -> Updates:
    """What was accepted becomes a version, which is then looked at."""
    if id is None:
        raise UserError("No generation is open. Start one, or open an earlier one.")
    card = Review(Generations(studio.workspace).get(id)).save(studio.datasets, name=name)
    return reference(card), changed + 1, LOOK


# ---- a generation on the page ----------------------------------------------------------------------------------------


def _told(studio: Studio, id: str) -> Updates:
    generation = Generations(studio.workspace).get(id)
    return _seen(studio, generation), *_moving(studio, generation)


def _moving(studio: Studio, generation: Generation) -> Updates:
    candidates, standing = generation.candidates(), generation.standing()
    stopping, ended = studio.engine.stopping(generation.id), standing.status in ENDED
    return (
        progress_html(generation.label["name"], standing, stopping=stopping),
        gr.Button(visible=not ended, interactive=not stopping),
        gr.Button(visible=standing.status in ("stopped", "interrupted", "failed")),
        _queue(generation, len(candidates)),
        _save(generation),
        gr.Accordion(label=f"Rejected by the filter: {rejected_words(standing)}"),
        rejected_html(candidates),
    )


def _queue(generation: Generation, candidates: int) -> Reviewing:
    """The page asks again when more candidates have come, or when no more will."""
    return reviewing(generation.id, 2 * candidates + (generation.status in ENDED))


def _save(generation: Generation) -> Any:
    accepted = len(Review(generation).accepted())
    label = f"Save {rows_in_words(accepted)} as a data set" if accepted else "Save as a data set"
    return gr.Button(label, interactive=accepted > 0)


def _seen(studio: Studio, generation: Generation) -> Seen:
    files = (generation.folder / name for name in ("events.jsonl", "candidates.jsonl"))
    return generation.id, studio.engine.stopping(generation.id), *(file.stat().st_size if file.exists() else 0 for file in files)
