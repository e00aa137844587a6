"""What people bring in real life, a test for each case: accepted, or said in a sentence, and never a version harmed."""

import csv
import io
import json
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.data.importing import CONTRADICTION, DUPLICATE, REVERSED, check, import_file, preview
from backend.data.readers import BrokenRow, Row, Source, inspect, inspect_folder, read_rows, sample_rows
from backend.data.shapes import Mapping, guess_mapping
from backend.data.templating.rendering import Recipe, count, problems, save_rendered
from backend.data.templating.sets import template_sets
from backend.data.templating.tables import (
    FileTable,
    column_names,
    first_rows,
    guess_columns,
    guess_set,
    name_labels,
    survey,
)
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.labelling.bringing import pairs_in
from backend.workspace import Workspace, is_id
from tests.faults.survival import LONG

PAIRS = Mapping(shape="prompt_completion", columns={"prompt": "prompt", "completion": "completion"})
MESSAGES = Mapping(shape="messages", columns={"messages": "messages"})
TEXTS = Mapping(shape="text", columns={"text": "text"})
CATS = [{"prompt": "Où est le chat ?", "completion": "Près du château."}, {"prompt": "Why?", "completion": "It purrs."}]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def write(folder: Path, content: bytes | str, *, name: str = "cats") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(rows: list[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


def table(rows: list[dict[str, str]], *, delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def values(source: Source) -> list[dict[str, Any]]:
    return [row.values for row in read_rows(source) if isinstance(row, Row)]


def stored(datasets: Datasets) -> dict[str, bytes]:
    """Every file there is of the saved versions."""
    return {str(path.relative_to(datasets.root)): path.read_bytes() for path in datasets.root.rglob("*") if path.is_file()}


@pytest.mark.fault("UTF-8 with BOM, CRLF, blank lines, JSON array, JSONL")
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("text", [lines(CATS), json.dumps(CATS, indent=1), table(CATS).replace("\r\n", "\n")])
def test_utf8_with_bom_crlf_blank_lines_json_array_and_jsonl_are_accepted(
    tmp_path: Path, text: str, line_end: str, mark: str
) -> None:
    assert values(inspect(write(tmp_path, mark + text.replace("\n", line_end)))) == CATS


@pytest.mark.fault("a Latin-1 or UTF-16 CSV")
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_latin1_or_utf16_csv_has_its_encoding_found_shown_and_changeable(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, table(CATS).encode(encoding))
    source = inspect(path)
    assert values(source) == CATS
    assert source.encoding == ("cp1252" if encoding == "latin-1" else encoding)  # alike but for marks that are no letters
    assert inspect(path, encoding=encoding).encoding == encoding


@pytest.mark.fault("0 bytes; a header only; []")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"prompt,completion\n", "has no rows"),
        (b"[]", "has no rows"),
        (b"[ ]\n", "has no rows"),
    ],
)
def test_no_bytes_a_header_only_and_an_empty_list_are_said(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        inspect(write(tmp_path, content, name="cats.csv"))


@pytest.mark.fault("one row")
def test_one_row_is_allowed(datasets: Datasets, tmp_path: Path) -> None:
    source = inspect(write(tmp_path, lines(CATS[:1])))
    assert check(source, PAIRS).rows == 1
    assert import_file(datasets, source, PAIRS, name="one").rows == 1


@pytest.mark.fault("a 200,000-character cell; a 15 MB line")
@pytest.mark.parametrize(("write_rows", "text"), [(table, "x" * 200_000), (lines, "é\n" * 5_000_000)], ids=["cell", "line"])
def test_a_cell_of_200_000_characters_and_a_line_of_15_mb_load_and_are_clipped_to_be_shown(
    datasets: Datasets, tmp_path: Path, write_rows: Any, text: str
) -> None:
    source = inspect(write(tmp_path, write_rows([{"prompt": text, "completion": "y"}])))
    seen = preview(source, PAIRS)
    assert len(repr(seen)) < 10_000
    card = import_file(datasets, source, PAIRS, name="long")
    (record,) = datasets.iterate(card.id)
    assert record["messages"][0]["content"] == text


@pytest.mark.fault("JSONL with a broken line")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_broken_line_is_named_with_its_text_and_skipped_on_consent(datasets: Datasets, tmp_path: Path, number: int) -> None:
    rows: list[Any] = [*CATS]
    rows.insert(number - 1, '{"prompt": "Whi')
    source = inspect(write(tmp_path, lines(rows), name="cats.jsonl"))
    with pytest.raises(UserError) as refusal:
        import_file(datasets, source, PAIRS, name="cats")
    assert refusal.value.problems[0].startswith(f"Row {number} of cats.jsonl is not valid JSON")
    assert refusal.value.problems[0].endswith('It begins: {"prompt": "Whi')
    assert import_file(datasets, source, PAIRS, name="cats", skip_problems=True).rows == 2


@pytest.mark.fault("semicolon or tab separated")
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_semicolons_and_tabs_are_found_and_shown(tmp_path: Path, delimiter: str) -> None:
    source = inspect(write(tmp_path, table(CATS, delimiter=delimiter)))
    assert source.delimiter == delimiter and values(source) == CATS


@pytest.mark.fault("NA, None, null, 0123, 1e5 in text columns")
def test_na_none_null_and_numbers_in_a_table_stay_text(datasets: Datasets, tmp_path: Path) -> None:
    odd = ["NA", "None", "null", "0123", "1e5", "nan", "TRUE", "1.0"]
    source = inspect(write(tmp_path, table([{"prompt": each, "completion": each} for each in odd])))
    card = import_file(datasets, source, PAIRS, name="odd")
    assert [record["messages"][1]["content"] for record in datasets.iterate(card.id)] == odd


@pytest.mark.fault("missing columns; mixed types; null where text belongs")
def test_missing_columns_mixed_types_and_nulls_are_shown_counted_and_left_out_on_consent(
    datasets: Datasets, tmp_path: Path
) -> None:
    rows = [
        *CATS,
        {"prompt": "x"},
        {"prompt": "x", "completion": 3},
        {"prompt": None, "completion": "y", "id": [1]},
        {"other": 1},
    ]
    source = inspect(write(tmp_path, lines(rows), name="cats.jsonl"))
    assert {column.name: column.kinds for column in preview(source).columns} == {
        "prompt": {"text": 4, "nothing": 2}, "completion": {"text": 3, "nothing": 2, "number": 1},
        "id": {"nothing": 5, "list": 1}, "other": {"nothing": 5, "number": 1},
    }  # fmt: skip
    found = check(source, PAIRS)
    assert found.rows == 2 and sum(found.left_out.values()) == 4
    with pytest.raises(UserError, match="4 rows of 6 cannot be used"):
        import_file(datasets, source, PAIRS, name="cats")
    assert stored(datasets) == {}
    assert import_file(datasets, source, PAIRS, name="cats", skip_problems=True).left_out == found.left_out


@pytest.mark.fault("wrong role order, unknown role, no assistant turn")
def test_wrong_role_order_unknown_roles_and_no_answer_are_listed_by_row(tmp_path: Path) -> None:
    def turns(*roles: str) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": "hi"} for role in roles]}

    rows = [
        turns("user", "assistant"),
        turns("assistant", "user"),
        turns("user", "narrator"),
        turns("user"),
        turns("user", "user", "assistant"),
    ]
    found = check(inspect(write(tmp_path, lines(rows))), MESSAGES)
    assert [(problem.number, problem.reason) for problem in found.problems] == [
        (2, "begins with the assistant; a user turn comes first"),
        (3, 'has an unknown role "narrator"'),
        (4, "has no assistant turn"),
        (5, "has two user turns in a row"),
    ]


@pytest.mark.fault("empty completion; duplicates; the same prompt twice")
def test_empty_completions_duplicates_and_contradictions_are_counted(datasets: Datasets, tmp_path: Path) -> None:
    rows = [*CATS, CATS[0], {**CATS[1], "completion": "It sleeps."}, {**CATS[1], "completion": " "}]
    source = inspect(write(tmp_path, lines(rows)))
    found = check(source, PAIRS)
    assert found.notes == {DUPLICATE: 1, CONTRADICTION: 1}
    assert found.left_out == {'has an empty "completion"': 1}
    assert import_file(datasets, source, PAIRS, name="cats", skip_problems=True, drop_duplicates=True).rows == 3


@pytest.mark.fault("chosen == rejected, contradictory pairs, a side missing")
def test_pairs_with_the_same_answer_twice_or_a_side_missing_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "chosen": "same", "rejected": "same"},
        {"prompt": "a", "chosen": "x"},
        {"prompt": "a", "chosen": "x", "rejected": "y"},
    ]
    source = inspect(write(tmp_path, lines(rows)))
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None and mapping.record == "preferences"
    found = check(source, mapping)
    assert (found.rows, found.left_out) == (1, {"has two answers that are the same": 1, 'has no "rejected" text': 1})


def test_pairs_judged_both_ways_are_listed_and_left_out_but_for_the_first(datasets: Datasets, tmp_path: Path) -> None:
    first = {"prompt": "Best cat?", "chosen": "Mine.", "rejected": "Yours."}
    other = {**first, "prompt": "Worst cat?"}
    back = {"prompt": "Best cat?", "chosen": "Yours.", "rejected": "Mine."}
    source = inspect(write(tmp_path, lines([first, other, back, {**first, "margin": 2}, back]), name="cats.jsonl"))
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None
    found = check(source, mapping)
    assert (found.rows, found.left_out, [problem.number for problem in found.problems]) == (3, {REVERSED: 2}, [3, 5])
    with pytest.raises(UserError, match=r"Row 3 of cats\.jsonl prefers an answer that an earlier row .* It begins: Best cat\?"):
        import_file(datasets, source, mapping, name="cats")
    assert import_file(datasets, source, mapping, name="cats", skip_problems=True).rows == 3


@pytest.mark.fault("emoji, right-to-left, zero-width, formulas")
@pytest.mark.parametrize("write_rows", [table, lines, json.dumps, parquet_bytes])
def test_emoji_right_to_left_zero_width_and_formulas_are_stored_as_they_are(
    datasets: Datasets, tmp_path: Path, write_rows: Any
) -> None:
    odd = [
        "😀👩‍👩‍👧",
        "שלום עולם",
        "a\u200bb\u202ec",
        '=HYPERLINK("http://x","y")',
        "+1",
        "@SUM(A1)",
        "<script>alert(1)</script>",
    ]
    source = inspect(write(tmp_path, write_rows([{"prompt": each, "completion": each} for each in odd])))
    card = import_file(datasets, source, PAIRS, name="odd")
    assert [record["messages"][0]["content"] for record in datasets.iterate(card.id)] == odd


@pytest.mark.fault("a 200 MB file")
def test_a_large_file_is_imported_in_bounded_memory_with_progress(datasets: Datasets, tmp_path: Path) -> None:
    """200 MB of it in the long form, a tenth otherwise."""
    rows = 34_000 if LONG else 3_200
    with (tmp_path / "large.jsonl").open("w") as file:
        for number in range(rows):
            file.write(json.dumps({"prompt": f"{number} " + "word " * 1200, "completion": "y"}) + "\n")
    source = inspect(tmp_path / "large.jsonl")
    assert source.size > 6_000 * rows and (source.size > 200_000_000 or not LONG)
    shares: list[float] = []
    tracemalloc.start()
    for _ in read_rows(source, progress=shares.append):
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 3_000_000
    assert shares == sorted(shares) and len(shares) > 90 and shares[-1] == 1


@pytest.mark.fault("corrupt Parquet; a wrong ending")
def test_corrupt_parquet_is_said_and_a_wrong_ending_does_not_matter(tmp_path: Path) -> None:
    whole = parquet_bytes(CATS)
    assert values(inspect(write(tmp_path, table(CATS), name="cats.parquet"))) == CATS
    assert values(inspect(write(tmp_path, whole, name="cats.csv"))) == CATS
    for damaged in (whole[:-9], whole[:60], whole[:40] + b"\xff" * 40 + whole[80:]):
        with pytest.raises(UserError, match=r"cats\.parquet is a damaged or incomplete Parquet file"):
            list(read_rows(inspect(write(tmp_path, damaged, name="cats.parquet"))))


@pytest.mark.fault("zip, pickle, .py, symlink")
def test_archives_pickles_programs_and_links_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("cats.csv", table(CATS))
    for content, name, said in [
        (out.getvalue(), "cats.csv", "a zip archive"),
        (pickle.dumps(CATS), "cats.jsonl", "a pickle"),
        (b"print('hello')\n", "cats.py", "a Python program"),
    ]:
        with pytest.raises(UserError, match=said):
            inspect(write(tmp_path, content, name=name))
    (tmp_path / "link.csv").symlink_to(write(tmp_path, table(CATS)))
    with pytest.raises(UserError, match="is a link"):
        inspect(tmp_path / "link.csv")


@pytest.mark.fault("file names with ../, 300 characters, other scripts")
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "x" * 300 + ".csv", "長い名前.csv", "<b>cats</b>.csv", "a\nb.csv", "\ud800.csv"]
)
def test_names_of_any_kind_are_shown_and_stored_under_our_own_id(datasets: Datasets, tmp_path: Path, name: str) -> None:
    source = inspect(write(tmp_path, table(CATS)), name=name)
    card = import_file(datasets, source, PAIRS, name=name)
    assert is_id(card.id)
    assert all(path.split("/")[0] == card.id for path in stored(datasets))
    json.dumps(card.source).encode()


@pytest.mark.fault("a file changed between preview and start")
def test_a_file_changed_between_preview_and_start_is_refused_and_a_saved_version_stays(
    datasets: Datasets, tmp_path: Path
) -> None:
    path = write(tmp_path, lines(CATS))
    source = inspect(path)
    card = import_file(datasets, source, PAIRS, name="cats")
    before = stored(datasets)
    path.write_text(lines(CATS[:1]))
    os.utime(path, (1, 1))
    with pytest.raises(UserError, match="has changed"):
        import_file(datasets, source, PAIRS, name="cats")
    assert stored(datasets) == before and len(list(datasets.iterate(card.id))) == 2


# ---- whatever else

ENDINGS = ["", ".csv", ".tsv", ".txt", ".md", ".json", ".jsonl", ".parquet", ".py"]
PIECES = [
    b'{"a":1}', b'{"text":"x","b":[1,2]}', b"\n", b"\r", b"\r\n", b'"', b",", b"\t", b";", b"|", b"text", b"prompt,completion", b"[", b"]",
    b"{", b"}", b'{"data":[{"a":1}]}', b"\xff", b"\xc3\xa9", b"caf\xe9", b"\\ud800", b'{"a":"\\ud800"}', b'{"a":99999999999999999999}',
    b'{"a":NaN}', b" ", b"\xc2\xa0", b"\xef\xbb\xbf", b"\xff\xfe", b"1", b"Once upon a time, ", b"PAR1", b"PK\x03\x04", b"#!", b"\x00",
    b'{"id":1,"data":{"text":"x"},"annotations":[{"result":[{"from_name":"c","type":"choices","value":{"choices":["a"]}}]}]}',
    b'{"prompt":"a","chosen":"b","rejected":"c"}', b'{"prompt":[],"completions":["x",1],"ranks":[2,1]}', b'{"id":1,"data":{},"annotations":[7]}', b'{"annotator":1,"annotation_id":2,"lead_time":3,"c":[["x"]]}', b"[" * 2000, b'{"a":' * 2000,
]  # fmt: skip
ANY_BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=10).map(b"".join),
    st.lists(st.sampled_from(PIECES), max_size=10).map(b"\n".join),
    st.lists(st.sampled_from(PIECES), max_size=6).map(lambda pieces: b"[" + b",".join(pieces) + b"]"),
    st.text(max_size=60).map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.tuples(st.integers(4, 400), st.binary(max_size=9)).map(lambda cut: parquet_bytes(CATS)[: cut[0]] + cut[1]),
)
EXAMPLES = settings(
    max_examples=20_000 if LONG else 250, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


SETS = template_sets().sets


@pytest.fixture
def seeded(datasets: Datasets) -> Datasets:
    """Stored versions before anything is uploaded: one by another name, and one by the name that uploads take."""
    for name in ("cats", "any"):
        datasets.save([{"text": f"All about {name}."}], name=name, record="text", source={"made": "by hand"}, guidelines={"purpose": "p"})
    return datasets


@contextmanager
def harming_nothing(datasets: Datasets) -> Iterator[None]:
    """What is uploaded ends in versions of its own or in a sentence; what was stored is there as it was, byte for byte."""
    before = stored(datasets)
    assert len(before) == 4
    try:
        yield
    except UserError as refusal:
        assert all(refusal.problems)
        str(refusal).encode()
    after = stored(datasets)
    assert {path: content for path, content in after.items() if path in before} == before
    assert {Path(path).name for path in after.keys() - before.keys()} in (set(), {"v2.json", "v2.parquet"})
    for path in after.keys() - before.keys():
        (datasets.root / path).unlink()


UPLOADS = {
    "content": ANY_BYTES, "ending": st.sampled_from(ENDINGS),
    "format": st.sampled_from([None, None, None, "csv", "tsv", "json", "jsonl", "parquet", "documents"]),
}  # fmt: skip


@pytest.mark.fault("any bytes as an upload", tries=EXAMPLES.max_examples)
@given(**UPLOADS)
@EXAMPLES
def test_no_bytes_under_any_ending_end_in_anything_but_rows_or_a_sentence(
    seeded: Datasets, tmp_path: Path, content: bytes, ending: str, format: str | None
) -> None:
    path = write(tmp_path, content, name=f"any{ending}")
    with harming_nothing(seeded):
        source = inspect(path, format=format)
        rows = list(read_rows(source))
        mapping = guess_mapping(sample_rows(source)) or TEXTS
        found = check(source, mapping)
        assert found.rows + sum(found.left_out.values()) == len(rows)
        preview(source, mapping)
        card = import_file(seeded, source, mapping, name="any", skip_problems=True)
        assert len(list(seeded.iterate(card.id, card.version))) == found.rows
    path.unlink()


@pytest.mark.fault("any bytes as a table of labels", tries=EXAMPLES.max_examples)
@given(**UPLOADS)
@EXAMPLES
def test_no_bytes_as_a_table_end_in_anything_but_instructions_or_a_sentence(
    seeded: Datasets, tmp_path: Path, content: bytes, ending: str, format: str | None
) -> None:
    path = write(tmp_path, content, name=f"any{ending}")
    with harming_nothing(seeded):
        table = FileTable(inspect(path, format=format))
        rows, found = first_rows(table), survey(table)
        templates = SETS[guess_set(rows, SETS) or "sentiment"]
        columns = guess_columns(rows, templates)
        labels = found.labels(columns.get(templates.label_part or "", "")) or {}
        recipe = Recipe(templates=templates, columns=columns, labels=name_labels(labels, templates), words=templates.words)
        if not problems(recipe, column_names(rows)):
            made = count(found, recipe).made
            assert save_rendered(seeded, table, recipe, name="any", skip=True).rows == made
    path.unlink()


@pytest.mark.fault("any bytes as a file of pairs", tries=EXAMPLES.max_examples)
@given(content=ANY_BYTES, ending=st.sampled_from(ENDINGS))
@EXAMPLES
def test_no_bytes_as_a_file_of_pairs_end_in_anything_but_items_or_a_sentence(tmp_path: Path, content: bytes, ending: str) -> None:
    path = write(tmp_path, content, name=f"any{ending}")
    try:
        brought = pairs_in(path)
    except UserError as refusal:
        assert all(refusal.problems)
        str(refusal).encode()
    else:
        assert brought.items and all(len(item.candidates) > 1 for item in brought.items)
    path.unlink()


@pytest.mark.fault("any folder of bytes", tries=EXAMPLES.max_examples)
@given(contents=st.lists(ANY_BYTES, min_size=1, max_size=4))
@EXAMPLES
def test_no_folder_whatever_ends_in_anything_but_documents_and_broken_rows(
    seeded: Datasets, tmp_path: Path, contents: list[bytes]
) -> None:
    paths = [write(tmp_path, content, name=f"{number}{ENDINGS[number]}") for number, content in enumerate(contents)]
    source = inspect_folder(paths)
    rows = list(read_rows(source))
    assert len(rows) == len(paths)
    for row, part in zip(rows, source.parts, strict=True):
        if isinstance(row, BrokenRow):
            assert row.reason.startswith(f"({part.name}) ") and row.text.encode() is not None
        else:
            assert row.values["file"] == part.name and row.values["text"].encode()
    with harming_nothing(seeded):
        import_file(seeded, source, TEXTS, name="any", skip_problems=True)
