"""A run's events as the series the live chart draws, and its probes and progress as pieces of page."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Literal

from backend.events import ENDED, RunEvent
from backend.labelling.scoreboard import wilson
from backend.progress import Probe, Progress, Said
from components.live_plot import HELD_OUT, WATCHED, Metric, Series
from components.margin_bars import margin_bars
from components.notices import empty
from components.text import escape, gigabytes, minutes

Points = dict[Literal["steps", "seconds", "values"], list[Any]]  # as in `Series`
STEP_METRICS: dict[str, Metric] = {
    "loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm", "tokens_per_second": "tokens_per_second",
}
TOLD = ("margin", "reward", "KL")  # of what objectives watch, the numbers worth a place in the line; the rest is drawn
STATUS_WORDS = {
    "queued": "waiting for its turn", "running": "training", "done": "done", "stopped": "stopped", "failed": "failed",
    "interrupted": "interrupted",
}


def series_of(run_id: str, label: str, events: Sequence[RunEvent]) -> list[Series]:
    """Points of every metric in some events of one run, a column at a time: a long run has 100,000 of them."""
    made: list[Any] = [event for event in events if event["kind"] == "step"]
    looked: list[Any] = [event for event in events if event["kind"] == "evaluated"]
    found = {metric: _points(made, lambda event, key=key: event.get(key)) for key, metric in STEP_METRICS.items()}
    found |= _watched(made, WATCHED)
    for metric, of_base in (("base_loss", True), ("validation_loss", False)):
        # what a run that learns from rewards goes down is the reward's negative, drawn as the reward it is
        judged = [event for event in looked if bool(event.get("base")) is of_base and "reward" not in event.get("metrics", {})]
        found[metric] = _points(judged, itemgetter("loss"))
    found |= _watched(looked, HELD_OUT)
    return [Series(run=run_id, label=label, metric=metric, **points) for metric, points in found.items() if points["steps"]]


def _watched(events: Sequence[Any], prefix: str) -> dict[Metric, Points]:
    """What an objective watches besides its loss."""
    watching = [event for event in events if "metrics" in event]
    names = dict.fromkeys(name for event in watching for name in event["metrics"])
    return {prefix + name: _points(watching, lambda event, name=name: event["metrics"].get(name)) for name in names}


def _points(events: Sequence[Any], value_of: Callable[[Any], float | None]) -> Points:
    """Those of the events that have a value."""
    values = [value_of(event) for event in events]
    if None in values:
        events = [event for event, value in zip(events, values, strict=True) if value is not None]
        values = [value for value in values if value is not None]
    return {"steps": [event["step"] for event in events], "seconds": [event["seconds"] for event in events], "values": values}


def probes_html(progress: Progress) -> str:
    """Question, the base's answer, the answer now: one reads the model learning. A judge of pairs shows its margins instead."""
    if progress.held_out_margins:
        return margin_bars(progress.held_out_margins)
    if not progress.probes:
        return empty("The first answers come when the base model has been asked.")
    return '<div class="probes">' + "".join(_probe(prompt, probe) for prompt, probe in progress.probes.items()) + "</div>"


def _probe(prompt: str, probe: Probe) -> str:
    parts = [f'<p class="probe-question plain-text">{escape(prompt)}</p>']
    if probe.base is not None:
        parts.append(_answer("base model", probe.base))
    if probe.answers:
        now = probe.answers[-1]
        parts.append(_answer(f"now, at step {now.step}", now, kind="probe-now", base=probe.base))
    if len(probe.answers) > 1:
        earlier = "".join(_answer(f"step {said.step}", said) for said in reversed(probe.answers[:-1]))
        count = len(probe.answers) - 1
        parts.append(f"<details><summary>{count} earlier answer{'s' if count > 1 else ''}</summary>{earlier}</details>")
    return f'<section class="probe">{"".join(parts)}</section>'


def _answer(who: str, said: Said, *, kind: str = "", base: Said | None = None) -> str:
    text = escape(said.answer) if said.answer.strip() else "<em>(nothing)</em>"
    return (
        f'<div class="probe-answer {kind}"><span class="quiet">{escape(who)}{_reward(said, base)}</span>'
        f'<div class="plain-text">{text}</div></div>'
    )


def _reward(said: Said, base: Said | None) -> str:
    """What an answer was rewarded, and how much more than the base's: where that rises and the text does not, the reward is cheated."""
    if said.reward is None:
        return ""
    more = "" if base is None or base.reward is None else f" ({said.reward - base.reward:+.2f} against the base)"
    return f' · <span class="number probe-reward">reward {said.reward:.2f}{more}</span>'


def progress_html(name: str, progress: Progress, *, stopping: bool = False) -> str:
    """Status, a bar, and the numbers of the moment, with units."""
    # its end is told a moment before the engine forgets that it was asked to stop
    is_stopping = stopping and progress.status not in ENDED
    words = "stopping; the weights are being kept" if is_stopping else STATUS_WORDS[progress.status]
    share = progress.step / progress.total_steps if progress.total_steps else 0.0
    facts = [f"step {progress.step:,} of {progress.total_steps:,}"] if progress.total_steps else ["getting ready"]
    if progress.loss is not None:
        facts += [f"epoch {progress.epoch:.1f}", f"loss {progress.loss:.3f}", f"{progress.tokens_per_second:.0f} tokens/s"]
    facts += [f"{name} {value:.3g}" for name, value in progress.metrics.items() if name in TOLD]
    if "accuracy" in progress.held_out:
        facts.append(_accuracy(progress.held_out["accuracy"], progress.held_out_units))
    if progress.best_reward is not None:
        facts.append(f"best held-out reward {progress.best_reward:.3f}")
    elif progress.best_loss is not None:
        facts.append(f"best held-out loss {progress.best_loss:.3f}" + _against_base(progress))
    if progress.status == "running" and progress.seconds_left is not None:
        facts.append(f"about {minutes(progress.seconds_left)} left")
    elif progress.seconds:
        facts.append(f"{minutes(progress.seconds)} of training")
    if progress.peak_memory_bytes:
        facts.append(f"at most {gigabytes(progress.peak_memory_bytes)} of memory")
    notes = "".join(f'<p class="warn">{escape(text)}</p>' for text in filter(None, [*progress.warnings, progress.message]))
    return (
        f'<div class="run-progress status-{progress.status}"><div class="run-line"><strong>{escape(name)}</strong>'
        f'<span class="status">{escape(words)}</span></div>'
        f'<progress max="1" value="{share:.4f}" aria-label="progress of the run">{share:.0%}</progress>'
        f'<p class="quiet number">{escape(" · ".join(facts))}</p>{notes}</div>'
    )


def _accuracy(share: float, units: float) -> str:
    """A held-out accuracy, with the interval that so few rows allow."""
    low, high = wilson(round(share * units), round(units))
    return f"held-out accuracy {share:.0%} (95% interval {low:.0%} to {high:.0%}, {units:.0f} rows)"


def _against_base(progress: Progress) -> str:
    if not progress.base_loss or progress.best_loss is None:
        return ""
    return f" ({progress.best_loss / progress.base_loss - 1:+.0%} against the base)"
