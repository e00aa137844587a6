"""What the row editor asks, and is answered: always an answer, whatever is asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.data.row_requests import CHARACTERS_EDITED, answer
from backend.data.drafts import Draft, Drafts, conversation
from backend.store import Store


@pytest.fixture
def drafts(tmp_path: Path) -> Iterator[Drafts]:
    store = Store(tmp_path / "studio.db")
    yield Drafts(store)
    store.close()


@pytest.fixture
def cats(drafts: Drafts) -> Draft:
    return drafts.begin("Cats", "messages", author="Ada")


def said(answered: dict[str, Any]) -> list[str]:
    return [row["record"]["messages"][0]["content"] for row in answered["rows"]]


def test_a_row_is_added_written_and_finished(drafts: Drafts, cats: Draft) -> None:
    added = answer(drafts, {"do": "add", "draft": cats.id})
    (row,) = added["rows"]
    assert (added["focus"], row["problem"], row["how"], row["author"]) == (row["id"], "has an empty user turn", "hand", "Ada")
    record = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    edited = answer(drafts, {"do": "edit", "draft": cats.id, "row": row["id"], "based": row["revision"], "record": record})
    assert (edited["row"]["problem"], edited["undo"], edited["row"]["record"]) == (None, "edit a row", record)


def test_a_new_row_of_plain_text_is_a_text(drafts: Drafts) -> None:
    texts = drafts.begin("Letters", "text")
    assert answer(drafts, {"do": "add", "draft": texts.id})["rows"][0]["record"] == {"text": ""}


def test_a_stale_edit_is_answered_with_the_other_text(drafts: Drafts, cats: Draft) -> None:
    row = drafts.add(cats.id, conversation("a", "b"))
    asked = {"do": "edit", "draft": cats.id, "row": row, "based": 0, "record": conversation("mine", "x")}
    stale = answer(drafts, asked)
    assert stale["stale"] and stale["theirs"]["record"] == conversation("a", "b")
    drafts.delete(cats.id, [row])
    assert answer(drafts, asked)["theirs"] is None


def test_pasting_is_previewed_then_done_behind_a_row(drafts: Drafts, cats: Draft) -> None:
    first, _ = drafts.add_all(cats.id, [conversation("1", "1"), conversation("4", "4")])
    text = "Question\tAnswer\r\n2\ttwo\r\n3\tthree\r\n"
    preview = answer(drafts, {"do": "preview", "draft": cats.id, "text": text})
    assert preview == {"count": 2, "columns": ("user", "assistant"), "header": ("Question", "Answer")}
    assert said(answer(drafts, {"do": "paste", "draft": cats.id, "text": text, "behind": first})) == ["1", "2", "3", "4"]


def test_what_is_searched_for_stays_while_rows_are_changed(drafts: Drafts, cats: Draft) -> None:
    ids = drafts.add_all(cats.id, [conversation(text, "x") for text in ("red", "blue", "reddish")])
    view = {"words": "red"}
    assert answer(drafts, {"do": "found", "draft": cats.id, "view": view})["ids"] == [ids[0], ids[2]]
    assert said(answer(drafts, {"do": "delete", "draft": cats.id, "view": view, "rows": [ids[0]]})) == ["reddish"]
    assert said(answer(drafts, {"do": "undo", "draft": cats.id, "view": view})) == ["red", "reddish"]


def test_name_writer_and_guidelines_are_kept_one_by_one_and_undone_like_rows(drafts: Drafts, cats: Draft) -> None:
    ask = {"do": "describe", "draft": cats.id}
    answer(drafts, {**ask, "guidelines": {"purpose": "Know cats."}})
    answer(drafts, {**ask, "guidelines": {"form": "Short."}})
    described = answer(drafts, {**ask, "name": "Dogs", "author": " Grace \n Hopper"})
    assert (described["name"], described["author"], described["guidelines"]["purpose"]) == ("Dogs", "Grace Hopper", "Know cats.")
    assert drafts.get(cats.id).guidelines == {"purpose": "Know cats.", "form": "Short."}
    assert answer(drafts, {"do": "undo", "draft": cats.id})["name"] == "Cats"
    assert "no name" in answer(drafts, {**ask, "name": " "})["problems"][0]
    assert "does not know" in answer(drafts, {**ask, "guidelines": {"unheard of": "x"}})["problems"][0]


def test_unfinished_rows_are_named_with_their_numbers(drafts: Drafts, cats: Draft) -> None:
    drafts.add_all(cats.id, [conversation("a", "b"), conversation("c", "")])
    checked = answer(drafts, {"do": "check", "draft": cats.id})
    assert (checked["left"], checked["there"]) == (1, 2)
    assert [(row["number"], row["why"]) for row in checked["named"]] == [(2, "has an empty assistant turn")]


def test_a_row_too_long_for_the_page_is_cut_and_cannot_be_overwritten_by_its_cut_text(drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("a", "x" * (CHARACTERS_EDITED + 1)))
    (row,) = answer(drafts, {"do": "look", "draft": cats.id})["rows"]
    assert row["long"] and len(row["record"]["messages"][1]["content"]) < 3000
    asked = {"do": "edit", "draft": cats.id, "row": row["id"], "based": row["revision"], "record": row["record"]}
    assert "too long" in answer(drafts, asked)["problems"][0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),  # halves of pairs, too
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=5,
)  # fmt: skip
DOINGS = ["look", "add", "edit", "duplicate", "delete", "move", "tag", "untag", "paste", "preview", "undo", "redo", "found", "check", "describe", "?"]
REQUESTS = st.fixed_dictionaries(
    {"do": st.sampled_from(DOINGS), "draft": st.just("DRAFT") | JSON},
    optional={
        "row": st.integers() | JSON, "rows": st.lists(st.integers()) | JSON, "based": st.integers() | JSON, "to": st.integers() | JSON,
        "name": JSON, "guidelines": JSON | st.dictionaries(st.just("form"), st.text(st.characters())),
        "tag": JSON | st.text(st.characters()), "text": JSON | st.just("a\tb"), "behind": JSON | st.integers(), "record": JSON,
        "view": JSON | st.fixed_dictionaries({"page": st.integers()}),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(REQUESTS | JSON)
def test_whatever_is_asked_is_answered(asked: Any) -> None:
    store = Store(Path(":memory:"))
    drafts = Drafts(store)
    draft = drafts.begin("Cats", "messages")
    drafts.add(draft.id, conversation("a", "b"))
    if isinstance(asked, dict) and asked.get("draft") == "DRAFT":
        asked = {**asked, "draft": draft.id}
    answered = answer(drafts, asked)
    assert isinstance(answered, dict)
    assert "fault" not in str(answered.get("problems", ""))
    assert drafts.get(draft.id).name
    store.close()
