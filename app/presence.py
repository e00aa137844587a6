"""Which pages are open, known without a connection held for each of them.

    app_kwargs = {"middleware": [Middleware(Presence)]}

A page says goodbye by itself (assets/prelude.js).
"""

import asyncio
import re

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEARTBEAT, DEPARTURE = re.compile(r"/gradio_api/heartbeat/(\w+)"), re.compile(r"/departed/(\w+)")
MOST = 100  # pages held; a browser that breaks down says no goodbye


class Presence:
    """Holds the connection in a page's stead by which Gradio knows that it is open, until the page says that it goes.

    Gradio keeps one open for each page, for as long as it is there. Browsers open six to a studio, for all its pages together:
    with six pages open nothing would go through any more, and a seventh would not even come.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._open: dict[str, asyncio.Event] = {}  # page -> set once it goes
        self._connections: set[asyncio.Task[None]] = set()  # the loop itself would forget them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if comes := HEARTBEAT.fullmatch(path):
            self._hold(comes[1], scope)
            await Response(media_type="text/event-stream")(scope, receive, send)
        elif goes := DEPARTURE.fullmatch(path):
            self._let_go(goes[1])
            await Response(status_code=204)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _hold(self, session: str, scope: Scope) -> None:
        gone = self._open[session] = asyncio.Event()
        if len(self._open) > MOST:
            self._let_go(next(iter(self._open)))  # who came first

        async def wait() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def hear(message: Message) -> None:
            """What the connection would have carried."""

        self._connections.add(connection := asyncio.create_task(self.app({**scope}, wait, hear)))
        connection.add_done_callback(self._connections.discard)

    def _let_go(self, session: str) -> None:
        if gone := self._open.pop(session, None):
            gone.set()

