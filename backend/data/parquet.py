"""Records in a Parquet file: written a row group at a time, read a page, a sample or all, in bounded memory."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.data.records import Record, RecordKind

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

ROWS_PER_GROUP = 1000  # a page of rows is read without the rest of the file
CHARACTERS_PER_GROUP = 16 * 2**20  # long rows make smaller groups, so that memory stays bounded
GROUPS_SAMPLED = 40  # a sample reads no more of a large file, to be there within a second


def schema(record: RecordKind) -> "Schema":
    """messages: list<struct<role, content>>; or text: string; or prompt, answers, ranks and margin. And what is known of the row."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("how", "author", "task", "cluster", "family")]
    about = ("about", pa.struct([*texts, ("tags", pa.list_(pa.string()))]))
    if record == "text":
        return pa.schema([("text", pa.string()), about])
    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    if record == "messages":
        return pa.schema([("messages", turns), about])
    return pa.schema([("prompt", turns), ("answers", pa.list_(turns)), ("ranks", pa.list_(pa.int64())), ("margin", pa.float64()), about])


class RecordWriter:
    """Records to Parquet: `write` each, then `finish`. What is closed without that is no whole file."""

    def __init__(self, path: Path, record: RecordKind) -> None:
        from pyarrow.parquet import ParquetWriter

        self._schema = schema(record)
        self._file = ParquetWriter(path, self._schema, compression="zstd")
        self._group: list[Record] = []
        self._characters = 0

    def write(self, record: Record) -> None:
        self._group.append(record)
        self._characters += _length(record)
        if len(self._group) == ROWS_PER_GROUP or self._characters >= CHARACTERS_PER_GROUP:
            self._flush()

    def finish(self) -> None:
        """Write the rest; the file is whole."""
        self._flush()
        self.close()

    def close(self) -> None:
        self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._group:  # column by column, which takes half the time of Table.from_pylist
            columns = [pa.array([record.get(field.name) for record in self._group], field.type) for field in self._schema]
            self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._group, self._characters = [], 0


def all_records(file: "ParquetFile") -> Iterator[Record]:
    """Every record, in order."""
    for batch in file.iter_batches(batch_size=100):
        yield from map(as_record, batch.to_pylist())


def page(file: "ParquetFile", offset: int, limit: int) -> Iterator[Record]:
    """Records `offset` to `offset + limit`, from the row groups they are in."""
    for group, start, end in groups(file):
        if start < offset + limit and offset < end:
            first = max(offset - start, 0)
            rows = file.read_row_group(group).slice(first, offset + limit - start - first)
            yield from map(as_record, rows.to_pylist())


def sample(file: "ParquetFile", limit: int) -> Iterator[Record]:
    """All records where there are no more than `limit`, else about `limit`, spread evenly over the file."""
    there_are = list(groups(file))
    rows = file.metadata.num_rows
    if rows <= limit:
        yield from all_records(file)
        return
    chosen = [there_are[index * len(there_are) // GROUPS_SAMPLED] for index in range(GROUPS_SAMPLED)]
    chosen = chosen if len(there_are) > GROUPS_SAMPLED else there_are
    there = sum(end - start for _, start, end in chosen)
    for group, start, end in chosen:
        wanted = max(1, round(limit * (end - start) / there))
        table = file.read_row_group(group)
        picked = [index * (end - start) // wanted for index in range(min(wanted, end - start))]
        yield from map(as_record, table.take(picked).to_pylist())


def at(file: "ParquetFile", numbers: Sequence[int]) -> Iterator[Record]:
    """The records of some numbers, counted from 0 and ascending, from the row groups they are in."""
    for group, start, end in groups(file):
        here = [number - start for number in numbers[bisect_left(numbers, start) : bisect_left(numbers, end)]]
        if here:
            yield from map(as_record, file.read_row_group(group).take(here).to_pylist())


def groups(file: "ParquetFile") -> Iterator[tuple[int, int, int]]:
    """(row group, its first row, the row after its last)."""
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        yield group, start, end
        start = end


def as_record(values: dict[str, Any]) -> Record:
    """A row of the file as a record: what is not known about it is left out."""
    about = {name: value for name, value in (values.pop("about", None) or {}).items() if value}
    if about:
        values["about"] = about
    if values.get("margin", 0) is None:
        del values["margin"]
    return values  # type: ignore[return-value]


def _length(record: Record) -> int:
    if "text" in record:
        return len(record["text"])
    turns = record["messages"] if "messages" in record else chain(record["prompt"], *record["answers"])
    return sum(len(turn["content"]) for turn in turns)
