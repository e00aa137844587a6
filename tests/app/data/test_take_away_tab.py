"""The Take away tab without a page: which rows fit, files made in the one folder that is handed out, and the card."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from app.data.take_away_tab import on_come, on_form, on_make
from app.studio import Studio
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Runs
from backend.workspace import Workspace
from tests.conftest import save_conversations, save_texts

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine does nothing."""
    return Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))


def of(card: Card) -> dict[str, Any]:
    return {"id": card.id, "version": card.version}


def talk(*contents: str) -> dict:
    return {"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]}


def file_behind(html: str) -> Path:
    (address,) = re.findall(r'href="gradio_api/file=([^"]+)"', html)
    return Path(unquote(address))


def test_each_kind_of_rows_has_its_forms_and_a_card(studio: Studio, workspace: Workspace) -> None:
    conversations, texts = save_conversations(workspace, [talk("q", "a")]), save_texts(workspace, ["a"])
    form, *_, card = on_come(studio, of(conversations))
    assert [name for _, name in form.choices] == ["messages", "alpaca", "sharegpt", "prompt_completion", "csv", "parquet"]
    assert "# questions" in card and file_behind(card).read_text().startswith("---\n")
    assert [name for _, name in on_come(studio, of(texts))[0].choices] == ["text", "text-csv", "text-parquet"]


def test_what_does_not_fit_is_told_before_and_left_out_on_consent(studio: Studio, workspace: Workspace) -> None:
    card = save_conversations(workspace, [talk("=q", "a"), talk("q", "a", "q2", "a2"), talk("q3", "a", "q2", "a2")])
    found, words, leave_out, make = on_form(studio, of(card), "csv")
    assert "1 of 3 rows fit." in words and "2 rows have several turns." in words and "Rows that do not fit: 2, 3." in words
    assert "1 row has a cell that a spreadsheet would run" in words
    assert leave_out.visible and leave_out.value is False and make.interactive
    with pytest.raises(UserError, match="Row 2 of “questions” has several turns"):
        on_make(studio, of(card), "csv", found, False)
    path = file_behind(on_make(studio, of(card), "csv", found, True))
    assert path.parent == studio.workspace.exports and path.read_text("utf-8-sig").count("\n") == 2


def test_where_no_row_fits_no_file_can_be_made(studio: Studio, workspace: Workspace) -> None:
    card = save_conversations(workspace, [talk("q", "a", "q2", "a2")])
    _, words, leave_out, make = on_form(studio, of(card), "csv")
    assert "0 of 1 rows fit." in words and not leave_out.visible and not make.interactive


def test_a_file_is_not_made_before_it_is_known_what_fits(studio: Studio, dataset: Card) -> None:
    with pytest.raises(UserError, match="not known yet"):
        on_make(studio, of(dataset), "messages", None, False)


def test_data_is_shown_as_text(studio: Studio, workspace: Workspace) -> None:
    card = save_conversations(workspace, [{**talk(HOSTILE, HOSTILE), "about": {"task": HOSTILE}}], name="x")
    card = studio.datasets.save(studio.datasets.iterate(card.id), name=HOSTILE, record="messages", source={"file": HOSTILE})
    found, words, *_ = on_form(studio, of(card), "messages")
    pages = " ".join([words, on_come(studio, of(card))[-1], on_make(studio, of(card), "messages", found, False)])
    assert not re.search(r"<script|\$\{|\{\{", pages)


def test_only_what_was_made_to_be_taken_away_is_handed_out(studio: Studio, dataset: Card) -> None:
    found, *_ = on_form(studio, of(dataset), "messages")
    path = file_behind(on_make(studio, of(dataset), "messages", found, False))
    with gr.Blocks() as page:
        gr.HTML("")
    page.allowed_paths, page.blocked_paths = [str(studio.workspace.exports)], []
    page.config = page.get_config_file()
    client = TestClient(gr.routes.App.create_app(page))
    answer = client.get(f"/gradio_api/file={path}")
    assert answer.status_code == 200 and json.loads(answer.text.splitlines()[0])["messages"]
    root = studio.workspace.root
    for other in (root / "workspace.json", studio.datasets.root / dataset.id / "v1.json", root / "exports" / ".." / "workspace.json"):
        assert other.exists() and client.get(f"/gradio_api/file={other}").status_code == 403
