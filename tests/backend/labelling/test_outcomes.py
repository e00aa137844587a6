"""What votes come to: majorities, ties, disagreements, what was settled, and the rows that are learnt from."""

import random
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.labelling.items import Batch, Candidate, Item, Labels, Said
from backend.labelling.outcomes import judged_in_chat, judged_items, outcome, records
from backend.labelling.talking import ChatVotes, Heard
from backend.preferences import rankings
from backend.store import Store


def said(who: str, *ranks: int, verdict: str = "ranked", strength: int | None = None, repeat: bool = False, undone: float = 0.0) -> Said:
    return Said(0, who, verdict, list(ranks), strength, repeat=repeat, undone=undone)  # type: ignore[arg-type]


def candidates(*texts: str) -> list[Candidate]:
    return [Candidate([{"role": "assistant", "content": text}], {"name": f"model {text}"}) for text in texts]


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(Store(tmp_path / "studio.db"))


def begun(labels: Labels, *, answers: int = 2) -> Batch:
    item = Item([{"role": "user", "content": "q"}], candidates(*"xyzuvw"[:answers]))
    return labels.begin("round", [item, item], overlap=3)


TIE, BAD, SKIP = (said("t", verdict=verdict) for verdict in ("tie", "both bad", "skipped"))


@pytest.mark.parametrize(
    ("votes", "verdict", "ranks"),
    [
        ([], "open", []),
        ([SKIP], "open", []),
        ([said("a", 1, 2)], "ranked", [1, 2]),
        ([said("a", 1, 2), said("b", 2, 1)], "disagreed", []),
        ([said("a", 1, 2), said("b", 2, 1), said("c", 2, 1)], "ranked", [2, 1]),
        ([said("a", 1, 2), TIE], "disagreed", []),
        ([said("a", 1, 2), said("b", 1, 2), said("c", 2, 1), TIE], "disagreed", []),
        ([TIE, TIE, said("a", 1, 2)], "tie", []),
        ([BAD, BAD, TIE], "both bad", []),
        ([said("a", 1, 1)], "tie", []),
        ([said("a", 1, 2), said("b", 2, 1, undone=5.0), said("a", 2, 1, repeat=True), SKIP], "ranked", [1, 2]),
    ],
)
def test_an_answer_is_better_where_more_than_half_say_so(votes: list[Said], verdict: str, ranks: list[int]) -> None:
    found = outcome(votes)
    assert (found.verdict, found.ranks) == (verdict, ranks)
    random.Random(0).shuffle(votes)
    assert outcome(votes) == found


def test_rankings_agree_answer_by_answer_and_not_only_as_a_whole() -> None:
    assert outcome([said("a", 1, 2, 3), said("b", 1, 3, 2), said("c", 1, 2, 3)]).ranks == [1, 2, 3]
    assert outcome([said("a", 1, 2, 3), said("b", 1, 3, 2)]).ranks == [1, 2, 2]  # who comes second is open
    circle = [said("a", 1, 2, 3), said("b", 3, 1, 2), said("c", 2, 3, 1)]
    assert outcome(circle).verdict == "disagreed"  # Condorcet 1785: each beats one and loses to one


def test_the_margin_is_how_much_better_those_who_agree_find_it() -> None:
    votes = [said("a", 1, 2, strength=1), said("b", 1, 2, strength=2), said("c", 2, 1, strength=3), said("d", 1, 2)]
    assert outcome(votes).margin == 1.5 and outcome(votes).people == 4
    assert outcome([said("a", 1, 2)]).margin is None


def test_what_is_settled_goes_before_the_votes_until_it_is_reopened(labels: Labels) -> None:
    batch = begun(labels)
    for person, rank in (("ada", (1, 2)), ("bob", (2, 1))):
        shown = labels.next(batch.id, person)
        assert shown
        labels.vote(shown, person, ranks=[rank[place] for place in shown.order], strength=3 if person == "bob" else 1)
    assert [each.outcome.verdict for each in judged_items(labels, batch.id)] == ["disagreed", "open"]
    labels.settle(batch.id, 0, "cleo", verdict="tie")
    labels.settle(batch.id, 0, "cleo", ranks=[2, 1])
    (settled, _) = judged_items(labels, batch.id)
    assert (settled.outcome.ranks, settled.outcome.margin, settled.outcome.is_settled) == ([2, 1], 3, True)
    assert labels.settlements(batch.id)[0].settler == "cleo" and len(labels.votes(batch.id)) == 2
    labels.settle(batch.id, 0, "cleo", verdict="reopened")
    assert judged_items(labels, batch.id)[0].outcome.verdict == "disagreed" and labels.settlements(batch.id) == {}
    with pytest.raises(UserError, match="Not every answer has a rank"):
        labels.settle(batch.id, 0, "cleo", ranks=[1])


def test_a_vote_counts_for_the_answer_wherever_it_stood(labels: Labels) -> None:
    """Everybody prefers the first candidate; half of them have it on the right."""
    batch = labels.begin("round", [Item([{"role": "user", "content": str(n)}], candidates("x", "y")) for n in range(20)])
    first_on_the_left = 0
    while shown := labels.next(batch.id, "ada"):
        labels.vote(shown, "ada", ranks=[1 if place == 0 else 2 for place in shown.order])
        first_on_the_left += shown.order[0] == 0
    assert 0 < first_on_the_left < 20
    assert {tuple(each.outcome.ranks) for each in judged_items(labels, batch.id)} == {(1, 2)}


def test_a_ranking_is_one_row_best_first_and_says_who_and_whose(labels: Labels) -> None:
    batch = begun(labels, answers=4)
    labels.settle(batch.id, 0, "cleo", ranks=[3, 1, 4, 2])
    labels.settle(batch.id, 1, "cleo", verdict="both bad")
    ranked, bad = records(judged_items(labels, batch.id))
    assert [answer[0]["content"] for answer in ranked["answers"]] == ["y", "u", "x", "z"] and ranked["ranks"] == [1, 2, 3, 4]
    assert ranked["about"] == {"how": "hand", "author": "labelled by 0 people", "tags": ["model u", "model x", "model y", "model z", "settled"]}
    assert bad["ranks"] == [2, 2, 2, 2] and "margin" not in bad


def test_rows_of_ties_teach_no_pair_and_a_ranking_teaches_all_of_its_pairs(labels: Labels, tiny_model: Path) -> None:
    from backend.models import load_tokenizer

    batch = begun(labels, answers=4)
    labels.settle(batch.id, 0, "cleo", ranks=[3, 1, 4, 2])
    labels.settle(batch.id, 1, "cleo", verdict="tie")
    ranked, tied = rankings(records(judged_items(labels, batch.id)), load_tokenizer(tiny_model), 64)
    assert len(ranked.pairs) == 6 and "none of its answers is better" in tied.reason  # type: ignore[union-attr]


def test_votes_in_chat_count_as_labels_where_both_sides_had_read_the_same(tmp_path: Path) -> None:
    votes = ChatVotes(Store(tmp_path / "chat.db"))
    x, y = candidates("x", "y")
    asked: list = [{"role": "user", "content": "q"}]
    votes.cast("talk", 0, Heard(asked, x), Heard(asked, y), verdict="right", annotator="ada")
    votes.cast("talk", 0, Heard(asked, x), Heard(asked, y), verdict="left", annotator="bob")
    votes.cast("talk", 1, Heard(asked, x), Heard(asked, y), verdict="both bad", annotator="ada")
    votes.cast("talk", 2, Heard(asked, x), Heard([*asked, *asked], y), verdict="left", annotator="ada")
    first, second = judged_in_chat(votes.votes())
    assert (first.outcome.verdict, first.outcome.people, second.outcome.verdict) == ("disagreed", 2, "both bad")
    assert [candidate.made for candidate in first.item.candidates] == [x.made, y.made]
