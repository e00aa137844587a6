"""A disk that is full, for real: a small file system in memory, filled to its last byte."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backend import training
from backend.checkpoints import newest_checkpoint
from backend.data.exports import export, form_named, survey
from backend.data.importing import import_file
from backend.data.readers import inspect
from backend.data.shapes import Mapping
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.labelling.items import Labels
from backend.labelling.outcomes import judged_items
from backend.labelling.taking import TakingSettings, take, write
from backend.labelling.taking import form_named as labels_form
from backend.runs import Run
from backend.sampling import Sampling
from backend.store import Store
from backend.workspace import Workspace
from tests.backend.answering.test_answering import answering_of
from tests.backend.labelling.test_taking import item
from tests.backend.test_engine import idle, wait_for
from tests.backend.test_training import curve, evaluations, same_weights, spec_for, told, trained
from tests.conftest import make_workspace, save_conversations, starter_rows
from tests.faults.conftest import ROOT


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=8))


@pytest.fixture
def small(small_disk: Path, tiny_model: Path) -> tuple[Workspace, Card]:
    """A workspace on the small disk, with 24 questions in it."""
    workspace = make_workspace(small_disk / "workspace", tiny_model)
    return workspace, save_conversations(workspace, starter_rows(24))


def fill(disk: Path) -> Path:
    """A file that takes all there is left, to the last byte of the last block; remove it to make room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


@contextmanager
def full(disk: Path) -> Iterator[None]:
    filler = fill(disk)
    yield
    filler.unlink()


def seconds_to_the_next_step(run: Run, since: float) -> float:
    return min(step["at"] for step in told(run, "step") if step["at"] > since) - since


def go_until(run: Run, kind: str, then: Callable[[], object], *, times: int) -> str:
    """Train a run here; once something was told so often, something happens."""
    heard = 0

    def emit(what: Any, **fields: Any) -> Any:
        nonlocal heard
        event = run.events.append(what, **fields)
        heard += what == kind
        if what == kind and heard == times:
            then()
        return event

    return training.train(run.spec, run, emit, lambda: False)


@pytest.mark.fault("disk full: a checkpoint")
def test_a_checkpoint_that_does_not_fit_ends_the_run_in_words_and_the_one_before_is_whole(
    small: tuple[Workspace, Card], small_disk: Path, tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.trainer.SAVING_SHARE", 1)  # a checkpoint at every evaluation
    workspace, card = small
    untouched = trained(workspace, spec_for(card, method="full", max_steps=16))
    run = Run.create(workspace, untouched.spec)
    leave = 300_000  # bytes: enough to tell of every step, too few for a checkpoint

    def fill_all_but_a_little() -> None:
        filler = fill(small_disk)
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - leave)

    assert go_until(run, "saved", fill_all_but_a_little, times=2) == "failed"
    (finished,) = told(run, "finished")
    assert finished["message"].startswith("The disk is full, so the run ended; its last whole checkpoint is kept.")
    kept, reached = newest_checkpoint(run.checkpoints), told(run, "step")[-1]["step"]
    assert kept is not None and not list(run.folder.rglob(".*"))
    (small_disk / "filler").unlink()
    since = time.time()
    assert training.train(run.spec, run, run.events.append, lambda: False) == "done"
    assert curve(run) == curve(untouched) and evaluations(run) == evaluations(untouched) and same_weights(run, untouched)
    tell(tried=1, lost=f"{reached - int(kept.name[5:])} steps made again", seconds=[seconds_to_the_next_step(run, since)])


@pytest.mark.fault("disk full: the events of a run")
@pytest.mark.parametrize("evaluate_every", [4, 40], ids=["at a save", "at a step"])
def test_without_room_for_one_more_event_the_studio_lives_and_the_run_goes_on_once_there_is(
    evaluate_every: int, small: tuple[Workspace, Card], small_disk: Path, tell: Callable[..., None]
) -> None:
    workspace, card = small
    untouched = trained(workspace, spec_for(card, max_steps=40, evaluate_every=evaluate_every))
    engine = Engine(workspace)
    engine.start()
    run = engine.runs.get(engine.submit(untouched.spec))
    wait_for(lambda: len(told(run, "step")) > 6)
    filler = fill(small_disk)
    wait_for(lambda: engine.status().state != "training")
    assert engine.status().state == "ready" or "is full. Make room" in engine.status().doing
    reached = len(told(run, "step"))
    assert reached < 40
    filler.unlink()
    since = time.time()
    idle(engine)  # within a second, where the end had to wait
    assert "disk" in told(run, "finished")[-1]["message"]
    engine.resume(run.id)
    wait_for(lambda: run.status == "done")
    idle(engine)
    engine._studio_lock.release()
    assert curve(run) == curve(untouched) and same_weights(run, untouched)
    lost = reached - [event for event in run.events.read()[0] if event["kind"] == "started"][-1]["resumed_from"]
    tell(tried=1, lost=f"{lost} steps made again", seconds=[seconds_to_the_next_step(run, since)])


@pytest.mark.fault("disk full: the database")
def test_a_change_that_does_not_fit_into_the_database_is_refused_whole(small_disk: Path, tell: Callable[..., None]) -> None:
    store = Store(small_disk / "studio.db")
    insert = "INSERT INTO drafts (id, name, record, author, guidelines, changed) VALUES (?, 'poems', 'text', 'ada', ?, '')"
    with store.changing() as db:
        db.execute(insert, ("kept", "{}"))
    tried = 0
    with full(small_disk):
        for tried in range(1, 11):
            with pytest.raises(UserError, match="Is the disk full"), store.changing() as db:
                for number in range(20):
                    db.execute(insert, (f"lost-{tried}-{number}", "x" * 100_000))
            with store.reading() as db:
                assert db.execute("SELECT id FROM drafts").fetchall() == [("kept",)]
    since = time.time()
    with store.changing() as db:
        db.execute(insert, ("later", "{}"))
    seconds = time.time() - since
    store.close()
    again = Store(small_disk / "studio.db")
    with again.reading() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert sorted(db.execute("SELECT id FROM drafts").fetchall()) == [("kept",), ("later",)]
    again.close()
    tell(tried=tried, seconds=[seconds])


@pytest.mark.fault("disk full: an export")
@pytest.mark.parametrize("form", ["messages", "csv", "parquet"])
def test_an_export_that_does_not_fit_leaves_the_one_before_and_nothing_half_written(
    form: str, small: tuple[Workspace, Card], small_disk: Path, tell: Callable[..., None]
) -> None:
    workspace, _ = small
    card = save_conversations(workspace, starter_rows(150), name="many")
    datasets, shape = Datasets(workspace), form_named(form)
    found = survey(datasets, card, shape)
    before = export(datasets, card, shape, found, workspace.exports)
    content = before.read_bytes()
    with full(small_disk):
        with pytest.raises(UserError, match="cannot be written .*Make room"):
            export(datasets, card, shape, found, workspace.exports)
        assert [file.name for file in workspace.exports.iterdir()] == [before.name] and before.read_bytes() == content
    since = time.time()
    assert export(datasets, card, shape, found, workspace.exports).read_bytes() == content
    tell(tried=1, seconds=[time.time() - since])


@pytest.mark.fault("disk full: an export")
@pytest.mark.parametrize("form", ["trl-dpo", "trl-reward", "label-studio"])
def test_labels_that_do_not_fit_leave_the_file_before_and_nothing_half_written(
    form: str, small_disk: Path, tell: Callable[..., None]
) -> None:
    labels, shape, exports = Labels(Store(small_disk / "studio.db")), labels_form(form), small_disk / "exports"
    batch = labels.begin("many", [item(number) for number in range(300)])
    while shown := labels.next(batch.id, "ada"):
        labels.vote(shown, "ada", ranks=[1, 2], strength=2)
    taken = take(judged_items(labels, batch.id), shape, TakingSettings(short=False))
    before = write(taken, shape, exports, name="round one")
    content = before.read_bytes()
    with full(small_disk):
        with pytest.raises(UserError, match="cannot be written .*Make room"):
            write(taken, shape, exports, name="round one")
        assert [file.name for file in exports.iterdir()] == [before.name] and before.read_bytes() == content
    since = time.time()
    assert len(write(taken, shape, exports, name="round one").read_bytes()) == len(content)
    tell(tried=1, seconds=[time.time() - since])


@pytest.mark.fault("disk full: answers of several models")
def test_answers_that_do_not_fit_are_written_once_there_is_room_and_each_once(
    small: tuple[Workspace, Card], small_disk: Path, tell: Callable[..., None]
) -> None:
    workspace, card = small
    who = [{"draws": 2}, {"temperature": 0}]
    untouched = answering_of(workspace, card, who, number=8, at_once=1)
    engine = Engine(workspace)
    engine.start()
    engine.ready.wait()
    job = answering_of(workspace, card, who, number=8, at_once=1)
    for each in (untouched, job):
        engine.put(each)
    wait_for(lambda: len(job.answers()) >= 3)
    with full(small_disk):
        wait_for(lambda: engine.status().state != "working")
        assert engine.status().state == "ready" or "is full. Make room" in engine.status().doing
        there = len(job.answers())
    since = time.time()
    idle(engine)
    assert "disk" in job.standing().message
    engine.resume(job.id)
    wait_for(lambda: len(job.answers()) > there)
    seconds = time.time() - since
    wait_for(lambda: job.status == "done")
    idle(engine)
    engine._studio_lock.release()
    assert [(answer.place, answer.text) for answer in job.answers()] == [(answer.place, answer.text) for answer in untouched.answers()]
    tell(tried=1, seconds=[seconds])


@pytest.mark.fault("disk full: a new version")
def test_a_version_that_does_not_fit_leaves_the_ones_there_are(small: tuple[Workspace, Card], small_disk: Path, tell: Callable[..., None]) -> None:
    workspace, card = small
    file = small_disk / "many.jsonl"
    rows = [{"messages": [{"role": "user", "content": str(n)}, {"role": "assistant", "content": "yes"}]} for n in range(20_000)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = {path: path.read_bytes() for path in workspace.datasets.rglob("v*")}
    mapping = Mapping(shape="messages", columns={"messages": "messages"})
    with full(small_disk), pytest.raises(UserError, match="cannot be saved .*Make room"):
        import_file(Datasets(workspace), inspect(file), mapping, name="questions")
    assert {path: path.read_bytes() for path in workspace.datasets.rglob("*") if path.is_file()} == before
    since = time.time()
    assert import_file(Datasets(workspace), inspect(file), mapping, name="questions").version == card.version + 1
    tell(tried=1, seconds=[time.time() - since])


@pytest.mark.fault("a read-only workspace")
def test_a_workspace_that_is_read_only_ends_in_a_sentence_and_stays_as_it_is(
    small: tuple[Workspace, Card], small_disk: Path, tell: Callable[..., None]
) -> None:
    workspace, _ = small
    Store.of(workspace).close()
    before = {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    command = [sys.executable, ROOT / "launch.py", "--no-venv", "--no-browser", "--workspace", workspace.root]
    opened = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert opened.returncode == 1 and "Traceback" not in opened.stderr, opened.stderr[-2000:]
    assert "cannot be written to" in opened.stderr and "--workspace" in opened.stderr
    with pytest.raises(UserError, match="read-only"):
        Store.of(workspace)
    assert {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()} == before
    tell(tried=2)
