"""Pages that are gone: what they still ask for ends without a fault in the log.

A page that is closed or reloaded while answers are under way is forgotten at once, and a stream it had just asked for finds
nobody to answer. Gradio tells the stream so, and then raises a 404 that can no longer be sent, as the answer has begun.
"""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Departures:
    """Lets an answer to nobody end where it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            await send(message)
            has_begun = True

        try:
            await self.app(scope, receive, send_and_note)
        except RuntimeError as error:
            if not (has_begun and _is_not_found(error.__cause__)):
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_not_found(error: BaseException | None) -> bool:
    return isinstance(error, HTTPException) and error.status_code == 404
