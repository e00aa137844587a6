"""Labelling without a page: blind, each vote once, nothing lost, nobody in another's way."""

import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from backend.errors import UserError
from backend.labelling.agreement import krippendorffs_alpha, raw_agreement
from backend.labelling.items import LEASE_SECONDS, Batch, Candidate, Item, Labels, Said, Shown
from backend.store import Store

ROOT = Path(__file__).parents[3]


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(Store(tmp_path / "studio.db"))


def items(count: int, *, answers: int = 2) -> list[Item]:
    return [
        Item([{"role": "user", "content": f"question {number}"}],
             [Candidate([{"role": "assistant", "content": f"answer {place} to {number}"}], {"model": f"model {place}"}) for place in range(answers)])
        for number in range(count)
    ]  # fmt: skip


def begun(labels: Labels, count: int = 10, *, overlap: int = 1, answers: int = 2) -> Batch:
    return labels.begin("round one", items(count, answers=answers), overlap=overlap)


def prefer(labels: Labels, shown: Shown, person: str, candidate: int) -> None:
    """Say that one candidate, wherever it stands, is the best, and the others follow in their order."""
    ranks = [1 if place == candidate else 2 for place in shown.order]
    labels.vote(shown, person, ranks=ranks)


def shown_to(labels: Labels, batch: Batch, person: str) -> Shown:
    shown = labels.next(batch.id, person)
    assert shown is not None
    return shown


def label_all(labels: Labels, batch: Batch, person: str, candidate: int = 0) -> int:
    count = 0
    while shown := labels.next(batch.id, person):
        prefer(labels, shown, person, candidate)
        count += 1
    return count


def test_nothing_shown_tells_who_made_an_answer(labels: Labels) -> None:
    shown = shown_to(labels, begun(labels), "ada")
    assert "model" not in repr(shown)
    assert sorted(answer[0]["content"] for answer in shown.answers) == ["answer 0 to 0", "answer 1 to 0"]


def test_sides_are_drawn_for_each_item_and_person_and_stay_while_looked_at(labels: Labels) -> None:
    batch = begun(labels, 200, overlap=2)
    orders: dict[str, list[tuple[int, ...]]] = {"ada": [], "bob": []}
    for person, seen in orders.items():
        while (shown := labels.next(batch.id, person)) and len(seen) < 120:
            assert shown_to(labels, batch, person).order == shown.order
            seen.append(shown.order)
            prefer(labels, shown, person, 0)
    for seen in orders.values():
        assert 30 < sum(order == (0, 1) for order in seen) < 90
    assert orders["ada"] != orders["bob"]


def test_a_vote_is_kept_by_candidate_whatever_side_it_stood_on(labels: Labels) -> None:
    batch = begun(labels, 12, overlap=2)
    for person in ("ada", "bob"):
        label_all(labels, batch, person, candidate=1)
    assert {label.value for label in labels.labels(batch.id)} == {"2 1"}
    assert raw_agreement(labels.labels(batch.id)).value == 1
    firsts, total = labels.left_picks(batch.id)
    assert 0 < firsts < total == 24


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_a_vote_said_twice_is_kept_once(labels: Labels) -> None:
    batch = begun(labels)
    shown = shown_to(labels, batch, "ada")
    prefer(labels, shown, "ada", 0)
    prefer(labels, shown, "ada", 1)  # a second click, a second tab
    assert [label.value for label in labels.labels(batch.id)] == ["1 2"]


def rows(path: Path, table: str) -> list[tuple]:
    with Store(path).reading() as db:
        return db.execute(f"SELECT * FROM {table}").fetchall()


def test_what_is_taken_back_is_asked_again_and_the_record_of_it_stays_as_it_was(labels: Labels, tmp_path: Path) -> None:
    batch = begun(labels)
    first = shown_to(labels, batch, "ada")
    prefer(labels, first, "ada", 0)
    cast = rows(tmp_path / "studio.db", "label_votes")
    back = labels.undo(batch.id, "ada", now=1000)
    assert back is not None and (back.item, back.order) == (first.item, first.order)
    assert rows(tmp_path / "studio.db", "label_votes") == cast
    assert rows(tmp_path / "studio.db", "label_undos") == [(cast[0][0], 1000)]
    assert labels.labels(batch.id) == []
    assert shown_to(labels, batch, "ada").item == first.item
    prefer(labels, back, "ada", 1)
    assert [label.value for label in labels.labels(batch.id)] == ["2 1"]
    assert rows(tmp_path / "studio.db", "label_votes")[:1] == cast and len(labels.votes(batch.id, undone=True)) == 2
    labels.undo(batch.id, "ada")
    assert labels.undo(batch.id, "ada") is None


def test_of_votes_that_are_brought_the_first_by_one_person_stands_and_what_they_took_back_is_kept(labels: Labels) -> None:
    votes = [Said(0, who, "ranked", ranks, undone=undone) for who, ranks, undone in (
        ("ada", [1, 2], 5.0), (" ada ", [2, 1], 0.0), ("ada", [1, 1], 0.0), ("bob", [1, 2], 0.0), ("ada", [1, 2], 6.0),
    )]  # fmt: skip
    batch = labels.begin("brought", items(1), votes=votes)
    assert [(vote.annotator, vote.ranks) for vote in labels.votes(batch.id)] == [("ada", [2, 1]), ("bob", [1, 2])]
    assert [vote.undone for vote in labels.votes(batch.id, undone=True)] == [5, 0, 0, 6]


def test_two_people_never_get_the_same_item_where_one_opinion_is_wanted(labels: Labels) -> None:
    batch = begun(labels, 4)
    ada, bob = shown_to(labels, batch, "ada"), shown_to(labels, batch, "bob")
    assert ada.item != bob.item
    assert label_all(labels, batch, "ada") == 3 and label_all(labels, batch, "bob") == 1  # bob's item was kept for him
    assert len(labels.labels(batch.id)) == 4


@pytest.mark.parametrize("overlap", [1, 2])
def test_an_item_never_goes_to_more_people_than_wanted_however_many_ask_at_once(tmp_path: Path, overlap: int) -> None:
    """Each asks over a connection of their own, as from a process of their own."""
    people = [f"person {number}" for number in range(8)]
    batch = begun(Labels(Store(tmp_path / "studio.db")), 12, overlap=overlap)
    desks = {person: Labels(Store(tmp_path / "studio.db")) for person in people}
    ready = Barrier(len(people))

    def ask(person: str) -> Shown | None:
        ready.wait()
        return desks[person].next(batch.id, person)

    said: Counter[int] = Counter()
    with ThreadPoolExecutor(len(people)) as at_once:
        while given := [(person, shown) for person, shown in zip(people, at_once.map(ask, people), strict=True) if shown]:
            said.update(shown.item for _, shown in given)
            assert max(said.values()) <= overlap
            for person, shown in given:
                prefer(desks[person], shown, person, 0)
    assert said == dict.fromkeys(range(12), overlap)


def test_an_item_somebody_left_is_given_to_another(labels: Labels) -> None:
    batch = begun(labels, 1)
    assert labels.next(batch.id, "ada", now=1000) is not None
    assert labels.next(batch.id, "bob", now=1001) is None
    assert labels.next(batch.id, "bob", now=1001 + LEASE_SECONDS) is not None


def test_every_item_is_labelled_by_as_many_people_as_wanted(labels: Labels) -> None:
    batch = begun(labels, 6, overlap=2)
    assert [label_all(labels, batch, person) for person in ("ada", "bob", "cyd")] == [6, 6, 0]
    assert krippendorffs_alpha(labels.labels(batch.id)) is None  # everybody always said the same
    assert labels.annotators(batch.id) == ["ada", "bob"]


def test_a_skipped_item_is_not_asked_again_but_left_to_others(labels: Labels) -> None:
    batch = begun(labels, 2)
    labels.vote(shown_to(labels, batch, "ada"), "ada", verdict="skipped")
    assert label_all(labels, batch, "ada") == 1
    assert label_all(labels, batch, "bob") == 1
    progress = labels.progress(batch.id, "ada")
    assert (progress.done, progress.skipped, progress.left) == (1, 1, 0)


def test_one_in_twenty_is_asked_again_with_the_sides_flipped(labels: Labels) -> None:
    batch = begun(labels, 100)
    repeats, orders = [], {}
    while shown := labels.next(batch.id, "ada"):
        if shown.repeat:
            assert shown.order == tuple(reversed(orders[shown.item]))
            repeats.append(shown.item)
        orders[shown.item] = shown.order
        prefer(labels, shown, "ada", 0)
    assert len(repeats) == len(set(repeats)) == 5
    assert labels.said_again(batch.id, "ada") == [("1 2", "1 2")] * 5
    assert len(labels.labels(batch.id)) == 100  # repeats are no labels of their own


def test_a_repeat_that_is_skipped_is_not_asked_a_third_time(labels: Labels) -> None:
    batch = begun(labels, 30)
    seen = []
    while shown := labels.next(batch.id, "ada"):
        seen.append(shown.item)
        labels.vote(shown, "ada", ranks=() if shown.repeat else (1, 2), verdict="skipped" if shown.repeat else "ranked")
    assert len(seen) == 31 and set(seen) == set(range(30))


def test_how_far_somebody_is_does_not_tell_what_is_asked_again(labels: Labels) -> None:
    batch = begun(labels, 40)
    for number in range(42):  # two of them come twice
        load = labels.workload(batch.id, "ada")
        assert (load.done, load.left, load.total) == (number, 42 - number, 42)
        prefer(labels, shown_to(labels, batch, "ada"), "ada", 0)
    load = labels.workload(batch.id, "ada")
    assert (load.done, load.left, load.skipped) == (42, 0, 0)
    assert labels.progress(batch.id, "ada").done == 40


def test_items_in_front_of_others_are_counted_apart(labels: Labels) -> None:
    batch = begun(labels, 3)
    shown_to(labels, batch, "bob")
    assert label_all(labels, batch, "ada") == 2
    load = labels.workload(batch.id, "ada")
    assert (load.done, load.left, load.with_others) == (2, 0, 1)
    labels.leave(batch.id, "bob")
    assert label_all(labels, batch, "ada") == 1


def test_an_item_is_drawn_as_it_was_shown_and_once_answered_not_again(labels: Labels) -> None:
    batch = begun(labels, 2)
    shown = labels.next(batch.id, "ada", now=1000)
    assert shown and labels.held(batch.id, shown.item, "ada", now=1030) == shown
    labels.vote(shown, "ada", ranks=(1, 2), now=1030)
    assert labels.held(batch.id, shown.item, "ada") is None
    assert labels.workload(batch.id, "ada").seconds_per_item == 30


def test_who_looked_so_long_that_another_got_the_item_may_still_answer(labels: Labels) -> None:
    batch = begun(labels, 1)
    assert labels.next(batch.id, "ada", now=1000)
    assert labels.next(batch.id, "bob", now=1001 + LEASE_SECONDS)
    shown = labels.held(batch.id, 0, "ada")
    assert shown and not shown.repeat
    prefer(labels, shown, "ada", 0)
    assert [label.annotator for label in labels.labels(batch.id)] == ["ada"]


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_what_is_taken_back_twice_by_a_page_that_is_behind_is_taken_back_once(labels: Labels) -> None:
    batch = begun(labels)
    for _ in range(3):
        prefer(labels, shown_to(labels, batch, "ada"), "ada", 0)
    turn = labels.turn(batch.id, "ada")
    assert labels.undo(batch.id, "ada", turn=turn) is not None
    assert labels.undo(batch.id, "ada", turn=turn) is None
    assert len(labels.labels(batch.id)) == 2 and labels.turn(batch.id, "ada") == turn + 1


def opinions(labels: Labels, *, swapped: bool, names: tuple[str, str], people: tuple[str, ...]) -> dict[str, object]:
    """What three people who do not always agree say of ten pairs, by the name of who wrote the better answer."""
    numbers = range(10)
    kept = [
        Item([{"role": "user", "content": f"question {number}"}],
             [Candidate([{"role": "assistant", "content": f"{side} {number}"}], {"name": names[side == "b"]}) for side in ("ba" if swapped else "ab")])
        for number in numbers
    ]  # fmt: skip
    batch = labels.begin(f"batch of {people} {swapped}", kept, overlap=3)
    for person in people:
        while shown := labels.next(batch.id, person):
            if not shown.repeat:
                better = "a" if (shown.item * 7 + ord(person[0])) % 3 else "b"
                labels.vote(shown, person, ranks=[1 if answer[0]["content"].startswith(better) else 2 for answer in shown.answers])
    said = labels.labels(batch.id)
    wins = sorted((int(label.item), label.annotator, _winner(labels.item(batch.id, int(label.item)), label.value)) for label in said)
    return {"alpha": krippendorffs_alpha(said), "raw": raw_agreement(said).value, "wins": [(item, who, won == names[0]) for item, who, won in wins]}


def _winner(item: Item, value: str) -> str:
    return item.candidates[value.split().index("1")].made["name"]


def test_swapped_sides_other_names_and_another_order_of_votes_change_no_statistic(labels: Labels) -> None:
    people = ("ada", "bob", "cyd")
    before = opinions(labels, swapped=False, names=("base", "tuned"), people=people)
    assert before["alpha"] is not None and {won for *_, won in before["wins"]} == {True, False}  # type: ignore[union-attr]
    assert opinions(labels, swapped=True, names=("base", "tuned"), people=people) == before
    assert opinions(labels, swapped=False, names=("zebra", "aardvark"), people=people) == before
    assert opinions(labels, swapped=False, names=("base", "tuned"), people=people[::-1]) == before


def test_ties_and_pairs_that_are_both_bad_are_answers_too(labels: Labels) -> None:
    batch = begun(labels, 2)
    labels.vote(shown_to(labels, batch, "ada"), "ada", verdict="tie")
    labels.vote(shown_to(labels, batch, "ada"), "ada", verdict="both bad", strength=2)
    assert [label.value for label in labels.labels(batch.id)] == ["tie", "both bad"]


def test_four_answers_are_put_in_order(labels: Labels) -> None:
    batch = begun(labels, 1, answers=4)
    shown = shown_to(labels, batch, "ada")
    with pytest.raises(UserError, match="Not every answer has a rank yet"):
        labels.vote(shown, "ada", ranks=(1, 2))
    labels.vote(shown, "ada", ranks=[{0: 2, 1: 1, 2: 4, 3: 3}[place] for place in shown.order])
    assert [label.value for label in labels.labels(batch.id)] == ["2 1 4 3"]


@pytest.mark.parametrize("answers", [1, 10])
def test_what_cannot_be_compared_is_refused(labels: Labels, answers: int) -> None:
    with pytest.raises(UserError, match="from 2 to 9 can be compared"):
        begun(labels, 1, answers=answers)


KILLED = """
import os, signal, sys
from pathlib import Path
from backend.labelling.items import Labels
from backend.store import Store
labels = Labels(Store(Path(sys.argv[1])))
batch = labels.batches()[0].id
for _ in range(20):
    shown = labels.next(batch, "ada")
    labels.vote(shown, "ada", ranks=[1, 2])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.fault("the process is killed after a vote")
def test_twenty_votes_outlive_a_killed_studio(labels: Labels, tmp_path: Path) -> None:
    batch = begun(labels, 30)
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "studio.db"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(Labels(Store(tmp_path / "studio.db")).labels(batch.id)) == 20


def test_drafts_and_labels_stand_in_one_file_that_an_older_studio_began(tmp_path: Path) -> None:
    from backend import store

    with pytest.MonkeyPatch.context() as older:
        older.setattr(store, "SCHEMAS", store.SCHEMAS[:1])
        Store(tmp_path / "studio.db").close()
    assert begun(Labels(Store(tmp_path / "studio.db"))).items == 10
