"""The reward model's page without a page: texts, items and rows put in order, and how far the model can be trusted."""

import re
from html import unescape
from pathlib import Path

import pytest

from app.label.scoring_page import ITEM, OWN, ROW, TYPED, on_come, on_measure, on_measured, on_score, on_source
from app.studio import Studio
from backend.calibration import known_trial
from backend.data.versions import Card, Datasets
from backend.device import Turns
from backend.engine import Engine
from backend.errors import UserError
from backend.inference import Shelf
from backend.labelling.items import Candidate, Item
from backend.runs import Run, Runs
from backend.workspace import Workspace
from components.ranked_answers import chances_of_best
from tests.conftest import make_workspace
from tests.judges import preference_rows, save_preferences, train_judge

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"
UNSAFE = re.compile(r"<script|\$\{|\{\{")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Studio:
    workspace = make_workspace(tmp_path_factory.mktemp("scoring page") / "workspace", tiny_model)
    studio = Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))
    studio.engine._turns, studio.engine._shelf = Turns(), Shelf(workspace)
    studio.engine.ready.set()
    return studio


@pytest.fixture(scope="module")
def pairs(studio: Studio) -> Card:
    return save_preferences(studio.workspace, preference_rows(24))


@pytest.fixture(scope="module")
def judge(studio: Studio, pairs: Card) -> Run:
    return train_judge(studio.workspace, pairs)


def scored(
    studio: Studio, run: Run, source: str, *, prompt: str = "", answers: str = "", batch: str | None = None, data: str | None = None, number: str = "1"
) -> str:
    *_, last = on_score(studio, run.id, source, prompt, answers, batch, data, number)
    assert not UNSAFE.search(last)
    return last


def texts(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r'role="group" aria-label="answer \d+">(.*?)</div>', html, re.DOTALL)]


def test_without_a_reward_model_it_says_how_to_get_one(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "empty").prepare()
    nothing, work, *_ = on_come(Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace)), None, None, None)
    assert nothing.visible and not work.visible


def test_several_answers_are_put_in_order_with_what_the_numbers_mean(studio: Studio, judge: Run) -> None:
    row = preference_rows(1)[0]
    long, short = (answer[0]["content"] for answer in row["answers"])
    html = scored(studio, judge, TYPED, prompt=row["prompt"][0]["content"], answers=f"{short}\n---\n{long}\n --- \n\n---\n{HOSTILE}")
    assert len(texts(html)) == 3
    rewards = [float(number) for number in re.findall(r'<strong class="number">([+-][\d.]+)</strong>', html)]
    assert rewards == sorted(rewards, reverse=True)
    assert texts(html).index(long) < texts(html).index(short)
    assert "chance of being preferred" in html and re.search(r"higher than \d+% of 12 held-out answers", html)
    assert known_trial(judge, judge.spec.data) is not None  # the held-out answers were measured once, for good


def test_a_single_answer_has_a_reward_and_no_chance(studio: Studio, judge: Run) -> None:
    html = scored(studio, judge, TYPED, prompt="q", answers="a")
    assert len(texts(html)) == 1 and "chance of being preferred" not in html


def test_a_row_tells_what_people_preferred(studio: Studio, judge: Run, pairs: Card) -> None:
    html = scored(studio, judge, ROW, data=pairs.id, number="2")
    assert len(texts(html)) == 2 and html.count("people preferred it") == 1


def test_an_item_of_the_batch_tells_nothing_of_who_made_it(studio: Studio, judge: Run) -> None:
    candidates = [Candidate([{"role": "assistant", "content": f"{HOSTILE} {n}"}], {"name": "secret model"}) for n in range(5)]
    batch = studio.labels.begin("round", [Item([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}], candidates)])
    html = scored(studio, judge, ITEM, batch=batch.id)
    assert len(texts(html)) == 5 and "secret" not in html


@pytest.mark.parametrize(
    ("source", "values", "says"),
    [
        (TYPED, {"prompt": " ", "answers": "a"}, "nothing to score"),
        (TYPED, {"prompt": "q", "answers": "\n---\n"}, "nothing to score"),
        (TYPED, {"prompt": "q", "answers": "\n---\n".join("a" * 33)}, "at most 32"),
        (TYPED, {"prompt": "q", "answers": "short\n---\n" + "word " * 3_000}, "Answer 2 with its prompt is"),
        (ITEM, {"batch": None}, "No batch is chosen"),
        (ROW, {"data": None}, "no data set of preferences"),
        (ROW, {"data": "pairs", "number": "0"}, "from 1 to 24"),
        (ROW, {"data": "pairs", "number": "25"}, "from 1 to 24"),
        (ROW, {"data": "pairs", "number": "²"}, "from 1 to 24"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(studio: Studio, judge: Run, pairs: Card, source: str, values: dict, says: str) -> None:
    if values.get("data"):
        values = {**values, "data": pairs.id}
    with pytest.raises(UserError, match=says):
        scored(studio, judge, source, **values)


def test_the_boxes_follow_what_is_scored() -> None:
    assert [update.visible for update in on_source(TYPED)] == [True, False, False]
    assert [update.visible for update in on_source(ITEM)] == [False, True, False]
    assert [update.visible for update in on_source(ROW)] == [False, True, True]


def test_it_is_measured_once_and_shown_with_its_plot(studio: Studio, pairs: Card) -> None:
    run = train_judge(studio.workspace, pairs, steps=4, name=f"fresh {HOSTILE}")
    words, plot, *_ = on_measured(studio, run.id, OWN)
    assert "Not measured yet" in words and not plot.visible
    told = [step[0] for step in on_measure(studio, run.id, OWN)]
    assert "100%" in told[-1] and not any(UNSAFE.search(each) for each in told)
    words, plot, measure, stop = on_measured(studio, run.id, OWN)
    assert plot.visible and measure.visible and not stop.visible
    assert all(name in words for name in ("Right", "of 6", "Calibration error", "Brier score", "Log loss", "Not enough yet to lean on"))


def test_of_rows_it_has_all_learnt_from_nothing_is_measured(studio: Studio, judge: Run) -> None:
    seen = {record["prompt"][0]["content"] for record in preference_rows(24)}
    held = known_held_out(studio, judge)
    card = save_preferences(studio.workspace, [row for row in preference_rows(24) if row["prompt"][0]["content"] in seen - held], name="seen")
    list(on_measure(studio, judge.id, card.id))
    words, plot, *_ = on_measured(studio, judge.id, card.id)
    assert "no pair it has not learnt from" in words and "18 left out: learnt from in training" in words and not plot.visible


def known_held_out(studio: Studio, run: Run) -> set[str]:
    from backend.calibration import unseen

    return {record["prompt"][0]["content"] for record in unseen(run, studio.datasets, run.spec.data)[0]}  # type: ignore[typeddict-item]


def test_a_deleted_data_set_still_lets_texts_be_scored(studio: Studio) -> None:
    card = save_preferences(studio.workspace, preference_rows(8), name="soon gone")
    run = train_judge(studio.workspace, card, steps=1)
    studio.datasets.delete(card.id)
    assert "too few held-out answers" in scored(studio, run, TYPED, prompt="q", answers="a")


def test_chances_are_those_of_bradley_and_terry() -> None:
    """Of two, 1 / (1 + exp(-1)) = 0.7311 for a difference of 1; large rewards do not overflow."""
    assert chances_of_best([2.0, 1.0]) == pytest.approx([0.731059, 0.268941], abs=1e-6)
    assert chances_of_best([5000.0, -5000.0]) == [1.0, 0.0] and sum(chances_of_best([1.0, 2.0, 3.0])) == pytest.approx(1)
