"""What the labelling screen is answered: blind, each vote once, nothing trusted that the page says."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.label.label_page import on_seat
from app.label.labelling import BEHIND, NOTHING_SAID, OVERWRITTEN, answer
from backend.labelling.items import LEASE_SECONDS, Candidate, Item, Labels
from backend.store import Store

SECRET = "made-by-the-tuned-model"


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(Store(tmp_path / "studio.db"))


def begun(labels: Labels, count: int = 10, *, answers: int = 2, overlap: int = 1) -> str:
    made: Any = {"speaker": f"run:{SECRET}", "name": SECRET, "adapter": SECRET, "seed": 4711, "end": "cut off"}
    items = [
        Item([{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"question {number}"}],
             [Candidate([{"role": "assistant", "content": f"text {place} {number}"}], made) for place in range(answers)])
        for number in range(count)
    ]  # fmt: skip
    return labels.begin("round one", items, guidelines="Be fair.", overlap=overlap, source={"from": "candidates", "models": [SECRET]}).id


def ask(labels: Labels, batch: str, do: str = "look", annotator: str = "ada", **more: Any) -> dict[str, Any]:
    return answer(labels, {"do": do, "batch": batch, "annotator": annotator, **more})


def vote(labels: Labels, batch: str, at: dict[str, Any], annotator: str = "ada", **more: Any) -> dict[str, Any]:
    said = {"verdict": "ranked", "ranks": [1, 2]} | more
    return ask(labels, batch, "vote", annotator, item=at["item"]["number"], turn=at["turn"], **said)


def first_text(at: dict[str, Any]) -> str:
    return at["item"]["answers"][0][0]["content"]


def test_no_answer_names_a_model_or_tells_how_things_are_stored(labels: Labels) -> None:
    batch = begun(labels, 60, answers=2)
    at = ask(labels, batch)
    firsts = set()
    while at["item"]:
        assert set(at["item"]) == {"number", "prompt", "answers"}
        assert all(set(message) == {"role", "content"} for said in at["item"]["answers"] for message in said)
        assert SECRET not in json.dumps(at) and "repeat" not in json.dumps(at) and "order" not in json.dumps(at)
        firsts.add(first_text(at).split()[1])
        at = vote(labels, batch, at)
    assert firsts == {"0", "1"}  # whoever was stored first does not always stand first
    assert (at["done"], at["left"]) == (63, 0)  # three came twice, like anything else
    assert at["progress"].startswith("63 of 63 done")


@pytest.mark.parametrize("speaker", ["run:tuned-1a2b3c", "base:starter", "column:chosen"])
def test_nothing_the_label_page_is_given_names_a_model_a_run_or_a_column(labels: Labels, speaker: str) -> None:
    made: Any = {"speaker": speaker, "name": "three lines", "adapter": "0123abcd", "sampling": {"temperature": 0.7}, "seed": 4711, "end": "cut off"}
    item = Item([{"role": "user", "content": "?"}], [Candidate([{"role": "assistant", "content": text}], made) for text in ("yes", "no")])
    batch = labels.begin("round one", [item] * 3, source={"from": "candidates", "models": [speaker]}).id
    given: list[Any] = [on_seat(batch, "ada", 0), ask(labels, batch)]
    given.append(vote(labels, batch, given[-1]))
    given.append(ask(labels, batch, "undo", turn=given[-1]["turn"]))
    given.append(ask(labels, batch, "guide", guidelines="Be fair.", before=""))
    given.append(vote(labels, batch, given[-1], annotator="ben"))
    told = json.dumps(given)
    assert not any(given[-1]["problems"]) and '"content": "yes"' in told
    assert [word for word in (*speaker.split(":"), "three lines", "0123abcd", "temperature", "4711", "cut off") if word in told] == []


def test_a_vote_is_kept_before_the_next_item_is_shown(labels: Labels, tmp_path: Path) -> None:
    batch = begun(labels)
    at = ask(labels, batch)
    then = vote(labels, batch, at, strength=3)
    assert then["problems"] == [] and then["item"]["number"] != at["item"]["number"]
    (said,) = Labels(Store(tmp_path / "studio.db")).votes(batch)  # another reader of the file
    wanted = int(first_text(at).split()[1])
    assert (said.item, said.strength, said.ranks.index(1)) == (at["item"]["number"], 3, wanted)


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_the_same_request_twice_keeps_one_vote(labels: Labels) -> None:
    batch = begun(labels)
    at = ask(labels, batch)
    once = vote(labels, batch, at)
    twice = vote(labels, batch, at, ranks=[2, 1])
    assert twice["note"] == BEHIND and twice["item"] == once["item"]
    assert len(labels.votes(batch)) == 1


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_two_windows_of_one_person_on_one_item_keep_one_vote(labels: Labels) -> None:
    batch = begun(labels)
    one, other = ask(labels, batch), ask(labels, batch)
    assert one["item"] == other["item"]
    vote(labels, batch, one)
    assert vote(labels, batch, other, verdict="tie", ranks=[])["note"] == BEHIND
    assert [said.verdict for said in labels.votes(batch)] == ["ranked"]


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_a_vote_that_was_taken_back_does_not_come_back_with_a_late_request(labels: Labels) -> None:
    batch = begun(labels)
    at = ask(labels, batch)
    then = vote(labels, batch, at)
    back = ask(labels, batch, "undo", turn=then["turn"])
    assert back["item"] == at["item"]
    assert vote(labels, batch, at)["note"] == BEHIND
    assert labels.votes(batch) == []
    assert len(labels.votes(batch, undone=True)) == 1


def test_undo_shows_the_item_again_and_once_more_the_one_before(labels: Labels) -> None:
    batch = begun(labels)
    first = ask(labels, batch)
    second = vote(labels, batch, first)
    third = vote(labels, batch, second, verdict="skipped", ranks=[])
    back = ask(labels, batch, "undo", turn=third["turn"])
    assert back["item"] == second["item"] and back["note"] == ""
    assert ask(labels, batch, "undo", turn=third["turn"])["note"] == BEHIND
    assert ask(labels, batch, "undo", turn=back["turn"])["item"] == first["item"]
    assert ask(labels, batch, "undo", turn=labels.turn(batch, "ada"))["note"] == NOTHING_SAID


def test_a_page_has_no_say_in_the_sides(labels: Labels) -> None:
    batch = begun(labels)
    at = ask(labels, batch)
    forged = vote(labels, batch, at, order=[1, 0])
    assert "does not know" in forged["problems"][0]
    assert "does not know" in vote(labels, batch, at, repeat=True)["problems"][0]
    assert labels.votes(batch) == []


def test_four_answers_are_ranked_and_equals_share_a_place(labels: Labels) -> None:
    batch = begun(labels, 2, answers=4)
    at = ask(labels, batch)
    at = vote(labels, batch, at, ranks=[1, 2, 2, 3])
    at = vote(labels, batch, at, ranks=[1, 1, 1, 1])
    ranked, tie = labels.votes(batch)
    assert [ranked.ranks[place] for place in ranked.shown] == [1, 2, 2, 3]
    assert (tie.verdict, tie.ranks) == ("tie", [])
    assert at["item"] is None


@pytest.mark.parametrize("ranks", [[1, 3], [0, 1], [2, 2], [1, 10], [1] * 10])
def test_ranks_with_gaps_are_no_ranks(labels: Labels, ranks: list[int]) -> None:
    batch = begun(labels)
    assert "does not know" in vote(labels, batch, ask(labels, batch), ranks=ranks)["problems"][0]


@pytest.mark.parametrize("ranks", [[1], [], [1, 2, 3]])
def test_an_answer_without_a_rank_is_told(labels: Labels, ranks: list[int]) -> None:
    batch = begun(labels)
    assert "Not every answer has a rank yet" in vote(labels, batch, ask(labels, batch), ranks=ranks)["problems"][0]
    assert labels.votes(batch) == []


@pytest.mark.parametrize("request_", [None, 3, "look", {}, {"do": "drop"}, {"do": "look"}, {"do": "vote", "batch": "x", "annotator": "ada"}])
def test_what_is_no_request_is_answered_with_a_sentence(labels: Labels, request_: object) -> None:
    assert answer(labels, request_)["problems"] == ["The page asked for something the studio does not know. Reload the page; what was said is kept."]


def test_who_has_no_name_and_what_is_gone_is_told(labels: Labels) -> None:
    batch = begun(labels)
    assert "Say who labels first" in ask(labels, batch, annotator=" ")["problems"][0]
    assert "This batch is gone" in ask(labels, "another")["problems"][0]
    assert "This item is gone" in ask(labels, batch, "vote", item=99, turn=0, verdict="tie")["problems"][0]


def test_a_fault_becomes_a_sentence(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = begun(labels)
    monkeypatch.setattr(Labels, "workload", lambda *_: 1 / 0)
    assert ask(labels, batch)["problems"] == [
        "The studio met a fault (ZeroDivisionError). The details are in the log; try again, or reload the page."
    ]


def test_whoever_changes_the_name_leaves_the_item_to_others(labels: Labels) -> None:
    batch = begun(labels, 1)
    ask(labels, batch, annotator="me")
    assert ask(labels, batch, annotator="ada")["with_others"] == 1
    renamed = ask(labels, batch, annotator="ada", left={"batch": batch, "annotator": "me"})
    assert renamed["item"]["number"] == 0


def test_progress_is_told_in_words(labels: Labels) -> None:
    batch = begun(labels, 10)
    for second in range(3):
        shown = labels.next(batch, "ada", now=1000 + 100 * second)
        assert shown
        labels.vote(shown, "ada", ranks=(1, 2), now=1040 + 100 * second)
    at = vote(labels, batch, ask(labels, batch), verdict="skipped", ranks=[])
    assert at["progress"] == "3 of 10 done, about 4 min left"
    assert at["pace"] == "40 s each · 6 to go · 1 skipped"


def test_guidelines_are_changed_and_nobody_overwrites_another_unseen(labels: Labels) -> None:
    batch = begun(labels)
    mine = ask(labels, batch, "guide", guidelines=" Shorter is better. ", before="Be fair.")
    assert (mine["guidelines"], mine["note"]) == ("Shorter is better.", "")
    late = ask(labels, batch, "guide", "bob", guidelines="Longer is better.", before="Be fair.")
    assert (late["guidelines"], late["note"]) == ("Shorter is better.", OVERWRITTEN)
    assert ask(labels, batch, "guide", "bob", guidelines="Longer is better.", before="Shorter is better.")["guidelines"] == "Longer is better."


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_a_reload_shows_the_same_item_and_others_get_another(labels: Labels) -> None:
    batch = begun(labels, 2)
    at = ask(labels, batch)
    assert ask(labels, batch)["item"] == at["item"]
    other = ask(labels, batch, annotator="bob")
    assert other["item"]["number"] != at["item"]["number"]
    assert ask(labels, batch, annotator="cyd")["item"] is None
    assert LEASE_SECONDS == 600  # the page says ten minutes
