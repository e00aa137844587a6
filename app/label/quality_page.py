"""How far people agree with each other and with themselves, what is left to settle, and what a reward model would have said."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.event_options import PRIVATE, QUIET
from app.label.desk import Desk, Updates, judge_at_work
from app.studio import Studio, on, streaming
from backend.data.records import canonical, digest
from backend.errors import UserError
from backend.labelling.items import Item, Labels, Made, Settled, Settlement
from backend.labelling.opinion import ask, compared, known_opinion
from backend.labelling.quality import Dispute, disputes, quality
from components.agreement_view import agreement_view
from components.disagreement_list import Disagreement, DisagreementList, disagreement_list, disagreements
from components.notices import empty
from components.opinion_view import asking, cut, opinion_view
from components.text import escape

AT_ONCE = 5  # disagreements on the page
ALL, OPEN, SETTLED = "all", "open", "settled"
LETTERS = "ABCDEFGHI"
PROMPT_SHOWN, ANSWER_SHOWN = 2_000, 6_000  # characters
CHOOSE = "Choose a batch above, or begin one: how far its votes can be trusted is shown here."
NO_JUDGE = (
    "No reward model yet. Label some pairs, make a data set of them under Take away, and train on it with the objective "
    "“a reward model”. Its opinion of this batch then stands here beside that of people."
)
STILL_BLIND = (
    "{annotator} has {left} left to give in this batch. Who said what is shown here after that, so that it sways nobody; the "
    "figures above are of all votes together."
)
NOT_ASKED = "It has not been asked about this batch yet. Ask it: reading eighty pairs takes about a minute on a slow machine."


@dataclass(frozen=True)
class QualityPage:
    """The page's parts."""

    column: gr.Column
    figures: gr.HTML
    show: gr.Radio
    makers: gr.Checkbox
    list: gr.HTML
    page: gr.State  # of the list, from 0
    pager: gr.Row
    back: gr.Button
    words: gr.HTML
    onward: gr.Button
    no_judge: gr.HTML
    asking: gr.Row
    judge: gr.Dropdown
    ask: gr.Button
    stop: gr.Button
    opinion: gr.HTML

    @property
    def list_inputs(self) -> list[Any]:
        return [self.show, self.makers, self.page]

    @property
    def list_outputs(self) -> list[Any]:
        return [self.list, self.page, self.pager, self.words]

    @property
    def opinion_outputs(self) -> list[Any]:
        return [self.opinion, self.ask, self.stop]


def quality_page(studio: Studio) -> QualityPage:
    """Lay it out."""
    parts: dict[str, Any] = {}
    with gr.Column() as parts["column"]:
        parts["figures"] = gr.HTML(elem_id="quality-figures", min_height=80)
        gr.HTML('<h3 class="section-title">Disagreements</h3>')
        _list_part(parts)
        gr.HTML('<h3 class="section-title">A reward model\'s opinion</h3>')
        _opinion_part(parts)
    return QualityPage(**parts)


def wire_quality_page(studio: Studio, page: QualityPage, desk: Desk, *, shown_on: Callable[..., Any]) -> None:
    """Tie it to the desk."""
    judging = [page.no_judge, page.asking, page.judge]
    listed = [desk.annotator, desk.batch, *page.list_inputs]
    for come in (shown_on, desk.batch.change, desk.annotator.change):
        come(
            on(studio, on_come), [*listed, page.judge],
            [page.figures, *page.list_outputs, *judging, *page.opinion_outputs], trigger_mode="always_last", **QUIET,
        )  # fmt: skip
    page.show.input(on(studio, partial(on_turn, step=None)), listed, page.list_outputs, **QUIET)
    page.makers.input(on(studio, partial(on_turn, step=0)), listed, page.list_outputs, **QUIET)
    for button, step in ((page.back, -1), (page.onward, +1)):
        button.click(on(studio, partial(on_turn, step=step)), listed, page.list_outputs, **QUIET)
    page.list.select(on(studio, on_settle), [page.list, *listed], page.list_outputs, **QUIET)

    opinion = [desk.annotator, desk.batch, page.judge]
    page.judge.input(on(studio, on_opinion), opinion, page.opinion_outputs, **QUIET)
    asked = page.ask.click(streaming(studio, on_ask), [desk.batch, page.judge], page.opinion_outputs, **QUIET)
    asked.then(on(studio, on_opinion), opinion, page.opinion_outputs, **QUIET)
    page.stop.click(on(studio, on_opinion), opinion, page.opinion_outputs, cancels=[asked], **PRIVATE, show_progress="hidden")


def _list_part(parts: dict[str, Any]) -> None:
    with gr.Row(elem_classes="quality-row"):
        parts["show"] = gr.Radio(
            [("All", ALL), ("Still open", OPEN), ("Settled", SETTLED)], value=ALL, label="Show", min_width=240, elem_id="quality-show",
            info="Items of which people said different things. What you settle counts when votes are taken away.",
        )
        parts["makers"] = gr.Checkbox(
            False, label="Show who made them", min_width=240, elem_id="quality-makers",
            info="Which model gave which answer. Better hidden while you settle.",
        )
    parts["list"] = disagreement_list(elem_id="quality-disagreements")
    parts["page"] = gr.State(0)
    with gr.Row(elem_classes="pager", visible=False) as parts["pager"]:
        parts["back"] = gr.Button("Back", scale=0, min_width=96, elem_id="quality-back")
        parts["words"] = gr.HTML(elem_id="quality-page")
        parts["onward"] = gr.Button("Next", scale=0, min_width=96, elem_id="quality-next")


def _opinion_part(parts: dict[str, Any]) -> None:
    parts["no_judge"] = gr.HTML(empty(NO_JUDGE), visible=False, elem_id="quality-no-judge")
    with gr.Row(elem_classes="quality-row", visible=False) as parts["asking"]:
        parts["judge"] = gr.Dropdown(
            [], label="Reward model", filterable=False, min_width=240, scale=2, elem_id="quality-judge",
            info="Read as a second annotator: it never counts as a vote.",
        )
        parts["ask"] = gr.Button("Ask it", scale=0, min_width=120, elem_id="quality-ask")
        parts["stop"] = gr.Button("Stop", scale=0, min_width=120, visible=False, elem_id="quality-stop")
    parts["opinion"] = gr.HTML(elem_id="quality-opinion")


# ---- what happens ----------------------------------------------------------------------------------------------------


def on_come(studio: Studio, annotator: str, batch: str | None, show: str, makers: bool, page: int, judge: str | None) -> Updates:
    """The page is opened, or another batch is chosen: everything anew."""
    judging, judge = _judging(studio, judge)
    if not batch:
        return empty(CHOOSE), *_list_updates([], ""), *judging, "", gr.Button(visible=False), gr.Button(visible=False)
    figures = agreement_view(quality(studio.labels.votes(batch), studio.labels.all_items(batch)))
    return figures, *on_turn(studio, annotator, batch, show, makers, page, step=0), *judging, *on_opinion(studio, annotator, batch, judge)


def on_turn(studio: Studio, annotator: str, batch: str | None, show: str, makers: bool, page: int, *, step: int | None) -> Updates:
    """Another page of the list; None: its first one. Empty for who still labels."""
    if not batch:
        return _list_updates([], "")
    if blind := _still_blind(studio.labels, batch, annotator):
        return _list_updates([], blind)
    found, settled = disputes(studio.labels.votes(batch)), studio.labels.settlements(batch)
    wanted = [each for each in found if show == ALL or (each.item in settled) == (show == SETTLED)]
    last = max(0, (len(wanted) - 1) // AT_ONCE)
    page = 0 if step is None else min(max(page + step, 0), last)
    shown = wanted[page * AT_ONCE : (page + 1) * AT_ONCE]
    lines = [_line(studio.labels, batch, each, settled.get(each.item), makers=makers) for each in shown]
    done = sum(each.item in settled for each in found)
    words = f"{page * AT_ONCE + 1:,} to {page * AT_ONCE + len(shown):,} of {len(wanted):,} · {done:,} of {len(found):,} settled"
    return _list_updates(lines, _nothing(show, len(found)), page, words if wanted else "", many=last > 0)


def on_settle(
    studio: Studio, listed: DisagreementList, annotator: str, batch: str | None, show: str, makers: bool, page: int
) -> Updates:
    """An item is settled, or opened again. The same decision twice is one."""
    asked = listed["asked"]
    if asked is None or not batch:
        return (gr.skip(),) * 4
    verdict, ranks = _decision(asked["key"])
    stands = studio.labels.settlements(batch).get(asked["item"])
    if stands is None or (stands.verdict, stands.ranks) != (verdict, ranks):
        studio.labels.settle(batch, asked["item"], annotator, ranks=ranks, verdict=verdict)
    return on_turn(studio, annotator, batch, show, makers, page, step=0)


def on_opinion(studio: Studio, annotator: str, batch: str | None, judge: str | None) -> Updates:
    """What a reward model said of the batch, as far as it was asked, beside what people said."""
    buttons = gr.Button(visible=True), gr.Button(visible=False)
    if not batch or not judge:
        return "", *buttons
    if blind := _still_blind(studio.labels, batch, annotator):
        return empty(blind), *buttons
    run, items = studio.runs.get(judge), studio.labels.all_items(batch)
    rewards, unread = known_opinion(run, batch)
    if not rewards and not unread:
        return empty(NOT_ASKED), *buttons
    view = opinion_view(compared(studio.labels.votes(batch), items, rewards, unread=unread), items, name=run.label["name"])
    asked = len(rewards) + unread
    so_far = f'<p class="warn">{escape(f"Asked about {asked:,} of {len(items):,} items so far. Ask it goes on from here.")}</p>'
    return (so_far if asked < len(items) else "") + view, *buttons


def on_ask(studio: Studio, batch: str | None, judge: str | None) -> Iterator[Updates]:
    """Ask a reward model about every item it was not asked about; may be stopped between any two."""
    if not batch or not judge:
        raise UserError("Choose a batch and a reward model first.")
    run, name = studio.runs.get(judge), studio.runs.get(judge).label["name"]
    buttons = gr.Button(visible=False), gr.Button(visible=True)
    yield asking(0, f"Loading {name}"), *buttons
    with judge_at_work(studio, run.id) as model:
        for share in ask(run, model, batch, studio.labels.all_items(batch), turn=studio.engine.turns.take):
            yield asking(share, f"{name} reads the answers: {share:.0%}"), *buttons


def _still_blind(labels: Labels, batch: str, annotator: str) -> str:
    """Why somebody does not see yet who said what, in a sentence; empty where they do: they have nothing left to label."""
    load = labels.workload(batch, annotator)
    left = load.left + load.with_others
    return left and STILL_BLIND.format(annotator=annotator, left="1 answer" if left == 1 else f"{left:,} answers") or ""


# ---- the list --------------------------------------------------------------------------------------------------------


def _list_updates(lines: list[Disagreement], nothing: str, page: int = 0, words: str = "", *, many: bool = False) -> Updates:
    shown = f'<p class="quiet number" role="status">{escape(words)}</p>'
    return disagreements(lines, empty=nothing), page, gr.Row(visible=many), shown


def _nothing(show: str, found: int) -> str:
    if not found:
        return "No disagreements: nobody has said otherwise than somebody else. They show up when two people label the same items."
    return "All are settled." if show == OPEN else "None is settled yet. Choose “Still open” and settle one."


def _line(labels: Labels, batch: str, dispute: Dispute, settlement: Settlement | None, *, makers: bool) -> Disagreement:
    """One item with its answers under letters that tell nothing of who made them."""
    item = labels.item(batch, dispute.item)
    order = _order(batch, dispute.item, len(item.candidates))
    stands = (settlement.verdict, tuple(settlement.ranks)) if settlement else None
    return {
        "item": dispute.item,
        "title": f"Item {dispute.item + 1:,}",
        "prompt": [{"who": turn["role"], "text": cut(turn["content"], PROMPT_SHOWN)} for turn in item.prompt],
        "answers": [_answer(item, place, letter, makers=makers) for letter, place in zip(LETTERS, order, strict=False)],
        "opinions": [{"words": _in_words(each.verdict, each.ranks, order), "people": _and(each.people)} for each in dispute.stances],
        "choices": [
            {"key": _key(verdict, ranks), "words": _in_words(verdict, ranks, order), "chosen": (verdict, ranks) == stands}
            for verdict, ranks in _choices(dispute, order)
        ],
        "settled": f"Settled by {settlement.settler}: {_in_words(settlement.verdict, settlement.ranks, order)}" if settlement else "",
    }  # fmt: skip


def _order(batch: str, number: int, answers: int) -> list[int]:
    """The candidates in an order drawn for the item, the same every time."""
    order = list(range(answers))
    random.Random(digest(canonical([batch, number, "settling"])).hex()).shuffle(order)
    return order


def _answer(item: Item, place: int, letter: str, *, makers: bool) -> Any:
    candidate = item.candidates[place]
    text = "\n".join(turn["content"] for turn in candidate.answer)
    return {"letter": letter, "text": cut(text, ANSWER_SHOWN), "made": _maker(candidate.made) if makers else ""}


def _maker(made: Made) -> str:
    """Who made an answer, and how warm."""
    name = made.get("name") or made.get("speaker") or "not known: it was brought"
    temperature = made.get("sampling", {}).get("temperature")
    return name if temperature is None else f"{name}, temperature {temperature:g}"


def _choices(dispute: Dispute, order: Sequence[int]) -> list[tuple[Settled, tuple[int, ...]]]:
    """How an item can be settled: for a pair every way, for a ranking as somebody ranked it; or tied, or all bad."""
    ranked = [stance.ranks for stance in dispute.stances if stance.verdict == "ranked"]
    if len(order) == 2:
        ranked = [(1, 2), (2, 1)] if order[0] == 0 else [(2, 1), (1, 2)]
    return [*(("ranked", ranks) for ranks in ranked), ("tie", ()), ("both bad", ())]  # type: ignore[list-item]


def _key(verdict: str, ranks: Sequence[int]) -> str:
    return " ".join(map(str, ranks)) if verdict == "ranked" else verdict


def _decision(key: str) -> tuple[Settled, list[int]]:
    """What a button stands for. Raises `UserError`: what comes from the page is not trusted."""
    if key in ("tie", "both bad", "reopened"):
        return key, []  # type: ignore[return-value]
    if not re.fullmatch(r"[1-9]( [1-9])*", key):
        raise UserError("The page asked for something the studio does not know. Reload the page; what was settled is kept.")
    return "ranked", [int(rank) for rank in key.split()]


def _in_words(verdict: str, ranks: Sequence[int], order: Sequence[int]) -> str:
    """A is better; or of a ranking: B > A = C."""
    if verdict != "ranked":
        bad = "both bad" if len(order) == 2 else "all bad"
        return {"tie": "equally good", "both bad": bad}.get(verdict, verdict)
    placed = sorted(zip((ranks[place] for place in order), LETTERS, strict=False))
    if len(placed) == 2 and placed[0][0] != placed[1][0]:
        return f"{placed[0][1]} is better"
    words = placed[0][1]
    for (rank_before, _), (rank, letter) in zip(placed, placed[1:], strict=False):
        words += f" {'=' if rank == rank_before else '>'} {letter}"
    return words


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _judging(studio: Studio, judge: str | None) -> tuple[Updates, str | None]:
    """The reward models there are, and the one that is chosen: the same as before while it is there, else the newest."""
    choices = [(run.label["name"], run.id) for run in studio.runs.judges()]
    ids = [id for _, id in choices]
    judge = judge if judge in ids else next(iter(ids), None)
    return (gr.HTML(visible=not ids), gr.Row(visible=bool(ids)), gr.Dropdown(choices, value=judge)), judge
