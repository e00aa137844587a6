"""A reward model at work: scores for any text, and how far it can be trusted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from app.event_options import PRIVATE, QUIET, TICK
from app.label.desk import Desk, Updates, judge_at_work
from app.studio import Studio, on, streaming
from backend.calibration import calibration, known_trial, measure
from backend.data.records import Message
from backend.errors import UserError
from backend.runs import Run
from backend.specs import DatasetRef
from components.calibration_plot import calibration_plot, calibration_words, left_out_words
from components.notices import empty
from components.opinion_view import asking
from components.ranked_answers import Scored, ranked_answers
from components.text import rows_in_words

if TYPE_CHECKING:
    from backend.judging import Judge

TYPED, ITEM, ROW = "typed", "item", "row"
BETWEEN = "---"  # a line of it parts two answers
MOST_ANSWERS = 32  # typed at once
OWN = ""  # measured on: the rows held out of its own training
NO_JUDGE = (
    "No reward model yet. Label some pairs, make a data set of them under Take away, then go to Train, choose that data set and "
    "the objective “a reward model”. A few minutes later it scores any text here."
)
NOT_MEASURED = "Not measured yet. Measure it: it reads pairs it has not learnt from, and is compared with what people preferred."
NOTHING_HELD_OUT = (
    "There is no pair it has not learnt from. Choose another data set to measure it on, or train one with a share held out for "
    "validation."
)


@dataclass(frozen=True)
class ScoringPage:
    """The page's parts."""

    column: gr.Column
    nothing: gr.HTML
    work: gr.Column
    judge: gr.Dropdown
    source: gr.Radio
    typed: gr.Column
    prompt: gr.Textbox
    answers: gr.Textbox
    place: gr.Row
    data: gr.Dropdown
    number: gr.Textbox
    score: gr.Button
    ranked: gr.HTML
    measured_on: gr.Dropdown
    measure: gr.Button
    stop: gr.Button
    words: gr.HTML
    plot: gr.Plot

    @property
    def measured(self) -> list[Any]:
        return [self.words, self.plot, self.measure, self.stop]


class Asked(NamedTuple):
    """One prompt and the answers to put in order, with what else is known of each."""

    prompt: list[Message]
    answers: list[list[Message]]
    notes: list[str]


def scoring_page(studio: Studio) -> ScoringPage:
    """Lay it out."""
    parts: dict[str, Any] = {}
    with gr.Column() as parts["column"]:
        parts["nothing"] = gr.HTML(empty(NO_JUDGE), visible=False, elem_id="scoring-nothing")
        with gr.Column(visible=False) as parts["work"]:
            parts["judge"] = gr.Dropdown(
                [], label="Reward model", info="A finished run that learnt what people prefer; newest first.", filterable=False, elem_id="scoring-judge"
            )
            _asking_part(parts)
            gr.HTML('<h3 class="section-title">Can it be trusted?</h3>')
            _measuring_part(parts)
    return ScoringPage(**parts)


def wire_scoring_page(studio: Studio, page: ScoringPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
    shown_on(
        on(studio, on_come), [page.judge, page.data, page.measured_on],
        [page.nothing, page.work, page.judge, page.data, page.measured_on, *page.measured], **QUIET,
    )  # fmt: skip
    page.source.input(on_source, page.source, [page.typed, page.place, page.data], **TICK)
    page.score.click(
        streaming(studio, on_score), outputs=page.ranked, show_progress_on=page.ranked, trigger_mode="once",
        inputs=[page.judge, page.source, page.prompt, page.answers, desk.batch, page.data, page.number], **PRIVATE,
    )  # fmt: skip
    chosen = [page.judge, page.measured_on]
    page.judge.input(lambda: "", outputs=page.ranked, **TICK)
    for change in (page.judge.input, page.measured_on.input):
        change(on(studio, on_measured), chosen, page.measured, **QUIET)
    measured = page.measure.click(streaming(studio, on_measure), chosen, page.measured, **QUIET)
    measured.then(on(studio, on_measured), chosen, page.measured, **QUIET)
    page.stop.click(on(studio, on_measured), chosen, page.measured, cancels=[measured], **PRIVATE, show_progress="hidden")


def _asking_part(parts: dict[str, Any]) -> None:
    parts["source"] = gr.Radio(
        [("Text typed here", TYPED), ("An item of the batch above", ITEM), ("A row of a data set", ROW)], value=TYPED, label="Score",
        info="One answer, or several to one prompt, which are then put in order.", elem_id="scoring-source",
    )
    with gr.Column() as parts["typed"]:
        parts["prompt"] = gr.Textbox(label="Prompt", lines=2, info="What was asked.", elem_id="scoring-prompt")
        parts["answers"] = gr.Textbox(
            label="Answers", lines=6, info=f"One or more; a line of {BETWEEN} parts them.", elem_id="scoring-answers",
            placeholder=f"The first answer.\n{BETWEEN}\nThe second answer.",
        )
    with gr.Row(visible=False, elem_classes="quality-row") as parts["place"]:
        parts["data"] = gr.Dropdown(
            [], label="Data set", info="Sets of preferences, newest version.", filterable=False, min_width=240, elem_id="scoring-data"
        )
        parts["number"] = gr.Textbox("1", label="Number", info="Which one, counted from 1.", max_lines=1, min_width=160, elem_id="scoring-number")
    with gr.Row(elem_classes="actions"):
        parts["score"] = gr.Button("Score", variant="primary", scale=0, min_width=140, elem_id="scoring-score")
    parts["ranked"] = gr.HTML(elem_id="scoring-ranked")


def _measuring_part(parts: dict[str, Any]) -> None:
    with gr.Row(elem_classes="quality-row"):
        parts["measured_on"] = gr.Dropdown(
            [], label="Measured on", filterable=False, min_width=240, scale=2, elem_id="scoring-measured-on",
            info="Pairs it has not learnt from: those held out of its training, or another data set without what it knows.",
        )
        parts["measure"] = gr.Button("Measure", scale=0, min_width=120, elem_id="scoring-measure")
        parts["stop"] = gr.Button("Stop", scale=0, min_width=120, visible=False, elem_id="scoring-stop")
    parts["words"] = gr.HTML(elem_id="scoring-words")
    parts["plot"] = gr.Plot(label="How sure it is, and how often right", elem_id="scoring-plot", elem_classes="check-plot", visible=False)


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_come(studio: Studio, judge: str | None, data: str | None, measured_on: str | None) -> Updates:
    """The page is opened: the reward models and data sets there are now."""
    judges = [(run.label["name"], run.id) for run in studio.runs.judges()]
    sets = [
        (f"{card.name} · {rows_in_words(card.rows)}", card.id) for card in studio.datasets.list() if card.record == "preferences"
    ]  # fmt: skip
    own = [("its own held-out rows", OWN), *sets]
    judge, data, measured_on = _still(judges, judge), _still(sets, data), _still(own, measured_on)
    return (
        gr.HTML(visible=not judges), gr.Column(visible=bool(judges)), gr.Dropdown(judges, value=judge), gr.Dropdown(sets, value=data),
        gr.Dropdown(own, value=measured_on), *on_measured(studio, judge, measured_on),
    )  # fmt: skip


def on_source(source: str) -> Updates:
    """Typed text needs boxes, an item or a row a number."""
    return gr.Column(visible=source == TYPED), gr.Row(visible=source != TYPED), gr.Dropdown(visible=source == ROW)


def on_score(
    studio: Studio, judge: str | None, source: str, prompt: str, answers: str, batch: str | None, data: str | None, number: str
) -> Iterator[str]:
    """The rewards at once; how they stand among held-out answers as soon as those are measured."""
    run, asked = _run(studio, judge), _asked(studio, source, prompt, answers, batch, data, number)
    with judge_at_work(studio, run.id) as model:
        examples = model.encoded([[*asked.prompt, *answer] for answer in asked.answers])
        _refuse_too_long(model, [example.length for example in examples])
        rewards = model.rewards_of(examples, turn=lambda: studio.engine.turns.take(quick=True))
        texts = ["\n".join(turn["content"] for turn in answer) for answer in asked.answers]
        scored = [Scored(text, reward, note) for text, reward, note in zip(texts, rewards, asked.notes, strict=True)]
        yield ranked_answers(scored, others=None)
        yield ranked_answers(scored, others=_held_out_rewards(studio, run, model))


def on_measured(studio: Studio, judge: str | None, measured_on: str | None) -> Updates:
    """What was measured before, if it was."""
    buttons = gr.Button(visible=True), gr.Button(visible=False)
    if not judge:
        return "", gr.Plot(None, visible=False), *buttons
    run = studio.runs.get(judge)
    trial = known_trial(run, _data(studio, run, measured_on))
    if trial is None:
        return empty(NOT_MEASURED), gr.Plot(None, visible=False), *buttons
    found = calibration(trial.margins)
    if found is None:
        return empty(NOTHING_HELD_OUT) + left_out_words(trial), gr.Plot(None, visible=False), *buttons
    return calibration_words(found, trial), gr.Plot(calibration_plot(found), visible=True), *buttons


def on_measure(studio: Studio, judge: str | None, measured_on: str | None) -> Iterator[Updates]:
    """Score pairs it has not learnt from; may be stopped between any two batches."""
    run = _run(studio, judge)
    rest = gr.Plot(None, visible=False), gr.Button(visible=False), gr.Button(visible=True)
    yield asking(0, f"Loading {run.label['name']}"), *rest
    with judge_at_work(studio, run.id) as model:
        for share in measure(run, model, studio.datasets, _data(studio, run, measured_on), turn=studio.engine.turns.take):
            yield asking(share, f"{run.label['name']} reads pairs it has not learnt from: {share:.0%}"), *rest


# ---- what is asked ---------------------------------------------------------------------------------------------------


def _asked(
    studio: Studio, source: str, prompt: str, answers: str, batch: str | None, data: str | None, number: str
) -> Asked:
    """The prompt and the answers, wherever they stand. Raises `UserError`."""
    if source == TYPED:
        return _typed(prompt, answers)
    if source == ITEM:
        return _item(studio, batch, number)
    return _row(studio, data, number)


def _typed(prompt: str, answers: str) -> Asked:
    parts = [part.strip() for part in "\n".join("\0" if line.strip() == BETWEEN else line for line in answers.splitlines()).split("\0")]
    written = [part for part in parts if part]
    if not prompt.strip() or not written:
        raise UserError("There is nothing to score yet. Write what was asked, and at least one answer.")
    if len(written) > MOST_ANSWERS:
        raise UserError(f"These are {len(written)} answers, and at most {MOST_ANSWERS} are scored at once. Leave some out.")
    return Asked([{"role": "user", "content": prompt.strip()}], [[{"role": "assistant", "content": text}] for text in written], [""] * len(written))


def _item(studio: Studio, batch: str | None, number: str) -> Asked:
    if not batch:
        raise UserError("No batch is chosen. Choose one at the top of the page, or type a text.")
    item = studio.labels.item(batch, _number(number, studio.labels.batch(batch).items, "The batch", "items") - 1)
    return Asked(item.prompt, [each.answer for each in item.candidates], [""] * len(item.candidates))


def _row(studio: Studio, data: str | None, number: str) -> Asked:
    if not data:
        raise UserError("There is no data set of preferences yet. Make one of your votes under Take away, or import one in the Data tab.")
    card = studio.datasets.card(data)
    (record,) = studio.datasets.rows(card.id, card.version, offset=_number(number, card.rows, card.name, "rows") - 1, limit=1)
    ranks = record["ranks"]  # type: ignore[typeddict-item]
    notes = ["people preferred it" if rank == 1 else "" for rank in ranks] if len(ranks) == 2 else [f"people put it at {rank}" for rank in ranks]
    return Asked(record["prompt"], record["answers"], notes)  # type: ignore[typeddict-item]


def _number(text: str, most: int, where: str, what: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= most:
        raise UserError(f"{where} has {most:,} {what}, and “{text.strip()[:40]}” is none of them. Write a number from 1 to {most:,}.")
    return int(text)


def _refuse_too_long(judge: "Judge", lengths: Sequence[int]) -> None:
    problems = [
        f"Answer {place} with its prompt is {length:,} tokens long, and this model reads at most {judge.context:,}. Shorten it."
        for place, length in enumerate(lengths, start=1) if length > judge.context
    ]  # fmt: skip
    if problems:
        raise UserError(*problems)


def _held_out_rewards(studio: Studio, run: Run, judge: "Judge") -> list[float]:
    """Rewards of the run's held-out answers, measured now if they never were; none where its data set is gone."""
    try:
        for _ in measure(run, judge, studio.datasets, run.spec.data, turn=studio.engine.turns.take) if known_trial(run, run.spec.data) is None else ():
            pass
    except UserError:
        return []
    trial = known_trial(run, run.spec.data)
    return trial.rewards if trial else []


def _run(studio: Studio, judge: str | None) -> Run:
    if not judge:
        raise UserError("No reward model is chosen. Choose one, or train one first.")
    return studio.runs.get(judge)


def _data(studio: Studio, run: Run, measured_on: str | None) -> DatasetRef:
    """The version a reward model is measured on."""
    if not measured_on:
        return run.spec.data
    card = studio.datasets.card(measured_on)
    return DatasetRef(id=card.id, version=card.version)


def _still(choices: Sequence[tuple[str, str]], chosen: str | None) -> str | None:
    """What was chosen, while it is there; else the first."""
    ids = [id for _, id in choices]
    return chosen if chosen in ids else next(iter(ids), None)
