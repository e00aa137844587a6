"""A reward model beside people: agreement by hand, the items they differ on, and asking that can be broken off."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from backend.calibration import probability
from backend.inference import Shelf
from backend.labelling.agreement import Share
from backend.labelling.items import Candidate, Item, Said
from backend.labelling.opinion import ITEMS_AT_ONCE, ask, compared, known_opinion
from backend.runs import Run
from tests.conftest import make_workspace
from tests.judges import preference_rows, save_preferences, train_judge


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    workspace = make_workspace(tmp_path_factory.mktemp("opinion") / "workspace", tiny_model)
    return train_judge(workspace, save_preferences(workspace, preference_rows(24)))


def items(count: int) -> list[Item]:
    return [Item(row["prompt"], [Candidate(answer, {}) for answer in row["answers"]]) for row in preference_rows(count)]


def said(number: int, who: str, *ranks: int, repeat: bool = False) -> Said:
    return Said(number, who, "ranked" if ranks else "tie", list(ranks), repeat=repeat)


def test_agreement_with_it_is_the_one_counted_by_hand() -> None:
    """Of ten pairs the model prefers the first in eight; a person always does: 0.8, so (0.8 - 0.5) / 0.5 = 0.6 beyond chance."""
    opinion = {n: [1.0, 0.0] if n < 8 else [0.0, 1.0] for n in range(10)}
    found = compared([said(n, "ada", 1, 2) for n in range(10)], items(10), opinion)
    assert found.most.same == Share(8, 10) and found.most.kappa == pytest.approx(0.6)
    assert [(each.name, each.same) for each in found.people] == [("ada", Share(8, 10))]


def test_ties_second_looks_and_what_it_was_not_asked_are_left_out() -> None:
    votes = [said(0, "ada", 1, 2), said(1, "ada"), said(2, "ada", 1, 2), said(0, "ada", 2, 1, repeat=True), said(3, "ada", 1, 2)]
    found = compared(votes, items(4), {0: [1.0, 0.0], 1: [1.0, 0.0], 3: [0.5, 0.5]})
    assert found.people[0].same == Share(1, 1)


def test_most_people_are_compared_with_it_and_an_even_split_says_nothing() -> None:
    votes = [said(0, "ada", 1, 2), said(0, "ben", 1, 2), said(0, "cy", 2, 1), said(1, "ada", 1, 2), said(1, "ben", 2, 1)]
    found = compared(votes, items(2), {0: [0.0, 2.0], 1: [1.0, 0.0]})
    assert found.most.same == Share(0, 1)
    assert [(each.name, each.same.part, each.same.whole) for each in found.people] == [("ada", 1, 2), ("ben", 0, 2), ("cy", 1, 1)]
    (difference,) = found.differences
    assert (difference.item, difference.preferred, difference.other, difference.votes) == (0, 0, 1, Share(2, 3))
    assert difference.sure == pytest.approx(probability(2.0))


def test_what_it_is_surest_of_comes_first() -> None:
    opinion = {0: [0.0, 0.5], 1: [0.0, 3.0], 2: [3.0, 0.0]}
    found = compared([said(n, "ada", 1, 2) for n in range(3)], items(3), opinion)
    assert [each.item for each in found.differences] == [1, 0]


def test_nobody_has_to_have_voted() -> None:
    found = compared([], items(2), {0: [0.0, 1.0]})
    assert found.most.same == Share(0, 0) and found.most.kappa is None and found.people == found.differences == []


def test_asking_goes_on_where_it_was_broken_off_and_is_instant_when_done(run: Run) -> None:
    judge, batch = Shelf(run.workspace).judge(run.id), items(20)
    first = next(ask(run, judge, "first-round", batch, turn=nullcontext))
    assert first == ITEMS_AT_ONCE / 20 and len(known_opinion(run, "first-round")[0]) == ITEMS_AT_ONCE
    assert list(ask(run, judge, "first-round", batch, turn=nullcontext)) == [16 / 20, 1.0]
    assert list(ask(run, judge, "first-round", batch, turn=nullcontext)) == []
    rewards, unread = known_opinion(run, "first-round")
    assert unread == 0 and sorted(rewards) == list(range(20))
    alone = judge.rewards([[*batch[3].prompt, *each.answer] for each in batch[3].candidates])
    assert rewards[3] == pytest.approx(alone, rel=0.02)  # padded otherwise, which bf16 shows
    assert known_opinion(run, "another")[0] == {}


def test_it_learnt_what_people_say_here(run: Run) -> None:
    judge, batch = Shelf(run.workspace).judge(run.id), items(24)
    list(ask(run, judge, "habit", batch, turn=nullcontext))
    found = compared([said(n, "ada", 1, 2) for n in range(24)], batch, known_opinion(run, "habit")[0])
    assert found.most.same.value is not None and found.most.same.value > 0.9


def test_an_item_it_cannot_read_whole_is_left_out_and_counted(run: Run) -> None:
    batch = [*items(2), Item([{"role": "user", "content": "word " * 2_000}], items(1)[0].candidates)]
    judge = Shelf(run.workspace).judge(run.id)
    list(ask(run, judge, "long", batch, turn=nullcontext))
    rewards, unread = known_opinion(run, "long")
    assert sorted(rewards) == [0, 1] and unread == 1


def test_a_resumed_run_is_asked_anew_and_the_opinions_go_with_the_run(run: Run) -> None:
    list(ask(run, Shelf(run.workspace).judge(run.id), "again", items(2), turn=nullcontext))
    assert all(file.is_relative_to(run.folder) for file in run.workspace.root.rglob("batch-again-*"))
    (run.result / "manifest.json").touch()
    assert known_opinion(run, "again") == ({}, 0)
