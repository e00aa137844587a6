"""Files into saved versions and out again; nothing half done, nothing twice, nothing but `UserError`."""

import csv
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.data.importing import CONTRADICTION, DUPLICATE, Reached, check, import_file, preview
from backend.data.readers import inspect, read_rows, sample_rows
from backend.data.records import clipped
from backend.data.shapes import Mapping, guess_mapping
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.workspace import Workspace, is_id

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"
PAIRS = Mapping(shape="prompt_completion", columns={"prompt": "prompt", "completion": "completion"})
TEXTS = Mapping(shape="text", columns={"text": "text"})


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def write(folder: Path, rows: list[Any], *, name: str = "cats.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"question {number}", "completion": f"answer {number}"} for number in range(count)]


def record(row: dict[str, str]) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    }


def files(datasets: Datasets) -> list[str]:
    return sorted(str(path.relative_to(datasets.root)) for path in datasets.root.rglob("*"))


def save(datasets: Datasets, path: Path, *, name: str = "Cats", mapping: Mapping = PAIRS, **consent: bool) -> Card:
    return import_file(datasets, inspect(path), mapping, name=name, **consent)


# ---- saving and reading back


def test_what_is_saved_is_what_was_read(datasets: Datasets, tmp_path: Path) -> None:
    card = save(datasets, write(tmp_path, pairs(3)))
    assert list(datasets.iterate(card.id)) == [record(row) for row in pairs(3)]
    assert (card.name, card.version, card.rows, card.record, card.shape) == (
        "Cats",
        1,
        3,
        "messages",
        "prompt_completion",
    )
    assert card.source["file"] == "cats.jsonl" and card.source["mapping"] == PAIRS.model_dump()
    assert datasets.card(card.id) == card
    assert files(datasets) == [card.id, f"{card.id}/v1.json", f"{card.id}/v1.parquet"]


def test_texts_are_kept_character_for_character(datasets: Datasets, tmp_path: Path) -> None:
    texts = [" 😀 \r\n", "שלום\u200b", '=HYPERLINK("x")', "a\x00b", "NA", "x" * 200_000]
    card = save(datasets, write(tmp_path, [{"text": text} for text in texts]), mapping=TEXTS)
    assert [row["text"] for row in datasets.iterate(card.id)] == texts


def test_the_file_is_the_parquet_and_the_json_we_promise(datasets: Datasets, tmp_path: Path) -> None:
    from pyarrow import parquet

    card = save(datasets, write(tmp_path, pairs(2)))
    schema = parquet.read_schema(datasets.root / card.id / "v1.parquet")
    assert (
        str(schema.field("messages").type).replace("element", "item")
        == "list<item: struct<role: string, content: string>>"
    )
    text = (datasets.root / card.id / "v1.json").read_text()
    assert json.loads(text)["v"] == 1 and text.startswith('{\n  "v": 1')
    card = save(datasets, write(tmp_path, [{"text": "a"}]), mapping=TEXTS, name="Texts")
    assert str(parquet.read_schema(datasets.root / card.id / "v1.parquet").field("text").type) == "string"


@pytest.mark.parametrize(
    ("offset", "limit"), [(0, 50), (990, 20), (999, 1), (1000, 1), (2400, 500), (2500, 5), (0, 2500), (3, 0)]
)
def test_any_page_of_rows_can_be_read(datasets: Datasets, tmp_path: Path, offset: int, limit: int) -> None:
    rows = pairs(2500)
    card = save(datasets, write(tmp_path, rows))
    assert datasets.rows(card.id, offset=offset, limit=limit) == [record(row) for row in rows[offset : offset + limit]]


def test_a_page_reads_only_the_row_groups_it_needs(datasets: Datasets, tmp_path: Path) -> None:
    card = save(datasets, write(tmp_path, pairs(2500)))
    path = datasets.root / card.id / "v1.parquet"
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 3] = bytes(len(content) // 3 - 4)  # the first group is no more
    path.write_bytes(content)
    assert datasets.rows(card.id, offset=2000, limit=1) == [
        record({"prompt": "question 2000", "completion": "answer 2000"})
    ]
    with pytest.raises(UserError, match="missing or damaged"):
        datasets.rows(card.id, offset=0, limit=1)


def test_long_rows_make_small_row_groups(datasets: Datasets, tmp_path: Path) -> None:
    from pyarrow.parquet import ParquetFile

    card = save(
        datasets, write(tmp_path, [{"text": f"{number}" + "x" * 9_000_000} for number in range(4)]), mapping=TEXTS
    )
    assert ParquetFile(datasets.root / card.id / "v1.parquet").num_row_groups == 2
    assert [row["text"][0] for row in datasets.rows(card.id, offset=1, limit=2)] == ["1", "2"]


# ---- versions


def test_the_same_rows_have_the_same_hash_whatever_file_they_came_from(datasets: Datasets, tmp_path: Path) -> None:
    from_lines = save(datasets, write(tmp_path, pairs(3)), name="lines")
    with (tmp_path / "cats.csv").open("w", newline="", encoding="utf-16") as file:
        writer = csv.DictWriter(file, ["completion", "prompt"], delimiter=";")
        writer.writeheader()
        writer.writerows(pairs(3))
    from_table = save(datasets, tmp_path / "cats.csv", name="table")
    assert from_lines.sha256 == from_table.sha256
    assert from_lines.id != from_table.id
    assert save(datasets, write(tmp_path, pairs(4)), name="more").sha256 != from_lines.sha256


def test_the_same_rows_under_the_same_name_are_kept_once(datasets: Datasets, tmp_path: Path) -> None:
    first = save(datasets, write(tmp_path, pairs(3)))
    there = files(datasets)
    assert save(datasets, write(tmp_path, ["", *pairs(3)], name="other.jsonl"), name=" Cats ") == first
    assert files(datasets) == there


def test_other_rows_under_the_same_name_are_the_next_version(datasets: Datasets, tmp_path: Path) -> None:
    first = save(datasets, write(tmp_path, pairs(3)))
    second = save(datasets, write(tmp_path, pairs(4)))
    assert (first.id, second.version) == (second.id, 2)
    assert list(datasets.versions(first.id)) == [1, 2]
    assert datasets.card(first.id) == second
    assert datasets.card(first.id, 1) == first
    assert len(list(datasets.iterate(first.id, 1))) == 3
    assert datasets.list() == [second]
    assert save(datasets, write(tmp_path, pairs(3))) == first


def test_the_list_has_the_most_recent_first_and_passes_over_damaged_cards(datasets: Datasets, tmp_path: Path) -> None:
    cards = [save(datasets, write(tmp_path, pairs(number)), name=f"set {number}") for number in (1, 2, 3)]
    assert datasets.list() == cards[::-1]
    (datasets.root / cards[1].id / "v1.json").write_text('{"v": 1')
    (datasets.root / cards[1].id / "vx.json").write_text("{}")
    assert datasets.list() == [cards[2], cards[0]]
    with pytest.raises(UserError, match="cannot be read"):
        datasets.card(cards[1].id)


def test_a_deleted_data_set_is_gone(datasets: Datasets, tmp_path: Path) -> None:
    card = save(datasets, write(tmp_path, pairs(1)))
    datasets.delete(card.id)
    assert files(datasets) == [] and datasets.list() == []
    with pytest.raises(UserError, match="no data set"):
        datasets.delete(card.id)


@pytest.mark.parametrize("id", ["nothing-here", "../runs", "", "/etc", "a/b", "\ud800"])
def test_what_is_not_there_is_said_before_anything_is_read(datasets: Datasets, id: str) -> None:
    for ask in (datasets.card, datasets.versions, datasets.rows, datasets.iterate, datasets.delete):
        with pytest.raises(UserError, match="There is no data set"):
            ask(id)


def test_a_version_that_is_not_there_names_those_that_are(datasets: Datasets, tmp_path: Path) -> None:
    card = save(datasets, write(tmp_path, pairs(1)))
    with pytest.raises(UserError, match="no version 7. Choose one it has: 1"):
        datasets.card(card.id, 7)


def test_names_of_any_kind_are_shown_and_stored_under_our_own_id(datasets: Datasets, tmp_path: Path) -> None:
    source = inspect(write(tmp_path, pairs(1)), name="../../" + "長い" * 200)
    for name in ["../../etc", "名前", "x" * 300, "a\nb", "\ud800"]:
        card = import_file(datasets, source, PAIRS, name=name)
        assert is_id(card.id) and (datasets.root / card.id / "v1.parquet").exists()
        assert len(card.name) <= 120 and datasets.card(card.id) == card
    with pytest.raises(UserError, match="no name"):
        import_file(datasets, source, PAIRS, name=" \n")


# ---- rows that cannot be used


BAD = [
    {"prompt": "x"},
    "{broken",
    {"prompt": "x", "completion": 3},
    {"prompt": "x", "completion": ""},
    "[1]",
    '{"prompt": "\\ud800"}',
]


def test_bad_rows_are_named_and_nothing_is_saved(datasets: Datasets, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        save(datasets, write(tmp_path, pairs(13) + BAD))
    assert refusal.value.problems[0] == "Row 14 of cats.jsonl has no \"completion\" text. It begins: {'prompt': 'x'}"
    assert refusal.value.problems[1].startswith("Row 15 of cats.jsonl is not valid JSON")
    assert refusal.value.problems[1].endswith("It begins: {broken")
    assert refusal.value.problems[5:] == ("6 rows of 19 cannot be used. Mend the file, or import without them.",)
    assert files(datasets) == []


def test_bad_rows_are_left_out_on_consent_and_counted(datasets: Datasets, tmp_path: Path) -> None:
    path = write(tmp_path, pairs(2) + BAD + BAD[:1] + pairs(4)[2:])
    card = save(datasets, path, skip_problems=True)
    assert [row for row in datasets.iterate(card.id)] == [record(row) for row in pairs(4)]
    assert card.left_out['has no "completion" text'] == 2
    assert sum(card.left_out.values()) == 7


def test_a_check_finds_what_an_import_would_and_saves_nothing(datasets: Datasets, tmp_path: Path) -> None:
    path = write(tmp_path, pairs(2) + BAD * 20)
    found = check(inspect(path), PAIRS)
    assert (found.rows, len(found.problems), sum(found.left_out.values())) == (2, 120, 120)
    assert found.problems[0][:2] == (3, 'has no "completion" text')
    assert files(datasets) == []
    assert save(datasets, path, skip_problems=True).left_out == found.left_out


def test_reasons_without_end_are_counted_together(datasets: Datasets, tmp_path: Path) -> None:
    rows = [{"messages": [{"role": f"r{number}", "content": "x"}]} for number in range(300)]
    found = check(inspect(write(tmp_path, rows)), Mapping(shape="messages", columns={"messages": "messages"}))
    assert len(found.left_out) == 51 and sum(found.left_out.values()) == 300


def test_a_file_without_one_good_row_is_refused_even_with_consent(datasets: Datasets, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="None of the 6 rows"):
        save(datasets, write(tmp_path, [{"a": 1}, *BAD[1:]]), skip_problems=True)
    assert files(datasets) == []


@pytest.mark.fault("one row")
def test_one_row_is_allowed(datasets: Datasets, tmp_path: Path) -> None:
    assert save(datasets, write(tmp_path, pairs(1))).rows == 1


def test_duplicates_and_contradictions_are_kept_and_counted(datasets: Datasets, tmp_path: Path) -> None:
    path = write(tmp_path, [*pairs(3), *pairs(2), {"prompt": "question 0", "completion": "another"}])
    card = save(datasets, path)
    assert (card.rows, card.notes) == (6, {DUPLICATE: 2, CONTRADICTION: 1})
    card = save(datasets, path, drop_duplicates=True)
    assert (card.version, card.rows, card.left_out, card.notes) == (2, 4, {DUPLICATE: 2}, {CONTRADICTION: 1})


# ---- faults


@pytest.mark.fault("a file changed between preview and start")
def test_a_file_that_changed_before_or_during_the_import_is_refused(datasets: Datasets, tmp_path: Path) -> None:
    source = inspect(write(tmp_path, pairs(3)))
    with pytest.raises(UserError, match="has changed"):
        import_file(datasets, source, PAIRS, name="Cats", progress=lambda share: os.utime(source.path, (1, 1)))
    with pytest.raises(UserError, match="has changed"):
        import_file(datasets, source, PAIRS, name="Cats")
    assert files(datasets) == []


def test_an_import_that_is_broken_off_leaves_nothing(datasets: Datasets, tmp_path: Path) -> None:
    def stop(reached: Reached) -> None:
        if reached.share > 0.5:
            raise KeyboardInterrupt

    source = inspect(write(tmp_path, [{**pair, "pad": "x" * 99} for pair in pairs(20_000)]))
    with pytest.raises(KeyboardInterrupt):
        import_file(datasets, source, PAIRS, name="Cats", progress=stop)
    assert files(datasets) == []


def test_a_card_that_cannot_be_written_leaves_nothing(
    datasets: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.data.versions.write_whole", full)
    with pytest.raises(UserError, match="No space left on device"):
        save(datasets, write(tmp_path, pairs(3)))
    assert files(datasets) == []


@pytest.mark.fault("the process is killed while importing")
def test_a_version_cut_short_by_a_crash_is_not_there_and_not_in_the_way(datasets: Datasets, tmp_path: Path) -> None:
    card = save(datasets, write(tmp_path, pairs(1)))
    (datasets.root / card.id / "v2.parquet").write_bytes(b"PAR1")
    assert datasets.card(card.id) == card
    assert save(datasets, write(tmp_path, pairs(2))).version == 3


def test_rows_that_are_missing_are_said_so(datasets: Datasets, tmp_path: Path) -> None:
    card = save(datasets, write(tmp_path, pairs(1)))
    (datasets.root / card.id / "v1.parquet").unlink()
    with pytest.raises(UserError, match="missing or damaged"):
        list(datasets.iterate(card.id))


# ---- preview


def test_a_preview_shows_columns_records_and_problems(datasets: Datasets, tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "b" * 999_999}, {"prompt": 1, "completion": None, "id": [1]}, "{"]
    source = inspect(write(tmp_path, rows))
    seen = preview(source, PAIRS)
    assert [(column.name, column.kinds) for column in seen.columns] == [
        ("prompt", {"text": 1, "number": 1}),
        ("completion", {"text": 1, "nothing": 1}),
        ("id", {"nothing": 1, "list": 1}),
    ]
    assert [problem.number for problem in seen.problems] == [2, 3]
    assert len(seen.records) == 1 and len(json.dumps(seen.records)) < 5000
    assert max(len(column.sample) for column in seen.columns) <= 200
    assert preview(source).columns == seen.columns
    assert files(datasets) == []


def test_records_are_clipped_to_be_shown() -> None:
    assert clipped({"text": "x" * 99}, max_chars=5) == {"text": "xxxx…"}
    assert clipped({"text": "short"}) == {"text": "short"}


# ---- progress, real files, garbage


def test_progress_is_told_and_ends_at_one(datasets: Datasets, tmp_path: Path) -> None:
    told: list[Reached] = []
    source = inspect(write(tmp_path, pairs(2500)))
    import_file(datasets, source, PAIRS, name="Cats", progress=told.append)
    assert told == sorted(told) and len(told) > 2 and told[-1] == Reached(share=1.0, rows=2500, size=source.size)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data sets are not at {REAL_DATA}")
@pytest.mark.parametrize("name", ["alpaca_en_demo.json", "identity.json"])
def test_real_instructions_are_saved_as_they_are(datasets: Datasets, name: str) -> None:
    source = inspect(REAL_DATA / name)
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None
    card = import_file(datasets, source, mapping, name=name)
    rows = json.loads((REAL_DATA / name).read_text())
    asked = ["\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows]
    answered = [row["output"] for row in rows]
    assert [row["messages"][0]["content"] for row in datasets.iterate(card.id)] == asked
    assert [row["messages"][1]["content"] for row in datasets.iterate(card.id)] == answered
    assert card.notes.get(DUPLICATE, 0) == len(rows) - len(set(zip(asked, answered, strict=True)))


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data sets are not at {REAL_DATA}")
def test_real_texts_and_a_real_table_are_saved_as_they_are(datasets: Datasets) -> None:
    card = save(datasets, REAL_DATA / "c4_demo.jsonl", mapping=TEXTS)
    texts = [json.loads(line)["text"] for line in (REAL_DATA / "c4_demo.jsonl").read_text().splitlines()]
    assert [row["text"] for row in datasets.iterate(card.id)] == texts
    labels = Mapping(shape="prompt_completion", columns={"prompt": "column 1", "completion": "column 2"})
    card = save(datasets, REAL_DATA / "sst2_dev.tsv", mapping=labels, name="sst2")
    lines = (REAL_DATA / "sst2_dev.tsv").read_text().rstrip("\n").split("\n")
    assert ["\t".join(turn["content"] for turn in row["messages"]) for row in datasets.iterate(card.id)] == lines


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["prompt", "completion", "text", "messages", "conversations", "instruction", "output", "history", "system"]
)
ANY_ROW = st.dictionaries(NAMES, ANY_VALUE | st.lists(st.fixed_dictionaries({"role": st.text(), "content": ANY_VALUE})))
ANY_BYTES = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda start, rest: start + rest,
        st.sampled_from([b"PAR1", b"PK\x03\x04", b'{"a":', b"[{", b"a,b\n", b'"', b"\xff\xfe", b"text\n"]),
        st.binary(max_size=60),
    ),
    st.text(alphabet='ab,;\t|"\n\r{}[]: 1\\u\x00é', max_size=80).map(str.encode),
    st.lists(ANY_ROW, min_size=1, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    st.lists(ANY_ROW, max_size=4).map(lambda rows: json.dumps(rows).encode()),
    st.binary(max_size=60).map(lambda tail: b"prompt,completion\na,b\n" + tail),
    st.integers(0, 5).map(lambda protocol: pickle.dumps({"prompt": ["a"]}, protocol=protocol)),
)


@given(content=ANY_BYTES)
@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_bytes_whatever_raise_anything_but_a_user_error(datasets: Datasets, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    try:
        source = inspect(path)
        rows = list(read_rows(source))
        mapping = guess_mapping(sample_rows(source)) or TEXTS
        preview(source, mapping)
        found = check(source, mapping)
        assert found.rows + sum(found.left_out.values()) == len(rows)
        card = import_file(datasets, source, mapping, name="any", skip_problems=True)
        assert len(list(datasets.iterate(card.id, card.version))) == card.rows == found.rows
        datasets.delete(card.id)
    except UserError as refusal:
        assert all(refusal.problems)
        str(refusal).encode()
    assert files(datasets) == []


# ---- rows made here


def made(text: str, **about: Any) -> dict[str, Any]:
    return {**record({"prompt": text, "completion": f"{text}!"}), "about": about}


def test_what_is_known_about_rows_is_kept_beside_them(datasets: Datasets) -> None:
    rows = [made("a", how="hand", author="me", tags=["x", "y"]), made("b", how="augmented", family="a"), record({"prompt": "c", "completion": "d"})]
    card = datasets.save(rows, name="made", record="messages", source={"made": "by hand"})
    assert list(datasets.iterate(card.id)) == rows == datasets.rows(card.id)
    assert card.made == {"hand": 1, "augmented": 1, "imported": 1}


def test_the_hash_is_of_what_is_learnt_alone(datasets: Datasets, tmp_path: Path) -> None:
    imported = save(datasets, write(tmp_path, [{"prompt": "a", "completion": "a!"}]))
    by_hand = datasets.save([made("a", how="hand")], name="by hand", record="messages", source={})
    assert by_hand.sha256 == imported.sha256
    assert by_hand.about_sha256 != imported.about_sha256


def test_a_data_set_worked_on_has_a_new_version_when_anything_changed(datasets: Datasets) -> None:
    first = datasets.save([made("a")], name="x", record="messages", source={})
    same = datasets.save([made("a")], name="x", record="messages", source={}, of=first.id)
    tagged = datasets.save([made("a", tags=["t"])], name="x", record="messages", source={}, of=first.id)
    guided = datasets.save([made("a", tags=["t"])], name="x", record="messages", source={}, of=first.id, guidelines={"purpose": "p"})
    back = datasets.save([made("a")], name="x", record="messages", source={}, of=first.id)
    assert [card.version for card in (same, tagged, guided, back)] == [1, 2, 3, 4]


def test_guidelines_go_on_with_the_next_version_until_somebody_writes_others(datasets: Datasets, tmp_path: Path) -> None:
    first = datasets.save([made("a")], name="Cats", record="messages", source={}, guidelines={"purpose": "Know cats."})
    imported = save(datasets, write(tmp_path, pairs(2)))
    assert (imported.id, imported.version, imported.guidelines) == (first.id, 2, {"purpose": "Know cats."})
    assert datasets.save(datasets.iterate(first.id), name="Cats", record="messages", source={}, of=first.id) == imported
    assert datasets.save([made("b")], name="Cats", record="messages", source={}, guidelines={}).guidelines == {}


def test_nothing_to_save_is_said_and_leaves_nothing(datasets: Datasets) -> None:
    with pytest.raises(UserError, match="has no rows. Add at least one"):
        datasets.save([], name="none", record="messages", source={})
    assert files(datasets) == []


def test_a_fault_while_saving_leaves_nothing(datasets: Datasets) -> None:
    def rows() -> Any:
        yield made("a")
        raise RuntimeError("fault")

    with pytest.raises(RuntimeError):
        datasets.save(rows(), name="half", record="messages", source={})
    assert files(datasets) == []


def test_a_sample_is_spread_over_a_large_version(datasets: Datasets) -> None:
    texts = ({"text": f"{number}"} for number in range(100_000))
    card = datasets.save(texts, name="many", record="text", source={})
    numbers = [int(row["text"]) for row in datasets.sample(card.id, limit=400)]
    assert len(numbers) == 400 == len(set(numbers)) and numbers == sorted(numbers)
    assert numbers[0] == 0 and numbers[-1] > 95_000
    assert max(b - a for a, b in zip(numbers, numbers[1:], strict=False)) < 3_000
    assert len(datasets.sample(card.id, limit=200_000)) == 100_000


@pytest.mark.fault("the process is killed while importing")
def test_what_a_killed_import_left_is_swept_once_it_is_old(datasets: Datasets) -> None:
    old, young = datasets.root / ".old.partial", datasets.root / ".young.partial"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    datasets.sweep()
    assert files(datasets) == [".young.partial"]
