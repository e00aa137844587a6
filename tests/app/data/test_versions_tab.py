"""The Versions tab without a page: what is listed, compared and restored."""

from typing import Any

import gradio as gr
import pytest

from app.data.versions_tab import on_compare, on_restore, on_versions
from app.studio import Studio
from backend.data.drafts import conversation
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.runs import Runs
from backend.workspace import Workspace

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(tmp_path: Any) -> Studio:
    """A studio without a model, whose engine does nothing."""
    workspace = Workspace(tmp_path / "workspace").prepare()
    return Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))


def saved(studio: Studio, *texts: str, of: Card | None = None) -> Card:
    rows = [conversation(text, f"answer to {text}") for text in texts]
    return studio.datasets.save(rows, name="Cats", record="messages", source={"made": "by hand"}, of=of and of.id)


def looking_at(card: Card) -> dict[str, Any]:
    return {"id": card.id, "version": card.version}


def test_each_version_says_what_changed_against_the_one_before(studio: Studio) -> None:
    first = saved(studio, "a", "b", "c")
    saved(studio, "a", "c", "d", "e", of=first)
    table, words, restore, comparing, older, newer = on_versions(studio, looking_at(first))
    assert '<span title="added">+2</span> <span title="removed">−1</span>' in table and ">first<" in table
    assert (restore.interactive, comparing.visible, older.value, newer.value) == (True, True, 1, 1)
    assert "Makes version 3 with the rows of version 1" in words


def test_the_newest_version_is_compared_with_the_one_before_and_not_restored(studio: Studio) -> None:
    first = saved(studio, "a")
    second = saved(studio, "a", "b", of=first)
    _, words, restore, _, older, newer = on_versions(studio, looking_at(second))
    assert (restore.interactive, older.value, newer.value) == (False, 1, 2) and "newest version" in words


def test_one_version_says_when_there_will_be_more(studio: Studio) -> None:
    table, _, _, comparing, *_ = on_versions(studio, looking_at(saved(studio, "a")))
    assert "another version stands here" in table and not comparing.visible


def test_differences_are_shown_row_by_row_as_text(studio: Studio) -> None:
    first = saved(studio, "a", HOSTILE)
    rows = [conversation("a", "answer to a"), conversation(f"{HOSTILE} more", f"answer to {HOSTILE}"), conversation("b", "c")]
    second = studio.datasets.save(rows, name="Cats", record="messages", source={"made": "by hand"}, of=first.id)
    changes, summary, rows, page, pager, words = on_compare(studio, looking_at(second), 1, 2)
    assert (changes.count, page, pager.visible) == (2, 0, False)
    assert "1 row added, 1 row edited." in summary and "v1, row 2" in rows and "added: v2, row 3" in rows
    assert "<script" not in rows and "${" not in rows and "{{" not in rows


def test_versions_with_the_same_rows_say_what_differs_otherwise(studio: Studio) -> None:
    first = saved(studio, "a", "b")
    saved(studio, "b", "a", of=first)
    tagged = [{**conversation(text, f"answer to {text}"), "about": {"tags": ["x"]}} for text in "ba"]
    studio.datasets.save(tagged, name="Cats", record="messages", source={"made": "by hand"}, of=first.id)
    assert "in another order" in on_compare(studio, looking_at(first), 1, 2)[1]
    assert "what is known about them differs" in on_compare(studio, looking_at(first), 2, 3)[1]
    assert "same version twice" in on_compare(studio, looking_at(first), 2, 2)[1]


def test_a_version_is_restored_as_the_newest(studio: Studio) -> None:
    first = saved(studio, "a", "b")
    saved(studio, "c", of=first)
    chosen, changed = on_restore(studio, looking_at(first), 1, gr.Progress())
    assert (chosen, changed) == ({"id": first.id, "version": 3}, 2)
    assert studio.datasets.card(**chosen).sha256 == first.sha256
    assert "restored from v1" in on_versions(studio, chosen)[0]
