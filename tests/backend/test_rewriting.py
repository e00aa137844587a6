"""Prompts in other words by a model: what is kept, what is rejected and why, and going on after an end."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from backend import rewriting
from backend.data.augment import Augmentation, augment, save_augmented
from backend.data.records import how_of, prompt_of
from backend.data.templating.sets import template_sets
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.generating.prompts import Completion, Prompt
from backend.jobs import Means
from backend.rewriting import Rewriting, Rewritings, RewritingSettings, judged, make_rewriting, parse_rewriting
from backend.sampling import Sampling
from backend.workspace import Workspace
from tests.conftest import starter_rows


@pytest.mark.parametrize(
    ("prompt", "words", "fault"),
    [
        ("Why does bread rise?", ' "How come bread rises?" ', ""),
        ("Why does bread rise?", "", "are missing"),
        ("Why does bread rise?", "Yeast makes the bread rise.", "answer the question, or are none"),
        ("Why does bread rise?", "Why does bread rise?", "are nearly the same (1.00 alike, at most 0.9 is allowed)"),
        ("Why does bread rise?", "What is the time now?", "likely ask for something else (0.00 alike, at least 0.2 is needed)"),
        ("List the top 5 players of 2021.", "Name the best 5 players.", "have other numbers"),
        ("Find the perimeter of a triangle.", "What is the perimeter of a triangle of 10?", "have other numbers"),
        ("Give me a tip for chopping onions without crying over them.", "Chop onions.", "are much shorter"),
        ("Why?", "Why is it that everything here has to be the way it is and no other?", "are much longer"),
    ],
)
def test_other_words_are_kept_or_the_reason_is_said(prompt: str, words: str, fault: str) -> None:
    found = judged(prompt, Completion(words, False), RewritingSettings())
    assert (found.fault, found.words) == (fault, words.strip(' "'))


def test_words_that_are_cut_off_are_rejected() -> None:
    assert (
        judged("Why does bread rise?", Completion("What makes bread rise and", True), RewritingSettings()).fault
        == "are not finished"
    )


def test_bounds_in_the_wrong_order_are_told() -> None:
    with pytest.raises(UserError, match="not below"):
        parse_rewriting({"data": {"id": "x"}, "settings": {"least_similar": 0.9, "most_similar": 0.5}})


class Parrot:
    """Writes the request again, one word added; stops when told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def go_on(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        requests = [prompt.text.rpartition("Request: ")[2].partition("\n")[0] for prompt in prompts]
        self.asked += requests
        return [Completion(f"Tell me now, {request}", False) for request in requests]


def means(should_stop: Any = lambda: False) -> Means:
    return Means(should_stop, nullcontext(), None)  # type: ignore[arg-type]


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Parrot:
    writer = Parrot()
    monkeypatch.setattr(rewriting, "open_writer", lambda settings, means: writer)
    return writer


def made(workspace: Workspace, card: Card, **settings: Any) -> Rewriting:
    return make_rewriting(workspace, parse_rewriting({"name": "x", "data": {"id": card.id}, "settings": settings}))


def test_a_stopped_rewriting_goes_on_where_it_was_left(workspace: Workspace, dataset: Card, parrot: Parrot) -> None:
    job = made(workspace, dataset, prompts=10, prompts_at_once=4, most_similar=1.0)
    job.perform(means(lambda: len(parrot.asked) >= 4))
    assert job.status == "stopped" and job.standing().asked == 4
    (job.folder / "rewordings.jsonl").open("a").write('{"prompt": "torn')  # a kill in the middle of a line
    job.perform(means())
    assert job.status == "done" and (job.standing().asked, job.standing().kept) == (10, 10)
    assert len(parrot.asked) == len(set(parrot.asked)) == 10
    assert set(parrot.asked) <= {prompt_of(row) for row in starter_rows(24)}


def test_other_words_become_augmented_rows_beside_their_originals(workspace: Workspace, dataset: Card, parrot: Parrot) -> None:
    job = made(workspace, dataset, prompts=6, most_similar=1.0)
    job.perform(means())
    datasets, frames = Datasets(workspace), template_sets().sets["rewording"]
    settings, words = Augmentation(reworded=0), job.other_words()
    card = save_augmented(datasets, dataset.id, 1, settings, frames, other_words=words)
    assert card.made == {"imported": 24, "augmented": 6}
    copies = [row for row in datasets.iterate(card.id, 2) if how_of(row) == "augmented"]
    assert all(
        row["about"]["author"] == "starter" and prompt_of(row) == f"Tell me now, {row['about']['family']}" for row in copies
    )
    again = card.source["other_words"]
    assert list(augment(datasets.iterate(dataset.id, 1), settings, frames, again)) == list(datasets.iterate(card.id, 2))


def test_plain_text_has_no_prompts_to_rewrite(workspace: Workspace, texts: Card) -> None:
    with pytest.raises(UserError, match="holds no conversations"):
        made(workspace, texts)


def test_rewritings_are_found_by_their_data_set(workspace: Workspace, dataset: Card) -> None:
    job = made(workspace, dataset)
    assert [each.id for each in Rewritings(workspace).of(dataset.id)] == [job.id]
    assert Rewritings(workspace).of("another") == []


def test_a_real_model_is_asked_and_every_prompt_is_judged(workspace: Workspace, dataset: Card) -> None:
    from backend.device import Turns
    from backend.inference import Shelf

    job = made(workspace, dataset, prompts=3)
    job.perform(Means(lambda: False, Turns(), Shelf(workspace)))
    assert job.status == "done" and job.standing().asked == 3
