"""The Take away page without a page: what is taken and left out, files in the one folder that is handed out, data sets."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from app.label.take_away_page import on_come, on_kind, on_look, on_make
from app.studio import Studio
from backend.data.versions import Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.labelling.items import Candidate, Item
from backend.labelling.talking import ChatVotes, Heard
from backend.runs import Runs
from backend.workspace import Workspace
from tests.conftest import save_conversations, starter_rows

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio whose engine does nothing."""
    workspace = Workspace(tmp_path / "workspace").prepare()
    studio = Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))
    yield studio
    studio.store.close()


@pytest.fixture
def batch(studio: Studio) -> str:
    """Three pairs by known models, the first two labelled."""
    sides = [Candidate([{"role": "assistant", "content": f"an answer of {HOSTILE} six words {n}"}], {"name": f"secret {n}"}) for n in (1, 2)]
    labels = studio.labels
    batch = labels.begin("first round", [Item([{"role": "user", "content": f"question {n} {HOSTILE}"}], sides) for n in range(3)])
    for _ in range(2):
        shown = labels.next(batch.id, "ada")
        assert shown
        labels.vote(shown, "ada", ranks=[place + 1 for place in shown.order], strength=3)
    return batch.id


def chosen(batch: str | None, **values: Any) -> dict[str, Any]:
    """What the page holds as it is opened."""
    settings = {"empty": True, "identical": True, "short": True, "shortest_words": 5, "cut_off": True, "duplicates": True, "held_out": True,
                "ties": False, "both_bad": False}  # fmt: skip
    form = {"batch": batch, "source": "batch", "kind": "data-set", "held_out": "", "name": "first round"}
    return form | {f"settings__{name}": value for name, value in settings.items()} | values


def file_behind(html: str) -> Path:
    (address,) = re.findall(r'href="gradio_api/file=([^"]+)"', html)
    return Path(unquote(address))


def test_what_is_taken_and_what_is_not_is_said_before_anything_is_made(studio: Studio, batch: str) -> None:
    fit, preview, make = on_look(studio, **chosen(batch))
    assert "2 of 3 items are taken" in fit and "1: nobody has said yet which is better" in fit and "Item 3 has no vote yet" in fit
    assert "question 0" in preview and make.interactive and make.value == "Save as a data set"
    assert not studio.workspace.exports.exists() and not studio.datasets.list()


def test_no_page_tells_who_made_an_answer_and_text_stays_text(studio: Studio, batch: str) -> None:
    for kind in ("data-set", "trl-dpo", "trl-reward", "trl-kto", "label-studio", "raw"):
        shown = "".join(on_look(studio, **chosen(batch, kind=kind))[:2])
        assert "secret" not in shown and "<script" not in shown and "${" not in shown and "{{" not in shown
    (path,) = [file_behind(on_make(studio, **chosen(batch, kind="raw"), saved=0)[0])]
    assert json.loads(path.read_text().splitlines()[0])["candidates"][0]["made"] == {"name": "secret 1"}


def test_a_data_set_is_saved_under_the_name_given_and_others_hear_of_it(studio: Studio, batch: str) -> None:
    name, held_out, result = on_come(studio, batch, "batch", "gone")
    assert (name.placeholder, held_out.value, result) == ("first round", "", "")
    assert name.value is None  # or what is being typed would be gone
    words, saved = on_make(studio, **chosen(batch), saved=4)
    (card,) = studio.datasets.list()
    assert saved == 5 and "“first round”, version 1, 2 rows" in words and card.rows == 2
    assert card.source["batch"] == {"id": batch, "name": "first round"} and card.source["annotators"] == 1


def test_files_lie_where_files_are_handed_out_from(studio: Studio, batch: str) -> None:
    words, saved = on_make(studio, **chosen(batch, kind="trl-reward"), saved=0)
    path = file_behind(words)
    assert path.parent == studio.workspace.exports and saved == 0
    assert [json.loads(line)["margin"] for line in path.read_text().splitlines()] == [3.0, 3.0]


def test_a_vote_cast_after_the_look_is_taken_too(studio: Studio, batch: str) -> None:
    on_look(studio, **chosen(batch))
    shown = studio.labels.next(batch, "ada")
    assert shown
    studio.labels.vote(shown, "ada", ranks=(1, 2))
    assert "3 rows" in on_make(studio, **chosen(batch), saved=0)[0]


def test_settings_that_cannot_be_are_said_in_place(studio: Studio, batch: str) -> None:
    fit, preview, make = on_look(studio, **chosen(batch, settings__shortest_words=0))
    assert "shortest_words" in fit and preview == "" and not make.interactive
    with pytest.raises(UserError, match="shortest_words"):
        on_make(studio, **chosen(batch, settings__shortest_words=0), saved=0)


def test_prompts_of_the_data_set_kept_for_evaluation_are_left_out(studio: Studio, batch: str) -> None:
    rows = [{"messages": [{"role": "user", "content": f"question 0 {HOSTILE}"}, {"role": "assistant", "content": "a"}]}, *starter_rows(3)]
    card = save_conversations(studio.workspace, rows)
    assert "1 of 3 items is taken" in on_look(studio, **chosen(batch, held_out=card.id))[0].replace("items are", "items is")
    assert "2 of 3" in on_look(studio, **chosen(batch, held_out=card.id, settings__held_out=False))[0]


def test_empty_places_say_what_to_do(studio: Studio) -> None:
    fit, _, make = on_look(studio, **chosen(None))
    assert "Begin one and label it" in fit and not make.interactive
    assert "Ask both sides the same thing" in on_look(studio, **chosen(None, source="chat"))[0]
    assert on_come(studio, None, "batch", None)[0].placeholder == ""


def test_votes_in_chat_become_a_data_set_or_a_file(studio: Studio) -> None:
    read: list = [{"role": "user", "content": "a question asked in chat"}]
    x, y = (Candidate([{"role": "assistant", "content": f"an answer of {n} or more words"}], {}) for n in ("five", "six"))
    ChatVotes(studio.store).cast("talk", 0, Heard(read, x), Heard(read, y), verdict="right", annotator="ada")
    assert on_come(studio, None, "chat", "")[0].placeholder == "votes in chat"
    assert "1 of 1 item is taken" in on_look(studio, **chosen(None, source="chat"))[0]
    assert "“votes in chat”" in on_make(studio, **chosen(None, source="chat", name=" "), saved=0)[0]
    (row,) = studio.datasets.iterate(studio.datasets.list()[0].id)
    assert row["answers"] == [y.answer, x.answer] and row["ranks"] == [1, 2]  # type: ignore[typeddict-item]
    assert file_behind(on_make(studio, **chosen(None, source="chat", kind="trl-dpo"), saved=0)[0]).name == "chat-trl-dpo.jsonl"


def test_only_what_a_form_needs_is_asked_for(studio: Studio) -> None:
    ties, both_bad, name, filters, _ = on_kind("raw")
    assert not (ties.visible or both_bad.visible or name.visible or filters.visible)
    assert on_kind("data-set")[2].visible and on_kind("trl-kto")[3].visible
