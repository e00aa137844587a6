"""The Data tab without a page: what is listed, shown, imported and deleted."""

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.data_tab import (
    PAGE,
    SLOTS,
    on_ask_delete,
    on_check,
    on_delete,
    on_lengths,
    on_open,
    on_preview,
    on_read_so,
    on_refresh,
    on_save,
    on_shape,
    on_show,
    on_tokens,
    on_upload,
)
from app.studio import Studio
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Run, Runs
from backend.specs import parse_spec
from backend.workspace import Workspace
from tests.conftest import save_conversations, save_texts, starter_rows

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def of(card: Card) -> dict[str, Any]:
    return {"id": card.id, "version": card.version}


def write(folder: Path, rows: list[Any], name: str = "cats.jsonl") -> str:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def pairs(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"q {number}", "completion": f"a {number}"} for number in range(count)]


def visible(updates: Any) -> list[bool]:
    return [update.visible for update in updates]


def test_an_empty_workspace_says_what_to_do(studio: Studio) -> None:
    *_, chosen, view, nothing = on_open(studio)
    assert chosen is None
    assert visible([view, nothing]) == [False, True]


def test_the_newest_data_set_is_chosen_when_the_page_opens(studio: Studio, workspace: Workspace) -> None:
    save_texts(workspace, ["a"], name="older")
    newer = save_texts(workspace, ["b"], name="newer")
    picker, *_, chosen, view, nothing = on_open(studio)
    assert chosen == of(newer)
    assert [label for label, _ in picker.choices] == ["newer · v1 · 1 row · plain text", "older · v1 · 1 row · plain text"]
    assert visible([view, nothing]) == [True, False]


def test_a_refresh_keeps_what_is_chosen_until_it_is_gone(studio: Studio, workspace: Workspace) -> None:
    older, newer = (save_texts(workspace, [name], name=name) for name in ("older", "newer"))
    assert on_refresh(studio, of(older), "")[-1] == of(older)
    studio.datasets.delete(older.id)
    assert on_refresh(studio, of(older), "")[-1] == of(newer)


def test_a_page_of_rows_says_where_it_stands(studio: Studio, workspace: Workspace) -> None:
    card = save_texts(workspace, [f"text {number}" for number in range(PAGE + 1)])
    *_, rows, page, pager, words = on_show(studio, of(card))
    assert (page, pager.visible) == (0, True)
    assert f"page 1 of 2, rows 1 to {PAGE} of {PAGE + 1}" in words
    assert rows.count('class="data-row"') == PAGE


def test_data_is_shown_as_text(studio: Studio, workspace: Workspace) -> None:
    row = {"messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]}
    card = save_conversations(workspace, [row], name="x")
    pages = " ".join(update for update in on_show(studio, of(card)) if isinstance(update, str))
    tokens, _ = on_tokens(studio, of(card), "tokens", "starter", 512, 1)
    assert not re.search(r"<script|\$\{|\{\{", pages + tokens)


def test_a_row_of_200_000_characters_is_clipped_in_the_page(studio: Studio, workspace: Workspace) -> None:
    card = save_texts(workspace, ["x" * 200_000])
    assert sum(len(update) for update in on_show(studio, of(card)) if isinstance(update, str)) < 10_000


def test_the_token_view_counts_what_is_trained_and_what_is_cut(studio: Studio, dataset: Card) -> None:
    html, words = on_tokens(studio, of(dataset), "tokens", "starter", 30, 2)
    assert re.search(r"row 2 of 24 · trained \d+ of \d+ tokens", words)
    assert "cut here at 30 tokens" in html
    assert "Nothing is left to learn from" in on_tokens(studio, of(dataset), "tokens", "starter", 3, 2)[1]


@pytest.mark.parametrize(("max_length", "row"), [(None, 1), (0, 1), (-5, 1), (512, 0), (512, 25), (512, None)])
def test_numbers_out_of_range_get_a_sentence(studio: Studio, dataset: Card, max_length: Any, row: Any) -> None:
    html, _ = on_tokens(studio, of(dataset), "tokens", "starter", max_length, row)
    assert "whole number" in html


def test_nothing_is_counted_for_a_tab_nobody_looks_at(studio: Studio, dataset: Card) -> None:
    skipped = gr.skip()
    assert on_tokens(studio, of(dataset), "rows", "starter", 512, 1) == (skipped, skipped)
    assert on_lengths(studio, of(dataset), "rows", "starter", 512) == (skipped, skipped)


def test_lengths_are_told_in_words_too(studio: Studio, dataset: Card) -> None:
    assert "24 of 24 rows (100 %) are cut at 20 tokens" in on_lengths(studio, of(dataset), "lengths", "starter", 20)[1]
    assert "None of 24 rows is cut at 512 tokens" in on_lengths(studio, of(dataset), "lengths", "starter", 512)[1]


def test_an_upload_is_found_out_and_its_columns_guessed(studio: Studio, tmp_path: Path) -> None:
    source, *_, name = on_upload(studio, write(tmp_path, pairs(3), "my_cats.jsonl"))
    assert (source.format, source.encoding, name) == ("jsonl", "utf-8", "my cats")


def test_a_file_can_be_read_otherwise_than_it_was_found(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "cats.csv"
    path.write_bytes("prompt;completion\r\nGröße?;½ m\r\n".encode("cp1252"))
    found = on_upload(studio, str(path))[0]
    assert (found.encoding, found.delimiter) == ("cp1252", ";")
    again = on_read_so(studio, str(path), "latin-1", ";", "", True)[0]
    assert again.encoding == "latin-1"


def test_a_shape_asks_for_its_columns_and_no_others(studio: Studio, tmp_path: Path) -> None:
    source = on_upload(studio, write(tmp_path, pairs(3)))[0]
    for shape, shown in (("alpaca", 5), ("prompt_completion", 3), ("text", 1)):
        assert visible(on_shape(source, shape)) == [True] * shown + [False] * (SLOTS - shown)


def test_missing_columns_are_asked_for_and_nothing_can_be_saved(studio: Studio, tmp_path: Path) -> None:
    source = on_upload(studio, write(tmp_path, pairs(3)))[0]
    preview, *_, save = on_preview(studio, source, "prompt_completion", "prompt", None)
    assert "Choose the column for completion." in preview
    assert save.interactive is False
    assert on_check(studio, source, "prompt_completion", "prompt", None) == (gr.skip(),) * 4


def test_bad_rows_are_counted_and_need_consent(studio: Studio, tmp_path: Path) -> None:
    source = on_upload(studio, write(tmp_path, [*pairs(3), '{"prompt": "broken', pairs(1)[0]]))[0]
    counts, skip, drop, save = on_check(studio, source, "prompt_completion", "prompt", "completion", "")
    assert "4 of 5 rows" in counts and "is not valid JSON" in counts and "duplicate" in counts
    assert (skip.visible, skip.value, drop.visible, drop.value, save.interactive) == (True, False, True, False, True)
    with pytest.raises(UserError, match="Row 4 of cats.jsonl"):
        on_save(studio, source, 0, "cats", False, False, "prompt_completion", "prompt", "completion", "")
    chosen, changed, *pages = on_save(studio, source, 0, "cats", True, True, "prompt_completion", "prompt", "completion", "")
    assert (studio.datasets.card(**chosen).rows, changed, visible(pages)) == (3, 1, [True, False])


def test_where_no_row_can_be_used_nothing_can_be_saved(studio: Studio, tmp_path: Path) -> None:
    source = on_upload(studio, write(tmp_path, [{"prompt": "a", "completion": ""}]))[0]
    counts, skip, _, save = on_check(studio, source, "prompt_completion", "prompt", "completion", "")
    assert "None of the rows can be used" in counts
    assert (skip.visible, save.interactive) == (False, False)


def test_saving_before_a_file_is_read_gets_a_sentence(studio: Studio) -> None:
    with pytest.raises(UserError, match="No file has been read yet"):
        on_save(studio, None, 0, "cats", False, False, "text", "text")


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
