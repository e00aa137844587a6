"""Rows written by hand: kept at once, found again after a kill, taken back and done again, saved as versions."""

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.data import draft_rows
from backend.data.draft_rows import Query
from backend.data.drafts import MOST_ROWS, Draft, Drafts, Stale, conversation
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.store import SCHEMAS, Store
from backend.workspace import Workspace

ROOT = Path(__file__).parents[3]
SMALL = conversation("What is a cat?", "A small animal.")


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace").prepare()


@pytest.fixture
def datasets(home: Workspace) -> Datasets:
    return Datasets(home)


@pytest.fixture
def drafts(home: Workspace) -> Iterator[Drafts]:
    store = Store.of(home)
    yield Drafts(store)
    store.close()


@pytest.fixture
def cats(drafts: Drafts) -> Draft:
    return drafts.begin("Cats", "messages", author="Ada")


def numbered(count: int) -> list[Any]:
    return [conversation(f"question {number}", f"answer {number}") for number in range(1, count + 1)]


def said(drafts: Drafts, draft: Draft, query: Query = Query()) -> list[str]:  # noqa: B008
    """What the users of the rows on the first page say."""
    return [row.record["messages"][0]["content"] for row in drafts.look(draft.id, query).rows]


def all_of(drafts: Drafts, draft: Draft) -> Any:
    """Everything in a draft that a person can change."""
    with drafts._store.reading() as db:
        rows = db.execute("SELECT id, place, record, how, tags, problem, folded FROM rows WHERE draft = ? ORDER BY place", (draft.id,)).fetchall()
    now = drafts.get(draft.id)
    return now.name, now.guidelines, rows


# ---- writing


def test_a_row_written_here_says_who_wrote_it_and_how(drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, SMALL)
    assert drafts.look(cats.id).rows[0].record == {**SMALL, "about": {"how": "hand", "author": "Ada"}}


def test_an_edited_row_keeps_how_it_was_made_and_names_its_editor(drafts: Drafts, datasets: Datasets) -> None:
    made = {**SMALL, "about": {"how": "generated", "author": "starter", "task": "animals", "tags": ["pets"]}}
    card = datasets.save([made, SMALL], name="Cats", record="messages", source={"made": "generated"})
    draft = drafts.of_dataset(datasets, card.id, author="Ada")
    for row in drafts.look(draft.id).rows:
        drafts.edit(draft.id, row.id, conversation("What is a dog?", "A larger one."), based=row.revision)
    generated, imported = (row.record["about"] for row in drafts.look(draft.id).rows)
    assert generated == {"how": "generated", "author": "Ada", "task": "animals", "tags": ["pets"]}
    assert imported == {"author": "Ada"}


def test_rows_stand_where_they_are_put(drafts: Drafts, cats: Draft) -> None:
    first, second, third = drafts.add_all(cats.id, numbered(3))
    drafts.add(cats.id, conversation("between", ""), behind=first)
    assert said(drafts, cats) == ["question 1", "between", "question 2", "question 3"]
    drafts.move(cats.id, third, to=1)
    drafts.move(cats.id, first, to=99)
    assert said(drafts, cats) == ["question 3", "between", "question 2", "question 1"]
    drafts.duplicate(cats.id, [second, third])
    assert said(drafts, cats) == ["question 3", "question 3", "between", "question 2", "question 2", "question 1"]
    assert [row.number for row in drafts.look(cats.id).rows] == [1, 2, 3, 4, 5, 6]
    drafts.delete(cats.id, [first, second, 12345])
    assert said(drafts, cats) == ["question 3", "question 3", "between", "question 2"]


def test_half_a_character_from_the_browser_is_kept_as_a_mark(drafts: Drafts, cats: Draft) -> None:
    row = drafts.add(cats.id, conversation("a \ud83d b", "whole \U0001f600"))
    there = drafts.edit(cats.id, row, conversation("\ude00", "x"), based=drafts.look(cats.id).rows[0].revision)
    assert there.record["messages"][0]["content"] == "\ufffd"
    drafts.tag(cats.id, [row], "\ud83d")
    drafts.guide(cats.id, {"purpose": "\udfff"})
    drafts.rename(cats.id, "Cats \udfff")
    assert (drafts.look(cats.id).tags, drafts.get(cats.id).name) == ({"\ufffd": 1}, "Cats \ufffd")


def test_an_edit_of_what_was_changed_elsewhere_is_told_and_changes_nothing(drafts: Drafts, cats: Draft) -> None:
    row = drafts.add(cats.id, SMALL)
    based = drafts.look(cats.id).rows[0].revision
    drafts.edit(cats.id, row, conversation("theirs", "theirs"), based=based)
    with pytest.raises(Stale) as stale:
        drafts.edit(cats.id, row, conversation("mine", "mine"), based=based)
    assert stale.value.theirs and stale.value.theirs.record["messages"][0]["content"] == "theirs"
    assert said(drafts, cats) == ["theirs"]
    drafts.edit(cats.id, row, conversation("mine", "mine"), based=stale.value.theirs.revision)
    assert said(drafts, cats) == ["mine"]
    drafts.delete(cats.id, [row])
    with pytest.raises(Stale) as gone:
        drafts.edit(cats.id, row, SMALL, based=based)
    assert gone.value.theirs is None


def test_an_undone_edit_is_stale_too(drafts: Drafts, cats: Draft) -> None:
    row = drafts.add(cats.id, SMALL)
    edited = drafts.edit(cats.id, row, conversation("b", "b"), based=drafts.look(cats.id).rows[0].revision)
    drafts.undo(cats.id)
    with pytest.raises(Stale):
        drafts.edit(cats.id, row, conversation("c", "c"), based=edited.revision)


# ---- finding


def test_rows_are_found_by_word_tag_origin_and_what_is_missing(drafts: Drafts, cats: Draft) -> None:
    ids = drafts.add_all(cats.id, [conversation("STRASSE und Öl", "x"), conversation("b", ""), conversation("", "y"), SMALL])
    drafts.tag(cats.id, ids[:2], "to do")
    drafts.tag(cats.id, ids[1:3], "to")
    assert said(drafts, cats, Query(words="straße UND ÖL")) == ["STRASSE und Öl"]
    assert said(drafts, cats, Query(tag="to")) == ["b", ""]
    assert said(drafts, cats, Query(unfinished=True)) == ["b", ""]
    assert said(drafts, cats, Query(words="b", tag="to do", how="hand", unfinished=True)) == ["b"]
    assert said(drafts, cats, Query(how="imported")) == []
    page = drafts.look(cats.id, Query(unfinished=True))
    assert ([row.number for row in page.rows], page.found, page.rows_there, page.unfinished) == ([2, 3], 2, 4, 2)
    assert page.tags == {"to do": 2, "to": 2} and page.hows == {"hand": 4}
    drafts.untag(cats.id, ids, "to")
    assert drafts.look(cats.id).tags == {"to do": 2}
    assert [why for _, _, why in drafts.unfinished(cats.id)] == ["has an empty assistant turn", "has an empty user turn"]


def test_the_page_that_holds_a_row_is_found(drafts: Drafts, cats: Draft) -> None:
    ids = drafts.add_all(cats.id, numbered(draft_rows.PAGE * 2 + 1))
    page = drafts.look(cats.id, holding=ids[-1])
    assert (page.page, page.pages, [row.id for row in page.rows]) == (2, 3, [ids[-1]])
    assert drafts.look(cats.id, page=99).page == 2


def test_tags_and_names_that_say_nothing_get_a_sentence(drafts: Drafts, cats: Draft) -> None:
    row = drafts.add(cats.id, SMALL)
    with pytest.raises(UserError, match="tag is empty"):
        drafts.tag(cats.id, [row], " \x1f\n")
    with pytest.raises(UserError, match="no name"):
        drafts.rename(cats.id, "  ")
    with pytest.raises(UserError, match="no name"):
        drafts.begin("", "text")
    with pytest.raises(UserError, match="draft is gone"):
        drafts.add("gone", SMALL)


# ---- undo and redo


def test_typing_in_one_row_is_one_change(drafts: Drafts, cats: Draft) -> None:
    row = drafts.add(cats.id, conversation("", ""))
    revision = drafts.look(cats.id).rows[0].revision
    for text in ("h", "he", "hello"):
        revision = drafts.edit(cats.id, row, conversation(text, ""), based=revision).revision
    assert drafts.get(cats.id).undo == "edit a row"
    drafts.undo(cats.id)
    assert said(drafts, cats) == [""]
    drafts.redo(cats.id)
    assert said(drafts, cats) == ["hello"]


def test_undo_says_what_it_takes_back_and_a_new_change_ends_redo(drafts: Drafts, cats: Draft) -> None:
    ids = drafts.add_all(cats.id, numbered(3))
    drafts.delete(cats.id, ids)
    assert (drafts.get(cats.id).undo, drafts.get(cats.id).redo) == ("delete 3 rows", None)
    taken = drafts.undo(cats.id)
    assert taken and (taken.label, list(taken.rows)) == ("delete 3 rows", list(ids))
    assert (drafts.get(cats.id).undo, drafts.get(cats.id).redo) == ("paste 3 rows", "delete 3 rows")
    drafts.add(cats.id, SMALL)
    assert drafts.redo(cats.id) is None and drafts.get(cats.id).redo is None


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "edit", "edit", "duplicate", "delete", "move", "tag", "untag", "paste", "rename", "guide", "undo", "redo"]),
        st.integers(0, 9),
        st.text(max_size=3),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_undoing_everything_gives_the_start_and_redoing_everything_the_end(operations: list[tuple[str, int, str]]) -> None:
    store = Store(Path(":memory:"))
    drafts = Drafts(store)
    draft = drafts.begin("Cats", "messages", author="Ada")
    drafts.add_all(draft.id, numbered(2))
    while drafts.undo(draft.id):
        pass
    start = all_of(drafts, draft)
    for operation in operations:
        perform(drafts, draft, *operation)
    end_labels = drafts.get(draft.id).redo
    while drafts.redo(draft.id):
        pass
    end = all_of(drafts, draft)
    while drafts.undo(draft.id):
        pass
    assert all_of(drafts, draft) == start
    while drafts.redo(draft.id):
        pass
    assert all_of(drafts, draft) == end
    assert end_labels is None or drafts.get(draft.id).redo is None
    store.close()


def perform(drafts: Drafts, draft: Draft, what: str, number: int, text: str) -> None:
    rows = drafts.look(draft.id).rows
    row = rows[number % len(rows)] if rows else None
    record = conversation(text, text[::-1])
    if what == "add":
        drafts.add(draft.id, record, behind=row.id if row else None)
    elif what == "paste":
        drafts.add_all(draft.id, [record] * number, behind=row.id if row else None)
    elif what in ("rename", "guide"):
        drafts.rename(draft.id, f"n{text}") if what == "rename" else drafts.guide(draft.id, {"purpose": text})
    elif what in ("undo", "redo"):
        getattr(drafts, what)(draft.id)
    elif row and what == "edit":
        drafts.edit(draft.id, row.id, record, based=row.revision)
    elif row and what == "move":
        drafts.move(draft.id, row.id, to=number)
    elif row and what in ("tag", "untag"):
        getattr(drafts, what)(draft.id, [row.id, rows[0].id], f"t{number % 2}")
    elif row:
        getattr(drafts, what)(draft.id, [row.id for row in rows[: number % 3]])


# ---- versions


def test_a_version_holds_the_rows_in_order_with_who_wrote_them_and_the_guidelines(drafts: Drafts, datasets: Datasets, cats: Draft) -> None:
    ids = drafts.add_all(cats.id, numbered(3))
    drafts.move(cats.id, ids[2], to=1)
    drafts.tag(cats.id, ids[:1], "easy")
    drafts.guide(cats.id, {"purpose": "Know cats."})
    card = drafts.save(cats.id, datasets)
    assert (card.name, card.version, card.rows, card.made, card.guidelines) == ("Cats", 1, 3, {"hand": 3}, {"purpose": "Know cats."})
    saved = list(datasets.iterate(card.id))
    assert [row["messages"][0]["content"] for row in saved] == ["question 3", "question 1", "question 2"]
    assert saved[1]["about"] == {"how": "hand", "author": "Ada", "tags": ["easy"]}
    now = drafts.get(cats.id)
    assert (now.dataset, now.version, now.unsaved) == (card.id, 1, False)


def test_the_draft_goes_on_from_its_version(drafts: Drafts, datasets: Datasets, cats: Draft) -> None:
    drafts.add(cats.id, SMALL)
    first = drafts.save(cats.id, datasets)
    drafts.add(cats.id, conversation("b", "b"))
    assert drafts.get(cats.id).unsaved
    second = drafts.save(cats.id, datasets)
    assert (second.id, second.version, second.rows) == (first.id, 2, 2)
    assert drafts.of_dataset(datasets, first.id).id == cats.id
    assert drafts.save(cats.id, datasets) == second, "nothing new, no new version"
    drafts.undo(cats.id)
    assert len(said(drafts, cats)) == 1, "what was saved can still be taken back"


def test_rows_that_cannot_be_learnt_from_are_named_and_left_out_only_on_consent(drafts: Drafts, datasets: Datasets, cats: Draft) -> None:
    drafts.add_all(cats.id, [SMALL, conversation("b", " "), {"messages": [{"role": "user", "content": "c"}]}])
    with pytest.raises(UserError) as refused:
        drafts.save(cats.id, datasets)
    assert refused.value.problems[0] == 'Row 2 of "Cats" has an empty assistant turn. Finish it, delete it, or leave it out.'
    assert datasets.list() == []
    card = drafts.save(cats.id, datasets, leave_out=True)
    assert (card.rows, card.left_out) == (1, {"has an empty assistant turn": 1, "has no assistant turn": 1})
    assert drafts.get(cats.id).rows == 3, "they stay in the draft, to be finished"


def test_an_empty_draft_makes_no_version(drafts: Drafts, datasets: Datasets, cats: Draft) -> None:
    with pytest.raises(UserError, match="has no rows"):
        drafts.save(cats.id, datasets)


def test_a_draft_never_becomes_a_version_of_another_data_set_by_its_name(drafts: Drafts, datasets: Datasets, cats: Draft) -> None:
    datasets.save([conversation("x", "y")], name="Cats", record="messages", source={"made": "by hand"})
    drafts.add(cats.id, SMALL)
    with pytest.raises(UserError, match="another data set named"):
        drafts.save(cats.id, datasets)
    drafts.rename(cats.id, "Dogs")
    assert drafts.save(cats.id, datasets).version == 1


def test_a_draft_outlives_its_data_set(drafts: Drafts, datasets: Datasets, cats: Draft) -> None:
    drafts.add(cats.id, SMALL)
    gone = drafts.save(cats.id, datasets)
    datasets.delete(gone.id)
    assert drafts.save(cats.id, datasets).version == 1


def test_a_data_set_is_edited_in_its_own_draft_and_can_be_taken_anew(drafts: Drafts, datasets: Datasets) -> None:
    card = datasets.save(numbered(3), name="Cats", record="messages", source={"made": "by hand"}, guidelines={"form": "Short."})
    heard: list[float] = []
    draft = drafts.of_dataset(datasets, card.id, author="Ada", progress=heard.append)
    assert (draft.rows, draft.unsaved, draft.guidelines, heard[-1]) == (3, False, {"form": "Short."}, 1.0)
    drafts.delete(draft.id, [drafts.look(draft.id).rows[0].id])
    newer = datasets.save(numbered(5), name="Cats", record="messages", source={"made": "by hand"}, of=card.id)
    assert drafts.of_dataset(datasets, card.id).version == 1, "a draft begun is kept"
    anew = drafts.of_dataset(datasets, card.id, anew=True)
    assert (anew.version, anew.rows) == (newer.version, 5)
    assert [one.id for one in drafts.list()] == [anew.id]


def test_a_set_too_large_for_hands_is_refused_with_another_way(drafts: Drafts, datasets: Datasets) -> None:
    card = datasets.save(({"text": "x"} for _ in range(MOST_ROWS + 1)), name="Large", record="text", source={"made": "by hand"})
    with pytest.raises(UserError, match="100,001 rows.*Mix"):
        drafts.of_dataset(datasets, card.id)
    assert drafts.list() == []


# ---- kept, whatever happens


WRITER = """
import os, signal, sys
from pathlib import Path
from backend.data.drafts import Drafts, conversation
from backend.store import Store
drafts = Drafts(Store(Path(sys.argv[1])))
draft = drafts.begin("Cats", "messages", author="Ada")
rows = drafts.add_all(draft.id, [conversation(f"question {n}", "") for n in range(5)])
for n, row in enumerate(drafts.look(draft.id).rows):
    drafts.edit(draft.id, row.id, conversation(f"question {n}", f"answer {n}"), based=row.revision)
drafts.tag(draft.id, rows, "kept")
drafts.delete(draft.id, rows[:1])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.fault("the process is killed after an edit")
def test_all_edits_are_there_after_a_kill_and_can_be_undone(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    ended = subprocess.run([sys.executable, "-c", WRITER, path], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    drafts = Drafts(Store(path))
    (draft,) = drafts.list()
    rows = drafts.look(draft.id).rows
    assert [row.record["messages"][1]["content"] for row in rows] == [f"answer {n}" for n in range(1, 5)]
    assert all(row.record["about"]["tags"] == ["kept"] for row in rows)
    drafts.undo(draft.id)
    assert drafts.get(draft.id).rows == 5


def test_many_threads_write_without_losing_anything(drafts: Drafts, cats: Draft) -> None:
    def write(name: str) -> None:
        for number in range(20):
            drafts.add(cats.id, conversation(f"{name} {number}", "x"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    page = drafts.look(cats.id)
    assert page.found == 80
    every = drafts.found(cats.id, Query())
    assert len(set(every)) == 80


def test_a_store_of_a_newer_studio_and_a_damaged_one_get_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    with store.changing() as db:
        db.execute(f"PRAGMA user_version = {len(SCHEMAS) + 1}")
    store.close()
    with pytest.raises(UserError, match="newer studio"):
        Store(tmp_path / "a.db")
    (tmp_path / "b.db").write_bytes(random.Random(0).randbytes(5000))
    with pytest.raises(UserError, match="cannot be used"):
        Store(tmp_path / "b.db")


def test_a_change_that_fails_leaves_nothing(drafts: Drafts, cats: Draft) -> None:
    with pytest.raises(ZeroDivisionError), drafts._store.changing() as db:
        db.execute("UPDATE drafts SET name = 'half'")
        1 / 0  # noqa: B018
    assert drafts.get(cats.id).name == "Cats"
