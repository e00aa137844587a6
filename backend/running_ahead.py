"""A stream that does not wait for its reader: it runs in a thread of its own, and the reader is given what is newest.

A generator rests while its reader is busy with what it yielded. Where the reader is a page, an answer would rest at each of its
updates, and the pane beside it, which takes its steps together with this one, rest too.
"""

import threading
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


def newest(stream: Generator[Item, None, None]) -> Iterator[Item]:
    """What a stream yields, as it stands whenever the reader comes for more: the last item always, those before it only where
    the reader was in time. Raises what the stream raises. Who closes this has the stream closed at its next item."""
    box: _Box[Item] = _Box()
    threading.Thread(target=box.fill, args=(stream,), name="running ahead", daemon=True).start()
    try:
        while (taken := box.take()) is not None:
            yield taken[0]
    finally:
        box.is_left = True
    fault, box.fault = box.fault, None
    try:
        if fault:
            raise fault
    finally:
        del fault  # it holds every frame it came through, this one too, and with them a model and what it has read


class _Box(Generic[Item]):
    """The one item that one thread puts in and another takes out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: tuple[Item] | None = None
        self._is_over = False
        self.is_left = False  # nobody comes for more
        self.fault: BaseException | None = None

    def fill(self, stream: Generator[Item, None, None]) -> None:
        try:
            for item in stream:
                with self._changed:
                    self._item = (item,)
                    self._changed.notify()
                if self.is_left:
                    break
            stream.close()
        except BaseException as fault:
            self.fault = None if self.is_left else fault
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify()

    def take(self) -> tuple[Item] | None:
        """The newest item, waited for; None when there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._item or self._is_over)
            taken, self._item = self._item, None
            return taken
