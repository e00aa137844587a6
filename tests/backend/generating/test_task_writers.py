"""Writers: a model in memory, and an endpoint that is really there, answers oddly, refuses, or is gone."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backend.device import Turns
from backend.errors import Stopped, UserError
from backend.generating.prompts import Prompt
from backend.generating.settings import KEY_VARIABLE, GenerationSpec, WriterSettings, parse_generation
from backend.generating.writers import EndpointWriter, LocalWriter, open_writer, up_to_stop
from backend.inference import Shelf, Speaker
from backend.jobs import Means
from backend.sampling import Sampling
from backend.workspace import Workspace

BRIEF = Sampling(max_tokens=12, temperature=0.7, seed=5)


def means(workspace: Workspace, should_stop: Callable[[], bool] = lambda: False) -> Means:
    return Means(should_stop, Turns(), Shelf(workspace))


# ---- a model in memory


def test_a_model_goes_on_and_answers_the_same_from_the_same_seed(workspace: Workspace) -> None:
    writer = LocalWriter(Speaker("base", "starter"), means(workspace))
    prompts = [Prompt("Name a colour:", ()), Prompt("1. Sing.\n2.", ())]
    first = writer.go_on(prompts, BRIEF)
    assert first == writer.go_on(prompts, BRIEF) != writer.go_on(prompts, BRIEF.model_copy(update={"seed": 99}))
    assert len(writer.answer(["Why?", "How do I boil an egg?"], BRIEF)) == 2
    assert writer.go_on([], BRIEF) == []


def test_a_text_ends_at_its_stop_and_is_then_not_cut_off(workspace: Workspace) -> None:
    writer = LocalWriter(Speaker("base", "starter"), means(workspace))
    (free,) = writer.go_on([Prompt("Name a colour:", ())], BRIEF)
    assert free.is_cut_off and len(free.text) > 3
    stop = free.text[2:4]
    (stopped,) = writer.go_on([Prompt("Name a colour:", (stop, "never said"))], BRIEF)
    assert stopped.text == free.text.partition(stop)[0] and not stopped.is_cut_off


def test_a_prompt_too_long_for_the_model_loses_its_beginning(workspace: Workspace) -> None:
    writer = LocalWriter(Speaker("base", "starter"), means(workspace))
    head, tail = "Something else altogether. " * 200, "Name a colour: " * 300
    assert writer.go_on([Prompt(head + tail, ())], BRIEF) == writer.go_on([Prompt("Another head. " * 300 + tail, ())], BRIEF)


def test_a_stop_ends_the_writing_at_once(workspace: Workspace) -> None:
    looks = 0

    def should_stop() -> bool:
        nonlocal looks
        looks += 1
        return looks == 3

    lent = means(workspace, lambda: False)
    writer = LocalWriter(Speaker("base", "starter"), replace(lent, should_stop=lambda: False))
    writer._means = replace(lent, should_stop=should_stop)
    with pytest.raises(Stopped):
        writer.go_on([Prompt("Name a colour:", ())], Sampling(max_tokens=400))
    assert looks == 3


def test_who_is_not_there_cannot_write(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="There is no run"):
        open_writer(WriterSettings(speaker="run:gone-123456"), means(workspace))
    with pytest.raises(UserError, match="names nobody"):
        open_writer(WriterSettings(speaker="whoever"), means(workspace))


def test_the_first_of_several_stops_counts() -> None:
    assert up_to_stop("a b c d", ("d", "b"), is_cut_off=True) == ("a ", False)
    assert up_to_stop("a b", (), is_cut_off=True) == ("a b", True)


# ---- an endpoint


def writer_at(endpoint: Any, key: str = "", should_stop: Callable[[], bool] = lambda: False) -> EndpointWriter:
    return EndpointWriter(WriterSettings(**endpoint.settings), key, should_stop)


def said(text: Any, reason: str = "stop") -> str:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]})


def test_an_endpoint_is_asked_in_openai_s_form(endpoint: Any) -> None:
    endpoint.reply = lambda request: (200, said(f"answer to {request['messages'][-1]['content']}\n\nmore", "length"))
    completions = writer_at(endpoint, "sesame").go_on([Prompt("one", ("\n\n",)), Prompt("two", ())], BRIEF)
    assert completions == [("answer to one", False), ("answer to two\n\nmore", True)]
    path, headers, request = next(each for each in endpoint.asked if each[2]["messages"][-1]["content"] == "two")
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer sesame"
    assert request | {"messages": []} == {"model": "big", "messages": [], "temperature": 0.7, "top_p": 1.0, "max_tokens": 12, "seed": 6}
    assert [message["role"] for message in request["messages"]] == ["system", "user"]


def test_without_a_key_none_is_sent(endpoint: Any) -> None:
    assert writer_at(endpoint).answer(["Why?"], BRIEF) == [("fine", False)]
    assert "Authorization" not in endpoint.asked[0][1]


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, "sesame is wrong", f"wants a key, or refuses .* {KEY_VARIABLE}"),
        (404, "", 'knows no model "big"'),
        (500, "out of cheese; you sent sesame", r"refused \(500\): out of cheese; you sent the key\."),
        (302, "", r"refused \(302\)"),
        (200, "<html>", "in a form this studio does not know"),
        (200, "[]", "in a form this studio does not know"),
        (200, '{"choices": []}', "in a form this studio does not know"),
        (200, said(None), "in a form this studio does not know"),
        (200, said([{"type": "text"}]), "in a form this studio does not know"),
    ],
)
def test_an_endpoint_that_refuses_or_answers_oddly_is_told_in_a_sentence(endpoint: Any, status: int, body: str, sentence: str) -> None:
    endpoint.reply = lambda request: (status, body)
    with pytest.raises(UserError, match=sentence) as raised:
        writer_at(endpoint, "sesame").answer(["Why?"], BRIEF)
    assert "sesame" not in str(raised.value)
    assert len(endpoint.asked) == 1  # no redirect is followed, nothing is tried again


def test_a_busy_endpoint_is_asked_again(endpoint: Any) -> None:
    endpoint.reply = lambda request: (200, said("now")) if len(endpoint.asked) == 3 else (429, "")
    assert writer_at(endpoint).answer(["Why?"], BRIEF) == [("now", False)]
    endpoint.reply = lambda request: (429, "")
    with pytest.raises(UserError, match="takes no more requests for now"):
        writer_at(endpoint).answer(["Why?"], BRIEF)


def test_an_endpoint_that_is_gone_is_told_in_a_sentence(endpoint: Any) -> None:
    endpoint.server.server_close()
    with pytest.raises(UserError, match="cannot be reached"):
        writer_at(endpoint).answer(["Why?"], BRIEF)


@pytest.mark.fault("stop, and go on")
def test_a_stop_breaks_off_what_an_endpoint_is_slow_to_answer(endpoint: Any) -> None:
    over = threading.Event()
    endpoint.reply = lambda request: (over.wait(30), (200, said("late")))[1]
    writer = writer_at(endpoint, should_stop=lambda: bool(endpoint.asked))
    begun = time.monotonic()
    with pytest.raises(Stopped):
        writer.answer(["Why?"] * 6, BRIEF)
    assert time.monotonic() - begun < 10 and 0 < len(endpoint.asked) < 6
    over.set()


def test_an_endpoint_can_be_asked_where_an_event_loop_is_going(endpoint: Any) -> None:
    async def ask() -> Any:
        return writer_at(endpoint).answer(["Why?"], BRIEF)

    assert asyncio.run(ask()) == [("fine", False)]


def test_answers_come_in_the_order_of_their_questions(endpoint: Any) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, str]:
        question = request["messages"][-1]["content"]
        time.sleep(0.05 * (8 - int(question)))
        return 200, said(f"answer {question}")

    endpoint.reply = reply
    answers = writer_at(endpoint).answer([str(number) for number in range(8)], BRIEF)
    assert [answer.text for answer in answers] == [f"answer {number}" for number in range(8)]


def test_after_a_stop_nothing_is_sent(endpoint: Any) -> None:
    with pytest.raises(Stopped):
        writer_at(endpoint, should_stop=lambda: True).answer(["Why?"], BRIEF)
    assert endpoint.asked == []


# ---- what a spec may say of them


def test_nothing_is_sent_anywhere_that_was_not_named() -> None:
    with pytest.raises(UserError, match="an endpoint needs its address"):
        parse_generation({"seeds": {"id": "x"}, "writer": {"kind": "endpoint", "endpoint_model": "big"}})


@pytest.mark.parametrize("url", ["ftp://host/v1", "host:8000", "http://", "http://me:secret@host/v1", "http://host/v1?key=secret"])
def test_an_address_is_an_address_and_holds_no_key(url: str) -> None:
    with pytest.raises(UserError, match=r"writer\.url"):
        parse_generation({"seeds": {"id": "x"}, "writer": {"kind": "endpoint", "endpoint_model": "big", "url": url}})


def test_a_whole_address_is_shortened_to_its_base() -> None:
    assert WriterSettings(kind="endpoint", endpoint_model="big", url=" http://host/v1/chat/completions/ ").url == "http://host/v1"


def test_the_key_is_taken_from_the_environment_and_stands_in_no_spec(
    endpoint: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, " sesame\n")
    spec = GenerationSpec.model_validate({"seeds": {"id": "x"}, "writer": endpoint.settings})
    open_writer(spec.writer, means(workspace)).answer(["Why?"], BRIEF)
    assert endpoint.asked[0][1]["Authorization"] == "Bearer sesame"
    assert "sesame" not in spec.model_dump_json()
    monkeypatch.setenv(KEY_VARIABLE, "s€same")
    with pytest.raises(UserError, match="letters no key has"):
        open_writer(spec.writer, means(workspace))
