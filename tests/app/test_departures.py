"""What a page that is gone still asks for."""

import asyncio
import logging
from datetime import datetime
from typing import Any

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
    page._queue.pending_messages_per_session |= {"closed 0": 1, "closed 9": 1}
    forget_departed(page)
    assert list(page._queue.pending_messages_per_session) == ["closed 9"]
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


async def begins_and_fails(scope: dict, receive: Any, send: Any) -> None:
    """As Gradio's stream does that is broken off when the page has been forgotten already."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        raise asyncio.CancelledError if scope["path"] == "/broken-off" else ValueError
    except BaseException:
        {}["gone"]  # the page, where it is looked up


def test_a_stream_that_is_broken_off_ends_and_other_faults_are_told() -> None:
    client = TestClient(Departures(begins_and_fails))
    assert client.get("/broken-off").status_code == 200
    with pytest.raises(KeyError):
        client.get("/another")


def test_what_was_never_there_is_still_not_found() -> None:
    assert served(Middleware(Departures)).get("/gradio_api/nowhere").status_code == 404
