"""What a page that is gone still asks for."""

import logging
from datetime import datetime

import gradio as gr
import pytest
from gradio.routes import App
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from app.departures import KEPT, UNUSED, Departures, forget_departed


def test_of_pages_that_are_gone_only_the_last_few_are_remembered() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Textbox(label="Text")
    App.create_app(page)
    holder, now = page.state_holder, datetime.now()
    for name in ("open", *(f"closed {number}" for number in range(KEPT + 5)), "just closed"):
        holder[name].is_closed = name != "open"
        holder.time_last_used[name] = now if name == "just closed" else now - 2 * UNUSED
    forget_departed(page)
    assert list(holder.session_data) == ["open", *(f"closed {number}" for number in range(5, KEPT + 5)), "just closed"]
    assert holder.time_last_used.keys() == holder.session_data.keys()


def served(*middleware: Middleware) -> TestClient:
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Textbox(label="Text")
    page.queue()
    return TestClient(App.create_app(page, app_kwargs={"middleware": list(middleware)}), base_url="http://127.0.0.1:7860")


STREAM_OF_NOBODY = "/gradio_api/queue/data?session_hash=gone"


def test_a_stream_for_a_page_that_is_gone_says_so_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = served(Middleware(Departures)).get(STREAM_OF_NOBODY)
    assert answer.status_code == 200 and '"session_not_found":true' in answer.text.replace(" ", "")
    assert caplog.records == []


def test_the_page_server_alone_meets_a_fault_there() -> None:
    """Once it does not, this has nothing to do any more."""
    with pytest.raises(RuntimeError, match="response already started"):
        served().get(STREAM_OF_NOBODY)


def test_what_was_never_there_is_still_not_found() -> None:
    assert served(Middleware(Departures)).get("/gradio_api/nowhere").status_code == 404
