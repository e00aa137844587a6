"""The search box of the Rows tab without a page: hits paged and marked, and how far was looked."""

import pytest

from app.data import view
from app.data.view import PAGE, on_find_on, on_find_rows
from app.studio import Studio
from backend.data import search as searching
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.runs import Runs
from backend.workspace import Workspace
from tests.conftest import save_texts


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine does nothing."""
    return Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))


def of(card: Card) -> dict:
    return {"id": card.id, "version": card.version}


def test_hits_are_numbered_marked_and_paged(studio: Studio, workspace: Workspace) -> None:
    card = save_texts(workspace, [f"{'Kettle' if n % 2 else 'pot'} <b> {n}" for n in range(3 * PAGE)])
    hits, words, more, rows, page, pager, page_words = on_find_rows(studio, of(card), "kettle <B>")
    assert len(hits.found.numbers) == 3 * PAGE // 2 and not more.visible
    assert f"75 rows hold “kettle &lt;B&gt;”; searched all {3 * PAGE} rows" in words
    assert rows.count("<mark>Kettle &lt;b&gt;</mark>") == PAGE and '<span class="data-number number">2</span>' in rows
    assert (page, pager.visible) == (0, True) and "page 1 of 2, hits 1 to 50 of 75" in page_words
    rows, page, _, page_words = view._turning(+1)(studio, of(card), page, hits)
    assert rows.count("<mark>") == 25 and "page 2 of 2, hits 51 to 75 of 75" in page_words


def test_an_empty_box_shows_all_rows_again(studio: Studio, workspace: Workspace) -> None:
    card = save_texts(workspace, ["a", "b"])
    hits, words, more, rows, *_ = on_find_rows(studio, of(card), "  ")
    assert hits is None and words == "" and not more.visible and rows.count('class="data-row"') == 2


def test_no_hit_says_what_to_do(studio: Studio, workspace: Workspace) -> None:
    _, words, _, rows, *_ = on_find_rows(studio, of(save_texts(workspace, ["a"])), "x")
    assert "0 rows hold" in words and "Try a part of it" in rows


def test_a_search_whose_time_is_up_goes_on_when_asked(studio: Studio, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "GROUPS_AT_ONCE", 1)
    monkeypatch.setattr(searching, "MOST_FOUND", 1)  # as if there were time for one piece
    card = save_texts(workspace, [f"row {n}" for n in range(2500)])
    hits, words, more, *_ = on_find_rows(studio, of(card), "row")
    assert more.visible and "1,000 rows hold “row”; searched the first 1,000 of 2,500 rows" in words
    hits, *_, page, _, _ = on_find_on(studio, of(card), hits, 3)
    hits, words, more, *_ = on_find_on(studio, of(card), hits, page)
    assert page == 3 and not more.visible and "2,500 rows hold “row”; searched all 2,500 rows" in words
