"""A conversation as a model's chat template writes it. The template is a stranger's program: it runs in a sandbox, against the clock.

    text = written(messages, tokenizer, answer_next=True)

The sandbox is transformers' (jinja2's ImmutableSandboxedEnvironment): a template reaches the messages and nothing else.
It has no clock of its own, and two loops inside each other last for days.
"""

import ctypes
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from backend.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 5.0  # for one conversation; honest templates take less than a thousandth of that
LOOK_SECONDS = 0.2
MOST_CHARACTERS, MOST_TIMES = 1_000_000, 20  # what may be written around a conversation: so much, and so many times its length


class TookTooLong(Exception):
    """What was watched did not end in time."""


def written(messages: Sequence[dict[str, str]], tokenizer: "PreTrainedTokenizerBase", *, answer_next: bool = False) -> str:
    """The text the model reads. Raises `UserError` where the template refuses, is broken, or finds no end."""
    try:
        with _watch().limit(SECONDS):
            text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answer_next)
    except TookTooLong as error:
        raise UserError(f"The model's chat template was not done after {SECONDS:g} s with one conversation. {_REMEDY}") from error
    except Exception as error:  # whatever a stranger's program raises
        reason = f"{type(error).__name__}: {error}"[:300]
        raise UserError(f"The model's chat template cannot write this conversation ({reason}). {_REMEDY}") from error
    if len(text) > MOST_CHARACTERS + MOST_TIMES * sum(len(message["content"]) for message in messages):
        raise UserError(f"The model's chat template made {len(text):,} characters of one conversation. {_REMEDY}")
    return text


_REMEDY = "Change the conversation's roles and their order if that is it, or choose a model with another template."


class Watch:
    """Breaks off what takes too long, in whatever thread it runs."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}  # thread -> when it has to be done
        self._lock, self._armed = threading.Lock(), threading.Event()
        threading.Thread(target=self._look, name="chat templates", daemon=True).start()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raises `TookTooLong` in the block once it has run so long; between two steps of Python, not inside one."""
        thread = threading.get_ident()
        with self._lock:
            self._until[thread] = time.monotonic() + seconds
            self._armed.set()
        try:
            yield
        finally:
            with self._lock:
                del self._until[thread]
                _raise_in(thread, None)  # one that came as the block ended hits nobody

    def _look(self) -> None:
        while self._armed.wait():
            time.sleep(LOOK_SECONDS)
            with self._lock:
                late = [thread for thread, until in self._until.items() if time.monotonic() > until]
                for thread in late:
                    self._until[thread] = math.inf
                    _raise_in(thread, TookTooLong)
                if not self._until:
                    self._armed.clear()


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Have a thread raise an exception at its next step; None takes back one that it has not raised yet."""
    raised = ctypes.py_object(kind) if kind else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


@cache
def _watch() -> Watch:
    return Watch()
