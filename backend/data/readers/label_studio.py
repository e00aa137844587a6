"""Label Studio's exports laid out as columns: what was shown to the annotators, and what they answered.

JSON keeps a task whole, {"data": {...}, "annotations": [{"result": [...]}]}; JSON-MIN has a row for each annotation,
{"text": ..., "<control>": "answer", "annotator": ...}. Either way a row has the fields of the data and one column for
each control that was filled in, so that it can be mapped like any table. An annotation is a row of its own.
Source: https://labelstud.io/guide/task_format, https://labelstud.io/guide/export
"""

from collections.abc import Iterator
from typing import Any

from backend.data.readers.source import BrokenRow, Row, shown_value

BOOKKEEPING = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")  # of JSON-MIN


def is_exported(values: dict[str, Any]) -> bool:
    """Whether a row is a task as Label Studio exports it, in JSON or in JSON-MIN."""
    return _is_task(values) or _is_annotation(values)


def laid_out(row: Row | BrokenRow) -> Iterator[Row | BrokenRow]:
    """The rows of a task: one for each annotation. What cannot be used is a broken row that says why."""
    if isinstance(row, BrokenRow):
        yield row
    elif _is_task(row.values):
        yield from _task_rows(row)
    elif _is_annotation(row.values):
        yield _flat_row(row)
    else:
        yield _broken(row, "is no task of Label Studio, as the first row is")


def _is_task(values: dict[str, Any]) -> bool:
    annotations = _annotations(values)
    are_annotations = isinstance(annotations, list) and all(isinstance(each, dict) and "result" in each for each in annotations)
    return are_annotations and isinstance(values.get("data"), dict)


def _annotations(values: dict[str, Any]) -> Any:
    return values.get("annotations", values.get("completions"))  # their name until 2021


def _is_annotation(values: dict[str, Any]) -> bool:
    return {"annotator", "annotation_id", "lead_time"} <= values.keys()


def _task_rows(row: Row) -> Iterator[Row | BrokenRow]:
    annotations = _annotations(row.values)
    if not annotations:
        yield _broken(row, "has no annotation")
    for annotation in annotations:
        yield _annotated(row, annotation)


def _annotated(row: Row, annotation: dict[str, Any]) -> Row | BrokenRow:
    """The row of one annotation of a task."""
    if annotation.get("was_cancelled") or annotation.get("skipped"):
        return _broken(row, "has an annotation that was skipped")
    said = _by_control(annotation["result"])
    if not said:
        return _broken(row, "has an empty annotation")
    if any(map(_is_choice_of_two, said.values())):
        return _broken(row, _PAIRWISE)
    data = row.values["data"]
    return Row(row.number, {**data, **{_column(name, data): _answer(values) for name, values in said.items()}})


def _flat_row(row: Row) -> Row | BrokenRow:
    """The row of JSON-MIN, without what is about the annotation and not about the task."""
    if row.values["annotation_id"] is None:
        return _broken(row, "has no annotation")
    values = {name: value for name, value in row.values.items() if name not in BOOKKEEPING}
    if any(_is_choice_of_two(value) for value in values.values()):
        return _broken(row, _PAIRWISE)
    return Row(row.number, {name: _answer(value) for name, value in values.items()})


_PAIRWISE = "is a comparison of two answers, which says what is preferred and is no answer to learn by heart"


def _by_control(results: Any) -> dict[str, list[Any]]:
    """What each control says, by its name; a control that was used for several regions says several things."""
    said: dict[str, list[Any]] = {}
    for result in results if isinstance(results, list) else []:
        if isinstance(result, dict) and isinstance(result.get("from_name"), str):
            said.setdefault(result["from_name"], []).append(_value_of(result))
    return said


def _value_of(result: dict[str, Any]) -> Any:
    """The value a result is about: {"choices": [...]} of {"type": "choices", "value": {"choices": [...], ...}}."""
    value, kind = result.get("value"), result.get("type")
    kind = "text" if kind == "textarea" else kind
    is_known = isinstance(kind, str) and kind in _TEXTS and isinstance(value, dict) and kind in value and "start" not in value
    return {kind: value[kind]} if is_known else value


def _column(name: str, data: dict[str, Any]) -> str:
    return f"{name} (annotation)" if name in data else name


def _is_choice_of_two(value: Any) -> bool:
    regions = value if isinstance(value, list) else [value]
    return any(isinstance(region, dict) and region.get("selected") in ("left", "right") for region in regions)


# ---- answers as text -------------------------------------------------------------------------------------------------


def _answer(value: Any) -> Any:
    """What a control says as text: labels after commas, texts on lines. What is neither stays as it is."""
    regions = value if isinstance(value, list) else [value]
    texts = [_text(region) for region in regions]
    if not texts or not all(isinstance(text, str) for text in texts):
        return value
    are_labels = all(isinstance(region, dict) and region.keys() <= {"choices", "taxonomy"} for region in regions)
    return (", " if are_labels else "\n").join(texts)


def _text(region: Any) -> str | None:
    if isinstance(region, str):
        return region
    if not (isinstance(region, dict) and len(region) == 1):
        return None
    ((kind, value),) = region.items()
    return _TEXTS[kind](value) if kind in _TEXTS else None


def _labels(value: Any) -> str | None:
    return ", ".join(value) if _are_texts(value) else None


def _lines(value: Any) -> str | None:
    return "\n".join(value) if _are_texts(value) else value if isinstance(value, str) else None


def _paths(value: Any) -> str | None:
    """Labels of a tree, each with those above it: [["animal", "cat"]]."""
    is_known = isinstance(value, list) and all(map(_are_texts, value))
    return ", ".join(" > ".join(path) for path in value) if is_known else None


def _number(value: Any) -> str | None:
    return str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


_TEXTS = {
    "choices": _labels, "text": _lines, "taxonomy": _paths, "rating": _number, "number": _number, "datetime": _number,
}  # fmt: skip


def _broken(row: Row, reason: str) -> BrokenRow:
    return BrokenRow(row.number, shown_value(row.values), reason)
