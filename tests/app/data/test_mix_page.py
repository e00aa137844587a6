"""The mix page without a page: parts added and weighed, what comes of them said while they change, then saved."""

import re
from typing import Any

import gradio as gr
import pytest

from app.data.desk import LOOK
from app.data.mix_page import COMES_ALONG, on_add, on_new_mixture, on_replay, on_save, on_shares, on_tokens
from app.studio import Studio
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Runs
from backend.workspace import Workspace
from tests.conftest import save_conversations, save_texts, starter_rows

DRAWN = (1, "", False, 0)  # temperature, rows, repeat, seed


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def of(card: Card) -> dict[str, Any]:
    return {"id": card.id, "version": card.version}


def parts_of(studio: Studio, *cards: Card) -> list[Any]:
    parts = on_new_mixture(studio, of(cards[0]))[2]
    for card in cards[1:]:
        parts, _ = on_add(studio, parts, card.id)
    return parts


def two_sets(workspace: Workspace) -> tuple[Card, Card]:
    return save_texts(workspace, [f"a {n}" for n in range(90)], name="many"), save_texts(workspace, [f"b {n}" for n in range(10)], name="few")


def test_the_page_begins_with_the_data_set_that_was_looked_at(studio: Studio, workspace: Workspace) -> None:
    card = save_texts(workspace, ["a", "b"], name="prose")
    place, add, parts, replay_from, *_ = on_new_mixture(studio, of(card))
    assert place == "mix" and [part["name"] for part in parts] == ["prose"]
    assert add.choices == [("prose · v1 · 2 rows · plain text", card.id)]
    assert replay_from.choices == [("General instructions that come along", COMES_ALONG)]
    assert on_new_mixture(studio, None)[2] == []


def test_what_comes_of_it_is_shown_while_weights_change(studio: Studio, workspace: Workspace) -> None:
    parts = parts_of(studio, *two_sets(workspace))
    outcome, save = on_shares(studio, parts, *DRAWN, "starter", {})
    assert "100 rows" in outcome and re.findall(r"(\d+) %", outcome) == ["90", "10"] and save.interactive
    parts[0]["weight"] = "0.5"
    assert re.findall(r"(\d+) %", on_shares(studio, parts, 1, "50", False, 0, "starter", {})[0]) == ["82", "18"]
    assert "each 3.9 times" not in on_shares(studio, parts, *DRAWN, "starter", {})[0]
    assert "“few” repeats" in on_shares(studio, parts, 100, "80", True, 0, "starter", {})[0]


def test_shares_of_tokens_are_measured_once_for_each_part(studio: Studio, workspace: Workspace) -> None:
    long, short = save_texts(workspace, ["word " * 30] * 10, name="long"), save_texts(workspace, ["word"] * 10, name="short")
    parts = parts_of(studio, long, short)
    means, outcome = on_tokens(studio, parts, *DRAWN, "starter", {})
    assert set(means) == {f"{long.id}:1:starter", f"{short.id}:1:starter"}
    expected = means[f"{long.id}:1:starter"] / sum(means.values())
    assert f"{100 * expected:.0f} %" in outcome and "sample of up to 200 rows" in outcome
    known = dict.fromkeys(means, 1.0)
    assert on_tokens(studio, parts, *DRAWN, "starter", known)[0] == known  # not measured again
    assert re.findall(r"(\d+) %", on_shares(studio, parts, *DRAWN, "starter", known)[0]) == ["50", "50", "50", "50"]


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("weight", "x", "The weight of “many” is a number from 0 to 1000; it is “x”"),
        ("weight", "-1", "it is “-1”"), ("weight", "nan", "it is “nan”"), ("weight", "", "it is “”"),
        ("cap", "1.5", "The cap of “many”: give a whole number"), ("cap", "0", "give a whole number"), ("cap", "9" * 30, "give a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_place_and_not_saved(studio: Studio, workspace: Workspace, field: str, text: str, sentence: str) -> None:
    parts = parts_of(studio, *two_sets(workspace))
    parts[0][field] = text
    outcome, save = on_shares(studio, parts, *DRAWN, "starter", {})
    assert sentence in outcome and not save.interactive
    assert on_tokens(studio, parts, *DRAWN, "starter", {}) == (gr.skip(), gr.skip())
    with pytest.raises(UserError, match=re.escape(sentence)):
        on_save(studio, parts, *DRAWN, "m", 0)


@pytest.mark.parametrize("drawn", [(0.5, "", False, 0), (1, "1e3", False, 0), (1, "101", False, 0), (1, "", False, -1), (None, "", False, 0)])
def test_numbers_out_of_range_get_a_sentence_in_place(studio: Studio, workspace: Workspace, drawn: Any) -> None:
    outcome, save = on_shares(studio, parts_of(studio, *two_sets(workspace)), *drawn, "starter", {})
    assert 'class="problems"' in outcome and not save.interactive


def test_kinds_that_do_not_mix_are_told(studio: Studio, workspace: Workspace, dataset: Card) -> None:
    outcome, save = on_shares(studio, parts_of(studio, dataset, save_texts(workspace, ["a"])), *DRAWN, "starter", {})
    assert "learnt from in different ways" in outcome and not save.interactive


def test_a_few_per_cent_of_general_instructions_are_one_click(studio: Studio, workspace: Workspace) -> None:
    card = save_conversations(workspace, starter_rows(95))
    parts, changed = on_replay(studio, parts_of(studio, card), COMES_ALONG, 5, 0)
    assert changed == 1 and [part["name"] for part in parts] == ["questions", "General instructions"]
    again, _ = on_replay(studio, parts, COMES_ALONG, 10, 1)
    assert len(again) == 2 and again[1]["share"] == "10"  # in place of the share before
    chosen, changed, place = on_save(studio, parts, *DRAWN, "", 1)
    mixed = studio.datasets.card(**chosen)
    assert (mixed.name, mixed.rows, place, changed) == ("questions + General instructions", 100, LOOK, 2)
    assert [part["rows"] for part in mixed.source["parts"]] == [95, 5]


def test_any_data_set_can_be_replayed(studio: Studio, workspace: Workspace) -> None:
    old, new = (save_conversations(workspace, starter_rows(count), name=name) for count, name in ((30, "old"), (19, "new")))
    parts, changed = on_replay(studio, parts_of(studio, new), old.id, 5, 0)
    assert changed == 0 and [(part["name"], part["fixed"]) for part in parts] == [("new", False), ("old", True)]
    with pytest.raises(UserError, match="5 is usual"):
        on_replay(studio, parts, old.id, None, 0)


def test_nothing_is_said_of_an_empty_mixture(studio: Studio) -> None:
    outcome, save = on_shares(studio, [], *DRAWN, "starter", {})
    assert outcome == "" and not save.interactive
