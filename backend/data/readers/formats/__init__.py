"""The formats that can be read, one file each.

A new one is one new file in this folder with a subclass of `Reader`: it says whether a file is of its kind, and
yields the rows. No other file is edited.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from typing import ClassVar

from backend.data.readers.meter import Meter
from backend.data.readers.source import BrokenRow, Row, Source, Wanted


class Reader(ABC):
    """How files of one kind are told and read. Readers are asked in their `order` whose a file is."""

    formats: ClassVar[dict[str, str]]  # what its files may be -> in words
    order: ClassVar[int]
    magic: ClassVar[bytes] = b""  # how its files begin, where they are no text

    @abstractmethod
    def judge(self, source: Source, head: str, wanted: Wanted) -> Source | None:
        """The source with its format and what reading it needs; None if it is of another kind.

        `head` is how its text begins, "" where it is no text. Raises `UserError` for what is of this kind and broken.
        """

    @abstractmethod
    def rows(self, source: Source, meter: Meter) -> Iterator[Row | BrokenRow]:
        """Every row in order, in bounded memory. Files are opened by the meter, or it is told how far reading is."""


@cache
def all_readers() -> tuple[Reader, ...]:
    """One of each reader in this folder, in the order they are asked."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(sorted((kind() for kind in Reader.__subclasses__()), key=lambda reader: reader.order))


def reader_of(format: str) -> Reader:
    """The reader of a format that `judge` gave."""
    return next(reader for reader in all_readers() if format in reader.formats)
