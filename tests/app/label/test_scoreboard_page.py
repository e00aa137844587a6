"""The scoreboard without a page: whose votes it counts, and that it does not spoil a batch that is being labelled."""

from dataclasses import dataclass
from functools import cached_property

import pytest

from app.label.scoreboard_page import on_batch, on_count
from backend.labelling.items import Candidate, Item, Labels, Made, Said
from backend.labelling.talking import ChatVotes, Heard
from backend.store import Store
from backend.workspace import Workspace

BASE: Made = {"speaker": "base:starter", "name": "starter"}
RUN: Made = {"speaker": "run:x-1a2b3c", "name": "<b>poems</b> ${1}"}
PPO: Made = {"speaker": "run:y-4d5e6f", "name": "ppo"}


@dataclass
class Studio:
    store: Store

    @cached_property
    def labels(self) -> Labels:
        return Labels(self.store)


@pytest.fixture
def studio(tmp_path):
    return Studio(Store.of(Workspace(tmp_path).prepare()))


def begin(studio: Studio, name: str, pairs: list[tuple[Made, Made]], *, voted: int | None = None) -> str:
    """A batch in which the first of each pair won, as far as it is labelled."""
    items = [
        Item([{"role": "user", "content": f"{name} {number}"}], [Candidate([{"role": "assistant", "content": str(place)}], each) for place, each in enumerate(pair)])
        for number, pair in enumerate(pairs)
    ]
    said = [Said(number, "ada", "ranked", [1, 2]) for number in range(len(items) if voted is None else voted)]
    return studio.labels.begin(name, items, votes=said).id


def vote_in_chat(studio: Studio, left: Made, right: Made) -> None:
    sides = [Heard([{"role": "user", "content": "q"}], Candidate([{"role": "assistant", "content": each["name"]}], each)) for each in (left, right)]
    ChatVotes(studio.store).cast("talk", 0, *sides, verdict="left", annotator="ada")


def board(studio: Studio, sources: list[str], batch: str | None, *, peek: bool = False) -> str:
    return on_count(studio, sources, batch, peek)[1]


def test_without_votes_it_says_where_they_come_from(studio):
    assert "No votes to count here yet" in board(studio, ["batch", "all", "chat"], None)


def test_ticks_choose_whose_votes_are_counted(studio):
    first, _ = begin(studio, "first", [(RUN, BASE)] * 3), begin(studio, "second", [(BASE, RUN)] * 2)
    vote_in_chat(studio, BASE, RUN)
    for sources, votes in ([["batch"], 3], [["all"], 5], [["batch", "all"], 5], [["all", "chat"], 6]):
        assert f"{votes} votes, which make" in board(studio, sources, first)
    assert "1 vote, which makes 1 comparison" in board(studio, ["chat"], first)
    assert "No votes to count" in board(studio, [], first)


def test_a_pair_is_told_in_counts_an_interval_and_a_sentence(studio):
    shown = board(studio, ["batch"], begin(studio, "first", [(BASE, PPO)] * 9 + [(PPO, BASE)]))
    assert "9 won, 0 ties, 1 lost · win rate 90%, 95% interval 60% to 98% · p = 0.021 (exact)" in shown
    assert "starter is better than ppo: it wins 90% of 10 decided votes" in shown
    assert "How strong each is" not in shown


def test_from_three_candidates_on_their_strength_is_shown_the_best_first(studio):
    shown = board(studio, ["batch"], begin(studio, "first", [(PPO, RUN), (RUN, BASE), (PPO, BASE)] * 5))
    ranked = shown.partition("How strong each is")[2].partition("Who was compared")[0]
    assert ranked.index("ppo") < ranked.index("poems") < ranked.index("starter")


def test_candidates_that_never_met_are_not_ranked(studio):
    other: Made = {"speaker": "base:other", "name": "other"}
    assert "never met" in board(studio, ["batch"], begin(studio, "first", [(PPO, RUN), (BASE, other)]))


def test_names_are_shown_as_text(studio):
    shown = board(studio, ["batch"], begin(studio, "first", [(RUN, BASE)]))
    assert "<b>" not in shown and "${" not in shown and "&lt;b&gt;poems" in shown


def test_a_batch_that_is_being_labelled_shows_only_when_asked_for(studio):
    batch = begin(studio, "first", [(RUN, BASE)] * 5, voted=3)
    peek, shown = on_count(studio, ["batch"], batch, False)
    assert peek.visible and "2 of 5 items are still open. Looking now may sway those who label" in shown and "poems" not in shown
    assert "3 votes" in board(studio, ["batch"], batch, peek=True)
    assert "2 of 5 items" in board(studio, ["all", "chat"], None)
    assert not on_count(studio, ["chat"], batch, False)[0].visible


def test_another_batch_is_not_looked_into_before_it_is_asked_for(studio):
    assert on_batch(studio, ["batch", "chat"], "first") == (["batch", "chat"], False)
    assert on_batch(studio, ["batch"], None) == (["chat"], False)
