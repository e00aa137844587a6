"""Long work that a click can end: whoever works asks now and then whether to go on.

    stops = Stops()                                   one for a page, made where it is wired
    with stops.heeded(work) as go_on: ...             `work` is a token of the page in one browser; go_on() raises `Stopped`
    stops.stop(work)                                  from another click: whatever is done under that token ends
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backend.errors import Stopped


class Stops:
    """The work going on, by token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, list[threading.Event]] = {}

    def stop(self, work: str) -> None:
        """Whatever is done under the token ends at the next question."""
        with self._lock:
            for asked in self._asked.get(work, []):
                asked.set()

    @contextmanager
    def heeded(self, work: str) -> Iterator[Callable[[], None]]:
        """While work is done under the token: a question that raises `Stopped` once somebody asked to stop."""
        asked = threading.Event()
        with self._lock:
            self._asked.setdefault(work, []).append(asked)

        def go_on() -> None:
            if asked.is_set():
                raise Stopped

        try:
            yield go_on
        finally:
            self._forget(work, asked)

    def _forget(self, work: str, asked: threading.Event) -> None:
        with self._lock:
            self._asked[work].remove(asked)
            if not self._asked[work]:
                del self._asked[work]
