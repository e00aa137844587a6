"""Whoever reads slowly misses what is old, never what is last, and holds nothing up."""

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from backend.running_ahead import newest


def test_a_slow_reader_gets_what_is_newest_and_always_the_last() -> None:
    first_taken, all_made = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        assert first_taken.wait(10)
        yield from range(2, 100)
        all_made.set()

    stream = newest(numbers())
    assert next(stream) == 1
    first_taken.set()
    assert all_made.wait(10), "it goes on while nobody reads"
    assert list(stream) == [99]


def test_what_a_stream_raises_comes_after_what_it_said() -> None:
    def failing() -> Iterator[str]:
        yield "half a sent"
        raise OSError("gone")

    said = []
    with pytest.raises(OSError, match="gone"):
        for word in newest(failing()):
            said.append(word)
    assert said == ["half a sent"]


def test_a_fault_does_not_keep_what_the_stream_had() -> None:
    """Where memory ran out, what took it would else stay until the next whole collection."""

    class Large: ...

    known: list[weakref.ref[Large]] = []

    def failing() -> Iterator[int]:
        large = Large()
        known.append(weakref.ref(large))
        yield 1
        raise MemoryError

    gc.disable()
    try:
        with pytest.raises(MemoryError):
            list(newest(failing()))
        assert known[0]() is None
    finally:
        gc.enable()


def test_a_stream_that_says_nothing_ends() -> None:
    assert list(newest(nothing for nothing in ())) == []


def test_whoever_leaves_has_the_stream_closed_at_its_next_item() -> None:
    go_on, closed = threading.Event(), threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield 0
            assert go_on.wait(10)
            while True:
                yield 1
        finally:
            closed.set()

    stream = newest(endless())
    assert next(stream) == 0
    stream.close()
    go_on.set()
    assert closed.wait(10)
