"""Reviewing: every decision is kept once, can be taken back, and what was accepted becomes rows."""

import json
from pathlib import Path

import pytest

from backend.data.versions import Datasets
from backend.errors import UserError
from backend.generating.generation import Candidate, Generation, make_generation
from backend.generating.review import Review
from backend.generating.settings import parse_generation
from backend.generating.tasks import Task
from backend.workspace import Workspace


@pytest.fixture
def generation(tmp_path: Path) -> Generation:
    """Four candidates, the third of which the filter rejected."""
    workspace = Workspace(tmp_path / "workspace").prepare()
    generation = make_generation(workspace, parse_generation({"name": "birds", "seeds": {"path": "seeds.jsonl"}}))
    generation.keep([
        Candidate(
            id=f"0-{n}", attempt=0, instruction=f"Name {n} birds.", input="Quickly!" if n == 1 else "", output=f"Here are {n}.",
            is_classification=n == 3, verdict="rejected" if n == 2 else "accepted", fault="", reason="", nearest="", score=0.0, seconds=1.0, seed=0,
        )
        for n in range(4)
    ])  # fmt: skip
    return generation


def ids(review: Review) -> list[str]:
    return [each.id for each in review.queue()]


def test_what_passed_the_filter_waits_in_order(generation: Generation) -> None:
    assert ids(Review(generation)) == ["0-0", "0-1", "0-3"]


def test_decisions_stand_after_a_restart_and_each_once(generation: Generation) -> None:
    review = Review(generation)
    review.accept("0-0")
    review.accept("0-0")  # a double click, or a second tab
    review.reject("0-0")
    review.reject("0-1")
    again = Review(Generation(generation.workspace, generation.id))
    assert ids(again) == ["0-3"]
    assert [(each.id, each.verdict) for each in again.decisions()] == [("0-0", "accepted"), ("0-1", "rejected")]


def test_the_latest_decision_is_taken_back_first(generation: Generation) -> None:
    review = Review(generation)
    assert review.undo() is None
    review.accept("0-0")
    review.reject("0-1")
    assert review.undo() == "0-1" and ids(review) == ["0-1", "0-3"]
    review.accept("0-1")
    assert [review.undo(), review.undo(), review.undo()] == ["0-1", "0-0", None]
    assert ids(review) == ["0-0", "0-1", "0-3"]


def test_an_edited_task_is_kept_as_edited_and_undo_brings_back_the_first_form(generation: Generation) -> None:
    review = Review(generation)
    edited = Task("Name a bird.", "", "A wren.", True)
    review.accept("0-0", edited)
    (decision,) = review.accepted()
    assert decision.task == edited and decision.is_edited
    review.undo()
    assert review.queue()[0].task == Task("Name 0 birds.", "", "Here are 0.", False)
    review.accept("0-0", review.queue()[0].task)
    assert not review.accepted()[0].is_edited


def test_an_empty_text_is_not_accepted(generation: Generation) -> None:
    review = Review(generation)
    for edited in (Task(" ", "", "A wren.", False), Task("Name a bird.", "", "\n", False)):
        with pytest.raises(UserError, match="Fill both in, or reject"):
            review.accept("0-0", edited)
    assert ids(review)[0] == "0-0"


@pytest.mark.parametrize("id", ["0-2", "9-9", ""])
def test_nothing_is_decided_about_what_is_not_in_the_queue(generation: Generation, id: str) -> None:
    with pytest.raises(UserError, match="not in the queue"):
        Review(generation).accept(id)
    with pytest.raises(UserError, match="not in the queue"):
        Review(generation).reject(id)


def test_half_a_line_or_a_strange_one_does_no_harm(generation: Generation) -> None:
    review = Review(generation)
    review.accept("0-0")
    with review.path.open("ab") as file:
        file.write(b'[1]\n"x"\n\xff\n{"id": ["a"], "verdict": "undone"}\n{"id": "0-3", "verdict": "burnt"}\n{"id": "0-1", "verd')
    review.reject("0-3")
    assert [(each.id, each.verdict) for each in review.decisions()] == [("0-0", "accepted"), ("0-3", "rejected")]


def test_what_is_accepted_becomes_a_data_set(generation: Generation) -> None:
    review, datasets = Review(generation), Datasets(generation.workspace)
    with pytest.raises(UserError, match="No task is accepted yet"):
        review.save(datasets, name="birds")
    review.accept("0-1")
    review.accept("0-3", Task("Is it a bird?", "A wren", "Yes", True))
    card = review.save(datasets, name="birds")
    assert (card.rows, card.made) == (2, {"generated": 2})
    first, second = datasets.rows(card.id)
    assert first["messages"] == [{"role": "user", "content": "Name 1 birds.\nQuickly!"}, {"role": "assistant", "content": "Here are 1."}]
    assert first["about"] | {"how": "generated", "author": "starter", "task": "generation"} == first["about"]
    assert second["about"]["task"] == "classification"
    assert card.source["generation"] == generation.id and json.dumps(card.source)


def test_saving_again_makes_the_next_version(generation: Generation) -> None:
    review, datasets = Review(generation), Datasets(generation.workspace)
    review.accept("0-0")
    first = review.save(datasets, name="birds")
    assert review.save(datasets, name="birds").version == 1
    review.accept("0-1")
    second = review.save(datasets, name="birds")
    assert (second.id, second.version) == (first.id, 2)
