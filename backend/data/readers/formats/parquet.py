"""Parquet: a table with types, read a batch at a time."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from backend.data.readers.formats import Reader
from backend.data.readers.meter import Meter
from backend.data.readers.source import BrokenRow, Row, Source, Wanted
from backend.errors import UserError

ROWS_PER_BATCH = 100


class ParquetReader(Reader):
    formats: ClassVar[dict[str, str]] = {"parquet": "Parquet"}
    order = 0
    magic = b"PAR1"

    def judge(self, source: Source, head: str, wanted: Wanted) -> Source | None:
        return replace(source, format="parquet")

    def rows(self, source: Source, meter: Meter) -> Iterator[Row | BrokenRow]:
        import pyarrow
        from pyarrow import parquet

        try:
            with source.path.open("rb") as file:
                table = parquet.ParquetFile(file)
                _require_different_names(table.schema_arrow.names, source)
                read = 0
                for batch in table.iter_batches(ROWS_PER_BATCH):
                    for number, values in enumerate(batch.to_pylist(), start=read + 1):
                        yield Row(number, values)
                    read += len(batch)
                    meter.reach(read / table.metadata.num_rows)
        except (pyarrow.ArrowException, ValueError, OverflowError, OSError) as error:
            raise UserError(
                f"{source.name} is a damaged or incomplete Parquet file. Fetch or export it again, or choose another."
            ) from error


def _require_different_names(names: list[str], source: Source) -> None:
    if len(set(names)) < len(names):
        raise UserError(f"{source.name} has two columns of the same name. Rename one of them.")
