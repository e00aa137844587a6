"""From files on disk to rows.

    source = inspect(Path("cats.csv"))              what the file is, judged by its content
    source = inspect_folder(paths, names=names)     texts, one document each
    for row in read_rows(source): ...               Row or BrokenRow, one at a time

JSON, JSON Lines, CSV, TSV, Parquet and plain texts are read in bounded memory. A row that cannot be read is a
`BrokenRow` and reading goes on; a file that cannot be read is a `UserError`. Cells of a table stay text: `NA`, `0123`
and `1e5` are what somebody wrote. Each format is one file in `formats/`; each finds out for itself what is its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

from backend.data.readers.encodings import ENCODINGS, find_encoding, known_encoding, open_text
from backend.data.readers.formats import all_readers, reader_of
from backend.data.readers.formats.table import DELIMITERS
from backend.data.readers.kinds import Unreadable, beginning, is_blank, require_text
from backend.data.readers.label_studio import is_exported, laid_out
from backend.data.readers.meter import Meter
from backend.data.readers.source import (
    ACCEPTED,
    CHUNK,
    LARGEST_ROW,
    SHOWN,
    BrokenRow,
    Layout,
    Part,
    Progress,
    Row,
    Source,
    Wanted,
    clip,
)
from backend.errors import UserError

__all__ = [
    "ACCEPTED", "CHUNK", "DELIMITERS", "ENCODINGS", "LARGEST_ROW", "SHOWN", "BrokenRow", "Layout", "Part", "Progress", "Row",
    "Source", "clip", "inspect", "inspect_folder", "read_rows", "sample_rows", "title",
]  # fmt: skip


def inspect(
    path: Path,
    *,
    name: str | None = None,
    format: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    list_field: str | None = None,
    header: bool | None = None,
) -> Source:
    """Find out what a file is, by its content and not by its ending; whatever is given is taken as given.

    Raises `UserError` for what is missing, empty, broken, or no data: archives, pickles, programs, pictures, links.
    """
    path = Path(path)
    name = clip(name or path.name, max_chars=LONGEST_NAME)
    wanted = Wanted(format, known_encoding(encoding) if encoding else None, delimiter, list_field, header)
    try:
        source = _judge(path, name, wanted)
    except Unreadable as fault:
        raise UserError(f"{name} {fault.reason}. {fault.remedy}") from fault
    first = next(read_rows(source), None)
    if first is None:
        raise UserError(f"{name} has no rows. Add at least one, or choose another file.")
    return replace(source, layout=_layout(source, first))


def inspect_folder(paths: Sequence[Path], *, names: Sequence[str] | None = None, name: str | None = None) -> Source:
    """Several texts as one source, a document each, in the order of their names.

    `names` are what the user calls them, one for each path. Files that are no text become broken rows that say so.
    """
    if not paths:
        raise UserError("There is no file in this folder. Choose one with texts in it.")
    shown = [clip(each, max_chars=LONGEST_NAME) for each in names or [Path(path).name for path in paths]]
    parts = [Part.found(Path(path), each) for path, each in zip(paths, shown, strict=True)]
    parts.sort(key=lambda part: (part.name, part.path))
    return Source(
        path=parts[0].path, name=clip(name or _folder_name(parts), max_chars=LONGEST_NAME), format="documents",
        parts=tuple(parts), size=sum(max(part.size, 0) for part in parts),
    )  # fmt: skip


def read_rows(source: Source, *, progress: Progress | None = None) -> Iterator[Row | BrokenRow]:
    """Every row, in order. Raises `UserError` where a file cannot be read, or has changed since `inspect`."""
    _require_unchanged(source)
    meter = Meter(source.size, progress)
    with _telling_faults_of(source):
        rows = reader_of(source.format).rows(source, meter)
        for row in chain.from_iterable(map(laid_out, rows)) if source.layout == "label_studio" else rows:
            if meter.is_due:
                meter.tell()
            yield row
    _require_unchanged(source)
    if progress:
        progress(1.0)


def sample_rows(source: Source, *, limit: int = 200) -> list[dict[str, Any]]:
    """The values of the first rows that can be read: enough to see which columns there are."""
    return [row.values for row in islice(read_rows(source), limit) if isinstance(row, Row)]


def title(source: Source) -> str:
    """What a source turned out to be, in words: "table (CSV)", "JSON, exported by Label Studio"."""
    words = reader_of(source.format).formats[source.format]
    return f"{words}, exported by Label Studio" if source.layout == "label_studio" else words


LONGEST_NAME = 400  # characters of a name that are shown


def _judge(path: Path, name: str, wanted: Wanted) -> Source:
    """The source with its format and what reading it needs. Raises `Unreadable` for what is no data."""
    status, head = beginning(path)
    if is_blank(head):
        raise _empty(name)
    source = Source(path, name, size=status.st_size, modified_ns=status.st_mtime_ns)
    for reader in all_readers():
        if reader.magic and head.startswith(reader.magic):
            return reader.judge(source, "", wanted) or source
    require_text(head)
    source = replace(source, encoding=wanted.encoding or find_encoding(path))
    with _telling_faults_of(source):
        return _judge_text(source, wanted)


def _judge_text(source: Source, wanted: Wanted) -> Source:
    with source.path.open("rb") as file:
        head = open_text(file, source.encoding).read(2**16)
    if not head.strip():
        raise _empty(source.name)
    for reader in all_readers():
        if not reader.magic and (wanted.format is None or wanted.format in reader.formats):
            if judged := reader.judge(source, head, wanted):
                return judged
    raise UserError(f"{source.name} cannot be read as {wanted.format}. {ACCEPTED}")


def _layout(source: Source, first: Row | BrokenRow) -> Layout:
    is_json = source.format in ("json", "jsonl") and isinstance(first, Row)
    return "label_studio" if is_json and is_exported(first.values) else "plain"


def _empty(name: str) -> UserError:
    return UserError(f"The file {name} is empty. Choose a file with rows in it.")


def _folder_name(parts: Sequence[Part]) -> str:
    """The folder all files are in, if their names tell; else how many there are."""
    tops = {PurePosixPath(part.name).parts[0] for part in parts if "/" in part.name}
    every_one = all("/" in part.name for part in parts)
    return tops.pop() if every_one and len(tops) == 1 else f"the folder of {len(parts):,} files"


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
