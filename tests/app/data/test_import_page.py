"""The import form without a page: what is found out about a file, asked for, counted and saved."""

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.data.desk import LOOK
from app.data.import_page import SLOTS, on_check, on_preview, on_read_so, on_save, on_shape, on_upload
from app.studio import Studio
from backend.data.versions import Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Runs
from backend.workspace import Workspace


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def write(folder: Path, rows: list[Any], name: str = "cats.jsonl") -> str:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def pairs(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"q {number}", "completion": f"a {number}"} for number in range(count)]


def visible(updates: Any) -> list[bool]:
    return [update.visible for update in updates]


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
    chosen, changed, place = on_save(studio, source, 0, "cats", True, True, "prompt_completion", "prompt", "completion", "")
    assert (studio.datasets.card(**chosen).rows, changed, place) == (3, 1, LOOK)


def test_where_no_row_can_be_used_nothing_can_be_saved(studio: Studio, tmp_path: Path) -> None:
    source = on_upload(studio, write(tmp_path, [{"prompt": "a", "completion": ""}]))[0]
    counts, skip, _, save = on_check(studio, source, "prompt_completion", "prompt", "completion", "")
    assert "None of the rows can be used" in counts
    assert (skip.visible, save.interactive) == (False, False)


def test_saving_before_a_file_is_read_gets_a_sentence(studio: Studio) -> None:
    with pytest.raises(UserError, match="No file has been read yet"):
        on_save(studio, None, 0, "cats", False, False, "text", "text")
