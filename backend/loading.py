"""Reading weights takes minutes for a large model. It can be broken off between one weight and the next.

    with asking(should_stop):
        model = models.load(folder, dtype, device=device)     asked before each weight; once it says so, `Stopped` comes out here
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from backend.errors import Stopped

_asks: ContextVar[Callable[[], bool] | None] = ContextVar("asks", default=None)


@contextmanager
def asking(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Within this block, and in this thread alone, it is asked before each weight whether to stop."""
    from transformers.utils.logging import set_tqdm_hook

    set_tqdm_hook(_watched)
    before = _asks.set(should_stop)
    try:
        yield
    finally:
        _asks.reset(before)


def _watched(make_bar: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """transformers asks for a bar around everything it goes over that takes long; ours asks in its turn."""
    bar, should_stop = make_bar(*args, **settings), _asks.get()
    return bar if should_stop is None else _AskingBar(bar, should_stop)


class _AskingBar:
    """A bar as it is, but that it asks before each step."""

    def __init__(self, bar: Any, should_stop: Callable[[], bool]) -> None:
        self._bar, self._should_stop = bar, should_stop

    def __iter__(self) -> Iterator[Any]:
        for step in self._bar:
            if self._should_stop():
                raise Stopped
            yield step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)
