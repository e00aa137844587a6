"""Pages that are open, and pages that say goodbye, in a real browser."""

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState
from playwright.sync_api import Browser, expect
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from app.prelude import Prelude
from app.presence import Presence

pytestmark = pytest.mark.browser
MORE_THAN_CONNECTIONS = 7  # a browser opens six to one address


@pytest.fixture
def served() -> Iterator[tuple[gr.Blocks, str]]:
    """A page with a state of its own for each visitor, and its address."""
    with gr.Blocks(analytics_enabled=False) as page:
        presses = gr.State(0)
        told = gr.Textbox("0", label="Presses")
        gr.Button("Press").click(lambda before: (before + 1, str(before + 1)), presses, [presses, told])
    _, url, _ = page.launch(
        prevent_thread_lock=True, quiet=True, ssr_mode=False, enable_monitoring=False,
        app_kwargs={"middleware": [Middleware(Presence), Middleware(Prelude)]},
    )
    yield page, url
    page.close()


def sessions(page: gr.Blocks) -> list[SessionState]:
    return list(page.state_holder.session_data.values())


def becomes(met: Callable[[], bool]) -> None:
    until = monotonic() + 10
    while not met():
        assert monotonic() < until
        sleep(0.05)


@pytest.mark.fault("seven pages in one browser")
def test_more_pages_than_a_browser_opens_connections_all_work(chromium: Browser, served: tuple[gr.Blocks, str]) -> None:
    page, url = served
    with chromium.new_context() as context:
        tabs = [context.new_page() for _ in range(MORE_THAN_CONNECTIONS)]
        for tab in tabs:
            tab.goto(url, timeout=60_000, wait_until="commit")
        for tab in tabs:
            tab.get_by_role("button", name="Press").click()
            expect(tab.get_by_label("Presses")).to_have_value("1")
        assert not any(session.is_closed for session in sessions(page))


def test_of_pages_that_never_say_goodbye_the_first_are_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.presence.MOST", 2)
    gone: list[str] = []

    async def beats(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        assert (await receive())["type"] == "http.disconnect"
        gone.append(scope["path"].rpartition("/")[2])

    with TestClient(Presence(beats)) as client:
        for name in ("first", "second", "third"):
            assert client.get(f"/gradio_api/heartbeat/{name}").status_code == 200
        becomes(lambda: gone == ["first"])
        assert client.post("/departed/third").status_code == client.post("/departed/nobody").status_code == 204
        becomes(lambda: gone == ["first", "third"])


def test_a_page_that_is_closed_or_reloaded_is_known_to_be_gone(chromium: Browser, served: tuple[gr.Blocks, str]) -> None:
    page, url = served

    def gone() -> int:
        return sum(session.is_closed for session in sessions(page))

    with chromium.new_context() as context:
        tab, other = context.new_page(), context.new_page()
        for each in (tab, other):
            each.goto(url)
            each.get_by_role("button", name="Press").click()  # Gradio knows of a page from its first event on
            expect(each.get_by_label("Presses")).to_have_value("1")
        assert gone() == 0
        tab.reload()
        becomes(lambda: gone() == 1)
        other.close()
        becomes(lambda: gone() == 2)
        tab.get_by_role("button", name="Press").click()
        expect(tab.get_by_label("Presses")).to_have_value("1")
        assert gone() == 2
