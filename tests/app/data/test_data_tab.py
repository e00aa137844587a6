"""The Data tab without a page: what is listed, shown and deleted."""

import re
from typing import Any

import pytest

from app.data.tab import on_refresh
from app.data.view import PAGE, on_ask_delete, on_delete, on_lengths, on_show, on_tokens
from app.studio import Studio
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace
from tests.conftest import save_texts, starter_rows

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def of(card: Card) -> dict[str, Any]:
    return {"id": card.id, "version": card.version}


def visible(updates: Any) -> list[bool]:
    return [update.visible for update in updates]


def chosen_after(studio: Studio, chosen: Card) -> Any:
    """What is chosen once the list was read again."""
    *_, chosen_now, _, _ = on_refresh(studio, of(chosen), "")
    return chosen_now


def test_an_empty_workspace_says_what_to_do(studio: Studio) -> None:
    *_, chosen, view, nothing = on_refresh(studio, None, "")
    assert chosen is None
    assert visible([view, nothing]) == [False, True]


def test_the_newest_data_set_is_chosen_when_the_page_opens(studio: Studio, workspace: Workspace) -> None:
    save_texts(workspace, ["a"], name="older")
    newer = save_texts(workspace, ["b"], name="newer")
    picker, *_, chosen, view, nothing = on_refresh(studio, None, "")
    assert chosen == of(newer)
    assert [label for label, _ in picker.choices] == ["newer · v1 · 1 row · plain text", "older · v1 · 1 row · plain text"]
    assert visible([view, nothing]) == [True, False]


def test_a_refresh_keeps_what_is_chosen_until_it_is_gone(studio: Studio, workspace: Workspace) -> None:
    older, newer = (save_texts(workspace, [name], name=name) for name in ("older", "newer"))
    assert chosen_after(studio, older) == of(older)
    studio.datasets.delete(older.id)
    assert chosen_after(studio, older) == of(newer)


def test_a_page_of_rows_says_where_it_stands(studio: Studio, workspace: Workspace) -> None:
    card = save_texts(workspace, [f"text {number}" for number in range(PAGE + 1)])
    *_, rows, page, pager, words = on_show(studio, of(card))
    assert (page, pager.visible) == (0, True)
    assert f"page 1 of 2, rows 1 to {PAGE} of {PAGE + 1}" in words
    assert rows.count('class="data-row"') == PAGE


def test_data_is_shown_as_text(studio: Studio, workspace: Workspace) -> None:
    row = {"messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]}
    card = studio.datasets.save([row], name="x", record="messages", source={}, guidelines={"purpose": HOSTILE})
    pages = " ".join(update for update in on_show(studio, of(card)) if isinstance(update, str))
    tokens, _ = on_tokens(studio, of(card), "starter", 512, 1)
    assert not re.search(r"<script|\$\{|\{\{", pages + tokens)


def test_the_guidelines_stand_with_the_data_set(studio: Studio) -> None:
    row = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "It purrs."}]}
    plain = studio.datasets.save([row], name="plain", record="messages", source={})
    guided = studio.datasets.save([row], name="guided", record="messages", source={}, guidelines={"purpose": "Know cats.", "form": ""})
    assert "How its rows are written" not in about(studio, plain)
    assert "How its rows are written" in about(studio, guided) and "Know cats." in about(studio, guided)


def about(studio: Studio, card: Card) -> str:
    return next(update for update in on_show(studio, of(card)) if isinstance(update, str) and "Where it comes from" in update)


def test_a_row_of_200_000_characters_is_clipped_in_the_page(studio: Studio, workspace: Workspace) -> None:
    card = save_texts(workspace, ["x" * 200_000])
    assert sum(len(update) for update in on_show(studio, of(card)) if isinstance(update, str)) < 10_000


def test_the_token_view_counts_what_is_trained_and_what_is_cut(studio: Studio, dataset: Card) -> None:
    html, words = on_tokens(studio, of(dataset), "starter", 30, 2)
    assert re.search(r"row 2 of 24 · trained \d+ of \d+ tokens", words)
    assert "cut here at 30 tokens" in html
    assert "Nothing is left to learn from" in on_tokens(studio, of(dataset), "starter", 3, 2)[1]


@pytest.mark.parametrize(("max_length", "row"), [(None, 1), (0, 1), (-5, 1), (512, 0), (512, 25), (512, None)])
def test_numbers_out_of_range_get_a_sentence(studio: Studio, dataset: Card, max_length: Any, row: Any) -> None:
    html, _ = on_tokens(studio, of(dataset), "starter", max_length, row)
    assert "whole number" in html


def test_lengths_are_told_in_words_too(studio: Studio, dataset: Card) -> None:
    assert "24 of 24 rows (100 %) are cut at 20 tokens" in on_lengths(studio, of(dataset), "starter", 20)[1]
    assert "None of 24 rows is cut at 512 tokens" in on_lengths(studio, of(dataset), "starter", 512)[1]


def test_deleting_asks_first_and_names_what_depends_on_it(studio: Studio, workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, parse_spec({"name": "r", "data": of(dataset)}))
    run.events.append("finished", status="stopped", message="")
    panel, question, really = on_ask_delete(studio, of(dataset))
    assert panel.visible and "1 run learnt from it" in question and dataset.name in really
    assert studio.datasets.list()
    assert on_delete(studio, of(dataset), 0)[:2] == (None, 1)


def test_data_that_a_run_still_learns_from_is_not_deleted(studio: Studio, workspace: Workspace, dataset: Card) -> None:
    run = Run.create(workspace, parse_spec({"name": "busy one", "data": of(dataset)}))
    run.events.append("queued")
    with pytest.raises(UserError, match="busy one"):
        on_delete(studio, of(dataset), 0)
    assert studio.datasets.card(dataset.id).rows == len(starter_rows(24))
