"""Finding text in a version: every row that holds it and no other, as far as the time goes."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.data import search as searching
from backend.data.records import Record
from backend.data.search import excerpt, search
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.workspace import Workspace


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def texts(datasets: Datasets, rows: list[str]) -> Card:
    return datasets.save([{"text": row} for row in rows], name="x", record="text", source={}, again=True)


def found(datasets: Datasets, card: Card, text: str, **values: int) -> list[int]:
    return search(datasets, card.id, card.version, text, **values).numbers


def test_rows_are_found_in_every_turn_and_named_once(datasets: Datasets) -> None:
    rows: list[Record] = [
        {"messages": [{"role": "system", "content": "A Kettle."}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "kettle"}]},
        {"messages": [{"role": "user", "content": "kettles"}, {"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "pot"}]},
    ]  # fmt: skip
    card = datasets.save(rows * 1200, name="x", record="messages", source={})
    assert found(datasets, card, " KETTLE ") == [number for number in range(3600) if number % 3 < 2]
    assert found(datasets, card, "pot", start=2998) == list(range(3000 - 1, 3600, 3))
    assert found(datasets, card, "user") == []  # who speaks is no text


def test_text_is_looked_for_letter_by_letter(datasets: Datasets) -> None:
    card = texts(datasets, ["a.c", "abc", "100 %", "x_y", "(", "\\d"])
    assert [found(datasets, card, text) for text in ("a.c", "%", "_", "(", "\\d", ".*")] == [[0], [2], [3], [4], [5], []]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.text(alphabet="abC ß.日\n", min_size=1, max_size=8), min_size=1, max_size=20), text=st.text(alphabet="abC.日", min_size=1, max_size=2))
def test_it_finds_what_python_finds(datasets: Datasets, rows: list[str], text: str) -> None:
    expected = [number for number, row in enumerate(rows) if text.lower() in row.lower()]
    assert found(datasets, texts(datasets, rows), text) == expected


def test_it_stops_when_the_time_is_up_and_goes_on_from_there(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "GROUPS_AT_ONCE", 1)
    card = texts(datasets, [f"row {number}" for number in range(3500)])
    first = search(datasets, card.id, 1, "row", seconds=0)
    assert (first.numbers, first.searched, first.rows, first.is_whole) == (list(range(1000)), 1000, 3500, False)
    second = search(datasets, card.id, 1, "row", start=first.searched)
    assert second.numbers == list(range(1000, 3500)) and second.is_whole


def test_it_stops_when_enough_is_found(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "GROUPS_AT_ONCE", 1)
    monkeypatch.setattr(searching, "MOST_FOUND", 10)
    assert search(datasets, texts(datasets, ["x"] * 3000).id, 1, "x").searched == 1000


def test_a_second_is_enough_for_100_000_rows(datasets: Datasets) -> None:
    card = texts(datasets, [f"row {number} " + "word " * 30 for number in range(100_000)])
    begun = time.perf_counter()
    result = search(datasets, card.id, 1, "row 99999")
    assert time.perf_counter() - begun < 1 and (result.numbers == [99_999] or not result.is_whole)


@pytest.mark.parametrize("text", ["", "  \n", "x" * 1001])
def test_nothing_to_look_for_gets_a_sentence(datasets: Datasets, text: str) -> None:
    card = texts(datasets, ["a"])
    with pytest.raises(UserError, match="Type a"):
        search(datasets, card.id, 1, text)


def test_half_a_surrogate_pair_from_a_browser_is_looked_for_and_not_found(datasets: Datasets) -> None:
    assert found(datasets, texts(datasets, ["a"]), "\ud800") == []


def test_the_surroundings_are_cut_around_what_was_found() -> None:
    before, hit, after = excerpt("x" * 500 + "Kettle" + "y" * 500, "kettle")
    assert (hit, len(before), len(after)) == ("Kettle", 121, 241) and before[0] == "…" == after[-1]
    assert excerpt("A kettle.", "KETTLE") == ("A ", "kettle", ".")
    assert excerpt("nothing", "kettle") == ("nothing", "", "")
