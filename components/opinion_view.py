"""A reward model's opinion of a batch beside that of people: how far they agree, and where they differ most.

    gr.HTML(opinion_view(compared(votes, items, rewards), items, name="plain answers"))
"""

from collections.abc import Sequence

from backend.data.records import Message
from backend.labelling.items import Item
from backend.labelling.opinion import AgreesWith, Compared, Difference
from components.agreement_view import ENOUGH, figure, in_words, interval, percent, table
from components.notices import empty
from components.text import escape, rows_in_words

SHOWN = 10  # differences on the page
LETTERS = 700  # of a text that differences show


def opinion_view(compared: Compared, items: Sequence[Item], *, name: str) -> str:
    """Figures, each person, and the differences."""
    if not compared.most.same.whole:
        return empty(f"{name} has scored {_items(compared.items)}, but nobody has decided one of them yet. Label some, then compare.{_unread(compared)}")
    return (
        f'<div class="figures">{_raw(compared.most, name)}{_kappa(compared.most)}</div>{_people(compared.people)}'
        f"{_differences(compared, items, name)}"
    )


def asking(done: float, words: str) -> str:
    """How far the asking is."""
    return (
        f'<div class="run-progress"><p class="quiet" role="status">{escape(words)}</p>'
        f'<progress max="1" value="{done:.3f}" aria-label="{escape(words)}"></progress></div>'
    )


def _raw(most: AgreesWith, name: str) -> str:
    few = f" Not enough yet to lean on: {ENOUGH} or more would be." if most.same.whole < ENOUGH else ""
    return figure(
        "Agreement with it", percent(most.same),
        f"Of comparisons that most people decided one way, {name} prefers the same answer in so many ({interval(most.same)}). "
        f"Ties are left out, for it never says them.{few}",
    )  # fmt: skip


def _kappa(most: AgreesWith) -> str:
    if most.kappa is None:
        return figure("Cohen's kappa with it", "not enough yet", "It cannot be told while both always say the same one thing.")
    return figure(
        "Cohen's kappa with it", f"{most.kappa:.2f}",
        f"Agreement beyond chance is {in_words(most.kappa)}, as of a second annotator. Its opinion is kept apart and never counted as a vote.",
    )  # fmt: skip


def _people(people: Sequence[AgreesWith]) -> str:
    if len(people) < 2:
        return ""
    rows = [[each.name, percent(each.same), "not yet" if each.kappa is None else f"{each.kappa:.2f}, {in_words(each.kappa)}"] for each in people]
    return table("Each person and the reward model", ["Person", "Prefers the same", "Cohen's kappa"], rows, "Over what each of them decided.")


def _differences(compared: Compared, items: Sequence[Item], name: str) -> str:
    head = '<h3 class="section-title">Where they differ most</h3>'
    if not compared.differences:
        return head + empty(f"{name} prefers what people prefer, wherever they decided.")
    more = len(compared.differences) - SHOWN
    rest = f'<p class="quiet">{escape(f"{more:,} more, of which it is less sure.")}</p>' if more > 0 else ""
    shown = "".join(_difference(each, items[each.item]) for each in compared.differences[:SHOWN])
    unread = f'<p class="quiet">{escape(_unread(compared).strip())}</p>' if compared.unread else ""
    return f'{head}<p class="quiet">{escape(f"People prefer the one, {name} is surest of the other.")}</p><ol class="disagreements">{shown}</ol>{rest}{unread}'


def _difference(each: Difference, item: Item) -> str:
    votes = f"{each.votes.part:.0f} of {each.votes.whole}"
    return (
        f'<li class="disagreement"><div class="disagreement-head"><h4>Item {each.item + 1:,}</h4>'
        f'<span class="quiet">the model is {each.sure:.0%} sure of the other</span></div>'
        f'<p class="disagreement-prompt plain-text" dir="auto">{escape(cut(item.prompt[-1]["content"] if item.prompt else ""))}</p>'
        f'<div class="disagreement-answers">{_answer(f"people prefer ({votes} votes)", item.candidates[each.preferred].answer)}'
        f'{_answer("the reward model prefers", item.candidates[each.other].answer)}</div></li>'
    )


def _answer(head: str, answer: Sequence[Message]) -> str:
    text = "\n".join(turn["content"] for turn in answer)
    return (
        f'<section class="disagreement-answer"><p class="disagreement-letter">{escape(head)}</p>'
        f'<div class="plain-text" dir="auto" tabindex="0" role="group" aria-label="{escape(head)}">{escape(cut(text))}</div></section>'
    )


def cut(text: str, letters: int = LETTERS) -> str:
    """A long text cut to be shown, and said to be."""
    return text if len(text) <= letters else f"{text[:letters]}… ({len(text) - letters:,} more characters)"


def _unread(compared: Compared) -> str:
    return f" {_items(compared.unread)} could not be read whole by it, and are left out." if compared.unread else ""


def _items(number: int) -> str:
    return rows_in_words(number).replace("row", "item")
