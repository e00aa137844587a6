"""Writes conversations by chat templates, in a process of its own: what a template does to it, it does to nobody else.

Started and asked by chat_template.py. A line of JSON asks, {"template", "conversations", "tokens", "seconds"}, and one
answers: {"texts"}, or {"reason"} where there are none. A conversation is (messages, whether the assistant answers next);
each has so many seconds.
"""

import faulthandler
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

MEMORY_BYTES = 2**30  # beyond it Python raises MemoryError; honest templates take next to nothing
MOST_CHARACTERS, MOST_TIMES = 1_000_000, 20  # what may be written around a conversation: so much, and so many times its length

Conversation = tuple[Sequence[dict[str, str]], bool]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the studio's to answer
    _limit_memory()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"texts": [_text(conversation, asked["template"], asked["tokens"], asked["seconds"]) for conversation in asked["conversations"]]}
    except Exception as error:  # whatever a stranger's program raises
        return {"reason": f"{type(error).__name__}: {error}"[:300]}


def _text(conversation: Conversation, template: str, tokens: dict[str, str], seconds: float) -> str:
    messages, answer_next = conversation
    if not messages:
        raise ValueError("it has no message")
    faulthandler.dump_traceback_later(seconds, exit=True)  # a clock that no single operation holds up
    try:
        (text,), _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=answer_next, **tokens)
    finally:
        faulthandler.cancel_dump_traceback_later()
    if len(text) > MOST_CHARACTERS + MOST_TIMES * sum(len(message["content"]) for message in messages):
        raise ValueError(f"it made {len(text):,} characters of one conversation")
    return text


def _limit_memory() -> None:
    if sys.platform == "linux":  # the others keep no such limit; there the clock alone ends it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    main()
