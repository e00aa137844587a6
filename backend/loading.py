"""Reading weights takes minutes for a large model. It can be broken off between one weight and the next.

    with asking(stop_if_asked):
        model = models.load(folder, dtype, device=device)     stop_if_asked() before each weight; what it raises comes out here
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_asks: ContextVar[Callable[[], None] | None] = ContextVar("asks", default=None)


@contextmanager
def asking(stop_if_asked: Callable[[], None]) -> Iterator[None]:
    """Within this block, and in this thread alone, it is asked before each weight whether to go on."""
    from transformers.utils.logging import set_tqdm_hook

    set_tqdm_hook(_watched)
    before = _asks.set(stop_if_asked)
    try:
        yield
    finally:
        _asks.reset(before)


def _watched(make_bar: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """transformers asks for a bar around everything it goes over that takes long; ours asks in its turn."""
    bar, stop_if_asked = make_bar(*args, **settings), _asks.get()
    return bar if stop_if_asked is None else _AskingBar(bar, stop_if_asked)


class _AskingBar:
    """A bar as it is, but that it asks before each step."""

    def __init__(self, bar: Any, stop_if_asked: Callable[[], None]) -> None:
        self._bar, self._stop_if_asked = bar, stop_if_asked

    def __iter__(self) -> Iterator[Any]:
        for step in self._bar:
            self._stop_if_asked()
            yield step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)
