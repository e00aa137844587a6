"""Pairs from files: every form people have them in, what is wrong with them, and who voted in them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.labelling.bringing import Brought, pairs_in, pairs_of
from backend.labelling.filters import FilterSettings, sieve
from backend.labelling.items import Item, Labels
from backend.store import Store

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


def brought(folder: Path, rows: list[Any], *, name: str = "pairs.jsonl") -> Brought:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if name.endswith("l") else json.dumps(rows), encoding="utf-8")
    return pairs_in(path)


def texts(item: Item) -> tuple[str, ...]:
    """The last question and the answers."""
    return (item.prompt[-1]["content"], *(candidate.answer[-1]["content"] for candidate in item.candidates))


USER, GOOD, BAD = {"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "q", "chosen": [USER, GOOD][1:], "rejected": [BAD]},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"chosen": "q good", "rejected": "q bad"},
    ],
    ids=["TRL", "TRL turns", "TRL implicit turns", "mixed", "ShareGPT", "hh-rlhf", "TRL implicit texts"],
)
def test_labelled_pairs_come_with_a_vote_of_their_file(row: dict, tmp_path: Path) -> None:
    found = brought(tmp_path, [row])
    assert [texts(item) for item in found.items] == [("q", "good", "bad")]
    assert [(vote.item, vote.annotator, vote.verdict, vote.ranks) for vote in found.votes] == [(0, "in pairs.jsonl", "ranked", [1, 2])]
    assert not found.problems and all(candidate.made == {} for candidate in found.items[0].candidates)


@pytest.mark.parametrize("names", [("answer1", "answer2"), ("answer_a", "answer_b"), ("response_1", "response_2"), ("Response 0", "Response 1")])
def test_unlabelled_answers_keep_their_column(names: tuple[str, str], tmp_path: Path) -> None:
    found = brought(tmp_path, [{"prompt": "q", names[0]: "x", names[1]: "y"}])
    assert texts(found.items[0]) == ("q", "x", "y") and not found.votes
    assert [candidate.made["speaker"] for candidate in found.items[0].candidates] == [f"column:{name}" for name in names]


def test_answers_in_a_list_are_a_ranking_to_make(tmp_path: Path) -> None:
    found = brought(tmp_path, [{"question": "q", "responses": ["x", {"model": "m", "response": "y"}, "z"]}])
    assert texts(found.items[0]) == ("q", "x", "y", "z") and found.items[0].candidates[1].made == {"speaker": "column:m", "name": "m"}


def test_a_table_of_answers_is_read_like_any_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,answer1,answer2,answer3\nq,x,y,z\nq2,x,y,\n", encoding="utf-8")
    assert [texts(item) for item in pairs_in(path).items] == [("q", "x", "y", "z"), ("q2", "x", "y")]


def test_rows_that_are_no_items_are_named_and_the_others_come(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "answer1": "x", "answer2": "y"}, {"prompt": "q", "answer1": "x"}, {"prompt": "", "answer1": "x", "answer2": "y"},
            {"prompt": "q", "answer1": 3, "answer2": "y"}, {"prompt": "q", "answer1": "", "answer2": "y"}]  # fmt: skip
    found = brought(tmp_path, rows)
    assert [(problem.number, problem.reason) for problem in found.problems] == [
        (2, 'has no "answer2" text'), (3, 'has an empty "prompt"'), (4, 'has a number where "answer1" should be text'),
    ]  # fmt: skip
    assert sieve(found.items, FilterSettings(short=False)).counts == {"empty": 1}
    with pytest.raises(UserError, match="(?s)Row 1 of pairs.jsonl .*None of the 1 rows"):
        brought(tmp_path, [{"prompt": "q", "answer1": "x", "answer2": None}])
    with pytest.raises(UserError, match='nothing to choose between; its columns are "prompt", "completion"'):
        brought(tmp_path, [{"prompt": "q", "completion": "x"}])


def test_who_voted_in_a_file_is_nobody_who_labels_here(tmp_path: Path) -> None:
    """One annotator per vote, skips too, seconds and time kept, and the sides as Label Studio shows them."""
    result = [{"from_name": "pw", "to_name": "text1", "type": "pairwise", "value": {"selected": "right"}}]
    tasks = [
        {"id": 1, "data": {"prompt": "q", "text1": "x", "text2": "y"}, "annotations": [
            {"completed_by": {"id": 4, "email": "me"}, "result": result, "lead_time": 4.5, "created_at": "2026-01-02T03:04:05Z"},
            {"completed_by": 7, "result": result, "was_cancelled": True}]},
        {"id": 2, "data": {"prompt": "q2", "text1": "x", "text2": "y"}, "annotations": []},
    ]  # fmt: skip
    found = brought(tmp_path, tasks, name="tasks.json")
    assert [texts(item) for item in found.items] == [("q", "x", "y"), ("q2", "x", "y")]
    assert [(vote.annotator, vote.verdict, vote.ranks) for vote in found.votes] == [
        ("me (tasks.json)", "ranked", [2, 1]), ("annotator 7 (tasks.json)", "skipped", []),
    ]  # fmt: skip
    assert (found.votes[0].seconds, found.votes[0].at) == (4.5, 1767323045.0)

    labels = Labels(Store(tmp_path / "studio.db"))
    batch = labels.begin("round", found.items, overlap=2, votes=found.votes)
    assert labels.annotators(batch.id) == ["annotator 7 (tasks.json)", "me (tasks.json)"]
    assert labels.progress(batch.id, "me").done == 0 and labels.progress(batch.id, "me").left == 2
    assert labels.left_picks(batch.id) == (0, 0)  # which side an answer stood on is not known


def test_a_ranking_of_label_studio_is_read_by_the_ids_of_its_answers(tmp_path: Path) -> None:
    answers = [{"id": "blip", "title": "A", "body": "x"}, {"id": "clip", "title": "B", "body": "y"}, {"id": "git", "title": "C", "body": "z"}]

    def task(ranker: dict) -> dict:
        result = [{"from_name": "rank", "to_name": "answers", "type": "ranker", "value": {"ranker": ranker}}]
        return {"data": {"prompt": "q", "items": answers}, "annotations": [{"completed_by": 1, "result": result}]}

    found = brought(tmp_path, [task({"rank": ["git", "blip", "clip"]}), task({"good": ["git"], "bad": ["clip"], "_": ["blip"]})])
    assert texts(found.items[0]) == ("q", "x", "y", "z") and [vote.ranks for vote in found.votes] == [[2, 3, 1]]
    assert [problem.number for problem in found.problems] == [2] and "in one order" in found.problems[0].reason


def test_the_rows_of_json_min_become_the_annotations_of_one_task(tmp_path: Path) -> None:
    def row(annotator: int, side: str) -> dict:
        known = {"id": 5, "annotator": annotator, "annotation_id": annotator + 10, "created_at": "", "updated_at": "", "lead_time": 1.0}
        return {"prompt": "q", "answer1": "x", "answer2": "y", "comparison": [{"selected": side, "type": "Pairwise"}], **known}

    found = brought(tmp_path, [row(1, "left"), row(2, "right")], name="min.json")
    assert [texts(item) for item in found.items] == [("q", "x", "y")]
    assert [vote.ranks for vote in found.votes] == [[1, 2], [2, 1]]


def test_preferences_of_a_data_set_can_be_labelled_again() -> None:
    row = {"prompt": [USER], "answers": [[GOOD], [BAD]], "ranks": [1, 2], "margin": 2.0}
    found = pairs_of([row, {**row, "ranks": [1, 1]}, {**row, "ranks": [2, 2]}, {**row, "ranks": [1]}], name="cats")  # type: ignore[list-item]
    assert [(vote.verdict, vote.strength, vote.annotator) for vote in found.votes] == [
        ("ranked", 2, "in cats"), ("tie", None, "in cats"), ("both bad", None, "in cats"),
    ]  # fmt: skip
    assert [problem.number for problem in found.problems] == [4]


def test_votes_follow_their_items_when_some_are_left_out_and_the_order_changes(tmp_path: Path) -> None:
    found = brought(tmp_path, [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(4)])
    assert [vote.item for vote in found.votes_of([3, 1])] == [1, 0]


@pytest.mark.skipif(not (REAL_DATA / "dpo_en_demo.json").exists(), reason="the shared data is not here")
def test_a_real_file_of_preferences_goes_through_the_import_and_the_filters() -> None:
    rows = json.loads((REAL_DATA / "dpo_en_demo.json").read_text(encoding="utf-8"))
    found = pairs_in(REAL_DATA / "dpo_en_demo.json")
    assert len(found.items) == len(found.votes) == len(rows) and not found.problems
    assert [texts(item)[1:] for item in found.items] == [(row["chosen"]["value"], row["rejected"]["value"]) for row in rows]
    short = [min(len(row[side]["value"].split()) for side in ("chosen", "rejected")) < 5 for row in rows]
    again = Counter(json.dumps([row["conversations"], row["chosen"], row["rejected"]]) for row, bad in zip(rows, short, strict=True) if not bad)
    assert sieve(found.items, FilterSettings()).counts == {"short": sum(short), "duplicates": again.total() - len(again)}
