"""The Generate page without a page: what a form becomes, what is shown of a generation, and what a review request may ask."""

import json
from typing import Any

import pytest

from app.data.generate_page import SETTING, WRITER, on_begin, on_kind, on_pick, on_start, spec_of
from app.data.generation_view import on_decided, on_resume, on_save, on_stop, on_tick
from app.data.reviewing import answer
from app.studio import Studio
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.generating.generation import Candidate, Generation, Generations
from backend.generating.settings import GenerationSettings, WriterSettings
from backend.runs import Runs
from backend.workspace import Workspace
from components.generated import rejected_html
from components.settings_form import form_values
from tests.conftest import save_texts

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def form(card: Card | None, **changed: Any) -> dict[str, Any]:
    """What the form holds, with some of it changed."""
    values: dict[str, Any] = {"seeds": card and card.id, "name": ""}
    values |= {WRITER + name: value for name, value in WriterSettings().model_dump().items()}
    values |= {SETTING + name: value for name, value in form_values(GenerationSettings()).items()}
    return values | changed


def candidate(number: int, **fields: Any) -> Candidate:
    values = {
        "id": f"0-{number}", "attempt": 0, "instruction": f"Name {number} birds.", "input": "", "output": "A wren.", "is_classification": False,
        "verdict": "accepted", "fault": "", "reason": "", "nearest": "", "score": 0.0, "seconds": 1.0, "seed": 0,
    }  # fmt: skip
    return Candidate(**values | fields)


@pytest.fixture
def generation(studio: Studio, dataset: Card) -> Generation:
    """Two tasks to review and one rejected, of a generation that waits."""
    id = on_start(studio, **form(dataset))[3]
    generation = Generations(studio.workspace).get(id)
    generation.keep([candidate(0), candidate(1), candidate(2, verdict="rejected", fault="repeat", reason=f"holds {HOSTILE}", nearest=HOSTILE)])
    return generation


def test_a_form_left_as_it_is_becomes_the_default_spec(studio: Studio, dataset: Card) -> None:
    spec = spec_of(studio, form(dataset))
    assert (spec.name, spec.seeds.id, spec.seeds.version) == ("questions, more", dataset.id, 1)
    assert (spec.writer, spec.settings) == (WriterSettings(), GenerationSettings())


def test_what_is_wrong_on_the_form_is_told_all_at_once(studio: Studio, dataset: Card) -> None:
    with pytest.raises(UserError) as raised:
        spec_of(studio, form(dataset, **{SETTING + "wanted": 0, SETTING + "temperature": "hot", WRITER + "kind": "endpoint"}))
    assert len(raised.value.problems) == 3
    assert "writer: an endpoint needs its address and the name of a model there." in raised.value.problems
    with pytest.raises(UserError, match="No rows are chosen"):
        spec_of(studio, form(None))


def test_only_conversations_are_offered_as_seeds(studio: Studio, workspace: Workspace, dataset: Card) -> None:
    texts = save_texts(workspace, ["a"], name="plain")
    place, seeds, *_ = on_begin(studio, {"id": texts.id, "version": 1})
    assert place == "generate" and [id for _, id in seeds.choices] == [dataset.id] and seeds.value == dataset.id


def test_only_what_a_writer_needs_is_asked_for() -> None:
    assert [each.visible for each in on_kind("model")] == [True, False, False]
    assert [each.visible for each in on_kind("endpoint")] == [False, True, True]


def test_the_page_opens_on_what_is_not_over_and_else_on_a_new_one(studio: Studio, generation: Generation) -> None:
    def opened() -> Any:
        *_, picker, setup, view, id, _, _ = on_begin(studio, None)[:9]
        return picker.value, setup.visible, view.visible, id

    assert opened() == (generation.id, False, True, generation.id)
    studio.engine.stop(generation.id)
    for number in range(2):
        assert opened()[3] == generation.id
        answer(studio.workspace, {"do": "reject", "generation": generation.id, "id": f"0-{number}"})
    assert opened() == ("new", True, False, None)
    assert on_pick(studio, generation.id)[3] == generation.id and on_pick(studio, "new")[3] is None


def test_a_tick_tells_only_what_is_new(studio: Studio, generation: Generation) -> None:
    seen, progress, *_ = on_tick(studio, generation.id, None)
    assert "waiting for its turn" in progress and "rejected 1 (1 repeat)" in progress
    assert on_tick(studio, generation.id, seen) == on_tick(studio, None, None)
    generation.keep([candidate(3)])
    assert "3 passed the filter" in on_tick(studio, generation.id, seen)[1]


def test_a_generation_is_stopped_and_resumed_from_the_page(studio: Studio, generation: Generation) -> None:
    _, progress, stop, resume, *_ = on_stop(studio, generation.id)
    assert "stopped" in progress and (stop.visible, resume.visible) == (False, True)
    _, progress, stop, resume, *_ = on_resume(studio, generation.id)
    assert "waiting for its turn" in progress and (stop.visible, resume.visible) == (True, False)


def test_what_is_accepted_is_counted_saved_and_looked_at(studio: Studio, generation: Generation) -> None:
    assert on_decided(studio, generation.id).interactive is False
    answer(studio.workspace, {"do": "accept", "generation": generation.id, "id": "0-0"})
    assert on_decided(studio, generation.id).value == "Save 1 row as a data set"
    chosen, changed, place = on_save(studio, generation.id, "birds", 4)
    assert (changed, place) == (5, "look") and studio.datasets.card(chosen["id"]).made == {"generated": 1}


def test_what_models_say_is_shown_letter_by_letter(generation: Generation) -> None:
    html = rejected_html(generation.candidates())
    assert "<script>" not in html and "${" not in html and "{{" not in html and "&lt;script&gt;" in html


# ---- what the review queue asks


def asked(generation: Generation, do: str, **more: Any) -> dict[str, Any]:
    said = answer(generation.workspace, {"do": do, "generation": generation.id, **more})
    assert json.dumps(said)
    return said


def test_a_decision_is_answered_with_the_next_task(generation: Generation) -> None:
    first = asked(generation, "look")
    assert (first["task"]["id"], first["left"], first["more"], first["problems"]) == ("0-0", 2, True, [])
    second = asked(generation, "accept", id="0-0")
    assert (second["task"]["id"], second["left"], second["accepted"]) == ("0-1", 1, 1)
    last = asked(generation, "reject", id="0-1")
    assert (last["task"], last["left"], last["accepted"], last["rejected"]) == (None, 0, 1, 1)
    assert asked(generation, "undo")["task"]["id"] == "0-1"


def test_an_edited_task_is_taken_without_the_space_around_it(generation: Generation) -> None:
    edited = {"instruction": " Name a bird. ", "input": "", "output": "A wren.\n", "is_classification": True}
    asked(generation, "accept", id="0-0", edited=edited)
    line = json.loads((generation.folder / "reviews.jsonl").read_text())
    assert line["edited"] == {"instruction": "Name a bird.", "input": "", "output": "A wren.", "is_classification": True}


@pytest.mark.parametrize("more", [{"id": "9-9"}, {"id": "0-2"}, {"id": "0-0", "edited": {"instruction": "", "input": "", "output": "x", "is_classification": False}}])
def test_what_cannot_be_decided_is_told_and_changes_nothing(generation: Generation, more: dict[str, Any]) -> None:
    said = asked(generation, "accept", **more)
    assert len(said["problems"]) == 1 and "task" not in said
    assert asked(generation, "look")["left"] == 2


@pytest.mark.parametrize("request_", [None, [], "look", {}, {"do": "burn", "generation": "x"}, {"do": "look", "generation": "../../etc"},
                                      {"do": "look", "generation": "gone-123456"}, {"do": "accept", "generation": 3, "id": []}])  # fmt: skip
def test_whatever_is_asked_a_sentence_comes_back(studio: Studio, request_: Any) -> None:
    said = answer(studio.workspace, request_)
    assert list(said) == ["problems"] and said["problems"][0].endswith(".")
