"""Answers to be compared, as pieces of page: how far answering is, what was answered, what the filters left, what was brought.

Whose an answer is stands nowhere beside it: whoever looks here may label next.
"""

from collections.abc import Sequence

from backend.answering.answering import Answer, Standing
from backend.answering.estimate import Estimate
from backend.answering.prompts import Asked
from backend.data.importing import Problem
from backend.events import Status
from backend.labelling.filters import FILTERS, Dropped, Sieved
from backend.labelling.items import Item
from components.notices import empty
from components.text import count, escape, minutes

SHOWN_PROMPTS, SHOWN_ITEMS, SHOWN_DROPPED, SHOWN_PROBLEMS = 5, 3, 100, 100
LONGEST_SHOWN, PROMPT_SHOWN = 1_500, 100  # characters of a text, and of a prompt in a list
SECONDS_A_VOTE = 15.0  # to read two short answers and choose: an assumption, told as one
STATUS_WORDS: dict[Status, str] = {
    "queued": "waiting for its turn", "running": "answering", "done": "done", "stopped": "stopped", "failed": "failed",
    "interrupted": "interrupted",
}  # fmt: skip


def progress_html(name: str, standing: Standing, *, stopping: bool = False) -> str:
    """Status, a bar, and the numbers of the moment."""
    share = standing.answers / standing.wanted if standing.wanted else 0.0
    words = "stopping" if stopping else STATUS_WORDS[standing.status]
    colour = "warn" if standing.status in ("failed", "interrupted") else "quiet"
    note = f'<p class="{colour} plain-text">{escape(standing.message)}</p>' if standing.message else ""
    return (
        f'<div class="run-progress status-{standing.status}"><div class="run-line"><strong>{escape(name)}</strong>'
        f'<span class="status" role="status">{escape(words)}</span></div>'
        f'<progress max="1" value="{share:.4f}" aria-label="progress of the answers">{share:.0%}</progress>'
        f'<p class="quiet number">{escape(" · ".join(_facts(standing)))}</p>{note}</div>'
    )


def estimate_html(estimate: Estimate, prompts: int) -> str:
    """What answering takes, before it starts."""
    if not estimate.tokens:
        return f'<p class="number">{count(estimate.answers)} answers to {_prompts(prompts)}, all of them in the data already.</p>'
    rests = "by the speed of earlier answers here" if estimate.is_measured else "guessed from the model's size, as nothing was timed here yet"
    return (
        f'<p class="number">{count(estimate.answers)} answers to {_prompts(prompts)}, at most {count(estimate.tokens)} tokens: '
        f'<strong>at most about {minutes(max(estimate.seconds, 1))}</strong>, roughly. <span class="quiet">That is {rests}; most answers end '
        "before their longest.</span></p>"
    )


def answers_html(prompts: Sequence[Asked], answers: Sequence[Answer]) -> str:
    """The first prompts that were answered, with their answers."""
    if not answers:
        return empty("No answer yet. The first ones appear here after a few seconds.")
    places = list(dict.fromkeys(answer.prompt for answer in answers))
    parts = [_answered(prompts[place], [answer for answer in answers if answer.prompt == place]) for place in places[:SHOWN_PROMPTS]]
    more = len(places) - SHOWN_PROMPTS
    left = f'<p class="quiet">and {more:,} more prompts</p>' if more > 0 else ""
    return f'<div class="begin-items" tabindex="0" role="region" aria-label="first answers">{"".join(parts)}</div>{left}'


def found_html(words: str, problems: Sequence[Problem]) -> str:
    """What was found, and the rows that cannot be used, by number."""
    found = f'<p class="plain-text">{escape(words)}</p>'
    if not problems:
        return found
    rows = "".join(
        f'<tr><th scope="row" class="number">{problem.number:,}</th><td>{escape(problem.reason)}</td>'
        f'<td dir="auto"><div>{escape(problem.text)}</div></td></tr>'
        for problem in problems[:SHOWN_PROBLEMS]
    )
    more = len(problems) - SHOWN_PROBLEMS
    left = f'<p class="quiet">and {more:,} more rows</p>' if more > 0 else ""
    head = '<tr><th scope="col">row</th><th scope="col">why it cannot be used</th><th scope="col">how it begins</th></tr>'
    return (
        f'{found}<h3 class="section-title">Rows that cannot be used</h3><div class="begin-bad" tabindex="0" role="region" '
        f'aria-label="rows that cannot be used"><table class="data-columns data-bad"><thead>{head}</thead><tbody>{rows}</tbody></table></div>{left}'
    )


def sieved_html(sieved: Sieved, items: Sequence[Item], people: int) -> str:
    """What is left of some items and how long labelling takes, what each filter left out, and the first that are left."""
    total = len(sieved.kept) + len(sieved.dropped)
    if not sieved.kept:
        return f'<p class="warn" role="status">None of the {_items(total)} passed the filters. Untick one, or bring other answers.</p>{_dropped(sieved, items)}'
    votes = len(sieved.kept) * people
    time, cast = minutes(votes * SECONDS_A_VOTE), "1 vote" if votes == 1 else f"{count(votes)} votes"
    kept = (
        f'<p class="number" role="status"><strong>{_items(len(sieved.kept))} to label</strong>, {len(sieved.dropped):,} of {total:,} left out. '
        f'<span class="quiet">{cast}, about {time} of reading at {SECONDS_A_VOTE:.0f} s each.</span></p>'
    )
    first = "".join(map(_item, sieved.kept[:SHOWN_ITEMS]))
    return (
        f'{kept}{_dropped(sieved, items)}<details class="begin-more"><summary>Look at the first ones</summary>'
        f'<div class="begin-items">{first}</div></details>'
    )


def _facts(standing: Standing) -> list[str]:
    facts = [f"{standing.answers:,} of {standing.wanted:,} answers"]
    facts += [f"{standing.cut_off:,} cut off at their longest"] if standing.cut_off else []
    facts += [f"{standing.faults:,} not possible"] if standing.faults else []
    if standing.status == "running" and standing.seconds_left is not None:
        facts.append(f"about {minutes(standing.seconds_left)} left")
    elif standing.seconds:
        facts.append(f"{minutes(standing.seconds)} of answering")
    return facts


def _dropped(sieved: Sieved, items: Sequence[Item]) -> str:
    """Counts of each filter, and which items they were."""
    if not sieved.dropped:
        return ""
    counts = "".join(
        f'<tr><th scope="row">{escape(FILTERS[name])}</th><td class="number">{number:,}</td></tr>' for name, number in sieved.counts.items()
    )
    listed = "".join(_dropped_line(each, items[each.number - 1]) for each in sieved.dropped[:SHOWN_DROPPED])
    more = len(sieved.dropped) - SHOWN_DROPPED
    left = f'<p class="quiet">and {more:,} more</p>' if more > 0 else ""
    return (
        '<table class="begin-counts"><thead><tr><th scope="col">left out because</th><th scope="col">items</th></tr></thead>'
        f'<tbody>{counts}</tbody></table><details class="begin-more"><summary>Which ones</summary><ul class="begin-dropped">{listed}</ul>{left}</details>'
    )


def _dropped_line(dropped: Dropped, item: Item) -> str:
    prompt = " ".join(_question(item).split())
    cut = prompt[:PROMPT_SHOWN] + ("…" if len(prompt) > PROMPT_SHOWN else "")
    return f'<li>Item {dropped.number:,} {escape(dropped.reason)}. <span class="quiet" dir="auto">{escape(cut)}</span></li>'


def _answered(asked: Asked, answers: Sequence[Answer]) -> str:
    texts = sorted(f'<p class="warn">The prompt {escape(answer.fault)}.</p>' if answer.fault else _text(answer.text) for answer in answers)
    return _beside(asked.messages[-1]["content"], texts)


def _item(item: Item) -> str:
    texts = ["\n\n".join(turn["content"] for turn in candidate.answer) for candidate in item.candidates]
    return _beside(_question(item), [_text(text) for text in sorted(texts)])  # sorted: the order tells nothing


def _question(item: Item) -> str:
    return item.prompt[-1]["content"] if item.prompt else ""


def _beside(prompt: str, answers: Sequence[str]) -> str:
    return f'<section><div class="begin-prompt">{_text(prompt)}</div><div class="begin-answers">{"".join(answers)}</div></section>'


def _text(text: str) -> str:
    cut = text[:LONGEST_SHOWN] + ("…" if len(text) > LONGEST_SHOWN else "")
    return f'<p class="plain-text" dir="auto">{escape(cut) or "<em>nothing</em>"}</p>'


def _prompts(number: int) -> str:
    return "1 prompt" if number == 1 else f"{count(number)} prompts"


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number:,} items"
