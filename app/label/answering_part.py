"""Prompts answered here: what is asked of whom, how far it is, and what is put beside what.

Everything is read off the answering's folder, so a reload, another tab and a restart show the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from app.chat_tab import default_speakers, speaker_choices
from app.event_options import QUIET
from app.label.desk import Updates
from app.studio import Studio, on
from backend.answering.answering import Answering, Answerings, make_answering
from backend.answering.beginning import Gathered, gathered_from_answers
from backend.answering.estimate import estimate
from backend.answering.pairing import PairingSettings, parse_pairing
from backend.answering.prompts import chat_prompts, pasted_prompts
from backend.answering.settings import REFERENCE, Answerer, AnsweringSpec, PromptSource, parse_answering
from backend.errors import UserError
from backend.events import ENDED
from components.answerer_table import Answerers, answerer_table, answerers
from components.candidates_view import answers_html, estimate_html, progress_html
from components.notices import problems
from components.settings_form import plain_values
from components.text import rows_in_words

NEW = "new"  # instead of an earlier answering's id
LISTED = 50  # earlier answerings, the newest first
SOURCES = {"data": "A data set", "pasted": "Pasted", "chat": "Voted on in Chat"}
WHICH = {"all": "All pairs", "some": "Some, drawn by chance", "one against another": "One against another"}


@dataclass(frozen=True)
class AnsweringPart:
    """Set up on one half, watched on the other; one of them is in view."""

    column: gr.Column
    opened: gr.State  # its id, or None
    seen: gr.State  # (id, status, answers, whether it is stopping) as the page shows it
    earlier: gr.Dropdown
    setup: gr.Column
    form: dict[str, Component]  # every setting, by its name in a click's values
    estimate: gr.HTML
    start: gr.Button
    view: gr.Column
    progress: gr.HTML
    stop: gr.Button
    resume: gr.Button
    answers: gr.HTML
    pairs: gr.Column
    pairing: dict[str, Component]  # the fields of `PairingSettings`
    timer: gr.Timer

    @property
    def outputs(self) -> list[Any]:
        """What opening an answering, or none, fills."""
        return [self.opened, self.earlier, self.setup, self.view, *self.moving]

    @property
    def moving(self) -> list[Any]:
        """What changes while it goes on."""
        return [self.progress, self.stop, self.resume, self.answers, self.pairs, self.pairing["one"], self.pairing["other"], self.seen, self.timer]


def answering_part(studio: Studio) -> AnsweringPart:
    """Lay it out."""
    parts: dict[str, Any] = {"opened": gr.State(None), "seen": gr.State(None)}
    with gr.Column(elem_id="begin-answering") as column:
        parts["earlier"] = gr.Dropdown(
            [("Ask anew", NEW)], value=NEW, label="Answers", info="Ask anew, or open answers that were given earlier.", filterable=False,
            visible=False, elem_id="answering-earlier",
        )
        with gr.Column() as parts["setup"]:
            parts["form"] = _form(studio)
            parts["estimate"] = gr.HTML(elem_id="answering-estimate", min_height=48)
            with gr.Row(elem_classes="actions"):
                parts["start"] = gr.Button("Start", variant="primary", elem_id="answering-start", min_width=120, scale=0)
        with gr.Column(visible=False, elem_id="answering") as parts["view"]:
            _lay_view(parts)
    return AnsweringPart(column=column, **parts, timer=gr.Timer(1.0, active=False))


def wire_answering_part(studio: Studio, part: AnsweringPart, gathered: gr.State) -> None:
    """Tie it to its files and to what is gathered."""
    form = part.form
    form["kind"].change(on_kind, form["kind"], [form[name] for name in ("data", "pasted", "parted_by", "number", "prompts_seed")], **QUIET)
    for change in [*(component.change for name, component in form.items() if name not in ("name", "answerers")), form["answerers"].input]:
        change(on(studio, on_estimate), outputs=part.estimate, inputs_kwargs=form, trigger_mode="always_last", **QUIET)
    # unprocessed: Gradio would refuse, in words of its own, a choice that a restarted studio has not listed yet
    part.earlier.input(on(studio, on_pick), part.earlier, part.outputs, preprocess=False, **QUIET)
    part.start.click(on(studio, on_start), outputs=part.outputs, inputs_kwargs=form, **QUIET)
    part.timer.tick(on(studio, on_tick), [part.opened, part.seen], part.moving, **QUIET)
    part.stop.click(on(studio, on_stop), part.opened, part.moving, **QUIET)
    part.resume.click(on(studio, on_resume), part.opened, part.moving, **QUIET)

    pairing = part.pairing
    shown = [pairing[name] for name in ("which", "per_prompt", "one", "other", "answers", "seed")]
    for change in (pairing["form"].change, pairing["which"].change):
        change(on_pairing, [pairing["form"], pairing["which"]], shown, **QUIET)
    for change in [part.seen.change, *(component.change for component in pairing.values())]:
        change(on(studio, on_gather), outputs=gathered, inputs_kwargs={"seen": part.seen, **pairing}, trigger_mode="always_last", **QUIET)


# ---- layout ----------------------------------------------------------------------------------------------------------


def _form(studio: Studio) -> dict[str, Component]:
    data, source = data_choices(studio), PromptSource.model_fields
    with gr.Row(elem_classes="settings"):
        form: dict[str, Component] = {
            "kind": gr.Dropdown([(words, kind) for kind, words in SOURCES.items()], value="data", filterable=False, **_told(PromptSource, "kind")),
            "data": gr.Dropdown(data, value=data[0][1] if data else None, filterable=False, **_told(PromptSource, "data")),
            "number": gr.Number(source["number"].default, precision=0, **_told(PromptSource, "number")),
            "prompts_seed": gr.Number(0, precision=0, **_told(PromptSource, "seed", elem_id="answering-prompts-seed")),
            "parted_by": gr.Dropdown(
                [("with every line", "lines"), ("after an empty line", "empty lines")], value="lines", filterable=False, visible=False,
                **_told(PromptSource, "parted_by"),
            ),
        }  # fmt: skip
    form["pasted"] = gr.Textbox(lines=6, max_lines=16, visible=False, placeholder="How do I descale a kettle?", **_told(PromptSource, "pasted"))
    gr.HTML('<h3 class="section-title">Who answers</h3><p class="quiet">People will compare the answers without knowing whose they are.</p>')
    form["answerers"] = answerer_table()
    with gr.Row(elem_classes="settings"):
        form["name"] = gr.Textbox(max_lines=1, max_length=120, placeholder="named after the prompts", **_told(AnsweringSpec, "name"))
    with gr.Accordion("Advanced", open=False), gr.Row(elem_classes="settings"):
        form["at_once"] = gr.Number(AnsweringSpec.model_fields["at_once"].default, precision=0, **_told(AnsweringSpec, "at_once"))
    return form


def _lay_view(parts: dict[str, Any]) -> None:
    parts["progress"] = gr.HTML(elem_id="answering-progress", min_height=72)
    with gr.Row(elem_classes="actions"):
        parts["stop"] = gr.Button("Stop", elem_id="answering-stop", min_width=120, scale=0)
        parts["resume"] = gr.Button("Resume", visible=False, elem_id="answering-resume", min_width=120, scale=0)
    with gr.Accordion("The first answers", open=False, elem_id="answering-answers"):
        parts["answers"] = gr.HTML()
    with gr.Column(visible=False, elem_id="answering-pairs") as parts["pairs"]:
        gr.HTML('<h3 class="section-title">What is put beside what</h3>')
        parts["pairing"] = _pairing_form()


def _pairing_form() -> dict[str, Component]:
    default = PairingSettings()

    def told(name: str) -> dict[str, Any]:
        return _told(PairingSettings, name, elem_id=f"pairing-{name}")

    with gr.Row(elem_classes="settings"):
        return {
            "form": gr.Dropdown([("Pairs", "pairs"), ("Rankings", "rankings")], value=default.form, filterable=False, **told("form")),
            "which": gr.Dropdown([(words, which) for which, words in WHICH.items()], value=default.which, filterable=False, **told("which")),
            "per_prompt": gr.Number(default.per_prompt, precision=0, visible=False, **told("per_prompt")),
            "one": gr.Dropdown([("1", 1)], value=1, filterable=False, visible=False, **told("one")),
            "other": gr.Dropdown([("2", 2)], value=2, filterable=False, visible=False, **told("other")),
            "answers": gr.Number(default.answers, precision=0, visible=False, **told("answers")),
            "seed": gr.Number(default.seed, precision=0, visible=False, **told("seed")),
        }


def _told(model: type[BaseModel], name: str, *, elem_id: str = "") -> dict[str, Any]:
    field = model.model_fields[name]
    return {"label": field.title, "info": field.description, "elem_id": elem_id or f"answering-{name.replace('_', '-')}"}


def data_choices(studio: Studio) -> list[tuple[str, str]]:
    """Data sets that ask something: (what is shown, id)."""
    return [(f"{card.name} · {rows_in_words(card.rows)}", card.id) for card in studio.datasets.list() if card.record != "text"]


def first_answerers(studio: Studio) -> Answerers:
    """To begin with: the newest run against its base, or two answers of the starter while there is none."""
    choices = speaker_choices(studio)
    base, other = default_speakers(choices)
    chosen = [Answerer(speaker=base, draws=2)] if base == other else [Answerer(speaker=base), Answerer(speaker=other)]
    return answerers(chosen, [*choices, ("The answer in the data set", REFERENCE)])


# ---- what happens ----------------------------------------------------------------------------------------------------


def opening(studio: Studio) -> str | None:
    """The answering that the page opens on: the newest, if it goes on or nothing was begun with it yet."""
    newest = next(iter(Answerings(studio.workspace).readable()), None)
    if newest is None:
        return None
    begun = any(batch.source.get("id") == newest.id for batch in studio.labels.batches())
    return newest.id if newest.status not in ENDED or not begun else None


def on_pick(studio: Studio, id: str | None) -> Updates:
    return shown(studio, None if id in (None, NEW) else id)


def on_kind(kind: str) -> Updates:
    """Only what the kind of source needs is asked for."""
    return (
        gr.Dropdown(visible=kind == "data"), gr.Textbox(visible=kind == "pasted"), gr.Dropdown(visible=kind == "pasted"),
        gr.Number(visible=kind != "pasted"), gr.Number(visible=kind != "pasted"),
    )  # fmt: skip


def on_estimate(studio: Studio, **values: Any) -> str:
    """What it takes, or what is wrong with the form."""
    try:
        spec = spec_of(studio, values)
    except UserError as error:
        return problems(error.problems)
    prompts = _prompts(studio, spec.prompts)
    return estimate_html(estimate(spec, prompts, studio.workspace), prompts)


def on_start(studio: Studio, **values: Any) -> Updates:
    """Put the answering on the queue and show it."""
    answering = make_answering(studio.workspace, spec_of(studio, values))
    return shown(studio, studio.engine.put(answering))


def on_tick(studio: Studio, id: str | None, seen: Any) -> Updates:
    """Only what has changed is told."""
    now = moving(studio, id)
    return (gr.skip(),) * len(now) if seen and tuple(seen) == now[-2] else now


def on_stop(studio: Studio, id: str) -> Updates:
    studio.engine.stop(id)
    return moving(studio, id)


def on_resume(studio: Studio, id: str) -> Updates:
    studio.engine.resume(id)
    return moving(studio, id)


def on_pairing(form: str, which: str) -> Updates:
    """(which, per_prompt, one, other, answers, seed): only what the choice needs is asked for."""
    pairs = form == "pairs"
    some, against = pairs and which == "some", pairs and which == "one against another"
    visible = (pairs, some, against, against, not pairs, some or not pairs)
    return tuple(gr.update(visible=each) for each in visible)


def on_gather(studio: Studio, seen: Any, **values: Any) -> Gathered | None:
    """The items its answers make, once it has ended; None where there are none, or nothing is watched."""
    answering = Answerings(studio.workspace).get(seen[0]) if seen else None
    if answering is None or answering.status not in ENDED or not answering.answers():
        return None
    return gathered_from_answers(answering, parse_pairing(plain_values(PairingSettings, values)))


def spec_of(studio: Studio, values: dict[str, Any]) -> AnsweringSpec:
    """The spec a form describes. Raises `UserError` naming everything that is wrong."""
    kind, lines = values["kind"], (values["answerers"] or {}).get("lines", [])
    given = {"kind": kind, "number": values["number"], "seed": values["prompts_seed"]}
    asked = {
        "data": {"data": {"id": values["data"]} if values["data"] else None}, "pasted": {"pasted": values["pasted"] or "", "parted_by": values["parted_by"]},
    }  # fmt: skip
    return parse_answering({
        "name": (values["name"] or "").strip() or _proposed_name(studio, kind, values["data"]),
        "prompts": {**given, **asked.get(kind, {})},
        "answerers": [plain_values(Answerer, line) for line in lines], "at_once": values["at_once"],
    })  # fmt: skip


def shown(studio: Studio, id: str | None) -> Updates:
    """An answering, or what sets one up, for the part's outputs."""
    earlier = [(_label(each), each.id) for each in Answerings(studio.workspace).readable()[:LISTED]]
    picker = gr.Dropdown([("Ask anew", NEW), *earlier], value=id or NEW, visible=bool(earlier))
    return id, picker, gr.Column(visible=id is None), gr.Column(visible=id is not None), *moving(studio, id)


def moving(studio: Studio, id: str | None) -> Updates:
    """What changes while an answering goes on; nothing is watched without one."""
    if id is None:
        return "", gr.skip(), gr.skip(), "", gr.Column(visible=False), gr.skip(), gr.skip(), None, gr.Timer(active=False)
    answering = Answerings(studio.workspace).get(id)
    standing, stopping, answers = answering.standing(), studio.engine.stopping(id), answering.answers()
    ended = standing.status in ENDED
    return (
        progress_html(answering.label["name"], standing, stopping=stopping),
        gr.Button(visible=not ended, interactive=not stopping),
        gr.Button(visible=standing.status in ("stopped", "interrupted", "failed")),
        answers_html(answering.prompts(), answers), gr.Column(visible=ended and bool(answers)),
        gr.Dropdown(_who(studio, answering)), gr.Dropdown(_who(studio, answering)),
        (id, standing.status, standing.answers, stopping), gr.Timer(active=not ended),
    )  # fmt: skip


def _who(studio: Studio, answering: Answering) -> list[tuple[str, int]]:
    """The answerers of an answering, by their number: there is a second wherever one is put against another."""
    names = {value: words for words, value in speaker_choices(studio)} | {REFERENCE: "The answer in the data set"}
    who = [_in_words(each, names) for each in answering.spec.answerers]
    return [(f"{number}. {words}", number) for number, words in enumerate(who, 1)]


def _in_words(answerer: Answerer, names: dict[str, str]) -> str:
    name = names.get(answerer.speaker, answerer.speaker.partition(":")[2])
    return name if answerer.is_reference else f"{name} at {answerer.temperature:g}"


def _prompts(studio: Studio, source: PromptSource) -> int:
    """How many prompts a source gives, nearly: those that come twice are found out at the start."""
    if source.kind == "pasted":
        return len(set(pasted_prompts(source)))
    there = studio.datasets.card(source.data.id or "").rows if source.data else len(chat_prompts(studio.workspace))
    return min(source.number, there)


def _proposed_name(studio: Studio, kind: str, data: str | None) -> str:
    named: Sequence[str] = [words for words, id in data_choices(studio) if id == data] if kind == "data" else []
    return {"data": f"Answers to {named[0].partition(' · ')[0] if named else 'a data set'}", "pasted": "Answers to pasted prompts"}.get(
        kind, "Answers to questions of Chat"
    )[:120]


def _label(answering: Answering) -> str:
    begun = datetime.fromtimestamp((answering.folder / "spec.json").stat().st_mtime)
    return f"{answering.label['name']} · {begun:%d %b %Y, %H:%M}"
