"""From a file on disk to rows.

    source = inspect(Path("cats.csv"))              what the file is, judged by its content
    for row in read_rows(source): ...               Row or BrokenRow, one at a time

JSON, JSON Lines, CSV, TSV and Parquet are read in bounded memory. A row that cannot be read is a `BrokenRow` and
reading goes on; a file that cannot be read is a `UserError`. Cells of a table stay text: `NA`, `0123` and `1e5`
are what somebody wrote.
"""

import codecs
import csv
import io
import json
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from backend.errors import UserError

Format = Literal["jsonl", "json", "csv", "tsv", "parquet"]
Progress = Callable[[float], None]  # is told the share done, 0 to 1

ACCEPTED = "Bring JSON, JSON Lines, CSV, TSV or Parquet."
DELIMITERS = ("\t", ",", ";", "|")
ENCODINGS = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "iso8859-15", "cp1250", "iso8859-2",
    "cp1251", "koi8-r", "cp1253", "cp1254", "cp1255", "cp1256", "mac-roman", "cp932", "euc-jp", "gb18030", "big5",
    "cp949",
)  # fmt: skip
LARGEST_ROW = 32 * 2**20  # characters; what one row may hold before we say so instead of filling the memory
CHUNK = 2**20  # bytes or characters read at once
SHOWN = 200  # characters of a broken row that are shown


@dataclass(frozen=True)
class Source:
    """A file and how to read it. `name` is what the user calls it: shown, never used as a path."""

    path: Path
    name: str
    format: Format
    encoding: str | None = None  # of text; None for Parquet
    delimiter: str | None = None  # of a table
    list_field: str | None = None  # the key that holds the rows, where a JSON object does: {"data": [...]}
    header: bool = True  # whether the first row of a table names the columns
    quoted: bool = True  # whether a cell of a table may stand in quotes
    size: int = 0  # bytes
    modified_ns: int = 0

    def is_unchanged(self) -> bool:
        """Whether the file is still the one that was inspected."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


class Row(NamedTuple):
    """One row. `number` is what a person counts from 1: the line in JSON Lines, elsewhere the row after the header."""

    number: int
    values: dict[str, Any]


class BrokenRow(NamedTuple):
    """A row that cannot be read. `reason` goes on after "Row 14 of cats.csv ..."; `text` is how it begins."""

    number: int
    text: str
    reason: str


def inspect(
    path: Path,
    *,
    name: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    list_field: str | None = None,
    header: bool | None = None,
) -> Source:
    """Find out what a file is, by its content and not by its ending; whatever is given is taken as given.

    Raises `UserError` for what is missing, empty, broken, or no data: archives, pickles, programs, pictures, links.
    """
    path = Path(path)
    source = _identify(path, name=name or path.name)
    if source.format != "parquet":
        source = replace(source, encoding=_known_encoding(encoding) if encoding else _find_encoding(path))
        with _telling_faults_of(source):
            source = _judge_text(source, delimiter=delimiter, list_field=list_field, header=header)
    if next(read_rows(source), None) is None:
        raise UserError(f"{source.name} has no rows. Add at least one, or choose another file.")
    return source


def read_rows(source: Source, *, progress: Progress | None = None) -> Iterator[Row | BrokenRow]:
    """Every row of the file, in order. Raises `UserError` where it cannot be read, or has changed since `inspect`."""
    _require_unchanged(source)
    with _telling_faults_of(source), source.path.open("rb") as file:
        for count, row in enumerate(_ROWS[source.format](file, source)):
            if progress and count % 1000 == 0:
                progress(min(file.tell() / source.size, 1.0))
            yield row
    _require_unchanged(source)
    if progress:
        progress(1.0)


def sample_rows(source: Source, *, limit: int = 200) -> list[dict[str, Any]]:
    """The values of the first rows that can be read: enough to see which columns there are."""
    return [row.values for row in islice(read_rows(source), limit) if isinstance(row, Row)]


def clip(text: str, *, max_chars: int = SHOWN) -> str:
    """The beginning of a text, fit to be shown and stored whatever it holds."""
    shown = text if len(text) <= max_chars else text[: max_chars - 1] + "…"
    return shown.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _telling_faults_of(source: Source) -> Iterator[None]:
    """Say what the disk or the encoding does not allow, as a `UserError`."""
    try:
        yield
    except UnicodeError as error:
        raise UserError(
            f"{source.name} cannot be read as {source.encoding} text. Choose another encoding, or save it as UTF-8."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{source.name} cannot be read ({reason}). Check the file, or choose another.") from error


def _require_unchanged(source: Source) -> None:
    if not source.is_unchanged():
        raise UserError(f"{source.name} has changed or gone since it was opened here. Open it again.")


# ---- what kind of file it is -----------------------------------------------------------------------------------------

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive (or an Office or PyTorch file)"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (rb"Rar!\x1a\x07", "a rar archive"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 archive"),
    (rb"\xfd7zXZ\x00", "an xz archive"),
    (rb"\x28\xb5\x2f\xfd", "a zstd archive"),
    (rb".{257}ustar", "a tar archive"),
    (rb"\x80[\x02-\x05]|[\](})]q\x00", "a pickle, which can run programs"),
    # Pickle's oldest protocol is text: a list, a dict, or the name of a function to call.
    (rb"\([dl]p\d+\r?\n|c(\w+\.[\w.]+|__builtin__|builtins|copy_?reg|os|posix|nt|sys|subprocess)\r?\n\w+\r?\n(\(|p\d)",
     "a pickle, which can run programs"),
    (rb"\x7fELF|MZ.\x00|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|\x00asm|#!", "a program"),
    (rb"%PDF-", "a PDF"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|II\*\x00|MM\x00\*", "a picture"),
    (rb"RIFF.{4}(WAVE|AVI )|ID3[\x02-\x04]|OggS\x00|fLaC\x00|\x00.{3}ftyp", "sound or film"),
    (rb"SQLite format 3\x00", "an SQLite database"),
    (rb"\x89HDF|ARROW1\x00|\xd0\xcf\x11\xe0", "in a binary format the studio does not read"),
    (rb"PARE..[\x00-\x1f]\x00", "encrypted Parquet"),
    (rb"(?i:\s*<(!doctype|html|\?xml))", "a web page or XML"),
)  # fmt: skip
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_PYTHON = re.compile(r"(?m)^(from [\w.]+ import |import \w[\w., ]*$|(async )?def \w+\(|class \w+[:(]|if __name__)")


def _identify(path: Path, *, name: str) -> Source:
    """The file as Parquet or as text whose format is still open. Refuses what is neither."""
    name = clip(name, max_chars=400)
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise UserError(f"{name} is a link to another file. Choose that file itself.")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{name} is not a file. {ACCEPTED}")
        with path.open("rb") as file:
            head = file.read(CHUNK)
    except (OSError, ValueError) as error:
        raise UserError(f"{name} cannot be opened. Check that it is there and readable, or choose another.") from error
    if not head.strip(codecs.BOM_UTF8 + b"\0 \t\r\n"):
        raise UserError(f"The file {name} is empty. Choose a file with rows in it.")
    source = Source(path, name, "csv", size=status.st_size, modified_ns=status.st_mtime_ns)
    if head.startswith(b"PAR1"):
        return replace(source, format="parquet")
    _refuse_other_kinds(head, name)
    return source


def _refuse_other_kinds(head: bytes, name: str) -> None:
    for magic, kind in _MAGIC:
        if re.match(magic, head, re.DOTALL):
            raise UserError(f"{name} is {kind}, not rows of text. {ACCEPTED}")
    if _wide_encoding(head) is None and len(head.translate(None, _CONTROL)) < 0.95 * len(head):
        raise UserError(f"{name} is binary, not rows of text. {ACCEPTED}")


# ---- how its text is encoded -----------------------------------------------------------------------------------------

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _known_encoding(encoding: str) -> str:
    """Our name for an encoding, whatever it is called."""
    try:
        wanted = codecs.lookup(encoding).name.removesuffix("-sig")
    except (LookupError, ValueError):
        wanted = None
    for known in ENCODINGS:
        if codecs.lookup(known).name == wanted:
            return known
    raise UserError(f'There is no text encoding "{clip(encoding)}" here. Choose one of: {", ".join(ENCODINGS)}.')


def _find_encoding(path: Path) -> str:
    """UTF-16 or UTF-32 by their marks or zeros, UTF-8 by proof, else the likeliest of the older encodings."""
    with path.open("rb") as file:
        wide = _wide_encoding(file.read(CHUNK))
    if wide:
        return wide
    stretch = _around_first_fault(path)
    return "utf-8" if _is_mostly_utf8(stretch) else _likeliest_legacy(stretch)


def _wide_encoding(head: bytes) -> str | None:
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    low, high = head[0:4096:2], head[1:4096:2]
    if len(high) > 1 and high.count(0) > 0.4 * len(high) and low.count(0) < 0.05 * len(low):
        return "utf-16-le"
    if len(high) > 1 and low.count(0) > 0.4 * len(low) and high.count(0) < 0.05 * len(high):
        return "utf-16-be"
    return None


def _around_first_fault(path: Path) -> bytes:
    """Up to 64 KiB around the first bytes that are not UTF-8; nothing if the whole file is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return error.object[max(0, error.start - 2**15) : error.start + 2**15]
            if not chunk:
                return b""


def _is_mostly_utf8(stretch: bytes) -> bool:
    """Whether it is UTF-8 with a few damaged bytes (which `read_rows` reports by row), and not another encoding."""
    beyond_ascii = [character for character in stretch.decode("utf-8", "surrogateescape") if character > "\x7f"]
    damaged = sum("\udc80" <= character <= "\udcff" for character in beyond_ascii)
    return damaged <= len(beyond_ascii) / 2


def _likeliest_legacy(stretch: bytes) -> str:
    from charset_normalizer import from_bytes

    try:
        western = stretch.decode("cp1252")
    except UnicodeDecodeError:
        western = ""
    # Western accents stand among plain letters; other scripts, misread as Western, come out as runs of accents.
    in_runs = sum(map(len, re.findall(r"[À-ÿ]{3,}", western)))
    if western and in_runs <= 0.2 * len(re.findall(r"[À-ÿ]", western)):
        return "cp1252"
    best = from_bytes(stretch, cp_isolation=[known for known in ENCODINGS if not known.startswith("utf")]).best()
    return _known_encoding(best.encoding) if best else "latin-1"


def _open_text(file: BinaryIO, encoding: str | None) -> io.TextIOWrapper:
    """The file as text, line ends as they are. Bytes that do not decode become lone surrogates, found row by row."""
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding  # a byte order mark is no part of the text
    return io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")


# ---- which format its text has ---------------------------------------------------------------------------------------

_DOCUMENT = re.compile(r'\s*(\{|\[\s*[\[\]{"\d-])')
_COLUMN_NAME = re.compile(r"[^\W\d][\w.\-/()]*( [\w.\-/()]+){0,3}(?<!\.)")  # a sentence is no name
_LONGEST_COLUMN_NAME = 64


def _judge_text(source: Source, *, delimiter: str | None, list_field: str | None, header: bool | None) -> Source:
    """The source with the format of its text, and what reading that format needs."""
    with source.path.open("rb") as file:
        head = _open_text(file, source.encoding).read(2**16)
    if not head.strip():
        raise UserError(f"The file {source.name} is empty. Choose a file with rows in it.")
    if list_field or _DOCUMENT.match(head):
        return _judge_json(source, head, list_field)
    if _is_json_lines(source):
        return replace(source, format="jsonl")
    _refuse_python(head, source.name)
    return _judge_table(source, delimiter=delimiter, header=header)


def _judge_json(source: Source, head: str, list_field: str | None) -> Source:
    if list_field:
        return replace(source, format="json", list_field=list_field)
    if head.lstrip().startswith("["):
        return replace(source, format="json")
    several_lines = _line_count(source, limit=2) > 1
    if several_lines and _is_json_lines(source):
        return replace(source, format="jsonl")
    with source.path.open("rb") as file:
        found = _find_list_field(_JsonText(_open_text(file, source.encoding), source.name))
    return replace(source, format="json" if found or several_lines else "jsonl", list_field=found)


def _first_lines(source: Source, *, limit: int) -> Iterator[str]:
    """The first lines that are not blank; one that is overlong comes in pieces."""
    with source.path.open("rb") as file:
        text = _open_text(file, source.encoding)
        lines = (line for line in iter(lambda: text.readline(LARGEST_ROW), "") if not line.isspace())
        yield from islice(lines, limit)


def _line_count(source: Source, *, limit: int) -> int:
    return sum(1 for _ in _first_lines(source, limit=limit))


def _is_json_lines(source: Source) -> bool:
    """Whether the first line is a JSON object, or half of the first lines are: a broken line changes nothing."""
    verdicts: list[bool] = []
    characters = 0
    for line in _first_lines(source, limit=20):
        verdicts.append(line.lstrip().startswith("{") and isinstance(_parse(line), dict))
        characters += len(line)
        if verdicts[0] or characters > 4 * CHUNK:
            break
    return verdicts[:1] == [True] or sum(verdicts) >= max(1, len(verdicts) / 2)


def _parse(text: str) -> Any:
    """The JSON value of a text, or the reason (a `_NotJson`) why there is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return _NotJson(f"is not valid JSON: {error.msg}")
    except RecursionError:
        return _NotJson("is nested too deeply")
    except ValueError:  # Python refuses integers of more than 4300 digits
        return _NotJson("is not valid JSON: a number in it is too long")


class _NotJson(NamedTuple):
    reason: str


def _refuse_python(head: str, name: str) -> None:
    """A program is no data, even where its commas would make a table of it."""
    first = next((line for line in head.splitlines() if line.strip() and not line.startswith("#")), "")
    if name.lower().endswith((".py", ".pyw")):
        names = [cell.strip(' "') for cell in re.split(r"[\t,;|]", first)]
        is_program = _PYTHON.search(head) or len(names) < 2 or not all(map(_is_column_name, names))
    else:
        is_program = _PYTHON.match(first) and len(_PYTHON.findall(head)) > 1
    if is_program:
        raise UserError(f"{name} is a Python program, not rows of text. {ACCEPTED}")


class _Layout(NamedTuple):
    """How a table may be laid out, and how well its first rows agree with that."""

    delimiter: str
    quoted: bool
    names: list[str]
    agreement: float  # share of rows that are as wide as the first

    @property
    def is_table(self) -> bool:
        return len(self.names) > 1 and (self.agreement >= 0.5 or all(map(_is_column_name, self.names)))


def _judge_table(source: Source, *, delimiter: str | None, header: bool | None) -> Source:
    if delimiter is not None and delimiter not in DELIMITERS:
        raise UserError(f'"{clip(delimiter)}" cannot separate columns here. Choose comma, semicolon, tab or "|".')
    layouts = [_lay_out(source, each, True) for each in ([delimiter] if delimiter else DELIMITERS)]
    if delimiter in (None, "\t"):
        layouts.append(_lay_out(source, "\t", False))  # many a TSV knows no quotes: "So it goes<tab>1
    best = max(layouts, key=lambda layout: (layout.is_table, layout.agreement, len(layout.names)))
    if not best.is_table and not (len(best.names) == 1 and _is_column_name(best.names[0])):
        raise UserError(
            f"{source.name} is plain text without rows and columns. {ACCEPTED} "
            'Texts without columns go into a CSV whose only column is called "text".'
        )
    if header is None:
        header = not any(_is_number(name) or len(name) > _LONGEST_COLUMN_NAME for name in best.names)
    format: Format = "tsv" if best.delimiter == "\t" and best.is_table else "csv"
    return replace(source, format=format, delimiter=best.delimiter, quoted=best.quoted, header=header)


def _lay_out(source: Source, delimiter: str, quoted: bool) -> _Layout:
    with source.path.open("rb") as file:
        lines = _Lines(_open_text(file, source.encoding), source.name)
        names, *rows = list(islice(_split(lines, delimiter, quoted=quoted), 100)) or [[]]
    if isinstance(names, str):
        return _Layout(delimiter, quoted, [], 0.0)
    agreeing = sum(isinstance(cells, list) and len(cells) == len(names) for cells in rows)
    return _Layout(delimiter, quoted, [name.strip() for name in names], agreeing / len(rows) if rows else 1.0)


def _is_column_name(text: str) -> bool:
    return len(text) <= _LONGEST_COLUMN_NAME and _COLUMN_NAME.fullmatch(text) is not None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")


# ---- the rows of each format -----------------------------------------------------------------------------------------


def _json_lines_rows(file: BinaryIO, source: Source) -> Iterator[Row | BrokenRow]:
    lines = _Lines(_open_text(file, source.encoding), source.name)
    for line in lines:
        if not line.isspace():
            yield _row(lines.number, _parse(line), text=line)


def _json_rows(file: BinaryIO, source: Source) -> Iterator[Row | BrokenRow]:
    text = _JsonText(_open_text(file, source.encoding), source.name)
    values = text.elements_under(source.list_field) if source.list_field else text.elements()
    for number, value in enumerate(values, start=1):
        yield _row(number, value)


def _table_rows(file: BinaryIO, source: Source) -> Iterator[Row | BrokenRow]:
    lines = _Lines(_open_text(file, source.encoding), source.name)
    records = _split(lines, source.delimiter, quoted=source.quoted)
    first = next(records, [])
    assert not isinstance(first, str), "no layout is chosen whose first row is broken"
    names = _column_names(first, header=source.header)
    if not source.header:
        yield _row(1, dict(zip(names, first, strict=True)))
    for number, cells in enumerate(records, start=1 if source.header else 2):
        if isinstance(cells, str):
            yield BrokenRow(number, clip(lines.recent.rstrip()), cells)
        elif len(cells) > len(names):
            reason = f"has {len(cells)} cells where there are {len(names)} columns"
            yield BrokenRow(number, clip(lines.recent.rstrip()), reason)
        else:
            yield _row(number, dict(zip(names, cells, strict=False)), text=lines.recent)  # a short row lacks its last


def _parquet_rows(file: BinaryIO, source: Source) -> Iterator[Row | BrokenRow]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        names = table.schema_arrow.names
        if len(set(names)) < len(names):
            raise UserError(f"{source.name} has two columns of the same name. Rename one of them.")
        rows = (values for batch in table.iter_batches(batch_size=100) for values in batch.to_pylist())
        for number, values in enumerate(rows, start=1):
            yield Row(number, values)
    except (pyarrow.ArrowException, ValueError, OverflowError, OSError) as error:
        raise UserError(
            f"{source.name} is a damaged or incomplete Parquet file. Fetch or export it again, or choose another."
        ) from error


_ROWS: dict[Format, Callable[[BinaryIO, Source], Iterator[Row | BrokenRow]]] = {
    "jsonl": _json_lines_rows,
    "json": _json_rows,
    "csv": _table_rows,
    "tsv": _table_rows,
    "parquet": _parquet_rows,
}


def _row(number: int, value: Any, *, text: str | None = None) -> Row | BrokenRow:
    """A row of the value, if it is an object whose texts can be stored."""
    reason = value.reason if isinstance(value, _NotJson) else _unfitness(value)
    if reason is None:
        return Row(number, value)
    return BrokenRow(number, clip((text or repr(value)).rstrip()), reason)


def _unfitness(value: Any) -> str | None:
    """Why a value cannot be a row, if it cannot."""
    if not isinstance(value, dict):
        return "is not an object with named columns"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, or bytes that did not decode
        return "holds characters that are not valid Unicode"
    except RecursionError:
        return "is nested too deeply"
    return None


def _column_names(cells: list[str], *, header: bool) -> list[str]:
    """A name for each column: its own, made unique, or its place."""
    names: list[str] = []
    for place, cell in enumerate(cells, start=1):
        name = (clip(cell.strip()) if header else "") or f"column {place}"
        names.append(name if name not in names else f"{name} ({place})")
    return names


def _split(lines: "_Lines", delimiter: str | None, *, quoted: bool) -> Iterator[list[str] | str]:
    """The cells of each record of a table, or the reason (a str) why it has none. Blank lines are no records."""
    csv.field_size_limit(LARGEST_ROW)  # Python's own limit is 128 KiB and holds for the whole process
    # Strict, because otherwise a quote that is opened and never closed swallows the rows after it without a word.
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter or ",", quoting=quoting, strict=True)
    while True:
        lines.recent = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"has its quotes wrong ({error})"
        else:
            if cells:
                yield cells


class _Lines:
    """The lines of a text, counted, with the beginning of what was read lately at hand to show."""

    def __init__(self, text: io.TextIOWrapper, name: str) -> None:
        self._text = text
        self._name = name
        self.number = 0
        self.recent = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LARGEST_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == LARGEST_ROW and not line.endswith(("\n", "\r")):
            raise UserError(f"Line {self.number} of {self._name} has more than {LARGEST_ROW:,} characters. Shorten it.")
        if len(self.recent) <= SHOWN:
            self.recent += line[: SHOWN + 1]
        return line


class _JsonText:
    """A JSON text read from the front, value by value, so that memory holds a row and not the file."""

    _decoder = json.JSONDecoder()
    _space = re.compile(r"[ \t\n\r]*")

    def __init__(self, text: io.TextIOWrapper, name: str) -> None:
        self._file = text
        self._name = name
        self._text = ""  # what is read and not yet dropped
        self._at = 0
        self._line = 1  # where _text begins

    def elements(self) -> Iterator[Any]:
        """The elements of the list this text is, or each value where values simply follow one another."""
        if self.take("["):
            yield from self.rest_of_list()
            if self.peek():
                raise self._fault("there is more after the end of the list")
        else:
            while self.peek():
                yield self.value()

    def elements_under(self, list_field: str) -> Iterator[Any]:
        """The elements of the list under a key of the object this text is."""
        for key in self.keys():
            if key == list_field and self.take("["):
                yield from self.rest_of_list()
                return
            self.value()
        raise UserError(f'{self._name} has no list called "{clip(list_field)}". Choose a key that holds one.')

    def keys(self) -> Iterator[str]:
        """The keys of the object ahead. Whoever asks reads each value before the next key."""
        self.expect("{")
        while not self.take("}"):
            key = self.value()
            self.expect(":")
            yield key
            if not self.take(","):
                self.expect("}")
                return

    def rest_of_list(self) -> Iterator[Any]:
        """The elements of a list whose bracket has been taken."""
        if self.take("]"):
            return
        while True:
            yield self.value()
            if self.take("]"):
                return
            self.expect(",")

    def value(self) -> Any:
        """The value ahead."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated string") or error.pos + 16 > len(self._text)
                if not (cut_off and self._read_on()):
                    raise self._fault(error.msg) from error
            except RecursionError as error:
                raise self._fault("it is nested too deeply") from error
            except ValueError as error:  # Python refuses integers of more than 4300 digits
                raise self._fault("a number is too long") from error
            else:
                # A number at the end of what is read may go on: 1 and 1e are the beginnings of 1e+5.
                if end + 4 <= len(self._text) or not self._read_on():
                    self._at = end
                    return value

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self._at = self._space.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def take(self, character: str) -> bool:
        """Go past the character if it is next."""
        found = self.peek() == character
        self._at += found
        return found

    def expect(self, character: str) -> None:
        if not self.take(character):
            raise self._fault(f'a "{character}" is missing')

    def _read_on(self) -> bool:
        """Drop what is done with and read some more; False at the end of the file, when nothing is dropped either."""
        if len(self._text) - self._at > LARGEST_ROW:
            raise self._fault(f"a value is longer than {LARGEST_ROW:,} characters")
        more = self._file.read(max(CHUNK, len(self._text) - self._at))  # doubling: a long value is not reparsed often
        if not more:
            return False
        self._line += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + more
        self._at = 0
        return True

    def _fault(self, reason: str) -> UserError:
        line = self._line + self._text.count("\n", 0, self._at)
        return UserError(f"{self._name} is not valid JSON from line {line} on: {reason}. Mend it, or export it again.")


def _find_list_field(text: _JsonText) -> str | None:
    """The first key of an object that holds a list of rows; a list of turns is itself part of a row."""
    for key in text.keys():
        if not text.take("["):
            text.value()
            continue
        elements = text.rest_of_list()
        first = next(elements, None)
        if isinstance(first, dict) and not {"role", "from"} & first.keys():
            return key
        for _ in elements:
            pass
    return None
