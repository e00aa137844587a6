"""What a page that is gone still asks for."""

import logging
from datetime import datetime
from typing import Any

import gradio as gr
import pytest
from gradio.routes import App
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from app.departures import KEPT, UNUSED, Departures


def served(*, ours: bool = True) -> tuple[TestClient, gr.Blocks]:
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Textbox(label="Text")
    page.queue()
    middleware = [Middleware(Departures, page=page)] if ours else []
    return TestClient(App.create_app(page, app_kwargs={"middleware": middleware}), base_url="http://127.0.0.1:7860"), page


def test_whenever_a_page_comes_only_the_last_few_that_are_gone_are_remembered() -> None:
    _, page = served()
    client = TestClient(Departures(PlainTextResponse("here"), page=page))
    holder, now = page.state_holder, datetime.now()
    for name in ("open", *(f"closed {number}" for number in range(KEPT + 5)), "just closed"):
        holder[name].is_closed = name != "open"
        holder.time_last_used[name] = now if name == "just closed" else now - 2 * UNUSED
    page._queue.pending_messages_per_session |= {"closed 0": 1, "closed 9": 1}
    assert client.get("/config").status_code == 200 and "closed 0" in holder.session_data
    assert client.get("/").status_code == 200
    assert list(page._queue.pending_messages_per_session) == ["closed 9"]
    assert list(holder.session_data) == ["open", *(f"closed {number}" for number in range(5, KEPT + 5)), "just closed"]
    assert holder.time_last_used.keys() == holder.session_data.keys()


STREAM_OF_NOBODY = "/gradio_api/queue/data?session_hash=gone"


def test_a_stream_for_a_page_that_is_gone_says_so_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = served()[0].get(STREAM_OF_NOBODY)
    assert answer.status_code == 200 and '"session_not_found":true' in answer.text.replace(" ", "")
    assert caplog.records == []


def test_the_page_server_alone_meets_a_fault_there() -> None:
    """Once it does not, this has nothing to do any more."""
    with pytest.raises(RuntimeError, match="response already started"):
        served(ours=False)[0].get(STREAM_OF_NOBODY)


async def looks_up_in_vain(scope: dict, receive: Any, send: Any) -> None:
    """As Gradio's stream does that is broken off when its page has been forgotten already."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise KeyError("gone")


def test_a_stream_that_is_broken_off_ends_and_other_faults_are_told() -> None:
    client = TestClient(Departures(looks_up_in_vain, page=gr.Blocks(analytics_enabled=False)))
    assert client.get(STREAM_OF_NOBODY).status_code == 200
    with pytest.raises(KeyError):
        client.get("/gradio_api/queue/data?session_hash=another")


def test_what_was_never_there_is_still_not_found() -> None:
    assert served()[0].get("/gradio_api/nowhere").status_code == 404
