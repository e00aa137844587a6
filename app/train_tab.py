"""The Train tab: a sentence to fill in, the methods as cards, the truth before the start; then the run itself."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.event_options import PRIVATE, QUIET, TICK
from app.following import BEAT, REST, Following, catch_up, follow
from app.one_value import OneValue
from app.studio import Studio, on
from backend import methods, objectives
from backend.errors import UserError
from backend.events import ENDED
from backend.models import available
from backend.plan import Plan
from backend.progress import Progress
from backend.runs import Run
from backend.settings import Settings
from backend.specs import RunSpec, TrainingSettings, parse_spec
from components.live_plot import live_plot
from components.method_cards import Card, Cards, method_cards
from components.notices import lead, problems
from components.run_curves import probes_html, progress_html
from components.settings_form import form_values, plain_values, settings_form
from components.text import count, escape, gigabytes, minutes, share

SEPARATOR = "__"  # between the group a setting belongs to and its name: "lora__rank"
FIRST_METHOD, FIRST_OBJECTIVE = "lora", "sft"
ALIGNING = "ppo"  # what one goes on to from a reward model


@dataclass(frozen=True)
class TrainTab:
    """What other tabs and the page tie to."""

    form: dict[str, Component]  # every setting, by its name in a click's values
    chat_with: gr.Button
    continue_from: gr.Button
    run_id: gr.State
    pages: list[gr.Column]  # where one sets a run up, and where one watches it


def train_tab(studio: Studio, page: gr.Blocks) -> TrainTab:
    """Lay out the tab and wire it."""
    run_id, following = gr.State(None), gr.State(None)
    with gr.Column() as setup:
        lead("Choose a model, what it shall learn from, and how; the card on the right tells what will happen.")
        form, cards = _form(studio)
        with gr.Row():
            with gr.Column(scale=2, min_width=360):
                settings = _settings_groups()
            with gr.Column(scale=1, min_width=300):
                card = gr.HTML(_waiting_card(), elem_id="plan")
                start = gr.Button("Start", variant="primary", elem_id="start-run")
    form |= settings.form
    with gr.Column(visible=False) as watch:
        progress = gr.HTML(elem_id="run-progress")
        with gr.Row(elem_classes="actions"):
            stop = gr.Button("Stop and keep", elem_id="stop-run")
            chat_with = gr.Button("Chat with it", variant="primary", visible=False, elem_id="chat-with-run")
            continue_from = gr.Button("Continue from here", visible=False, elem_id="continue-run")
            another = gr.Button("Set up another run", elem_id="another-run")
        with gr.Row():
            with gr.Column(scale=2, min_width=420):
                chart = live_plot(elem_id="train-plot")
            with gr.Column(scale=1, min_width=300):
                gr.HTML('<h3 class="section-title">Answers while it learns</h3>')
                probes = gr.HTML(elem_id="probes")
    timer = gr.Timer(BEAT)

    view = [chart, following, progress, probes, stop, chat_with, continue_from]
    everything = {**form, "method": cards}
    filled = OneValue(everything)
    pages = [setup, watch]
    planned = [card, cards, start]

    cards.change(on_method, cards, list(settings.groups.values()), **QUIET)
    form["objective"].change(on_objective, form["objective"], list(settings.goals.values()), **QUIET)
    filled.value.change(on(studio, filled.to(on_plan)), filled.value, planned, trigger_mode="always_last", **QUIET)
    filled.gather(start.click).then(on(studio, filled.to(on_start)), filled.value, [timer, run_id, *pages, *view], **PRIVATE)
    stop.click(on(studio, on_stop), run_id, [stop, timer], **QUIET)
    another.click(on_another, outputs=[run_id, *pages], **QUIET)
    timer.tick(on(studio, on_tick), [run_id, following], [timer, *view], **TICK)
    chart.behind(on(studio, on_behind), run_id, [chart, following], **TICK)
    page.load(on(studio, on_open), outputs=[run_id, *pages, *view], **QUIET)
    page.load(on(studio, filled.to(on_plan_when_ready)), filled.value, planned, **QUIET)
    return TrainTab(everything, chat_with, continue_from, run_id, pages)


# ---- layout ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Groups:
    form: dict[str, Component]
    groups: dict[str, gr.Column]  # of each method's settings
    goals: dict[str, gr.Column]  # of each objective's


def _form(studio: Studio) -> tuple[dict[str, Component], gr.HTML]:
    """The sentence one fills in, and the cards."""
    described = RunSpec.model_fields
    with gr.Row(elem_classes="sentence"):
        model = gr.Dropdown(
            available(studio.workspace), value="starter", allow_custom_value=True, label="Teach",
            info=described["base_model"].description, min_width=200, elem_id="pick-model",
        )
        data = gr.Dropdown(
            data_choices(studio), label="from", info="A data set saved in the Data tab.", min_width=200, elem_id="pick-data",
        )
        objective = gr.Dropdown(
            [(kind.title, name) for name, kind in objectives.all_objectives().items()], value=FIRST_OBJECTIVE, label="learning",
            info="What the loss is taken on.", min_width=200, filterable=False, elem_id="pick-objective",
        )
        start_from = gr.Dropdown(
            start_choices(studio), value="", label="starting from", info=described["start_from"].description, min_width=200,
            elem_id="pick-start",
        )
        name = gr.Textbox(
            "", label="and call it", info=described["name"].description, placeholder="named for you",
            min_width=200, elem_id="run-name",
        )
    cards = method_cards(cards_of(FIRST_METHOD, None))
    return {"base_model": model, "data": data, "objective": objective, "start_from": start_from, "name": name}, cards


def _settings_groups() -> _Groups:
    """One folded group per method, one per objective with settings, one for training."""
    form: dict[str, Component] = {}
    groups: dict[str, gr.Column] = {}
    for name, method in methods.all_methods().items():
        with gr.Column(visible=name == FIRST_METHOD) as groups[name]:
            if len(method.model_fields) > 1:
                with gr.Accordion(f"Settings of {method.title}", open=False):
                    form |= _prefixed(name, settings_form(method, name))
    goals: dict[str, gr.Column] = {}
    for name, objective in objectives.all_objectives().items():
        with gr.Column(visible=name == FIRST_OBJECTIVE) as goals[name]:
            if len(objective.model_fields) > 1:
                with gr.Accordion(f"Settings of learning {objective.title}", open=False):
                    form |= _prefixed(name, settings_form(objective, name))
    with gr.Accordion("Training settings", open=False):
        rate = methods.all_methods()[FIRST_METHOD].default_learning_rate
        form |= _prefixed("training", settings_form(TrainingSettings, "training", placeholders={"learning_rate": f"{rate:g}"}))
    return _Groups(form, groups, goals)


def _prefixed(group: str, form: dict[str, Component]) -> dict[str, Component]:
    return {f"{group}{SEPARATOR}{name}": component for name, component in form.items()}


def data_choices(studio: Studio) -> list[tuple[str, str]]:
    """Data sets for the picker: (what is shown, id)."""
    return [(f"{card.name} · {card.rows:,} rows", card.id) for card in studio.datasets.list()]


def start_choices(studio: Studio) -> list[tuple[str, str]]:
    """What a run may start from: the model itself, or what a run made of it."""
    return [("the model itself", ""), *((run.label["name"], run.id) for run in studio.runs.with_result())]


def judge_choices(studio: Studio) -> list[tuple[str, str]]:
    """Reward models to ask."""
    return [("none", ""), *((run.label["name"], run.id) for run in studio.runs.judges())]


def cards_of(chosen: str, facts: dict[str, dict[str, str]] | None, *, picks: int | None = None) -> Cards:
    """The method cards; `facts` per method are what only the engine can tell, `picks` those of the page that asks."""
    cards = []
    for name, method in methods.all_methods().items():
        known = (facts or {}).get(name, {"trains": "…", "memory": "…", "arithmetic": ""})
        cards.append(Card(name=name, title=method.title, sentence=method.sentence, paper=method.paper, **known))
    return Cards(chosen=chosen, cards=cards, picks=picks)


def _waiting_card() -> str:
    return '<div class="card"><h3>Before you start</h3><p class="quiet">The engine is getting ready…</p></div>'


def plan_html(plan: Plan) -> str:
    """The truth before the start."""
    steps = plan.schedule
    rows = [
        ("steps", f"{steps.total_steps:,}, that is {steps.epochs:.1f} epochs of {steps.steps_per_epoch:,}"),
        ("time", f"about {minutes(plan.seconds)}" + ("" if plan.measured_speed else " (rough)")),
        ("memory", f"{gigabytes(plan.memory_bytes)} of {gigabytes(plan.memory_free_bytes)} free"),
        ("learns from", f"{plan.train_rows:,} rows, {count(plan.tokens_per_epoch)} tokens an epoch"),
        ("held out", f"{plan.validation_rows:,} rows, asked every {steps.evaluate_every:,} steps"),
        ("trains", f"{plan.trainable_parameters:,} parameters, {share(plan.trainable_parameters, plan.parameters)}"),
    ]
    if plan.augmented_rows:
        rows.append(("augmented", f"{plan.augmented_rows:,} of {plan.train_rows:,} rows"))
    if plan.cut_rows:
        rows.append(("cut", f"{plan.cut_rows:,} rows are longer than the maximum length and lose their end"))
    rows += [("left out", f"{number:,} rows: {reason}") for reason, number in plan.left_out.items()]
    if plan.estimated_from:
        rows.append(("judged by", f"{plan.estimated_from:,} of {plan.rows:,} rows"))
    listed = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in rows)
    notes = "".join(f'<p class="warn">{escape(note)}</p>' for note in plan.notes)
    return f'<div class="card"><h3>Before you start</h3><dl class="number">{listed}</dl>{notes}</div>'


# ---- from a form to a spec -------------------------------------------------------------------------------------------


def spec_of(studio: Studio, values: dict[str, Any]) -> RunSpec:
    """The spec a form describes. Raises `UserError` naming everything that is wrong."""
    method = (values["method"] or {}).get("chosen", FIRST_METHOD)
    objective = values["objective"]
    if not values["data"]:
        raise UserError("No data is chosen. Pick a data set, or import one in the Data tab.")
    card = studio.datasets.card(values["data"])
    name = values["name"].strip() or f"{card.name}, {methods.all_methods()[method].title}"
    return parse_spec({
        "name": name, "base_model": values["base_model"] or "", "start_from": values["start_from"] or None, "data": {"id": card.id, "version": card.version},
        "objective": {"name": objective, **_group(objectives.all_objectives()[objective], objective, values)},
        "method": {"name": method, **_group(methods.all_methods()[method], method, values)},
        "training": _group(TrainingSettings, "training", values),
    })


def _group(model: Any, group: str, values: dict[str, Any]) -> dict[str, Any]:
    mark = group + SEPARATOR
    return plain_values(model, {name.removeprefix(mark): value for name, value in values.items() if name.startswith(mark)})


def form_of(spec: RunSpec) -> dict[str, Any]:
    """The form's values for a spec: the way back, for duplicating a run's settings."""
    values: dict[str, Any] = {
        "base_model": spec.base_model, "start_from": spec.start_from or "", "data": spec.data.id, "objective": spec.objective.name,
        "name": f"{spec.name} again", "method": cards_of(spec.method.name, None),
    }
    for group, settings in ((spec.method.name, spec.method), (spec.objective.name, spec.objective), ("training", spec.training)):
        values |= _in_form(group, settings)
    return values


def form_continuing(studio: Studio, run: Run, data: str | None) -> dict[str, Any]:
    """The form's values for going on from what a run made; what it does not say stays as it is filled in."""
    spec, name = run.spec, run.label["name"]
    common = {"base_model": spec.base_model, "method": cards_of(spec.method.name, None), **_in_form(spec.method.name, spec.method)}
    if spec.objective.head == "language":
        start = gr.update(choices=start_choices(studio), value=run.id)
        return {**common, "start_from": start, "name": f"{name} continued"}
    return {
        **common, "start_from": gr.update(choices=start_choices(studio), value=spec.start_from or ""), "objective": ALIGNING,
        "data": _data_for(studio, ALIGNING, data), "name": f"aligned with {name}",
        f"{ALIGNING}{SEPARATOR}reward_run": gr.update(choices=judge_choices(studio), value=run.id),
    }


def _data_for(studio: Studio, objective: str, chosen: str | None) -> str | None:
    """The data set that is chosen where the objective can learn from it, else the newest that it can."""
    kind = objectives.all_objectives()[objective].record
    fitting = [card.id for card in studio.datasets.list() if card.record == kind]
    return chosen if chosen in fitting else next(iter(fitting), chosen)


def _in_form(group: str, settings: Settings) -> dict[str, Any]:
    return {f"{group}{SEPARATOR}{name}": value for name, value in form_values(settings).items()}


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_method(cards: Cards) -> list[dict[str, Any]]:
    """Only the chosen method's settings are shown."""
    return [gr.update(visible=name == cards["chosen"]) for name in methods.all_methods()]


def on_objective(objective: str) -> list[dict[str, Any]]:
    """Only the chosen objective's settings are shown."""
    return [gr.update(visible=name == objective) for name in objectives.all_objectives()]


def on_plan_when_ready(studio: Studio, **values: Any) -> tuple[Any, Any, Any]:
    """The card, once the engine can tell."""
    studio.engine.wait_until_ready()
    return on_plan(studio, **values)


def on_plan(studio: Studio, **values: Any) -> tuple[Any, Any, Any]:
    """The card and the method cards for what is filled in; Start works only where the plan does."""
    if not studio.engine.ready.is_set():
        return gr.skip(), gr.skip(), gr.update(interactive=False)
    from backend.plan import method_facts, plan

    try:
        spec = spec_of(studio, values)
        shown, works = plan_html(plan(spec, studio.workspace)), True
    except UserError as error:
        spec, works = None, False
        shown = f'<div class="card"><h3>Before you start</h3>{problems(error.problems)}</div>'
    before: Cards = values["method"]
    facts = method_facts(spec, studio.workspace) if spec and works else None
    cards = cards_of(before["chosen"], _in_words(facts), picks=before.get("picks") or 0) if facts else before
    return shown, gr.skip() if cards["cards"] == before["cards"] else cards, gr.update(interactive=works)


def _in_words(facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {
        name: {
            "trains": f"{count(fact.trainable_parameters)} parameters, {share(fact.trainable_parameters, fact.parameters)}",
            "memory": f"about {gigabytes(fact.memory_bytes)}", "arithmetic": fact.arithmetic,
        }
        for name, fact in facts.items()
    }


def on_start(studio: Studio, **values: Any) -> tuple[Any, ...]:
    """Put the run on the queue and show it."""
    run_id = studio.engine.submit(spec_of(studio, values))
    return gr.Timer(BEAT), *_show(studio, run_id)


def on_open(studio: Studio) -> tuple[Any, ...]:
    """A page that opens while a run trains shows that run."""
    run_id = studio.engine.status().run_id
    if run_id is None:
        return (gr.skip(),) * 10
    return _show(studio, run_id)


def _show(studio: Studio, run_id: str) -> tuple[Any, ...]:
    payload, following = follow(studio, [run_id])
    return run_id, gr.update(visible=False), gr.update(visible=True), payload, following, *_panel(studio, run_id, following)


def _panel(studio: Studio, run_id: str, following: Following | None) -> tuple[Any, ...]:
    """(progress, probes, stop, chat_with, continue_from) for where the run stands."""
    followed, run = following.runs[run_id], studio.runs.get(run_id)
    progress: Progress = followed.progress
    ended = progress.status in ENDED
    following.stopping = studio.engine.stopping(run_id)
    return (
        progress_html(followed.label, progress, stopping=following.stopping), probes_html(progress),
        gr.update(visible=not ended, interactive=not following.stopping), chat_button(studio, run, ended=ended),
        continue_button(run, ended=ended),
    )


def chat_button(studio: Studio, run: Run, *, ended: bool) -> Any:
    """To chat with what a run made, or with what it is at the moment."""
    live = studio.engine.live()
    is_live = live is not None and live.id == run.id
    return gr.update(value="Ask it as it is now" if is_live else "Chat with it", visible=is_live or (ended and can_chat(run)))


def can_chat(run: Run) -> bool:
    """Whether a run made something that answers: a reward model does not."""
    return run.has_result and run.spec.objective.head == "language"


def continue_button(run: Run, *, ended: bool) -> Any:
    """What one goes on to from a run: more learning, or, where it made a reward model, aligning with it."""
    judges = run.spec.objective.head == "scalar"
    return gr.update(value="Align with it (PPO)" if judges else "Continue from here", visible=ended and run.has_result)


def on_tick(studio: Studio, run_id: str | None, following: Following | None) -> tuple[Any, ...]:
    """Only what is new travels, and where nothing can be new the page asks seldom."""
    if run_id is None or following is None or run_id not in following.runs or following.is_over:
        return gr.update(value=REST), *(gr.skip(),) * 7
    payload, news = catch_up(studio, following)
    if not news and following.stopping == studio.engine.stopping(run_id):
        return (gr.skip(),) * 8
    panel = _panel(studio, run_id, following)
    beat, *panel = following.only_new(gr.update(value=following.beat), *panel)
    return beat, payload, following, *panel


def on_behind(studio: Studio, run_id: str | None) -> tuple[Any, Any]:
    """The chart missed a payload: send it everything."""
    return follow(studio, [run_id] if run_id else [])


def on_stop(studio: Studio, run_id: str) -> tuple[Any, gr.Timer]:
    studio.engine.stop(run_id)
    return gr.update(interactive=False), gr.Timer(BEAT)  # whose end is awaited now


def on_another() -> tuple[Any, Any, Any]:
    return None, gr.update(visible=True), gr.update(visible=False)
