"""Label Studio's exports, JSON and JSON-MIN, through the same door as any file."""

import json
from pathlib import Path
from typing import Any

import pytest

from backend.data.readers import BrokenRow, Row, Source, inspect, read_rows, sample_rows, title
from backend.data.shapes import guess_mapping, to_record

BOOKKEEPING = {
    "annotator": 1, "annotation_id": 7, "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:06Z", "lead_time": 4.2,
}  # fmt: skip


def result(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": "aBc", "from_name": name, "to_name": "text", "type": kind, "origin": "manual", "value": value}


def choice(*labels: str) -> dict[str, Any]:
    return result("sentiment", "choices", {"choices": list(labels)})


def task(data: dict[str, Any], *annotations: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A task as the JSON export writes it."""
    return {
        "id": 1, "data": data, "predictions": [], "drafts": [], "project": 3, "total_annotations": len(annotations),
        "annotations": [{"id": 9, "completed_by": 1, "was_cancelled": False, "result": each, **more} for each in annotations],
    }  # fmt: skip


def opened(folder: Path, rows: list[Any]) -> Source:
    path = folder / "export.json"
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return inspect(path)


def test_choices_become_a_column_of_labels(tmp_path: Path) -> None:
    source = opened(tmp_path, [task({"text": "fine"}, [choice("good")]), task({"text": "so so"}, [choice("good", "bad")])])
    assert (source.layout, source.format, title(source)) == ("label_studio", "json", "JSON, exported by Label Studio")
    assert list(read_rows(source)) == [
        Row(1, {"text": "fine", "sentiment": "good"}),
        Row(2, {"text": "so so", "sentiment": "good, bad"}),
    ]


def test_written_responses_become_demonstrations_by_the_ordinary_mapping(tmp_path: Path) -> None:
    answer = result("response", "textarea", {"text": ["It purrs.", "Often."]})
    source = opened(tmp_path, [task({"prompt": "Why a cat?"}, [answer])])
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None and mapping.shape == "prompt_completion"
    assert to_record(sample_rows(source)[0], mapping) == {
        "messages": [{"role": "user", "content": "Why a cat?"}, {"role": "assistant", "content": "It purrs.\nOften."}]
    }


def test_several_annotations_of_a_task_are_a_row_each(tmp_path: Path) -> None:
    source = opened(tmp_path, [task({"text": "fine"}, [choice("good")], [choice("bad")])])
    assert [row.values["sentiment"] for row in read_rows(source) if isinstance(row, Row)] == ["good", "bad"]


@pytest.mark.parametrize(
    ("unusable", "reason"),
    [
        (task({"text": "x"}), "has no annotation"),
        (task({"text": "x"}, []), "has an empty annotation"),
        (task({"text": "x"}, [choice("good")], was_cancelled=True), "has an annotation that was skipped"),
        (task({"text": "x"}, [result("better", "pairwise", {"selected": "left"})]), "is a comparison of two answers"),
        ({"text": "x"}, "is no task of Label Studio"),
        ({"id": 2, "data": {}, "annotations": [7]}, "is no task of Label Studio"),
        ({"id": 2, "text": "x", **BOOKKEEPING, "annotation_id": None}, "has no annotation"),
        ({"id": 2, "text": "x", **BOOKKEEPING, "better": [{"selected": "right"}]}, "is a comparison of two answers"),
    ],
)
def test_what_cannot_be_learnt_from_is_a_broken_row_with_its_reason(tmp_path: Path, unusable: Any, reason: str) -> None:
    first, second = read_rows(opened(tmp_path, [task({"text": "fine"}, [choice("good")]), unusable]))
    assert isinstance(first, Row) and isinstance(second, BrokenRow)
    assert second.number == 2 and second.reason.startswith(reason)


def test_a_control_called_like_a_field_of_the_data_hides_it_not(tmp_path: Path) -> None:
    source = opened(tmp_path, [task({"text": "teh cat"}, [result("text", "textarea", {"text": ["the cat"]})])])
    assert sample_rows(source) == [{"text": "teh cat", "text (annotation)": "the cat"}]


@pytest.mark.parametrize(
    ("kind", "value", "column"),
    [
        ("rating", {"rating": 4}, "4"),
        ("number", {"number": 0.5}, "0.5"),
        ("taxonomy", {"taxonomy": [["animal", "cat"], ["pet"]]}, "animal > cat, pet"),
        ("labels", {"start": 0, "end": 3, "text": "cat", "labels": ["PET"]},
         [{"start": 0, "end": 3, "text": "cat", "labels": ["PET"]}]),
        ("choices", {"choices": 5}, [{"choices": 5}]),
        (["odd"], {"choices": ["a"]}, "a"),
        ("choices", None, [None]),
    ],
)  # fmt: skip
def test_other_answers_are_text_where_they_can_be_and_else_kept(tmp_path: Path, kind: Any, value: Any, column: Any) -> None:
    source = opened(tmp_path, [task({"text": "a cat"}, [result("said", kind, value)])])
    assert sample_rows(source) == [{"text": "a cat", "said": column}]


def test_json_min_is_read_as_the_same_rows(tmp_path: Path) -> None:
    flat = [
        {"text": "fine", "id": 1, "sentiment": "good", "why": "It says so.", **BOOKKEEPING},
        {"text": "so so", "id": 2, "sentiment": {"choices": ["good", "bad"]}, "why": ["One.", "Two."], **BOOKKEEPING},
    ]
    source = opened(tmp_path, flat)
    assert source.layout == "label_studio"
    assert sample_rows(source) == [
        {"text": "fine", "sentiment": "good", "why": "It says so."},
        {"text": "so so", "sentiment": "good, bad", "why": "One.\nTwo."},
    ]


@pytest.mark.parametrize(
    "row", [{"data": {"a": 1}, "annotations": "none"}, {"data": "text", "annotations": []}, {"annotator": 1, "text": "x"}]
)
def test_rows_that_only_look_alike_stay_as_they_are(tmp_path: Path, row: dict[str, Any]) -> None:
    source = opened(tmp_path, [row])
    assert source.layout == "plain" and sample_rows(source) == [row]
