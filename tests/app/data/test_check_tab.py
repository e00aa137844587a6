"""The Check tab without a page: what is shown of a report, its rows and its mends."""

import re
from typing import Any

import gradio as gr
import pytest

from app.data.check_tab import (
    _report_places,
    _turning,
    check_tab,
    on_again,
    on_ask,
    on_close,
    on_come,
    on_mend,
    on_stop,
    on_tick,
    on_undo,
)
from app.studio import Studio
from backend.data.checks import all_checks
from backend.data.records import Record
from backend.data.report import usual_checks
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Runs
from backend.workspace import Workspace
from components.finding_list import Asked, FindingList
from tests.conftest import starter_rows

HOSTILE = "<script>alert(1)</script> ${alert(2)} {{alert(3)}} a.b@mail.de"
UNSAFE = re.compile(r"<script|\$\{|\{\{")


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def ask(prompt: str, answer: str) -> Record:
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def save(studio: Studio, records: list[Any], name: str = "rows") -> Card:
    return studio.datasets.save(records, name=name, record="messages", source={"made": "by hand"})


def dirty(studio: Studio) -> Card:
    rows = starter_rows(40)
    card = save(studio, [*rows, rows[2], rows[5], ask(HOSTILE, f"So: {HOSTILE}"), *(ask(f"q {n}", "") for n in range(30))])
    studio.reports.begin(card)
    assert studio.reports.wait(card, seconds=30)
    return card


def of(card: Card) -> dict[str, Any]:
    return {"id": card.id, "version": card.version}


def come(studio: Studio, card: Card) -> dict[str, Any]:
    """What the tab shows, by name."""
    names = ["status", "again", "stop", "list", "rows", "mend", "pictures", "lengths", "ways", "tasks", "labels", "prompts"]
    values = on_come(studio, of(card))
    assert len(values) == _report_places() + 2
    return dict(zip(names, values, strict=False)) | {"timer": values[-3], "undone": values[-2], "undo_words": values[-1]}


def asking(studio: Studio, card: Card, check: str, what: Any) -> FindingList:
    listed: FindingList = come(studio, card)["list"]
    (line,) = [line for line in listed["lines"] if line["check"] == check]
    return {**listed, "asked": Asked(what=what, check=check, title=line["title"])}


def test_the_tab_has_a_place_for_everything_it_shows(studio: Studio) -> None:
    with gr.Blocks():
        part = check_tab(studio)
    assert len(part.report_outputs) == _report_places()
    assert [name for name in part.forms] == [name for name, kind in all_checks().items() if len(kind.model_fields) > 1]


def test_looking_begins_the_report_and_shows_it_when_it_is_there(studio: Studio, dataset: Card) -> None:
    first = come(studio, dataset)
    assert "<progress" in first["status"] and first["timer"].active and first["stop"].visible
    assert studio.reports.wait(dataset, seconds=30)
    shown = on_tick(studio, of(dataset), "check", first["status"])
    assert len(shown) == _report_places()
    assert "All clear" in shown[0] and "24 rows checked" in shown[0] and shown[-1].active is False
    assert "All clear" in come(studio, dataset)["status"]  # from now on at once


def test_a_report_lists_what_was_found_and_what_was_not(studio: Studio) -> None:
    shown = come(studio, dirty(studio))
    lines = shown["list"]["lines"]
    assert [line["gravity"] for line in lines] == sorted((line["gravity"] for line in lines), key=["wrong", "doubtful", "notable"].index)
    assert ("Empty answers", "30 rows, 41 %") in [(line["title"], line["number"]) for line in lines]
    assert "things to mend" in shown["status"] and "damaged letters" in shown["status"] and "empty answers" not in shown["status"]
    assert shown["lengths"].value is not None and shown["tasks"].visible is False


def test_rows_are_shown_by_the_page_with_their_marks(studio: Studio) -> None:
    card = dirty(studio)
    listed = asking(studio, card, "empty_answers", "rows")
    panel, mend_panel, heading, rows, page, pager, words = on_ask(studio, of(card), listed)[:7]
    assert panel.visible and not mend_panel.visible and pager.visible and page == 0
    assert rows.count('class="data-row"') == 20 and rows.count('<mark class="found">nothing</mark>') == 20
    assert "The 30 rows" in heading and "page 1 of 2, 30 rows" in words
    second = _turning(+1)(studio, of(card), listed, 0)
    assert second[3].count('class="data-row"') == 10 and second[4] == 1
    assert _turning(+1)(studio, of(card), listed, 1)[4] == 1  # there is no third


def test_a_copy_is_shown_beside_what_it_repeats(studio: Studio) -> None:
    card = dirty(studio)
    rows = on_ask(studio, of(card), asking(studio, card, "exact_duplicates", "rows"))[3]
    assert "Left: row 3" in rows and "Right: row 41" in rows and "Word for word the same." in rows


def test_rows_are_shown_as_text(studio: Studio) -> None:
    card = dirty(studio)
    rows = on_ask(studio, of(card), asking(studio, card, "personal_data", "rows"))[3]
    changes = on_ask(studio, of(card), asking(studio, card, "personal_data", "mend"))[8]
    assert '<mark class="found">a.b@mail.de</mark>' in rows and "[e-mail]" in changes
    assert not UNSAFE.search(rows + changes)


def test_a_mend_is_tried_out_then_made_then_undone(studio: Studio) -> None:
    card = dirty(studio)
    listed = asking(studio, card, "empty_answers", "mend")
    panel, mend_panel, *_, words, rows, do = on_ask(studio, of(card), listed)
    assert mend_panel.visible and not panel.visible and do.value == "Make version 2" and do.interactive
    assert "30 rows go; 43 rows are in the new version" in words and rows.count("goes") == 20
    chosen, changed = on_mend(studio, of(card), 7, listed)
    assert (chosen, changed) == ({"id": card.id, "version": 2}, 8) and studio.datasets.card(**chosen).rows == 43

    assert "Version 2 was made from version 1 by a mend: Empty answers" in come(studio, studio.datasets.card(**chosen))["undo_words"]
    back, _ = on_undo(studio, chosen, 8)
    assert studio.datasets.card(**back).sha256 == card.sha256 and back["version"] == 3
    assert "<progress" not in come(studio, studio.datasets.card(**back))["status"]  # the report of the same rows is there already
    assert come(studio, studio.datasets.card(**chosen))["undone"].visible is False  # something newer was made


def test_a_mend_that_can_do_nothing_cannot_be_made(studio: Studio) -> None:
    card = save(studio, [*starter_rows(5), ask("a", "lost \ufffd letter")])
    studio.reports.begin(card)
    studio.reports.wait(card, seconds=30)
    *_, words, rows, do = on_ask(studio, of(card), asking(studio, card, "encoding", "mend"))
    assert "Nothing can be put right so" in words and rows == "" and not do.interactive


def test_closing_brings_the_list_back(studio: Studio) -> None:
    card = dirty(studio)
    listed = asking(studio, card, "empty_answers", "rows")
    back, rows, mend = on_close(listed)
    assert back["asked"] is None and back["lines"] == listed["lines"] and not rows.visible and not mend.visible


def test_what_changed_behind_the_page_is_said(studio: Studio, dataset: Card) -> None:
    asked: FindingList = {"lines": [], "asked": Asked(what="rows", check="echoes", title="gone")}
    with pytest.raises(UserError, match="have not been checked"):
        on_ask(studio, of(dataset), asked)
    studio.reports.begin(dataset)
    studio.reports.wait(dataset, seconds=30)
    with pytest.raises(UserError, match="has changed since"):
        on_ask(studio, of(dataset), asked)


PLACES = [(check.name, field) for check in usual_checks() for field in check.model_dump() if field != "name"]


def values(**changed: Any) -> list[Any]:
    """The forms' values in order."""
    checks = usual_checks()
    return [changed.get(field, value) for check in checks for field, value in check.model_dump().items() if field != "name"]


def test_rules_can_be_changed_and_everything_wrong_is_said_at_once(studio: Studio, dataset: Card) -> None:
    with pytest.raises(UserError) as refused:
        on_again(studio, of(dataset), *values(threshold=7, max_length=0), places=PLACES)
    assert len(refused.value.problems) == 2 and "Near duplicates.threshold" in refused.value.problems[0]
    status, *_, timer = on_again(studio, of(dataset), *values(threshold=0.9), places=PLACES)
    made = studio.reports.wait(dataset, seconds=30)
    assert made and made.checks["near_duplicates"]["threshold"] == 0.9 and timer.active and "<progress" in status
    assert 0.9 in on_come(studio, of(dataset))


def test_a_stopped_report_says_so_and_can_be_made_again(studio: Studio) -> None:
    card = save(studio, [ask(f"question {n}", f"the answer {n}") for n in range(2000)])
    with studio.reports._one_at_a_time:  # it waits, or it might be done before it is stopped
        first = come(studio, card)
        on_stop(studio, of(card))
    studio.reports.wait(card, seconds=30)
    status, again, stop, *_, timer = on_tick(studio, of(card), "check", first["status"])
    assert "Stopped. Nothing was changed." in status and again.visible and not stop.visible and not timer.active
