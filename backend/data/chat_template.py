"""A conversation as a model's chat template writes it. The template is a stranger's program: it runs in a sandbox, apart.

    text, *_ = written([(messages, True), ...], tokenizer)

The sandbox is transformers' (jinja2's ImmutableSandboxedEnvironment): a template reaches the messages and nothing else.
It bounds neither time nor memory, and one power of numbers can hold a whole process for days; so it stands in a process
of its own, with a clock and little memory (template_writer.py), which is started again where it had to be broken off.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 5.0  # for one conversation; honest templates take less than a thousandth of that
PROGRAM = Path(__file__).with_name("template_writer.py")

Conversation = tuple[Sequence[dict[str, str]], bool]  # and whether the assistant answers next


def written(conversations: Sequence[Conversation], tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """The texts the model reads, asked for in one question, as asking takes longer than writing.

    Raises `UserError` where the template refuses one of them, is broken, or finds no end.
    """
    try:
        return _writer().texts(conversations, tokenizer.get_chat_template(), tokenizer.special_tokens_map)
    except ValueError as error:
        raise UserError(
            f"The model's chat template cannot write this conversation ({error}). Change the conversation's roles and their "
            "order if that is it, or choose a model with another template."
        ) from error


class Writer:
    """The process that writes: started when first asked, and again where it is gone. It serves one at a time."""

    def __init__(self) -> None:
        self._lock, self._process = threading.Lock(), None

    def texts(self, conversations: Sequence[Conversation], template: str, tokens: dict[str, str]) -> list[str]:
        """Raises `ValueError` with the reason where there are none."""
        asked = {"template": template, "conversations": conversations, "tokens": tokens, "seconds": SECONDS}
        with self._lock:
            answer = self._answer(json.dumps(asked))
        if "reason" in answer:
            raise ValueError(answer["reason"])
        return answer["texts"]

    def _answer(self, asked: str) -> dict[str, Any]:
        process = self._running()
        try:
            print(asked, file=process.stdin, flush=True)
            line = process.stdout.readline()
        except BaseException:
            process.kill()  # or its answer would be taken for that to the next question
            raise
        if line:
            return json.loads(line)
        ended = process.wait()  # by its clock with 1, else by a signal
        return {"reason": f"it was not done after {SECONDS:g} s" if ended == 1 else f"it broke down, {ended}"}

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-P", str(PROGRAM)]  # without its folder among the places to import from
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="ascii"
            )
        return self._process


@cache
def _writer() -> Writer:
    return Writer()
