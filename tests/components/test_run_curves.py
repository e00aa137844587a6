"""A run's events as curves and in a line of numbers."""

from typing import Any

from backend.progress import Progress
from components.margin_bars import margin_bars
from components.run_curves import probes_html, progress_html, series_of

STEP: dict[str, Any] = {
    "kind": "step", "at": 0.0, "step": 1, "epoch": 0.5, "loss": 0.6, "learning_rate": 1e-3, "grad_norm": 1.0, "seconds": 2.0,
    "tokens_per_second": 100.0,
}


def evaluated(**fields: Any) -> dict[str, Any]:
    return {"kind": "evaluated", "at": 0.0, "step": 1, "loss": 0.5, "seconds": 2.0, **fields}


def metrics(events: list[Any]) -> dict[str, list[float]]:
    return {series["metric"]: series["values"] for series in series_of("r", "a run", events)}


def test_what_is_watched_is_drawn_while_training_and_on_held_out_rows() -> None:
    drawn = metrics([{**STEP, "metrics": {"accuracy": 0.75}}, evaluated(metrics={"accuracy": 0.8}, units=10.0)])
    assert (drawn["watched accuracy"], drawn["held-out accuracy"], drawn["validation_loss"]) == ([0.75], [0.8], [0.5])


def test_a_reward_is_drawn_as_itself_and_not_as_a_loss() -> None:
    drawn = metrics([{**STEP, "metrics": {"reward": 0.2}}, evaluated(loss=-0.3, metrics={"reward": 0.3}, units=24.0)])
    assert drawn["held-out reward"] == [0.3] and "validation_loss" not in drawn


def test_an_accuracy_is_told_with_the_interval_that_so_few_rows_allow() -> None:
    progress = Progress.of([{**STEP, "metrics": {"accuracy": 0.75, "margin": 0.4321}}, evaluated(metrics={"accuracy": 0.8}, units=10.0)])
    line = progress_html("a run", progress)
    assert "held-out accuracy 80% (95% interval 49% to 94%, 10 rows)" in line and "margin 0.432" in line


def test_the_best_of_a_run_that_is_rewarded_is_its_highest_reward() -> None:
    told = [evaluated(loss=-0.1, base=True, metrics={"reward": 0.1}, units=3.0), evaluated(loss=-0.6, metrics={"reward": 0.6}), evaluated(loss=-0.4, metrics={"reward": 0.4})]
    progress = Progress.of(told)
    assert progress.best_reward == 0.6
    assert "best held-out reward 0.600" in progress_html("a run", progress)


def test_a_run_that_has_ended_is_never_called_stopping() -> None:
    """Its end stands in the events before the engine has forgotten that somebody pressed Stop."""
    ended = Progress.of([STEP, {"kind": "finished", "at": 0.0, "status": "stopped", "message": ""}])
    assert '<span class="status">stopped</span>' in progress_html("a run", ended, stopping=True)
    assert "stopping" in progress_html("a run", Progress.of([STEP]), stopping=True)


def sampled(answer: str, step: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "sampled", "at": 0.0, "step": step, "prompt": "Why?", "answer": answer, **fields}


def test_an_answer_stands_with_its_reward_and_how_far_that_is_from_the_bases() -> None:
    told = [sampled("Because.", 0, base=True, reward=0.25), sampled("So.", 4, reward=0.5), sampled("So so so.", 8, reward=1.0)]
    html = probes_html(Progress.of(told))
    assert "base model · <span" in html and "reward 0.25<" in html
    assert "now, at step 8" in html and "reward 1.00 (+0.75 against the base)" in html and "reward 0.50<" in html


def test_a_judge_of_pairs_shows_its_newest_margins_instead_of_answers() -> None:
    before, after = [0, 0, 0, 2, 2, 0, 0, 0], [0, 0, 0, 0, 1, 3, 0, 0]
    told = [sampled("Because.", 0, base=True), evaluated(base=True, margins=before), evaluated(margins=after)]
    assert probes_html(Progress.of(told)) == margin_bars(after) != margin_bars(before)
    assert "base model" in probes_html(Progress.of(told[:1]))


def test_an_answer_of_a_run_without_rewards_has_none() -> None:
    assert "reward" not in probes_html(Progress.of([sampled("Because.", 0, base=True), sampled("So.", 4)]))
