"""A script of ours that runs before Gradio's page builds itself (assets/prelude.js); Gradio's own ways in all come later.

    app_kwargs = {"middleware": [Middleware(Prelude)]}
    name_in_address(tabs)
"""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.event_options import QUIET

SCRIPT = Path(__file__).resolve().parents[1] / "assets" / "prelude.js"
END_OF_HEAD = b"</head>"  # after the description, in which no "<" stands as such, and before Gradio's scripts are run


class Prelude:
    """Puts the script at the end of the page's head."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._script = b"<script>{" + SCRIPT.read_bytes() + b"}</script>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        page = b""

        async def send_with_script(message: Message) -> None:
            nonlocal start, page
            if message["type"] == "http.response.start":
                start = message
                return
            page += message.get("body", b"")
            if message.get("more_body"):
                return
            page = page.replace(END_OF_HEAD, self._script + END_OF_HEAD, 1)
            MutableHeaders(scope=start)["Content-Length"] = str(len(page))
            await send(start)
            await send({**message, "body": page})

        is_page = scope.get("path") == "/" and scope.get("method") == "GET"
        await self.app(scope, receive, send_with_script if is_page else send)


def name_in_address(tabs: Sequence[gr.Tab]) -> None:
    """Let the address say which tab is looked at."""
    for tab in tabs:
        tab.select(None, js=f"() => history.replaceState(null, '', '#{tab.id}')", **QUIET)
