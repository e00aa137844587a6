"""The page for augmented rows without a page: the share, the copies, what is refused and what is saved."""

from typing import Any

import gradio as gr
import pytest

from app.data.augment_page import on_look_at_copies, on_new_augmentation, on_save_augmented
from app.data.desk import LOOK
from app.data.rewriting_part import on_ask, on_follow, on_resume, on_stop, on_tick, used_by_the_page
from app.studio import Studio
from backend.data.augment import Augmentation
from backend.data.records import prompt_of
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.generating.lines import append_lines
from backend.rewriting import Rewritings
from backend.runs import Runs
from backend.workspace import Workspace
from tests.conftest import save_conversations, starter_rows

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}} and so on"


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def of(card: Card) -> dict[str, Any]:
    return {"id": card.id, "version": card.version}


def form(**changed: Any) -> dict[str, Any]:
    return {"frames": "rewording", "rewriting": "", **Augmentation().model_dump(), **changed}


def test_the_page_is_for_the_data_set_looked_at(studio: Studio, dataset: Card) -> None:
    place, heading, frames, name, *_ = on_new_augmentation(studio, of(dataset))
    assert (place, frames.value, name) == ("augment", "rewording", "questions")
    assert "questions”, version 1" in heading
    with pytest.raises(UserError, match="No data set is chosen"):
        on_new_augmentation(studio, None)


def test_the_share_is_shown_before_it_is_saved(studio: Studio, dataset: Card) -> None:
    words, copies, save = on_look_at_copies(studio, of(dataset), **form(slipped=2))
    assert "96 rows</span>, 72 of them augmented (75 %)" in words and save.interactive
    assert "slips of the keyboard" in copies and "<ins>" in copies
    chosen, changed, place = on_save_augmented(studio, of(dataset), 3, "questions", **form(slipped=2))
    assert (chosen, changed, place) == ({"id": dataset.id, "version": 2}, 4, LOOK)
    assert studio.datasets.card(dataset.id).made["augmented"] == 72


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"reworded": 0}, "No copies are asked for"), ({"reworded": -1}, "greater than or equal to 0"), ({"typos": 7}, "less than or equal to 0.5"),
     ({"share": "much"}, "number"), ({"frames": "sentiment"}, "not there any more")],
)  # fmt: skip
def test_what_cannot_be_is_told_in_place(studio: Studio, dataset: Card, changed: dict[str, Any], said: str) -> None:
    words, copies, save = on_look_at_copies(studio, of(dataset), **form(**changed))
    assert said in words and copies == "" and save.interactive is False


def test_plain_text_is_told_it_has_no_prompts(studio: Studio, texts: Card) -> None:
    assert "holds no conversations" in on_look_at_copies(studio, of(texts), **form())[0]


def test_prompts_are_shown_as_text(studio: Studio, workspace: Workspace) -> None:
    turns = [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": "a"}]
    card = save_conversations(workspace, [{"messages": turns}], name="x")
    words, copies, _ = on_look_at_copies(studio, of(card), **form(slipped=2))
    assert not any(mark in words + copies for mark in ("<script", "${", "{{alert"))


# ---- other words by a model


def test_a_rewriting_is_put_on_the_queue_followed_and_used(studio: Studio, workspace: Workspace, dataset: Card) -> None:
    used = on_ask(studio, of(dataset), "base:starter", setting_prompts=5)
    job = Rewritings(workspace).get(used.value)
    assert job.status == "queued" and job.spec.settings.prompts == 5 and job.spec.data.version == 1
    progress, stop, resume, seen, timer = on_follow(studio, job.id)
    assert "Waits for its turn: 0 of 5 prompts" in progress and (stop.visible, resume.visible, timer.active) == (
        True,
        False,
        True,
    )
    assert on_tick(studio, job.id, seen) == (gr.skip(),) * 5
    append_lines(job.folder / "rewordings.jsonl", [
        {"prompt": prompt_of(starter_rows(1)[0]), "words": "Say <b>how</b> rice stays loose?", "fault": "", "score": 0.5},
        {"prompt": "x", "words": "y", "fault": "are not finished", "score": 0.0},
    ])  # fmt: skip
    progress = on_tick(studio, job.id, seen)[0]
    assert (
        "2 of 5 prompts, 1 in usable other words" in progress
        and "left out: they are not finished" in progress
        and "<b>" not in progress
    )
    words, copies, save = on_look_at_copies(studio, of(dataset), **form(reworded=0, rewriting=job.id))
    assert "25 rows</span>, 1 of them augmented" in words and "how" in copies and save.interactive


def test_a_rewriting_taken_off_the_queue_can_be_resumed(studio: Studio, dataset: Card) -> None:
    used = on_ask(studio, of(dataset), "base:starter", setting_prompts=5)
    _, stop, resume, *_ = on_stop(studio, used.value)
    assert (stop.visible, resume.visible) == (False, True)
    assert on_resume(studio, used.value)[1].visible
    assert [id for _, id in used_by_the_page(studio, of(dataset)).choices] == ["", used.value]
