"""The page for tables without a page: what is guessed, shown, counted and saved."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.data.desk import LOOK
from app.data.table_page import (
    SAVED,
    on_file,
    on_keep_set,
    on_labels,
    on_look,
    on_new_table,
    on_origin,
    on_save,
    on_saved,
    on_set,
    on_survey,
)
from app.data.template_bench import on_the_bench
from app.studio import Studio
from backend.data.templating.rendering import Rendering
from backend.data.templating.sets import MOST_COLUMNS, MOST_WORDS, template_sets
from backend.data.templating.tables import FileTable, SavedTable, survey
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Runs
from backend.workspace import Workspace
from components.label_names import named, names_of

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "my_reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


REVIEWS = [{"text": f"review {n}", "label": n % 2} for n in range(6)]


def form(id: str, *columns: str, labels: dict[str, str] | None = None, **changed: Any) -> dict[str, Any]:
    """The values of the page's form, all templates ticked."""
    slots = {f"column_{slot}": columns[slot] if slot < len(columns) else None for slot in range(MOST_COLUMNS)}
    words = {f"word_{slot}": "" for slot in range(MOST_WORDS)}
    bench = on_the_bench(template_sets().sets[id])
    return {
        "set": id,
        "labels": named(dict.fromkeys(labels or {}, 1), labels or {}),
        "templates": bench,
        **Rendering().model_dump(),
        **slots,
        **words,
        **changed,
    }


SENTIMENT = form("sentiment", "text", "label", labels={"0": "bad", "1": "good"})


def test_a_table_is_found_out_its_task_guessed_and_its_labels_named(studio: Studio, tmp_path: Path) -> None:
    table, _, words, *rest, name = on_file(studio, write(tmp_path, REVIEWS))
    assert isinstance(table, FileTable) and "Columns: text, label." in words and name == "my reviews"
    picker = next(each for each in rest if getattr(each, "value", None) == "sentiment")
    assert ("Sentiment", "sentiment") in picker.choices and "rewording" not in {id for _, id in picker.choices}
    labels = on_labels(studio, on_survey(studio, table), **SENTIMENT)
    assert [(label["value"], label["rows"], label["name"]) for label in labels["labels"]] == [
        ("0", 3, "negative"),
        ("1", 3, "positive"),
    ]


def test_the_open_template_is_shown_on_a_real_row_and_the_rows_are_counted(studio: Studio, tmp_path: Path) -> None:
    table = on_file(studio, write(tmp_path, REVIEWS))[0]
    preview, at, words, names, counts, skip, save = on_look(studio, table, survey(table), 1, **SENTIMENT)
    assert "review 1" in preview and "Is this bad or good?" in preview and "good" in preview
    assert (at, "row 2 of the table" in words, skip.visible, save.interactive) == (1, True, False, True)
    assert "6 rows</span> will be made of 6 rows" in counts and "&#123;text&#125;" in names
    every = on_look(studio, table, survey(table), 0, **SENTIMENT | {"choice": "all"})
    assert "60 rows" in every[4]


def test_a_wrong_placeholder_is_told_in_place_and_nothing_can_be_saved(studio: Studio, tmp_path: Path) -> None:
    table = on_file(studio, write(tmp_path, REVIEWS))[0]
    bench = on_the_bench(template_sets().sets["sentiment"])
    bench["templates"][0]["prompt"] = "How is {txt}?"
    preview, *_, counts, _, save = on_look(studio, table, survey(table), 0, **SENTIMENT | {"templates": bench})
    assert "Did you mean &#123;text&#125;?" in preview and "Did you mean" in counts and save.interactive is False
    with pytest.raises(UserError, match="Did you mean {text}"):
        on_save(studio, table, 0, "x", False, **SENTIMENT | {"templates": bench})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"column_0": None}, "Choose the column for &quot;text&quot;"),
        ({"column_1": "text"}, "None of the rows can be used"),
        ({"some": 0}, "some"),
        ({"templates": {"templates": [], "open": 0, "keeps_answers": False}}, "No template is ticked"),
    ],
)
def test_what_is_missing_is_asked_for(studio: Studio, tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    table = on_file(studio, write(tmp_path, REVIEWS))[0]
    values = SENTIMENT | changed
    if not values["templates"]["templates"]:
        values["templates"] = {
            **SENTIMENT["templates"],
            "templates": [{**line, "used": False} for line in SENTIMENT["templates"]["templates"]],
        }
    *_, counts, _, save = on_look(studio, table, survey(table), 0, **values)
    assert said in counts and not save.interactive


def test_a_table_of_which_nothing_can_be_read_is_told(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text": "a", "label": 1\n{"text": "b"\n', encoding="utf-8")
    try:
        table, _, _, *_ = on_file(studio, str(path))
    except UserError:
        return  # refused at once
    preview, *_, save = on_look(studio, table, survey(table), 0, **SENTIMENT)
    assert "problems" in preview and not save.interactive


def test_a_column_of_too_many_values_holds_no_labels(studio: Studio, tmp_path: Path) -> None:
    table = on_file(studio, write(tmp_path, [{"text": "t", "label": f"value {n}"} for n in range(60)]))[0]
    *_, counts, _, save = on_look(studio, table, survey(table), 0, **SENTIMENT)
    assert "more than 50 different values" in counts and not save.interactive


def test_rows_without_a_label_name_are_left_out_only_with_consent(studio: Studio, tmp_path: Path) -> None:
    table = on_file(studio, write(tmp_path, REVIEWS))[0]
    values = SENTIMENT | {
        "labels": {"labels": [{"value": "0", "rows": 3, "name": " "}, {"value": "1", "rows": 3, "name": "good"}]}
    }
    assert names_of(values["labels"]) == {"1": "good"}
    *_, counts, skip, save = on_look(studio, table, survey(table), 0, **values)
    assert (
        "rows 1, 3, 5" in counts
        and skip.visible
        and skip.label == "Leave out the 3 rows that cannot be used"
        and save.interactive
    )
    with pytest.raises(UserError, match="has no name: rows 1, 3, 5"):
        on_save(studio, table, 0, "x", False, **values)
    chosen, changed, place = on_save(studio, table, 0, "x", True, **values)
    assert (studio.datasets.card(**chosen).rows, changed, place) == (3, 1, LOOK)


def test_data_and_templates_are_shown_as_text(studio: Studio, tmp_path: Path) -> None:
    table, _, words, *_ = on_file(studio, write(tmp_path, [{"text": HOSTILE, "label": HOSTILE, HOSTILE: "x"}] * 3))
    values = form("sentiment", "text", "label", labels={HOSTILE: HOSTILE})
    pages = " ".join(part for part in (words, *on_look(studio, table, survey(table), 0, **values)) if isinstance(part, str))
    assert not any(mark in pages for mark in ("<script", "${", "{{alert"))


def test_a_saved_data_set_is_put_into_other_words(studio: Studio, dataset: Card) -> None:
    table, *_, name = on_saved(studio, dataset.id)
    assert isinstance(table, SavedTable) and name == "questions, in other words"
    chosen, *_ = on_save(studio, table, 0, name, False, **form("rewording", "prompt", choice="all"))
    assert studio.datasets.card(**chosen).rows == 240


def test_plain_text_offers_no_rewording(studio: Studio, texts: Card) -> None:
    choices = [each.choices for each in on_saved(studio, texts.id) if getattr(each, "choices", None)]
    picker = next(each for each in choices if ("Summarisation", "summarisation") in each)
    assert "rewording" not in {id for _, id in picker}


def test_another_task_shows_its_columns_words_and_templates(studio: Studio, tmp_path: Path) -> None:
    table = on_file(studio, write(tmp_path, [{"en": "Hello", "de": "Hallo"}]))[0]
    sentence, *slots, bench = on_set(studio, table, "translation")
    columns, words = slots[:MOST_COLUMNS], slots[MOST_COLUMNS:]
    assert [slot.value for slot in columns if slot.visible] == ["en", "de"]
    assert [word.value for word in words if word.visible] == ["English", "German"]
    assert len(bench["templates"]) == 10 and "another language" in sentence


def test_templates_are_kept_as_a_set_of_ones_own_and_chosen(studio: Studio) -> None:
    bench = on_the_bench(template_sets().sets["sentiment"])
    bench["templates"] = bench["templates"][:2]
    picker, title = on_keep_set(studio, "sentiment", bench, "My own")
    assert (picker.value, title) == ("own-my-own", "") and ("My own", "own-my-own") in picker.choices
    kept = template_sets(studio.workspace).sets["own-my-own"]
    assert len(kept.templates) == 2 and kept.task == "sentiment"
    with pytest.raises(UserError, match="no title"):
        on_keep_set(studio, "sentiment", bench, " ")
    bench["templates"][1]["prompt"] = ""
    with pytest.raises(UserError, match="The prompt of template 2"):
        on_keep_set(studio, "sentiment", bench, "Broken")


def test_the_page_begins_empty_with_the_data_sets_there_are(studio: Studio, dataset: Card, texts: Card) -> None:
    place, origin, file, saved, table, *_ = on_new_table(studio)
    assert (place, file.value, saved.visible, table) == ("table", None, False, None)
    assert {id for _, id in saved.choices} == {dataset.id, texts.id}
    assert on_origin(studio, SAVED)[1].visible
