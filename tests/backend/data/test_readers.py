"""Real files of every kind through `inspect` and `read_rows`, the good, the odd and the refused."""

import csv
import gzip
import io
import json
import pickle
import tarfile
import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backend.data.readers import BrokenRow, Row, inspect, read_rows, sample_rows
from backend.errors import UserError

CATS = [{"prompt": "Which cat?", "completion": "The grey one."}, {"prompt": "Why?", "completion": "It purrs."}]
REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


def write(folder: Path, content: bytes | str, *, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(path: Path, **given: Any) -> list[dict[str, Any]]:
    rows = list(read_rows(inspect(path, **given)))
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.values for row in rows]


def broken(path: Path) -> list[BrokenRow]:
    return [row for row in read_rows(inspect(path)) if isinstance(row, BrokenRow)]


def table(rows: list[dict[str, str]], *, delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


# ---- formats


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (json.dumps(CATS), "json"),
        (json.dumps(CATS, indent=2), "json"),
        (json.dumps({"version": {"a": [1]}, "tags": ["x"], "data": CATS}), "json"),
        (json.dumps({"data": CATS, "more": 1}, indent=2), "json"),
        ("\n".join(json.dumps(row, indent=2) for row in CATS), "json"),
        (lines(CATS), "jsonl"),
        (lines(CATS).replace("\n", "\r\n\r\n"), "jsonl"),
        (lines(CATS).rstrip("\n"), "jsonl"),
        ("\n\n" + lines(CATS), "jsonl"),
        (table(CATS), "csv"),
        (table(CATS).replace("\r\n", "\n"), "csv"),
        (table(CATS).replace("\r\n", "\r"), "csv"),
        (table(CATS, delimiter=";"), "csv"),
        (table(CATS, delimiter="|"), "csv"),
        (table(CATS, delimiter="\t"), "tsv"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_text_format_is_found_with_and_without_a_byte_order_mark(
    tmp_path: Path, content: str, format: str, mark: str
) -> None:
    path = write(tmp_path, mark + content)
    assert inspect(path).format == format
    assert values(path) == CATS


def test_parquet_is_read(tmp_path: Path) -> None:
    assert values(write(tmp_path, parquet_bytes(CATS))) == CATS


def test_the_ending_of_the_name_does_not_matter(tmp_path: Path) -> None:
    assert values(write(tmp_path, table(CATS), name="cats.parquet")) == CATS
    assert values(write(tmp_path, parquet_bytes(CATS), name="cats.csv")) == CATS
    assert values(write(tmp_path, lines(CATS), name="cats.py")) == CATS


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_is_found_among_others_in_the_text(tmp_path: Path, delimiter: str) -> None:
    rows = [{"prompt": "a, b; c | d", "completion": "1,2;3|4\t5"}, {"prompt": "x;y,z", "completion": "ü|,"}]
    source = inspect(write(tmp_path, table(rows, delimiter=delimiter)))
    assert source.delimiter == delimiter
    assert [row.values for row in read_rows(source)] == rows


def test_a_delimiter_and_an_encoding_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "a|b,c\n1|2,3\n".encode("utf-16-le"))
    assert values(path, encoding="UTF-16LE", delimiter="|") == [{"a": "1", "b,c": "2,3"}]
    with pytest.raises(UserError, match="no text encoding"):
        inspect(path, encoding="rot13")
    with pytest.raises(UserError, match="cannot separate"):
        inspect(path, delimiter="ab")


def test_a_list_field_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"train": CATS, "test": CATS[:1]}))
    assert inspect(path).list_field == "train"
    assert values(path, list_field="test") == CATS[:1]
    with pytest.raises(UserError, match='no list called "dev"'):
        inspect(path, list_field="dev")


def test_one_conversation_on_a_line_is_a_row_and_its_turns_are_not(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    assert values(write(tmp_path, json.dumps(row))) == [row]


def test_a_single_column_is_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, "text\nHello, world; again\nAnd so, on\n")
    assert values(path) == [{"text": "Hello, world; again"}, {"text": "And so, on"}]


def test_a_table_without_a_header_loses_no_row(tmp_path: Path) -> None:
    path = write(tmp_path, "a fine film\t1\na dull one\t0\n")
    assert values(path) == [{"column 1": "a fine film", "column 2": "1"}, {"column 1": "a dull one", "column 2": "0"}]
    assert values(path, header=True) == [{"a fine film": "a dull one", "1": "0"}]


def test_columns_of_the_same_name_are_all_kept(tmp_path: Path) -> None:
    assert values(write(tmp_path, "text,text,\n1,2,3\n")) == [{"text": "1", "text (2)": "2", "column 3": "3"}]


def test_a_tsv_that_knows_no_quotes_keeps_them(tmp_path: Path) -> None:
    path = write(tmp_path, 'prompt\tcompletion\n"So it goes\tyes\n"no" way\tno\n"a\tb\n')
    assert [row["prompt"] for row in values(path)] == ['"So it goes', '"no" way', '"a']


# ---- texts


def test_cells_of_a_table_stay_text(tmp_path: Path) -> None:
    cells = ["NA", "None", "null", "0123", "1e5", "true", "", " x ", "2020-01-01", '=HYPERLINK("x")']
    rows = [{"prompt": cell, "completion": "y"} for cell in cells]
    assert values(write(tmp_path, table(rows))) == rows


@pytest.mark.parametrize(
    "text", ["😀👩‍👩‍👧", "שלום עולם", "a\u200bb\ufeffc", "line\u2028break", "tab\tnew\nline\r\nret", "\x00nul", "“”"]
)
@pytest.mark.parametrize("write_rows", [table, lines, json.dumps])
def test_texts_are_kept_character_for_character(tmp_path: Path, text: str, write_rows: Any) -> None:
    rows = [{"prompt": "A question that is long enough to be one", "completion": text}]
    assert values(write(tmp_path, write_rows(rows))) == rows


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"])
def test_other_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    rows = [{"prompt": "Où est le café près du château ?", "completion": "Là-bas, à côté de l'hôtel. Größe: übermäßig"}]
    assert values(write(tmp_path, table(rows).encode(encoding))) == rows


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Где находится ближайшая станция метро? Она находится за углом, рядом с большим парком."),
        ("cp932", "一番近い駅はどこですか。公園の隣にあります。角を曲がってください。"),
        ("cp1252", "“Quoted” – it costs 5 € – naïve"),
    ],
)
def test_other_scripts_are_told_from_western_accents(tmp_path: Path, encoding: str, text: str) -> None:
    rows = [{"prompt": text, "completion": text}] * 5
    assert values(write(tmp_path, table(rows).encode(encoding))) == rows


def test_an_encoding_is_found_by_a_character_far_into_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, b"text\n" + b"plain words\n" * 200_000 + "café\n".encode("cp1252"))
    assert inspect(path).encoding == "cp1252"


def test_damaged_utf8_costs_only_its_own_row(tmp_path: Path) -> None:
    content = table([{"prompt": "größer", "completion": "wärmer"}] * 3).encode()
    found = broken(write(tmp_path, content + b"sch\xf6n,ok\r\n" + content.split(b"\r\n")[1]))
    assert [row.number for row in found] == [4]
    assert "Unicode" in found[0].reason


def test_text_that_is_not_in_the_encoding_given_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="utf-16"):
        values(write(tmp_path, table(CATS).encode() + b"x"), encoding="utf-16")
    damaged = (table(CATS) * 5000).encode("utf-16") + b"\x00\xd8\x00\xd8x"
    with pytest.raises(UserError, match="utf-16"):
        list(read_rows(inspect(write(tmp_path, damaged))))


def test_a_cell_of_200_000_characters_loads(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 200_000, "completion": "y"}]
    assert values(write(tmp_path, table(rows))) == rows


@pytest.mark.parametrize("write_rows", [lines, json.dumps])
def test_a_json_row_of_15_mb_loads(tmp_path: Path, write_rows: Any) -> None:
    rows = [{"prompt": "é\n" * 5_000_000, "completion": "y"}, *CATS]
    assert values(write(tmp_path, write_rows(rows))) == rows


def test_numbers_across_the_edge_of_what_is_read_at_once_are_whole(tmp_path: Path) -> None:
    rows = [{"n": number, "e": 1.5e300, "t": "x" * (number % 7)} for number in range(60_000)]
    assert values(write(tmp_path, json.dumps(rows))) == rows


# ---- broken rows


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_broken_json_line_is_named_and_the_rest_is_read(tmp_path: Path, place: int) -> None:
    content = lines(CATS).splitlines()
    content.insert(place, '{"prompt": "Which')
    rows = list(read_rows(inspect(write(tmp_path, "\n".join(content)))))
    assert [row.number for row in rows if isinstance(row, BrokenRow)] == [place + 1]
    assert rows[place].text == '{"prompt": "Which'
    assert "not valid JSON" in rows[place].reason
    assert [row.values for row in rows if isinstance(row, Row)] == CATS


def test_the_text_of_a_broken_row_is_clipped(tmp_path: Path) -> None:
    assert len(broken(write(tmp_path, lines(CATS) + '{"a": "' + "x" * 9999))[0].text) == 200


@pytest.mark.parametrize(
    "line", ["12", '"text"', "[1]", "null", "[" * 100_000, '{"n": ' + "9" * 5000 + "}", '{"a": "\\ud800"}']
)
def test_a_line_that_is_no_storable_object_is_broken(tmp_path: Path, line: str) -> None:
    assert [row.number for row in broken(write(tmp_path, lines(CATS) + line))] == [3]


def test_line_numbers_count_blank_lines_and_table_rows_do_not(tmp_path: Path) -> None:
    assert [row.number for row in read_rows(inspect(write(tmp_path, "\n" + lines(CATS))))] == [2, 3]
    assert [row.number for row in read_rows(inspect(write(tmp_path, "\n" + table(CATS))))] == [1, 2]


def test_a_table_row_with_too_many_cells_is_broken_and_a_short_one_lacks_its_last(tmp_path: Path) -> None:
    rows = list(read_rows(inspect(write(tmp_path, "prompt,completion\na,b\na,b,c\na\na,b\n"))))
    assert rows[1] == BrokenRow(2, "a,b,c", "has 3 cells where there are 2 columns")
    assert rows[2] == Row(3, {"prompt": "a"})
    assert rows[3] == Row(4, {"prompt": "a", "completion": "b"})


def test_a_quote_that_is_never_closed_swallows_no_row_silently(tmp_path: Path) -> None:
    found = broken(write(tmp_path, 'prompt,completion\na,b\n"c,d\n' + "e,f\n" * 5))
    assert [row.number for row in found] == [2]
    assert found[0].text.startswith('"c,d')
    assert "quotes" in found[0].reason


@pytest.mark.parametrize(
    "content", ['[{"a": 1}, {"a": 2', '[{"a": 1}, {"a" 2}]', '[{"a": 1}] x', '[{"a": 1},]', '{"data": [{"a": 1}, }']
)
def test_a_broken_json_document_is_said_with_its_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match="is not valid JSON from line 2 on"):
        values(write(tmp_path, "\n" + content))


# ---- refused


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n ", b"\xef\xbb\xbf", b"\xff\xfe", b"\0\0\0\0"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"The file cats\.csv is empty"):
        inspect(write(tmp_path, content, name="cats.csv"))


@pytest.mark.parametrize("content", ["[]", " [ ] ", "prompt,completion\n", "text", '{"data": []}'])
def test_a_file_without_rows_is_said_to_have_none(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match="has no rows"):
        inspect(write(tmp_path, content), list_field="data" if "data" in content else None)


def test_parquet_without_rows_is_said_to_have_none(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "file")
    with pytest.raises(UserError, match="has no rows"):
        inspect(tmp_path / "file")


def archive(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("cats.csv", table(CATS))
    elif kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as file:
            file.addfile(tarfile.TarInfo("cats.csv"))
    else:
        out.write(gzip.compress(table(CATS).encode()))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive("zip"), "zip"),
        (archive("gzip"), "gzip"),
        (archive("tar"), "tar"),
        (b"7z\xbc\xaf\x27\x1c" + b"x" * 99, "7z"),
        (b"Rar!\x1a\x07\x00" + b"x" * 99, "rar"),
        *((pickle.dumps(CATS, protocol=protocol), "pickle") for protocol in range(6)),
        (b"cos\nsystem\n(S'echo'\ntR.", "pickle"),
        (b"\x7fELF\x02\x01\x01" + b"\x00" * 99, "program"),
        (b"#!/bin/sh\necho a,b\n", "program"),
        (b"import os\nimport sys\nprint(os, sys)\n", "Python"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 99, "picture"),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 99, "picture"),
        (b"%PDF-1.7\nobj", "PDF"),
        (b"SQLite format 3\x00" + b"x" * 99, "SQLite"),
        (b"<!DOCTYPE html><p>a,b", "web page"),
        (bytes(range(256)) * 20, "binary"),
        (b"Once upon a time, there was a cat.\nIt slept.\nThen, one day, it rose, and left.\n", "plain text"),
        (b"# Cats\n\nA *fine* animal.\n", "plain text"),
        (b"PAR1" + b"garbage" * 9, "damaged or incomplete Parquet"),
        (parquet_bytes(CATS)[:-9], "damaged or incomplete Parquet"),
        (parquet_bytes(CATS)[:40] + b"\xff" * 40 + parquet_bytes(CATS)[80:], "damaged or incomplete Parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_data_is_refused_with_its_kind(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        list(read_rows(inspect(write(tmp_path, content, name="cats.csv"))))
    assert "cats.csv" in str(refusal.value)


@pytest.mark.parametrize(
    "content", ["print('hello, world')\nprint('a, b')\n", "x = 1\ny = 2\n", "text\n", "import a, b\nc, d\n"]
)
def test_a_python_file_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match="Python program"):
        inspect(write(tmp_path, content, name="train.py"))


@pytest.mark.parametrize(
    "header", ["PARENT,CHILD", "context", "import duty,country", "from,to", "class,label", "ID3,MZ", "BZh,GIF"]
)
def test_a_table_is_not_taken_for_another_kind_by_its_header(tmp_path: Path, header: str) -> None:
    rows = [dict.fromkeys(header.split(","), "word"), dict.fromkeys(header.split(","), "I am.")]
    assert values(write(tmp_path, table(rows))) == rows


def test_links_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, table(CATS))
    (tmp_path / "link").symlink_to(path)
    for place, said in [
        ("link", "is a link"),
        (".", "is not a file"),
        ("gone", "cannot be opened"),
        ("a\0b", "cannot be"),
    ]:
        with pytest.raises(UserError, match=said):
            inspect(tmp_path / place)


def test_a_name_is_shown_and_never_a_path(tmp_path: Path) -> None:
    name = "../../" + "é" * 300 + "/\ud800猫.csv"
    source = inspect(write(tmp_path, table(CATS)), name=name)
    assert source.path.parent == tmp_path
    assert source.name.startswith("../../ééé")
    source.name.encode()


def test_a_file_that_changed_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, table(CATS))
    source = inspect(path)
    rows = read_rows(source)
    next(rows)
    path.write_text(table(CATS * 2))
    with pytest.raises(UserError, match="has changed"):
        list(rows)
    with pytest.raises(UserError, match="has changed"):
        list(read_rows(source))


# ---- large and real files


@pytest.mark.parametrize("write_rows", [table, lines, json.dumps, parquet_bytes])
def test_reading_takes_bounded_memory_and_tells_its_progress(tmp_path: Path, write_rows: Any) -> None:
    path = write(
        tmp_path, write_rows([{"prompt": f"{number} word " * 200, "completion": "y"} for number in range(10_000)])
    )
    shares: list[float] = []
    tracemalloc.start()
    count = sum(1 for _ in read_rows(inspect(path), progress=shares.append))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 10_000
    assert peak_bytes < 8_000_000  # of more than 10 million characters
    assert shares == sorted(shares) and 50 < len(shares) < 150 and shares[-1] == 1
    assert max(later - earlier for earlier, later in pairwise(shares)) < 0.04
    if write_rows is not parquet_bytes:  # which is read a row group at a time, here all at once
        assert 0 <= shares[0] < 0.5 < shares[-2]


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data sets are not at {REAL_DATA}")
@pytest.mark.parametrize(
    ("name", "format", "rows", "columns"),
    [
        ("alpaca_en_demo.json", "json", 999, ["instruction", "input", "output"]),
        ("identity.json", "json", 91, ["instruction", "input", "output"]),
        ("dpo_en_demo.json", "json", 300, ["conversations", "chosen", "rejected"]),
        ("c4_demo.jsonl", "jsonl", 300, ["text"]),
        ("seed_tasks.jsonl", "jsonl", 175, ["id", "name", "instruction", "instances", "is_classification"]),
        ("sst2_train.tsv", "tsv", 2000, ["column 1", "column 2"]),
        ("sst2_dev.tsv", "tsv", 872, ["column 1", "column 2"]),
    ],
)
def test_real_files_are_read_whole(name: str, format: str, rows: int, columns: list[str]) -> None:
    source = inspect(REAL_DATA / name)
    assert source.format == format
    assert len(values(REAL_DATA / name)) == rows
    assert list(sample_rows(source)[0]) == columns
