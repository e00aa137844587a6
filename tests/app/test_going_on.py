"""From one run to the next: what the Train tab is filled with, which buttons make sense, and what is said before a deletion."""

import re
from typing import Any

import pytest

from app.chat_tab import on_refresh, on_right
from app.main import on_continue
from app.runs_tab import on_ask_delete, on_open_relative, on_show, standing_html
from app.studio import Studio
from app.talk import Talk
from app.train_tab import can_chat, continue_button, form_continuing, plan_html, spec_of
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.plan import plan
from backend.runs import Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace
from components.run_table import table


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    return Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))


def finished(studio: Studio, card: Card, name: str, objective: Any = "sft", **values: Any) -> Run:
    """A run that is done, with an empty result."""
    run = Run.create(studio.workspace, parse_spec({"name": name, "data": {"id": card.id, "version": 1}, "objective": objective, **values}))
    run.result.mkdir()
    run.events.append("finished", status="done", message="")
    return run


def test_going_on_fills_in_model_method_and_start(studio: Studio, dataset: Card) -> None:
    taught = finished(studio, dataset, "taught", method={"name": "lora", "rank": 4})
    taught.relabel(name="taught well", note="")
    filled = form_continuing(studio, taught, dataset.id)
    assert (filled["base_model"], filled["start_from"]["value"], filled["name"]) == ("starter", taught.id, "taught well continued")
    assert filled["method"]["chosen"] == "lora" and filled["lora__rank"] == 4
    assert "objective" not in filled and "data" not in filled  # those are the next thing to choose
    chosen = {**filled, "start_from": taught.id, "data": dataset.id, "objective": "sft"}
    assert spec_of(studio, chosen).start_from == taught.id


def test_aligning_with_a_reward_model_fills_in_ppo_and_data_it_can_learn_from(studio: Studio, dataset: Card) -> None:
    turns = [[{"role": "assistant", "content": word}] for word in ("yes", "no")]
    row = {"prompt": [{"role": "user", "content": "?"}], "answers": turns, "ranks": [1, 2]}
    pairs = studio.datasets.save([row], name="pairs", record="preferences", source={"made": "for tests"})
    taught = finished(studio, dataset, "taught")
    judge = finished(studio, pairs, "judge", "reward", start_from=taught.id)
    filled = form_continuing(studio, judge, pairs.id)
    assert (filled["objective"], filled["ppo__reward_run"]["value"], filled["name"]) == ("ppo", judge.id, "aligned with judge")
    assert filled["data"] == dataset.id and filled["start_from"]["value"] == taught.id
    assert ("judge", judge.id) in filled["ppo__reward_run"]["choices"]


def test_the_button_says_what_one_goes_on_to(studio: Studio, dataset: Card) -> None:
    taught, judge = finished(studio, dataset, "taught"), finished(studio, dataset, "judge", "reward")
    assert continue_button(taught, ended=True)["value"] == "Continue from here" and can_chat(taught)
    assert continue_button(judge, ended=True)["value"] == "Align with it (PPO)" and not can_chat(judge)
    assert not continue_button(taught, ended=False)["visible"]


@pytest.mark.parametrize(("accuracy", "warns"), [(0.5, True), (0.59, True), (0.6, False), (0.92, False)])
def test_the_page_warns_of_a_reward_model_that_is_hardly_better_than_a_coin(
    accuracy: float, warns: bool, studio: Studio, dataset: Card
) -> None:
    judge = finished(studio, dataset, "judge <b>", "reward")
    judge.events.append("evaluated", step=8, loss=0.5, seconds=1.0, metrics={"accuracy": accuracy}, units=100.0)
    spec = {"data": {"id": dataset.id, "version": 1}, "objective": {"name": "ppo", "reward_run": judge.id}}
    (told,) = re.findall(r'<p class="warn">(The reward model .*?)</p>', plan_html(plan(parse_spec(spec), studio.workspace)))
    assert f"The reward model judge &lt;b&gt; prefers the better answer in {accuracy:.0%} of 100 held-out pairs" in told
    assert ("little better than a coin" in told) == warns


def test_what_is_not_filled_in_stays_as_it_is(studio: Studio, dataset: Card) -> None:
    taught = finished(studio, dataset, "taught")
    tabs, watched, setup, watch, name, rate = on_continue(studio, taught.id, None, names=["name", "training__learning_rate"])
    assert (tabs["selected"], watched, setup["visible"], watch["visible"], name) == ("train", None, True, False, "taught continued")
    assert rate == {"__type__": "update"}


def test_chat_goes_on_from_the_run_on_the_right_once_it_has_ended(studio: Studio, dataset: Card) -> None:
    taught = finished(studio, dataset, "taught")
    assert on_right(studio, "base:starter")[1] is on_right(studio, "run:gone-123456")[1] is None
    assert not on_right(studio, "base:starter")[0]["visible"]
    button, run_id = on_right(studio, f"run:{taught.id}")
    assert (button["value"], button["visible"], run_id) == ("Continue from taught", True, taught.id)
    assert on_refresh(studio, Talk(), "base:starter", "base:starter")[-2:] == [button, taught.id]  # the newest run steps in on the right
    assert on_refresh(studio, Talk(), f"run:{taught.id}", "base:other")[-1] == taught.id
    tabs, *_, name, start = on_continue(studio, run_id, None, names=["name", "start_from"])
    assert (tabs["selected"], name, start["value"]) == ("train", "taught continued", taught.id)
    taught.events.append("queued")
    assert not on_right(studio, f"run:{taught.id}")[0]["visible"]


def test_a_deletion_says_who_stands_on_the_run(studio: Studio, dataset: Card) -> None:
    taught = finished(studio, dataset, "taught")
    assert on_ask_delete(studio, taught.id)[-1] == ""
    finished(studio, dataset, "<b>", start_from=taught.id)
    *buttons, said = on_ask_delete(studio, taught.id)
    assert [button["visible"] for button in buttons] == [False, True, True]
    assert "1 run stands on it: &lt;b&gt;." in said
    assert "8 runs stand on it: 0, 1, 2, 3, 4 and 3 more." in standing_html([str(number) for number in range(8)])


def test_a_relative_is_opened_from_the_graph(studio: Studio, dataset: Card) -> None:
    taught = finished(studio, dataset, "taught")
    child = finished(studio, dataset, "child", {"name": "grpo", "contains": ["e"]}, start_from=taught.id)
    opened, *_ = on_show(studio, table([], opened=child.id))
    assert opened == child.id
    shown, opened, *view = on_open_relative(studio, {"html": "", "open": taught.id}, table([], opened=child.id))
    assert shown["open"] == opened == taught.id
    assert any(isinstance(part, dict) and f'aria-current="true" data-run="{taught.id}"' in part.get("html", "") for part in view)
