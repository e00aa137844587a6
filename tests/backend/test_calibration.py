"""What a reward model's probabilities are worth: the numbers by hand and against torch, and on a run's own held-out pairs."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from backend.calibration import Trial, beaten, calibration, known_trial, measure, probability, unseen
from backend.data.records import prompt_of
from backend.data.versions import Card, Datasets
from backend.inference import Shelf, Speaker
from backend.labelling.agreement import Share
from backend.labelling.scoreboard import wilson
from backend.plan import make_rows
from backend.runs import Run, Runs
from backend.specs import DatasetRef
from backend.workspace import Workspace
from tests.conftest import make_workspace
from tests.judges import preference_rows, save_preferences, train_judge


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("calibration") / "workspace", tiny_model)


@pytest.fixture(scope="module")
def pairs(workspace: Workspace) -> Card:
    return save_preferences(workspace, preference_rows(24))


@pytest.fixture(scope="module")
def run(workspace: Workspace, pairs: Card) -> Run:
    return train_judge(workspace, pairs)


@pytest.fixture(scope="module")
def shelf(workspace: Workspace) -> Shelf:
    return Shelf(workspace)


def measured(run: Run, shelf: Shelf, data: DatasetRef) -> Trial:
    *_, last = measure(run, shelf.judge(run.id), Datasets(run.workspace), data, turn=nullcontext)
    assert last == 1
    trial = known_trial(run, data)
    assert trial is not None
    return trial


def test_the_scores_are_the_ones_torch_computes() -> None:
    margins = [2.0, 0.3, -0.5, 0.0, 4.0, -3.0, 800.0, -20.0]
    found = calibration(margins)
    assert found is not None
    chances = torch.sigmoid(torch.tensor(margins, dtype=torch.float64))
    assert [probability(margin) for margin in margins] == pytest.approx(chances.tolist())
    assert found.brier == pytest.approx(torch.mean((1 - chances) ** 2).item())
    assert found.log_loss == pytest.approx(-torch.nn.functional.logsigmoid(torch.tensor(margins, dtype=torch.float64)).mean().item())
    assert (found.right, found.pairs) == (4, 8)  # 0 is not right: both answers got the same reward


def test_the_calibration_error_is_the_one_counted_by_hand() -> None:
    """Ten pairs it is 0.75 sure of, six right: 0.15 apart. Ten it is 0.95 sure of, all right: 0.05. Together 0.10."""
    sure, surer = torch.logit(torch.tensor([0.75, 0.95], dtype=torch.float64)).tolist()
    found = calibration([sure] * 6 + [-sure] * 4 + [surer] * 10)
    assert found is not None and found.error == pytest.approx(0.10)
    assert [(each.right, each.pairs, each.low) for each in found.bins] == [(6, 10, pytest.approx(0.7)), (10, 10, pytest.approx(0.9))]
    assert found.bins[0].interval == wilson(6, 10) and found.interval == wilson(16, 20)


@pytest.mark.parametrize(
    ("margins", "leaning"), [([5.0] * 20 + [-5.0] * 20, "too sure"), ([0.1] * 40, "not sure enough"), ([1.1] * 30 + [-1.1] * 10, "about right")]
)
def test_it_says_whether_the_model_is_too_sure(margins: list[float], leaning: str) -> None:
    found = calibration(margins)
    assert found is not None and found.leaning == leaning


def test_nothing_is_said_of_no_pairs() -> None:
    assert calibration([]) is None
    assert beaten(1.0, []) == Share(0, 0) and beaten(1.0, [0.0, 1.0, 2.0]) == Share(1, 3)


def test_its_own_held_out_pairs_are_those_training_measured(run: Run, shelf: Shelf) -> None:
    trial = measured(run, shelf, run.spec.data)
    told = [event for event in run.events.read()[0] if event["kind"] == "evaluated"][-1]
    found = calibration(trial.margins)
    assert found is not None and trial.rows == told["units"] == 6
    # training measured in fp32, a judge may work in bf16
    assert found.log_loss == pytest.approx(told["loss"], abs=0.02) and found.accuracy == told["metrics"]["accuracy"]
    assert sum(trial.margins) / 6 == pytest.approx(told["metrics"]["margin"], rel=0.02)
    assert trial.rewards == sorted(trial.rewards) and len(trial.rewards) == 12


def test_what_is_held_out_is_what_the_plan_holds_out(run: Run, shelf: Shelf, pairs: Card) -> None:
    records = list(Datasets(run.workspace).iterate(pairs.id))
    held, left_out = unseen(run, Datasets(run.workspace), run.spec.data)
    assert not left_out and len(make_rows(run.spec, records, shelf.judge(run.id).tokenizer).validation) == len(held)
    learnt = {prompt_of(record) for record in records} - {prompt_of(record) for record in held}
    assert len(learnt) == 18


def test_on_other_rows_what_it_learnt_from_is_left_out(run: Run, shelf: Shelf, workspace: Workspace) -> None:
    other = save_preferences(workspace, preference_rows(40), name="more pairs")
    trial = measured(run, shelf, DatasetRef(id=other.id, version=other.version))
    assert trial.rows == 40 - 18 and trial.left_out == {"learnt from in training": 18}


def test_rows_that_cannot_be_scored_are_left_out_with_their_reason(run: Run, shelf: Shelf, workspace: Workspace) -> None:
    rows = preference_rows(60)[40:]
    rows[0]["answers"][1] = rows[0]["answers"][0]
    card = save_preferences(workspace, rows, name="some the same")
    trial = measured(run, shelf, DatasetRef(id=card.id, version=card.version))
    assert trial.rows == 19 and trial.left_out == {"two of its answers are the same": 1}


def test_a_run_that_holds_nothing_out_is_told_of_none(workspace: Workspace, pairs: Card, shelf: Shelf) -> None:
    run = train_judge(workspace, pairs, steps=2, share=0.0)
    assert list(measure(run, shelf.judge(run.id), Datasets(workspace), run.spec.data, turn=nullcontext)) == []
    trial = known_trial(run, run.spec.data)
    assert trial == Trial(0, [], [], {}) and calibration(trial.margins) is None


def test_another_result_is_measured_anew(run: Run, shelf: Shelf) -> None:
    measured(run, shelf, run.spec.data)
    before = shelf.judge(run.id)
    (run.result / "manifest.json").touch()
    assert known_trial(run, run.spec.data) is None and shelf.judge(run.id) is not before


def test_a_reward_model_is_kept_and_put_away_with_its_run(workspace: Workspace, pairs: Card) -> None:
    run, shelf = train_judge(workspace, pairs, steps=2), Shelf(workspace)
    judge = shelf.judge(run.id)
    assert shelf.judge(run.id) is judge
    base = shelf.get(Speaker("base", "starter"))
    shelf.put_away(run.id)
    assert shelf.judge(run.id) is not judge and shelf.get(Speaker("base", "starter")) is base
    assert Runs(workspace).get(run.id).has_result
