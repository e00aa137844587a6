"""The Write page without a page: a draft is begun, opened, described, saved and discarded."""

from typing import Any

import gradio as gr
import pytest

from app.data.desk import LOOK
from app.data.write_page import on_begin, on_choose, on_described, on_discard, on_edit, on_open, on_save, on_take_newest
from app.studio import Studio
from backend.data.drafts import MOST_ROWS, Draft, conversation
from backend.data.versions import Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.runs import Runs
from backend.workspace import Workspace

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(tmp_path: Any) -> Studio:
    """A studio without a model, whose engine does nothing."""
    workspace = Workspace(tmp_path / "workspace").prepare()
    return Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))


def begun(studio: Studio, name: str = "Cats") -> Draft:
    """A draft with one finished row."""
    draft = studio.drafts.begin(name, "messages", author="Ada")
    studio.drafts.add(draft.id, conversation("q", "a"))
    return draft


def open_draft(draft: Draft, **value: Any) -> Any:
    return {"draft": draft.id, "serial": 1, "leave_out": False, **value}


def test_the_first_visit_begins_with_a_name(studio: Studio) -> None:
    place, choosing, writing, there, drafts, name = on_choose(studio)
    assert (place, choosing.visible, writing.visible, there.visible, drafts.value, name) == ("write", True, False, False, None, "")


def test_drafts_there_are_can_be_gone_on_with_the_newest_first(studio: Studio) -> None:
    older, newer = begun(studio), begun(studio, "Dogs")
    *_, drafts, _ = on_choose(studio)
    assert [id for _, id in drafts.choices] == [newer.id, older.id] and drafts.value == newer.id
    assert drafts.choices[0][0].startswith("Dogs · 1 row · conversations · new · ")
    choosing, writing, editor, heading, *_ = on_open(studio, older.id)
    assert (choosing.visible, writing.visible, editor["draft"]) == (False, True, older.id) and "Cats" in heading


def test_a_new_draft_remembers_who_wrote_last(studio: Studio) -> None:
    begun(studio)
    _, _, editor, *_ = on_begin(studio, "Birds", "text")
    draft = studio.drafts.get(editor["draft"])
    assert (draft.name, draft.record, draft.author) == ("Birds", "text", "Ada")


@pytest.mark.parametrize(("name", "words"), [("", "no name"), ("Cats", "already")])
def test_names_that_cannot_be_get_a_sentence(studio: Studio, name: str, words: str) -> None:
    studio.drafts.save(begun(studio).id, studio.datasets)
    with pytest.raises(UserError, match=words):
        on_begin(studio, name, "messages")


def test_the_heading_follows_the_name_and_shows_it_as_text(studio: Studio) -> None:
    draft = begun(studio)
    studio.drafts.rename(draft.id, HOSTILE)
    heading = on_described(studio, open_draft(draft))
    assert "alert(1)" in heading and "<script" not in heading and "${" not in heading


def test_saving_makes_a_version_that_is_looked_at(studio: Studio) -> None:
    draft = begun(studio)
    studio.drafts.guide(draft.id, {"purpose": "Know cats."})
    chosen, changed, place = on_save(studio, open_draft(draft), 3, gr.Progress())
    card = studio.datasets.card(**chosen)
    assert (card.rows, card.guidelines, changed, place) == (1, {"purpose": "Know cats."}, 4, LOOK)


def test_unfinished_rows_are_left_out_only_where_that_was_said(studio: Studio) -> None:
    draft = begun(studio)
    studio.drafts.add(draft.id, conversation("q", ""))
    with pytest.raises(UserError, match="Row 2"):
        on_save(studio, open_draft(draft), 0, gr.Progress())
    chosen, *_ = on_save(studio, open_draft(draft, leave_out=True), 0, gr.Progress())
    assert studio.datasets.card(**chosen).rows == 1


def test_editing_a_data_set_opens_its_draft_and_says_when_it_is_behind(studio: Studio) -> None:
    card = studio.datasets.save([conversation("a", "b")], name="Cats", record="messages", source={"made": "by hand"})
    chosen = {"id": card.id, "version": 1}
    place, _, _, editor, _, behind, words, *_ = on_edit(studio, chosen, gr.Progress())
    assert (place, behind.visible, words) == ("write", False, "")
    studio.datasets.save([conversation("c", "d")] * 2, name="Cats", record="messages", source={"made": "mended"}, of=card.id)
    again = on_edit(studio, chosen, gr.Progress())
    assert again[3]["draft"] == editor["draft"] and again[5].visible and "the newest is version 2" in again[6]
    _, _, newest, *_ = on_take_newest(studio, again[3], gr.Progress())
    assert (studio.drafts.get(newest["draft"]).version, studio.drafts.get(newest["draft"]).rows) == (2, 2)


def test_a_large_data_set_is_not_opened_and_another_way_is_named(studio: Studio) -> None:
    card = studio.datasets.save(({"text": "x"} for _ in range(MOST_ROWS + 1)), name="Large", record="text", source={"made": "by hand"})
    with pytest.raises(UserError, match="Mix"):
        on_edit(studio, {"id": card.id, "version": 1}, gr.Progress())


def test_a_discarded_draft_is_gone_and_said_to_be(studio: Studio) -> None:
    draft = begun(studio)
    editor, choosing, writing, there, *_ = on_discard(studio, open_draft(draft))
    assert (editor["draft"], choosing.visible, writing.visible, there.visible) == (None, True, False, False)
    with pytest.raises(UserError, match="draft is gone"):
        on_save(studio, open_draft(draft), 0, gr.Progress())
    with pytest.raises(UserError, match="No draft is open"):
        on_save(studio, editor, 0, gr.Progress())
