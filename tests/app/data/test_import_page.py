"""The import form without a page: what is found out about files, asked for, counted, stopped and saved."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from app.data import import_page
from app.data.desk import LOOK
from app.data.import_page import (
    SLOTS,
    Brought,
    _counts,
    on_cancel,
    on_fetch,
    on_preview,
    on_read_so,
    on_shape,
    on_upload,
)
from app.data.stops import Stops
from app.main import LARGEST_FILE, launch_options
from app.studio import Studio
from backend.data.importing import check
from backend.data.readers import Source, inspect
from backend.data.shapes import parse_mapping
from backend.data.versions import Datasets
from backend.engine import Engine
from backend.errors import Stopped, UserError
from backend.examples import hold_out
from backend.runs import Runs
from backend.workspace import Workspace

STOPS = Stops()


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


def uploaded(studio: Studio, *paths: str) -> Source:
    return on_upload(studio, list(paths))[1]


def on_check(studio: Studio, source: Source | None, *mapping: Any) -> Any:
    return import_page.on_check(studio, "work", source, *mapping, stops=STOPS)


def on_save(studio: Studio, source: Source | None, changed: int, *values: Any, brought: Brought | None = None) -> Any:
    return import_page.on_save(studio, "work", brought, source, changed, *values, stops=STOPS)


def test_an_upload_is_found_out_and_its_columns_guessed(studio: Studio, tmp_path: Path) -> None:
    path = write(tmp_path, pairs(3), "my_cats.jsonl")
    brought, source, *_, name = on_upload(studio, [path])
    assert (brought.paths, source.format, source.encoding, name) == ([path], "jsonl", "utf-8", "my cats")


def test_answers_side_by_side_are_led_to_where_they_are_labelled(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "q", "answer1": "x", "answer2": "y"}\n', encoding="utf-8")
    assert "on the Label tab" in on_upload(studio, [str(path)])[3]
    path.write_text('{"prompt": "q", "completion": "x"}\n', encoding="utf-8")
    assert "on the Label tab" not in on_upload(studio, [str(path)])[3]


def test_a_file_can_be_read_otherwise_than_it_was_found(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "cats.csv"
    path.write_bytes("prompt;completion\r\nGröße?;½ m\r\n".encode("cp1252"))
    brought, found, *_ = on_upload(studio, [str(path)])
    assert (found.encoding, found.delimiter) == ("cp1252", ";")
    again = on_read_so(studio, brought, "csv", "latin-1", ";", "", True)[0]
    assert again.encoding == "latin-1"


def test_a_format_guessed_wrong_can_be_changed(studio: Studio, tmp_path: Path) -> None:
    brought, found, _, _, format, *_ = on_upload(studio, [write(tmp_path, ["text", "a", "b"], "list.csv")])
    assert found.format == format["value"] == "csv" and format["visible"]
    again = on_read_so(studio, brought, "documents", "utf-8", None, "", True)[0]
    assert (again.format, again.size) == ("documents", 9)
    with pytest.raises(UserError):
        on_read_so(studio, brought, "json", "utf-8", None, "", True)


def test_several_texts_become_a_row_each(studio: Studio, tmp_path: Path) -> None:
    paths = [write(tmp_path, [f"Text {name}.", "Goes on, and on."], f"{name}.md") for name in ("b", "a")]
    brought, source, _, words, format, *_, name = on_upload(studio, paths)
    assert (source.format, len(source.parts), name, format["visible"]) == ("documents", 2, "2 texts", False)
    assert "2 files" in words
    chosen, *_ = on_save(studio, source, 0, "prose", False, False, "text", "text")
    assert [row["text"][:7] for row in studio.datasets.rows(**{"id": chosen["id"], "version": 1})] == ["Text a.", "Text b."]


def test_the_last_file_taken_away_leaves_nothing_to_read(studio: Studio) -> None:
    assert on_upload(studio, None) == on_upload(studio, []) == gr.skip()


def test_a_table_among_several_files_is_to_be_brought_alone(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cats.jsonl holds rows. Bring it alone"):
        on_upload(studio, [write(tmp_path, pairs(1)), write(tmp_path, ["x"], "x.txt")])


def test_an_export_of_label_studio_is_named_as_such(studio: Studio, tmp_path: Path) -> None:
    task = {
        "id": 1, "data": {"text": "Good."},
        "annotations": [{"id": 2, "result": [{"from_name": "mood", "to_name": "text", "type": "choices", "value": {"choices": ["glad"]}}]}],
    }  # fmt: skip
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]))
    assert "exported by Label Studio" in on_upload(studio, [str(path)])[3]


def test_a_shape_asks_for_its_columns_and_no_others(studio: Studio, tmp_path: Path) -> None:
    source = uploaded(studio, write(tmp_path, pairs(3)))
    for shape, shown in (("alpaca", 5), ("prompt_completion", 3), ("text", 1)):
        assert visible(on_shape(source, shape)) == [True] * shown + [False] * (SLOTS - shown)


def test_missing_columns_are_asked_for_and_nothing_can_be_saved(studio: Studio, tmp_path: Path) -> None:
    source = uploaded(studio, write(tmp_path, pairs(3)))
    preview, _, _, _, save, *_ = on_preview(studio, source, "prompt_completion", "prompt", None)
    assert "Choose the column for completion." in preview
    assert save.interactive is False
    assert on_check(studio, source, "prompt_completion", "prompt", None) == gr.skip()


def test_bad_rows_are_counted_and_need_consent(studio: Studio, tmp_path: Path) -> None:
    source = uploaded(studio, write(tmp_path, [*pairs(3), '{"prompt": "broken', pairs(1)[0]]))
    counts, skip, drop, save, *_ = on_check(studio, source, "prompt_completion", "prompt", "completion", "")
    assert "4 of 5 rows" in counts and "is not valid JSON" in counts and "duplicate" in counts
    assert (skip.visible, skip.value, drop.visible, drop.value, save.interactive) == (True, False, True, False, True)
    with pytest.raises(UserError, match="Row 4 of cats.jsonl"):
        on_save(studio, source, 0, "cats", False, False, "prompt_completion", "prompt", "completion", "")
    chosen, changed, place = on_save(studio, source, 0, "cats", True, True, "prompt_completion", "prompt", "completion", "")
    assert (studio.datasets.card(**chosen).rows, changed, place) == (3, 1, LOOK)


def test_every_bad_row_is_listed_by_its_number_a_page_at_a_time(studio: Studio, tmp_path: Path) -> None:
    rows = [row for number in range(45) for row in (pairs(1)[0], f"<b>broken {number}")]
    source = uploaded(studio, write(tmp_path, rows))
    *_, bad, page, listed, pager, words = on_check(studio, source, "prompt_completion", "prompt", "completion", "")
    assert [problem.number for problem in bad] == list(range(2, 91, 2))
    assert '<th scope="row" class="number">2</th>' in listed and "&lt;b&gt;broken 19" in listed and "broken 20" not in listed
    assert (page, pager.visible) == (0, True) and "page 1 of 3, 45 listed" in words
    page, listed, *_ = import_page._turning(+1)(bad, page)
    assert page == 1 and '"number">42</th>' in listed and "broken 20" in listed
    assert import_page._turning(+1)(bad, 2)[0] == 2


def test_where_no_row_can_be_used_nothing_can_be_saved(studio: Studio, tmp_path: Path) -> None:
    source = uploaded(studio, write(tmp_path, [{"prompt": "a", "completion": ""}]))
    counts, skip, _, save, *_ = on_check(studio, source, "prompt_completion", "prompt", "completion", "")
    assert "None of the rows can be used" in counts
    assert (skip.visible, save.interactive) == (False, False)


def test_saving_before_a_file_is_read_gets_a_sentence(studio: Studio) -> None:
    with pytest.raises(UserError, match="No file has been read yet"):
        on_save(studio, None, 0, "cats", False, False, "text", "text")


# ---- stopping


def test_work_ends_at_the_next_question_once_somebody_asked_to_stop() -> None:
    stops = Stops()
    with stops.heeded("mine") as go_on, stops.heeded("another's") as go_on_there:
        go_on()
        stops.stop("mine")
        go_on_there()
        with pytest.raises(Stopped):
            go_on()
    with stops.heeded("mine") as go_on:
        go_on()  # a new beginning
    stops.stop("nobody's")


@pytest.mark.parametrize("doing", ["checking", "saving"])
def test_cancel_ends_what_is_going_on_at_once_and_keeps_nothing(studio: Studio, tmp_path: Path, doing: str) -> None:
    source = uploaded(studio, write(tmp_path, pairs(60_000)))
    begun = threading.Event()
    results: list[Any] = []

    def progress(*_: Any, **__: Any) -> None:  # told by the reader between two rows
        begun.set()
        time.sleep(0.05)

    def work() -> None:
        mapping = ("prompt_completion", "prompt", "completion", "", None, None)
        if doing == "checking":
            results.append(import_page.on_check(studio, "work", source, *mapping, progress, stops=STOPS))
        else:
            results.append(import_page.on_save(studio, "work", None, source, 0, "cats", False, False, *mapping, progress, stops=STOPS))

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    assert on_cancel("work", stops=STOPS) == LOOK
    thread.join(2)
    assert not thread.is_alive() and results == [gr.skip()]
    assert studio.datasets.list() == [] and list(studio.datasets.root.iterdir()) == []


# ---- from a hub


def test_a_data_set_of_a_hub_goes_through_the_same_door(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "owner"
    folder.mkdir()
    write(folder, pairs(5), "train.jsonl")  # the library reads a folder by the same call
    told: list[str] = []
    brought, source, *_, name = on_fetch(studio, "work", str(folder), "", "", lambda *_, desc: told.append(desc), stops=STOPS)
    assert (source.format, source.name, name, brought.is_fetched) == ("parquet", "owner-train.parquet", "owner-train", True)
    assert source.path.parent == studio.workspace.root / "fetched" and "Fetching" in told
    chosen, *_ = on_save(studio, source, 0, name, False, False, "prompt_completion", "prompt", "completion", "", brought=brought)
    assert studio.datasets.card(**chosen).rows == 5
    assert not source.path.exists()  # kept once, as a version


def test_what_cannot_be_fetched_gets_a_sentence(studio: Studio) -> None:
    with pytest.raises(UserError, match="owner/name"):
        on_fetch(studio, "work", " ", "", "train", lambda *_, **__: None, stops=STOPS)
    with pytest.raises(UserError, match="hub"):
        on_fetch(studio, "work", "no such name!", "", "train", lambda *_, **__: None, stops=STOPS)


@pytest.mark.fault("one row")
def test_one_row_is_allowed_and_warned_of(studio: Studio, tmp_path: Path) -> None:
    found = check(inspect(Path(write(tmp_path, pairs(1)))), parse_mapping("prompt_completion", {"prompt": "prompt", "completion": "completion"}))
    assert "It is one row only: none can be held out" in _counts(found)
    assert hold_out(["q 0"], 0.1, seed=0) == ([0], [])


@pytest.mark.fault("a 200 MB file")
def test_a_file_over_the_limit_is_refused_and_the_page_lives_on() -> None:
    """The page itself then says which file, and how large one may be."""
    assert launch_options(gr.Blocks(), "127.0.0.1", 7860, False)["max_file_size"] == LARGEST_FILE
    with gr.Blocks() as page:
        gr.File()
    page.max_file_size = 1_000
    page.config = page.get_config_file()
    client = TestClient(gr.routes.App.create_app(page))
    assert client.post("/gradio_api/upload", files={"files": ("large.jsonl", b"x" * 2_000)}).status_code == 413
    assert client.post("/gradio_api/upload", files={"files": ("small.jsonl", b"x" * 500)}).status_code == 200
