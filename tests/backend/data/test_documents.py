"""Plain texts for continued pre-training: told from tables and JSON by their content, and read one document each."""

import gzip
import json
import pickle
import zlib
from pathlib import Path

import pytest

from backend.data.readers import BrokenRow, Row, inspect, inspect_folder, read_rows, sample_rows, title
from backend.data.readers.formats import documents
from backend.data.shapes import guess_mapping, to_record
from backend.errors import UserError

PROSE = "Once upon a time, there was a cat.\nIt slept.\nThen, one day, it rose, and left.\n"


def write(folder: Path, content: bytes | str, *, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", ["cat.txt", "cat.md", "CAT.TXT", "cat", "cat.rst"])
def test_a_plain_text_is_one_document(tmp_path: Path, name: str) -> None:
    source = inspect(write(tmp_path, PROSE, name=name))
    assert (source.format, source.encoding, title(source)) == ("documents", "utf-8", "plain text")
    assert list(read_rows(source)) == [Row(1, {"text": PROSE, "file": name})]
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None and to_record(sample_rows(source)[0], mapping) == {"text": PROSE}


@pytest.mark.parametrize(
    "content",
    [
        "# Cats\n\nA *fine* animal, soft, warm.\n",
        "Introduction\nCats sleep.\n",
        "Hello, world\n",
        "Roses are red, violets are blue\nSugar is sweet, and so are you\n",
        "| cat | colour |\n|---|---|\n| Tom | grey |\n",
        "- one, two\n- three, four\n",
        "[1] A footnote, first.\n",
        "[Chapter 1]\nIt was late.\n",
        "[[link]] and [another](url)\n",
        "{{ template }}\n{% if cats %}\n",
        "{ a brace }\n",
        '"Quoted," she said, "and so on."\n',
        "Tom: hello; hello\nAnn: hi; hi\n",
        "---\ntitle: Cats\n---\nText, with commas, here.\n",
        "import nothing of this\n",
        "x" * 200_000,
    ],
)
@pytest.mark.parametrize("name", ["cat.txt", "cat.md"])
def test_a_file_called_a_text_is_one_whatever_its_marks(tmp_path: Path, content: str, name: str) -> None:
    assert sample_rows(inspect(write(tmp_path, content, name=name))) == [{"text": content, "file": name}]


@pytest.mark.parametrize(
    ("content", "format", "rows"),
    [
        ("prompt,completion\nWhy?,Because.\nHow?,So.\n", "csv", 2),
        ("prompt;completion\nWhy?;Because.\n", "csv", 1),
        ("a fine film\t1\na dull one\t0\n", "tsv", 2),
        (json.dumps([{"text": "a"}, {"text": "b"}], indent=1), "json", 2),
        ('{"text": "a"}\n{"text": "b"}\n', "jsonl", 2),
        ('{"data": [{"text": "a"}]}', "json", 1),
    ],
)
def test_rows_in_a_file_called_a_text_are_rows(tmp_path: Path, content: str, format: str, rows: int) -> None:
    source = inspect(write(tmp_path, content, name="cats.txt"))
    assert (source.format, len(list(read_rows(source)))) == (format, rows)


def test_a_single_column_is_a_table_and_no_document(tmp_path: Path) -> None:
    assert inspect(write(tmp_path, "text\nHello, world; again\nAnd so, on\n", name="cats.csv")).format == "csv"
    assert inspect(write(tmp_path, "text\nHello, world; again\n", name="cats")).format == "csv"


@pytest.mark.parametrize("name", ["cats.csv", "cats.jsonl", "cats.parquet"])
def test_a_text_whose_name_promises_rows_is_not_taken_for_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is plain text without rows and columns"):
        inspect(write(tmp_path, PROSE, name=name))


def test_how_a_file_is_read_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path, "text\nHello\nAgain\n", name="cats.csv")
    assert sample_rows(inspect(path, format="documents")) == [{"text": "text\nHello\nAgain\n", "file": "cats.csv"}]
    text = write(tmp_path, "word\nHello\nAgain\n", name="cats.txt")
    assert sample_rows(inspect(text, format="csv")) == [{"word": "Hello"}, {"word": "Again"}]
    with pytest.raises(UserError, match="cannot be read as poem"):
        inspect(path, format="poem")


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "jsonl", "documents", "parquet"])
@pytest.mark.parametrize("content", ['"a', "{", "[1", "x", '{"a": 1}', "\t"])
def test_a_format_that_does_not_fit_is_said_so(tmp_path: Path, format: str, content: str) -> None:
    try:
        list(read_rows(inspect(write(tmp_path, content, name="odd"), format=format)))
    except UserError as refusal:
        assert "odd" in str(refusal)


def test_a_text_is_kept_character_for_character(tmp_path: Path) -> None:
    text = " \tA line\r\nnext\rthird\n\n😀 \u200b\u2028 <|im_end|>\x00 שלום \n"
    assert sample_rows(inspect(write(tmp_path, "\ufeff" + text, name="a.txt"))) == [{"text": text, "file": "a.txt"}]


# ---- folders


def folder(root: Path, files: dict[str, bytes | str]) -> list[Path]:
    return [write(root, content, name=name) for name, content in files.items()]


def test_a_folder_is_a_source_of_one_document_each_in_the_order_of_names(tmp_path: Path) -> None:
    paths = folder(tmp_path, {"b.md": "# B", "a.txt": "A, a", "c.csv": "x,y\n1,2\n"})
    source = inspect_folder(paths)
    assert (source.format, source.encoding, source.name) == ("documents", None, "the folder of 3 files")
    assert [row.values for row in read_rows(source)] == [
        {"text": "A, a", "file": "a.txt"},
        {"text": "# B", "file": "b.md"},
        {"text": "x,y\n1,2\n", "file": "c.csv"},
    ]


def test_a_folder_is_called_what_its_files_say(tmp_path: Path) -> None:
    paths = folder(tmp_path, {"one": "1", "two": "2"})
    assert inspect_folder(paths, names=["poems/b.txt", "poems/a.txt"]).name == "poems"
    assert inspect_folder(paths, names=["poems/b.txt", "a.txt"]).name == "the folder of 2 files"
    assert inspect_folder(paths, names=["b", "a"], name="My poems").name == "My poems"
    assert [row["file"] for row in sample_rows(inspect_folder(paths, names=["poems/b.txt", "poems/a.txt"]))] == [
        "poems/a.txt",
        "poems/b.txt",
    ]
    with pytest.raises(UserError, match="no file in this folder"):
        inspect_folder([])


def test_each_document_has_its_own_encoding(tmp_path: Path) -> None:
    text = "Où est le café près du château ? À côté de l'hôtel."
    paths = folder(tmp_path, {encoding: text.encode(encoding) for encoding in ("cp1252", "utf-16", "utf-8", "utf-8-sig")})
    assert [row["text"] for row in sample_rows(inspect_folder(paths))] == [text] * 4


def test_what_is_no_text_is_listed_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    paths = folder(
        tmp_path,
        {
            "a.txt": "A text.",
            "b.zip": b"PK\x03\x04" + b"x" * 99,
            "c.gz": gzip.compress(b"x"),
            "d.png": b"\x89PNG\r\n\x1a\n" + b"\x00" * 99,
            "e.txt": b"",
            "f.txt": b" \r\n\t",
            "g.pkl": pickle.dumps({"a": 1}),
            "h.py": "print('hello')\n",
            "i.bin": zlib.compress(bytes(range(256)) * 9),
            "j.sh": "#!/bin/sh\nls\n",
            "k.txt": "größer".encode() * 9 + b"\xff\xfe\xfd ok",
        },
    )
    (tmp_path / "l.txt").symlink_to(paths[0])
    (tmp_path / "m.txt").mkdir()
    source = inspect_folder([*paths, tmp_path / "l.txt", tmp_path / "m.txt", tmp_path / "n.txt", tmp_path / "o\0.txt"])
    rows = list(read_rows(source))
    assert rows[0] == Row(1, {"text": "A text.", "file": "a.txt"})
    assert [row.number for row in rows] == list(range(1, 16))
    reasons = [row.reason for row in rows[1:] if isinstance(row, BrokenRow)]
    assert reasons == [
        "(b.zip) is a zip archive (or an Office or PyTorch file), not text",
        "(c.gz) is a gzip archive, not text",
        "(d.png) is a picture, not text",
        "(e.txt) is empty",
        "(f.txt) is empty",
        "(g.pkl) is a pickle, which can run programs, not text",
        "(h.py) is a Python program, not text to learn from",
        "(i.bin) is binary, not text",
        "(j.sh) is a program, not text",
        "(k.txt) holds characters that are not valid Unicode",
        "(l.txt) is a link to another file",
        "(m.txt) is not a file",
        "(n.txt) cannot be opened",
        "(o\0.txt) cannot be opened",
    ]


def test_a_document_that_is_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LARGEST_ROW", 20)
    paths = folder(tmp_path, {"a": "x" * 20, "b": "é" * 21, "c": "x" * 81})
    kept, *broken = read_rows(inspect_folder(paths))
    assert isinstance(kept, Row)
    assert all(isinstance(row, BrokenRow) and "has more than" in row.reason for row in broken) and len(broken) == 2


def test_a_folder_that_changed_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    paths = folder(tmp_path, {"a.txt": "A", "b.txt": "B"})
    source = inspect_folder([*paths, tmp_path / "gone.txt"])
    assert len(list(read_rows(source))) == 3
    paths[1].write_text("other words")
    with pytest.raises(UserError, match="has changed"):
        list(read_rows(source))
    (tmp_path / "gone.txt").write_text("here now")
    assert not source.is_unchanged()


def test_the_progress_of_a_folder_is_told_file_by_file(tmp_path: Path) -> None:
    shares: list[float] = []
    source = inspect_folder(folder(tmp_path, {f"{number}.txt": "word " * 100 for number in range(40)}))
    assert len(list(read_rows(source, progress=shares.append))) == 40
    assert shares == sorted(shares) and len(shares) >= 40 and shares[-1] == 1
