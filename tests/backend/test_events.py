"""What a run's file of events says, whoever writes it and whatever was killed on the way."""

import json
import threading
from pathlib import Path

import pytest

from backend.events import EventLog, RunEvent, status
from backend.runs import true_events


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "events.jsonl")


def event(kind: str, **fields: object) -> RunEvent:
    return {"kind": kind, "at": 0.0, **fields}  # type: ignore[typeddict-item]


def step(number: int, **fields: object) -> RunEvent:
    return event("step", step=number, **fields)


def test_nothing_is_read_where_nothing_was_written(log: EventLog) -> None:
    assert log.read() == ([], 0)


def test_what_is_appended_is_read_back(log: EventLog) -> None:
    written = [log.append("queued"), log.append("warned", message="ä \u2028 line\nbreak 🐈"), log.append("step", step=1, loss=0.1)]
    assert log.read()[0] == written


def test_the_cursor_gives_only_what_is_new(log: EventLog) -> None:
    log.append("queued")
    _, cursor = log.read()
    assert log.read(after=cursor) == ([], cursor)
    new = log.append("step", step=1, loss=2.5)
    events, later = log.read(after=cursor)
    assert events == [new]
    assert later == log.path.stat().st_size > cursor


def test_a_line_being_written_waits_for_its_end(log: EventLog) -> None:
    log.append("queued")
    _, cursor = log.read()
    line = json.dumps(step(1, loss=2.0)) + "\n"
    with log.path.open("a") as file:
        file.write(line[:10])
    assert log.read(after=cursor) == ([], cursor)
    with log.path.open("a") as file:
        file.write(line[10:])
    assert log.read(after=cursor)[0] == [step(1, loss=2.0)]


@pytest.mark.fault("the process is killed while an event is written")
def test_the_torn_line_of_a_killed_writer_costs_only_itself(log: EventLog) -> None:
    log.append("queued")
    with log.path.open("ab") as file:
        file.write('{"kind": "step", "loss": "ä'.encode()[:-1])  # killed in the middle of a character
    after = log.append("finished", status="interrupted")
    assert [e["kind"] for e in log.read()[0]] == ["queued", "finished"]
    assert log.read()[0][-1] == after


@pytest.mark.parametrize("line", [b"null\n", b"[1]\n", b'"step"\n', b"{}\n", b"\xff\xfe\n", b"\n", b'{"kind": "st\n'])
def test_a_line_that_is_no_event_is_passed_over(log: EventLog, line: bytes) -> None:
    log.append("queued")
    with log.path.open("ab") as file:
        file.write(line)
    log.append("step", step=1)
    assert [e["kind"] for e in log.read()[0]] == ["queued", "step"]


@pytest.mark.fault("NaN or infinite loss or gradient")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_written(log: EventLog, value: float) -> None:
    with pytest.raises(ValueError):
        log.append("step", step=1, loss=value)
    assert log.read()[0] == []


def test_a_reader_beside_the_writer_misses_nothing_and_reads_nothing_twice(log: EventLog) -> None:
    writer = threading.Thread(target=lambda: [log.append("step", step=n, note="x" * n) for n in range(300)])
    writer.start()
    steps: list[int] = []
    cursor = 0
    while len(steps) < 300 and (writer.is_alive() or log.read(after=cursor)[0]):
        events, cursor = log.read(after=cursor)
        steps += [e["step"] for e in events]  # type: ignore[typeddict-item]
    writer.join()
    assert steps == list(range(300))


@pytest.mark.parametrize(("events", "expected"), [
    ([], "queued"),
    ([event("queued")], "queued"),
    ([event("queued"), event("warned", message="")], "queued"),
    ([event("queued"), event("started", resumed_from=0)], "running"),
    ([event("queued"), event("started", resumed_from=0), step(1), event("warned", message="")], "running"),
    ([event("queued"), event("started", resumed_from=0), event("finished", status="done")], "done"),
    ([event("queued"), event("finished", status="stopped"), event("queued")], "queued"),
    ([event("queued"), event("finished", status="failed"), event("queued"), event("started", resumed_from=4)], "running"),
    ([event("finished", status="interrupted"), event("warned", message="")], "interrupted"),
])
def test_the_status_is_that_of_the_last_telling_event(events: list[RunEvent], expected: str) -> None:
    assert status(events) == expected


def steps_of(events: list[RunEvent]) -> list[int]:
    return [e["step"] for e in events if e["kind"] == "step"]  # type: ignore[typeddict-item]


def test_a_resumed_run_shows_each_step_once() -> None:
    events = [event("queued"), event("started", resumed_from=0), *map(step, range(1, 8)), event("finished", status="interrupted", step=7)]
    events += [event("queued"), event("started", resumed_from=4), step(5, loss=1.0), step(6), step(7), step(8)]
    assert steps_of(true_events(events)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert true_events(events)[-4] == step(5, loss=1.0)  # the newer of the two


def test_warnings_and_endings_stay_when_steps_are_made_anew() -> None:
    events = [event("started", resumed_from=0), step(1), event("warned", message="hot"), event("finished", status="failed", step=1)]
    events += [event("started", resumed_from=0)]
    assert [e["kind"] for e in true_events(events)] == ["started", "warned", "finished", "started"]


def test_a_fresh_start_looks_at_the_base_anew() -> None:
    base = [event("evaluated", step=0, base=True, loss=3.0), event("sampled", step=0, base=True, answer="?")]
    events = [event("started", resumed_from=0), *base, step(1), event("started", resumed_from=0), *base, step(1)]
    assert [e["kind"] for e in true_events(events)] == ["started", "started", "evaluated", "sampled", "step"]


def test_a_resumed_run_keeps_its_look_at_the_base() -> None:
    base = event("evaluated", step=0, base=True, loss=3.0)
    events = [event("started", resumed_from=0), base, step(1), step(2), event("started", resumed_from=1), step(2)]
    assert true_events(events).count(base) == 1
