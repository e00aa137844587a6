"""What changed between two versions, found by content; and the way back."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.data import history
from backend.data.drafts import conversation
from backend.data.history import Changes, compare, restore, shown
from backend.data.versions import Card, Datasets
from backend.workspace import Workspace


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def saved(datasets: Datasets, rows: list, *, of: Card | None = None) -> Card:
    kind = "text" if "text" in rows[0] else "messages"
    return datasets.save(rows, name="Cats", record=kind, source={"made": "by hand"}, of=of and of.id)


def pairs(*texts: str) -> list:
    """ "a1" asks "a" and is answered "1"."""
    return [conversation(text[0], text[1:]) for text in texts]


def changed(datasets: Datasets, before: list, after: list) -> Changes:
    first = saved(datasets, before)
    return compare(datasets, first, saved(datasets, after, of=first))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["a1", "b2"], ["a1", "b2"], Changes()),
        (["a1", "b2"], ["b2", "a1"], Changes()),  # moved
        (["a1"], ["a1", "b2"], Changes(added=[1])),
        (["a1", "b2", "c3"], ["a1", "c3"], Changes(removed=[1])),
        (["a1", "b2"], ["b2", "a9"], Changes(edited=[(0, 1)])),  # another answer to the same question
        (["a1", "b2"], ["b2", "z1"], Changes(edited=[(0, 1)])),  # another question with the same answer
        (["a1", "b2", "c3"], ["a1", "z9", "c3"], Changes(edited=[(1, 1)])),  # between the same neighbours
        (["a1", "b1", "x2"], ["x2", "y1", "z1"], Changes(added=[1, 2], removed=[0, 1])),  # an answer many give says nothing
        (["a1", "a1"], ["a1", "a1", "a1"], Changes(added=[2])),
        (["a1", "a1", "b2"], ["a1", "b2"], Changes(removed=[1])),
        (["a1", "a2"], ["a3", "a4"], Changes(edited=[(0, 0), (1, 1)])),
    ],
)  # fmt: skip
def test_changes_are_read_as_a_person_would(datasets: Datasets, before: list[str], after: list[str], expected: Changes) -> None:
    found = changed(datasets, pairs(*before), pairs(*after))
    assert (list(found.added), list(found.removed), list(found.edited)) == (list(expected.added), list(expected.removed), list(expected.edited))


def test_texts_are_paired_by_their_neighbours(datasets: Datasets) -> None:
    found = changed(datasets, [{"text": text} for text in "abc"], [{"text": text} for text in "azcd"])
    assert (list(found.edited), list(found.added), list(found.removed)) == ([(1, 1)], [3], [])


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123")), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS)
def test_what_is_kept_removed_and_added_makes_up_both_versions(before: list, after: list) -> None:
    """Whatever the pairs are called, the rows that stayed are the same on both sides, row for row."""
    found = history.changes(*(digests_of([conversation(*pair) for pair in side]) for side in (before, after)))
    olds = [old for old, _ in found.edited] + list(found.removed)
    news = [new for _, new in found.edited] + list(found.added)
    assert len(set(olds)) == len(olds) and len(set(news)) == len(news)
    kept_old = sorted(pair for row, pair in enumerate(before) if row not in olds)
    kept_new = sorted(pair for row, pair in enumerate(after) if row not in news)
    assert kept_old == kept_new
    assert not {before[row] for row in found.removed} & {after[row] for row in found.added}


def digests_of(records: list) -> history.Digests:
    """The digests of rows that are in no file."""

    class InMemory:
        def iterate(self, *_: object) -> list:
            return records

    card = Card(id="x", name="x", version=1, record="messages", shape="messages", rows=len(records), sha256="", source={}, created="")
    return history.digests(InMemory(), card)  # type: ignore[arg-type]


def test_a_page_of_differences_shows_the_rows_themselves(datasets: Datasets) -> None:
    first = saved(datasets, pairs("a1", "b2", "c3"))
    second = saved(datasets, pairs("a9", "c3", "d4"), of=first)
    changes = compare(datasets, first, second)
    edited, added, removed = shown(datasets, first, second, changes, page=0)
    assert (edited.kind, edited.before, edited.after) == ("edited", *pairs("a1", "a9"))
    assert (added.kind, added.after, added.number_after, added.before) == ("added", *pairs("d4"), 3, None)
    assert (removed.kind, removed.before, removed.number_before, removed.after) == ("removed", *pairs("b2"), 2, None)
    assert shown(datasets, first, second, changes, page=1) == []


def test_an_older_version_is_restored_as_a_new_one(datasets: Datasets) -> None:
    first = saved(datasets, pairs("a1", "b2"))
    saved(datasets, pairs("a1"), of=first)
    back = restore(datasets, first)
    assert (back.id, back.version, back.sha256) == (first.id, 3, first.sha256)
    assert back.source == {"made": "restored", "from_version": 1}
    assert compare(datasets, first, back).count == 0


def test_twenty_thousand_rows_are_compared_with_words_of_progress(datasets: Datasets) -> None:
    rows = [conversation(f"question {number}", f"answer {number}") for number in range(20_000)]
    first = saved(datasets, rows)
    second = saved(datasets, [*rows[:9_000], *rows[9_001:], conversation("new", "new")], of=first)
    heard: list[float] = []
    found = compare(datasets, first, second, progress=heard.append)
    assert (list(found.added), list(found.removed), list(found.edited)) == ([19_999], [9_000], [])
    assert all(earlier <= later for earlier, later in itertools.pairwise(heard)) and 0 <= heard[-1] <= 1
