"""Tasks of Label Studio that compare answers: what is read from them, and how what was said here is written as one.

    {"data": {"prompt": "...", "answer1": "...", "answer2": "..."},
     "annotations": [{"completed_by": {"email": "ada"}, "lead_time": 8.2, "created_at": "...", "result": [
        {"from_name": "better", "to_name": "answer1,answer2", "type": "pairwise", "value": {"selected": "left"}}]}]}

Left is the first of the two answers in the data. Several answers are a list under one name, ordered by the Ranker control:
{"type": "ranker", "value": {"ranker": {"better": ["id of the best", ...]}}}.
Sources: labelstud.io/tags/pairwise, labelstud.io/tags/ranker, labelstud.io/guide/task_format
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from backend.data.readers import BrokenRow, Row
from backend.data.readers.label_studio import BOOKKEEPING, is_exported
from backend.data.records import Message
from backend.data.shapes import RowProblem
from backend.labelling.columns import Read, answer_columns, beside, list_column, listed, prompt_column, strength_of
from backend.labelling.items import BOTH_BAD, TIE, Item, Said, Verdict

BETTER, STRENGTH, EVEN = "better", "strength", "even"  # the controls of the configuration below
PAIRS = f"""<View>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="{BETTER}" toName="answer1,answer2"/>
  <Text name="answer1" value="$answer1"/>
  <Text name="answer2" value="$answer2"/>
  <Rating name="{STRENGTH}" toName="prompt" maxRating="3"/>
  <Choices name="{EVEN}" toName="prompt"><Choice value="{TIE}"/><Choice value="{BOTH_BAD}"/></Choices>
</View>"""
RANKINGS = f"""<View>
  <Text name="prompt" value="$prompt"/>
  <List name="answers" value="$answers" title="The best first"/>
  <Ranker name="{BETTER}" toName="answers"/>
  <Rating name="{STRENGTH}" toName="prompt" maxRating="3"/>
  <Choices name="{EVEN}" toName="prompt"><Choice value="{TIE}"/><Choice value="{BOTH_BAD}"/></Choices>
</View>"""


def is_task(values: dict[str, Any]) -> bool:
    """Whether a row is a task, annotated or not, or an annotation of JSON-MIN."""
    return isinstance(values.get("data"), dict) or is_exported(values)


# ---- reading ---------------------------------------------------------------------------------------------------------


def whole_tasks(rows: Iterable[Row | BrokenRow]) -> list[Row | BrokenRow]:
    """Rows as whole tasks: JSON-MIN has a row for each annotation, and those of one task are put together again."""
    tasks: dict[Any, Row | BrokenRow] = {}
    for row in rows:
        if isinstance(row, BrokenRow) or "data" in row.values:
            tasks["row", row.number] = row
            continue
        task = tasks.setdefault(("task", str(row.values.get("id"))), Row(row.number, {"data": _data_of_flat(row.values), "annotations": []}))
        task.values["annotations"] += [_annotation_of_flat(row.values)] if row.values.get("annotation_id") is not None else []  # type: ignore[union-attr]
    return list(tasks.values())


def read_task(values: dict[str, Any]) -> Read:
    """A task as an item and its annotations as votes. Raises `RowProblem`."""
    data = values.get("data")
    if not isinstance(data, dict):
        raise RowProblem("is no task of Label Studio")
    prompt = "messages" if isinstance(data.get("messages"), list) else prompt_column(data)
    columns, list_of = answer_columns(data) or _texts_beside(data, prompt), list_column(data)
    if prompt is None or not (columns or list_of):
        raise RowProblem("has no prompt with answers to choose between in its data")
    item = beside(data, prompt, columns) if columns else listed(data, prompt, list_of)  # type: ignore[arg-type]
    ids = ["left", "right"] if columns else [_id(each) for each in data[list_of]]
    annotations = values.get("annotations") or values.get("completions") or []
    return Read(item, [vote for each in annotations if (vote := _vote(each, ids))])


def _data_of_flat(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in BOOKKEEPING and not _results_of_flat(name, value)}


def _annotation_of_flat(values: dict[str, Any]) -> dict[str, Any]:
    results = [result for name, value in values.items() if name not in BOOKKEEPING for result in _results_of_flat(name, value)]
    return {"completed_by": values.get("annotator"), "result": results, "lead_time": values.get("lead_time"), "created_at": values.get("created_at")}


def _results_of_flat(name: str, value: Any) -> list[dict[str, Any]]:
    """What a column of JSON-MIN says as results: the answers of our controls and of Pairwise and Ranker; else nothing."""
    if name == EVEN and value in (TIE, BOTH_BAD):
        return [{"type": "choices", "from_name": name, "value": {"choices": [value]}}]
    if name == STRENGTH and isinstance(value, int | float):
        return [{"type": "rating", "from_name": name, "value": {"rating": value}}]
    regions = [region for region in (value if isinstance(value, list) else [value]) if isinstance(region, dict)]
    kinds = {"selected": "pairwise", "ranker": "ranker"}
    return [{"type": kind, "from_name": name, "value": region} for region in regions for key, kind in kinds.items() if key in region]


def _texts_beside(data: dict[str, Any], prompt: str | None) -> list[str]:
    """The two texts beside the prompt, whatever they are called; none where there are more or fewer."""
    texts = [name for name, value in data.items() if isinstance(value, str) and name != prompt]
    return texts if len(texts) == 2 else []


def _vote(annotation: Any, ids: Sequence[str]) -> Said | None:
    """What an annotation says; one that was cancelled, or says nothing, skipped the item. `ids` name the answers in order."""
    if not isinstance(annotation, dict) or not isinstance(annotation.get("result", []), list):
        raise RowProblem("has an annotation that cannot be read")
    results = [each for each in annotation.get("result", []) if isinstance(each, dict) and isinstance(each.get("value"), dict)]
    verdict, ranks = ("skipped", []) if annotation.get("was_cancelled") or not results else _said(results, ids)
    strengths = [result["value"].get("rating") for result in results if result.get("type") == "rating"]
    return Said(
        0, _annotator(results) or _who(annotation.get("annotator", annotation.get("completed_by"))), verdict, ranks, strength_of(strengths[0]) if strengths and ranks else None,
        seconds=_seconds(annotation.get("lead_time")), at=_moment(annotation.get("created_at")),
    )  # fmt: skip


def _said(results: Sequence[dict[str, Any]], ids: Sequence[str]) -> tuple[Verdict, list[int]]:
    """(verdict, rank of each answer). Raises `RowProblem` for an annotation that compares nothing."""
    for result in results:
        kind, value = result.get("type"), result["value"]
        if kind == "pairwise" and len(ids) == 2 and value.get("selected") in ("left", "right"):
            return "ranked", [1, 2] if value["selected"] == "left" else [2, 1]
        if kind == "ranker":
            return "ranked", _ranks(value.get("ranker"), ids)
        if kind == "choices" and value.get("choices") in ([TIE], [BOTH_BAD]):
            return value["choices"][0], []
    raise RowProblem("has an annotation that does not say which answer is better")


def _ranks(ranker: Any, ids: Sequence[str]) -> list[int]:
    """The rank of each answer from one list of their ids, the best first. Which of several buckets is better is not known."""
    orders = [ranker] if isinstance(ranker, list) else list(ranker.values()) if isinstance(ranker, dict) else []
    whole = [[str(id) for id in order] for order in orders if isinstance(order, list)]
    order = next((order for order in whole if sorted(order) == sorted(ids)), None)
    if order is None:
        raise RowProblem("has an annotation that does not put all its answers in one order")
    return [order.index(id) + 1 for id in ids]


def _id(answer: Any) -> str:
    return str(answer.get("id")) if isinstance(answer, dict) else str(answer)


def _annotator(results: Sequence[dict[str, Any]]) -> str:
    """Who said it, as we wrote it beside what was said."""
    metas = [result["meta"] for result in results if isinstance(result.get("meta"), dict)]
    return next((str(meta["annotator"]) for meta in metas if meta.get("annotator")), "")


def _who(completed_by: Any) -> str:
    if isinstance(completed_by, dict):
        return str(completed_by.get("email") or completed_by.get("username") or f"annotator {completed_by.get('id')}")
    return completed_by if isinstance(completed_by, str) else f"annotator {completed_by}" if completed_by is not None else ""


def _seconds(lead_time: Any) -> float:
    return max(0.0, float(lead_time)) if isinstance(lead_time, int | float) else 0.0


def _moment(created_at: Any) -> float:
    """Seconds since 1970; 0 where it is not known."""
    try:
        return datetime.fromisoformat(created_at).timestamp()
    except (TypeError, ValueError):
        return 0.0


# ---- writing ---------------------------------------------------------------------------------------------------------


def task_of(item: Item, votes: Iterable[Said], *, is_pair: bool) -> dict[str, Any]:
    """An item as a task, and what was said of it as annotations. Sides are those of the data, whichever they were on the screen.

    Two answers are a pair, or a ranking of two where they stand among rankings: a project has one configuration for all.
    """
    answers = [_joined(candidate.answer) for candidate in item.candidates]
    named = {"answer1": answers[0], "answer2": answers[1]} if is_pair else {
        "answers": [{"id": str(number), "title": f"Answer {number}", "body": answer} for number, answer in enumerate(answers, 1)]
    }  # fmt: skip
    said = item.prompt[0]["content"] if len(item.prompt) == 1 else "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in item.prompt)
    turns = {} if len(item.prompt) == 1 else {"messages": item.prompt}
    return {"data": {"prompt": said, **turns, **named}, "annotations": [_annotation(vote, is_pair=is_pair) for vote in votes]}


def _annotation(vote: Said, *, is_pair: bool) -> dict[str, Any]:
    """A vote. Label Studio refuses a file with a `completed_by` it does not know, and keeps nothing beside `result`, so the
    name stands in there, and beside it for a vote that says nothing."""
    return {
        "annotator": vote.annotator, "result": list(_results(vote, is_pair=is_pair)), "was_cancelled": vote.verdict == "skipped",
        "ground_truth": False, "lead_time": round(vote.seconds, 3), "created_at": datetime.fromtimestamp(vote.at, UTC).isoformat(),
    }  # fmt: skip


def _results(vote: Said, *, is_pair: bool) -> Iterable[dict[str, Any]]:
    if vote.verdict in (TIE, BOTH_BAD):
        yield _result(vote, EVEN, "prompt", "choices", {"choices": [vote.verdict]})
    if vote.verdict != "ranked":
        return
    if is_pair:
        yield _result(vote, BETTER, "answer1,answer2", "pairwise", {"selected": "left" if vote.ranks[0] < vote.ranks[1] else "right"})
    else:
        order = [str(place + 1) for place in sorted(range(len(vote.ranks)), key=vote.ranks.__getitem__)]
        yield _result(vote, BETTER, "answers", "ranker", {"ranker": {BETTER: order}})
    if vote.strength:
        yield _result(vote, STRENGTH, "prompt", "rating", {"rating": vote.strength})


def _result(vote: Said, control: str, shown: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": control, "to_name": shown, "type": kind, "value": value, "meta": {"annotator": vote.annotator}}


def _joined(answer: Sequence[Message]) -> str:
    return answer[0]["content"] if len(answer) == 1 else "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in answer)
