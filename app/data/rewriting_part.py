"""Other words found by a model, as a part of the page for augmented rows: asked for, followed, and chosen to be used.

A rewriting belongs to the engine: it goes on when the page is closed, and stands in the list when one comes back.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import gradio as gr
from gradio.components import Component

from app.chat_tab import speaker_choices
from app.data.desk import Chosen, Desk, Updates
from app.event_options import PRIVATE, QUIET
from app.studio import Studio, on
from backend.errors import UserError
from backend.events import ENDED
from backend.rewriting import Rewording, Rewriting, Rewritings, RewritingSettings, make_rewriting, parse_rewriting
from components.notices import empty
from components.settings_form import plain_values, settings_form
from components.text import escape

NONE = ""  # no rewriting is used
FOUND_SHOWN = 40
STATUS = {
    "queued": "waits for its turn", "running": "is being asked", "done": "done", "stopped": "stopped", "failed": "failed",
    "interrupted": "was interrupted",
}  # fmt: skip


@dataclass(frozen=True)
class RewritingPart:
    """What is asked of which model, how far it is, and which rewriting is used."""

    used: gr.Dropdown  # its value is the id of a rewriting, or NONE
    model: gr.Dropdown
    settings: dict[str, Component]
    ask: gr.Button
    stop: gr.Button
    resume: gr.Button
    progress: gr.HTML
    seen: gr.State  # (rewriting, status, prompts asked) as the page shows it
    timer: gr.Timer

    @property
    def outputs(self) -> list[Any]:
        return [self.progress, self.stop, self.resume, self.seen, self.timer]


def rewriting_part(studio: Studio) -> RewritingPart:
    """Lay it out, folded; what is used stands open, for it decides what is saved."""
    parts: dict[str, Any] = {"seen": gr.State(None)}
    with gr.Accordion("Other words found by a model", open=False, elem_id="augment-rewriting"):
        parts["model"] = gr.Dropdown(
            speaker_choices(studio),
            value="base:starter",
            label="Model",
            filterable=False,
            elem_id="rewriting-model",
            info="Who puts prompts into other words. The starter manages few of them; a larger model does better.",
        )
        parts["settings"] = settings_form(RewritingSettings, "rewriting")
        with gr.Row(elem_classes="actions"):
            parts["ask"] = gr.Button("Ask the model", elem_id="rewriting-ask", min_width=140, scale=0)
            parts["stop"] = gr.Button("Stop", visible=False, elem_id="rewriting-stop", min_width=100, scale=0)
            parts["resume"] = gr.Button("Resume", visible=False, elem_id="rewriting-resume", min_width=100, scale=0)
        parts["used"] = gr.Dropdown(
            [("none", NONE)],
            value=NONE,
            label="Other words used",
            info="What a model found earlier for this data set; its good ones become copies.",
            filterable=False,
            elem_id="rewriting-used",
        )
        parts["progress"] = gr.HTML(elem_id="rewriting-progress", min_height=32)
    return RewritingPart(**parts, timer=gr.Timer(2.0, active=False))


def wire_rewriting_part(studio: Studio, part: RewritingPart, desk: Desk) -> None:
    """Tie it to itself; whoever uses the other words listens to `seen.change`."""
    asked = {f"setting_{name}": component for name, component in part.settings.items()}
    part.ask.click(on(studio, on_ask), [desk.chosen, part.model], part.used, inputs_kwargs=asked, **PRIVATE).success(
        on(studio, on_follow), part.used, part.outputs, **QUIET
    )
    part.used.input(on(studio, on_follow), part.used, part.outputs, preprocess=False, **QUIET)
    part.timer.tick(on(studio, on_tick), [part.used, part.seen], part.outputs, **QUIET)
    for button, act in ((part.stop, on_stop), (part.resume, on_resume)):
        button.click(on(studio, act), part.used, part.outputs, preprocess=False, **QUIET)


def used_by_the_page(studio: Studio, chosen: Chosen) -> Any:
    """The rewritings there are for a data set, none of them used yet."""
    jobs = Rewritings(studio.workspace).of(chosen["id"]) if chosen else []
    return gr.Dropdown([("none", NONE), *((_label(job), job.id) for job in jobs)], value=NONE)


def other_words(studio: Studio, job_id: str | None) -> dict[str, list[tuple[str, str]]]:
    """What the chosen rewriting has found so far. Raises `UserError` where it is gone."""
    return _job(studio, job_id).other_words() if job_id else {}


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_ask(studio: Studio, chosen: Chosen, model: str, **values: Any) -> Any:
    """Put a rewriting on the queue; it is the one used from then on."""
    if chosen is None:
        raise UserError("No data set is chosen. Pick one in the list.")
    card = studio.datasets.card(**chosen)
    settings = {name.removeprefix("setting_"): value for name, value in values.items()}
    spec = parse_rewriting({
        "name": f"{card.name}, in other words"[:120], "data": chosen, "writer": {"speaker": model},
        "settings": plain_values(RewritingSettings, settings),
    })  # fmt: skip
    studio.engine.wait_until_ready()
    job = make_rewriting(studio.workspace, spec)
    studio.engine.put(job)
    choices = [(_label(each), each.id) for each in Rewritings(studio.workspace).of(card.id)]
    return gr.Dropdown([("none", NONE), *choices], value=job.id)


def on_follow(studio: Studio, job_id: str | None) -> Updates:
    """(progress, Stop, Resume, what is shown now, the clock) of the rewriting that is used."""
    if not job_id:
        return "", gr.Button(visible=False), gr.Button(visible=False), None, gr.Timer(active=False)
    job = _job(studio, job_id)
    standing, has_ended = job.standing(), job.status in ENDED
    words = (
        f"{STATUS[standing.status]}: {standing.asked:,} of {standing.wanted:,} prompts, {standing.kept:,} in usable other words."
    )
    message = f'<p class="warn">{escape(standing.message)}</p>' if standing.status in ("failed", "interrupted") else ""
    return (
        f'<p class="number">{escape(words[0].upper() + words[1:])}</p>{message}{_found_html(job.rewordings())}',
        gr.Button(visible=not has_ended, interactive=not studio.engine.stopping(job_id)),
        gr.Button(visible=standing.status in ("stopped", "interrupted", "failed")),
        (job_id, standing.status, standing.asked), gr.Timer(active=not has_ended),
    )  # fmt: skip


def on_tick(studio: Studio, job_id: str | None, seen: Any) -> Updates:
    """Only what is new travels."""
    follow = on_follow(studio, job_id)
    return (gr.skip(),) * 5 if seen and tuple(seen) == follow[3] else follow


def on_stop(studio: Studio, job_id: str) -> Updates:
    studio.engine.stop(job_id)
    return on_follow(studio, job_id)


def on_resume(studio: Studio, job_id: str) -> Updates:
    studio.engine.resume(job_id)
    return on_follow(studio, job_id)


def _job(studio: Studio, job_id: str) -> Rewriting:
    return Rewritings(studio.workspace).get(job_id)


# ---- words -----------------------------------------------------------------------------------------------------------


def _label(job: Rewriting) -> str:
    """Who was asked, about which version, and when: what does not change while it goes on."""
    spec, made = job.spec, datetime.fromtimestamp((job.folder / "spec.json").stat().st_mtime)
    who, wanted = spec.writer.speaker.partition(":")[2], spec.settings.prompts
    return f"{who} · v{spec.data.version} · asked for {wanted:,} prompts on {made:%d %b, %H:%M}"


def _found_html(found: list[Rewording]) -> str:
    """The newest other words, each with the reason where they were not kept."""
    if not found:
        return empty("Nothing yet. The model is asked for a few prompts at a time.")
    shown = "".join(_one_html(each) for each in reversed(found[-FOUND_SHOWN:]))
    left = f'<p class="quiet">and {len(found) - FOUND_SHOWN:,} before these</p>' if len(found) > FOUND_SHOWN else ""
    return f'<div class="copies" tabindex="0" role="region" aria-label="other words found">{shown}</div>{left}'


def _one_html(each: Rewording) -> str:
    verdict = (
        f'<span class="warn">{escape(f"left out: they {each.fault}")}</span>' if each.fault else '<span class="good">kept</span>'
    )
    return (
        f'<section><dl><dt class="data-role">prompt</dt><dd class="plain-text" dir="auto">{escape(each.prompt)}</dd>'
        f'<dt class="data-role">other words</dt><dd class="plain-text" dir="auto">{escape(each.words)}</dd>'
        f'<dt class="data-role">alike {each.score:.2f}</dt><dd>{verdict}</dd></dl></section>'
    )
