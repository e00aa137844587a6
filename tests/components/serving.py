"""A component on a page of its own, and a browser that looks at it."""

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from playwright.sync_api import Browser, Page


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
