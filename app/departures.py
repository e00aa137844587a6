"""Pages that are gone: what they left behind is forgotten, and what they still ask for ends without a fault in the log.

    app_kwargs = {"middleware": [Middleware(Departures, page=page)]}
"""

import asyncio
from datetime import datetime, timedelta

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.memory import trim_memory

KEPT = 16  # pages that may come back, as after a computer's sleep
UNUSED = timedelta(minutes=1)


def forget_departed(page: gr.Blocks) -> bool:
    """Drop what is known of closed pages but the last few; whether there were more. Gradio keeps it for 10,000 of them, 1.7 MB and
    more for each reload."""
    holder, now = page.state_holder, datetime.now()
    with holder.lock:
        departed = [  # the least recently used first
            session for session, state in holder.session_data.items()
            if state.is_closed and now - holder.time_last_used[session] > UNUSED
        ]  # fmt: skip
        for session in departed[:-KEPT]:
            del holder.session_data[session], holder.time_last_used[session]
            page._queue.pending_messages_per_session.pop(session, None)  # answers it did not wait for
    return len(departed) > KEPT


class Departures:
    """Forgets at each arrival, and lets an answer to nobody end where it is.

    A page that is closed or reloaded while answers are under way is forgotten at once, and a stream it had just asked for
    finds nobody to answer. Gradio tells the stream so, and then raises a 404 that can no longer be sent, as the answer has begun;
    and a stream that is broken off wants to forget what another has forgotten already.
    """

    def __init__(self, app: ASGIApp, page: gr.Blocks) -> None:
        self.app, self.page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_forgotten = scope.get("path") == "/" and forget_departed(self.page)
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            await send(message)
            has_begun = True

        try:
            await self.app(scope, receive, send_and_note)
        except (RuntimeError, KeyError) as error:
            if not (has_begun and (_finds_nobody(error) or _is_forgotten(error, scope))):
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        if has_forgotten:
            await asyncio.to_thread(trim_memory)


def _finds_nobody(error: Exception) -> bool:
    return isinstance(error.__cause__, HTTPException) and error.__cause__.status_code == 404


def _is_forgotten(error: Exception, scope: Scope) -> bool:
    """Whether what was looked up in vain is the very page that asks."""
    return isinstance(error, KeyError) and f"session_hash={error.args[0]}".encode() == scope["query_string"]
