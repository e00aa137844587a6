"""A component on a page of its own, and a browser that looks at it."""

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from playwright.sync_api import Browser, Page, Route


@contextmanager
def served(blocks: gr.Blocks) -> Iterator[str]:
    """The address of a page, for the length of a `with` block."""
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, enable_monitoring=False)
    try:
        yield url
    finally:
        blocks.close()


@contextmanager
def visited(chromium: Browser, address: str) -> Iterator[Page]:
    """The page as somebody sees it who comes for the first time."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


class Line:
    """A page's line to the functions of its components, which a test may cut or hold.

    It is laid before the page is opened: what a page asks in the moment in which a browser is told to hand its requests
    over may still pass by.
    """

    def __init__(self, page: Page) -> None:
        self.cut = self.holds = False
        self.held: list[Route] = []
        page.route("**/component_server**", self._carry)

    def _carry(self, route: Route) -> None:
        if self.cut:
            route.abort()
        elif self.holds:
            self.held.append(route)
        else:
            route.continue_()
