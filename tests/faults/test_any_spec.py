"""Whatever JSON is sent as a run's spec: a run, or sentences; never a trace, and never a changed version."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import public_api
from app.main import launch_options
from app.studio import Studio
from backend.answering.beginning import parse_batch, parse_filters
from backend.answering.pairing import parse_pairing
from backend.answering.settings import Answerer, AnsweringSpec, parse_answering
from backend.data.mixtures import Ingredient, Recipe, parse_recipe
from backend.data.versions import Card
from backend.errors import UserError
from backend.generating.settings import GenerationSettings, GenerationSpec, WriterSettings, parse_generation
from backend.labelling.taking import parse_taking
from backend.methods import all_methods
from backend.objectives import all_objectives
from backend.plan import plan, with_saved_data
from backend.rewriting import RewritingSettings, RewritingSpec, parse_rewriting
from backend.runs import Run
from backend.sampling import Sampling
from backend.specs import RunSpec, TrainingSettings, parse_spec
from backend.workspace import Workspace
from tests.conftest import any_port, make_workspace, save_conversations, starter_rows
from tests.faults.survival import LONG

EXAMPLES = 20_000 if LONG else 200
ODD = ["", " ", ".", "/", "\0", "~no such user", "a" * 300, "/dev/zero", "/dev/null", "a/b", "-1", "NaN", "\ud800", "\u202e", "${x}", "starter", "tiny"]
NUMBERS = st.one_of(st.sampled_from([0, 1, -1, 2, 8, 2**31, 2**63, 10**400, 0.5, 1e-3, 1e308, float("nan"), float("inf")]), st.integers(), st.floats())
DEEP = st.integers(1, 900).map(lambda depth: json.loads("[" * depth + "]" * depth))
SIMPLE = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=20), st.sampled_from(ODD), DEEP)
ANY_JSON = st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8)


def settings_of(model: Any, values: dict[str, st.SearchStrategy[Any]] | None = None) -> st.SearchStrategy[Any]:
    """Some settings of a model, each with a value it may have or any other."""
    given_values = {name: st.just(field.default) | NUMBERS | ANY_JSON for name, field in model.model_fields.items()}
    return st.fixed_dictionaries({}, optional={**given_values, **(values or {})})


def parts_of(kinds: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A method, or an objective: its name alone, or with settings."""
    named = [settings_of(kind).map(lambda values, name=name: {**values, "name": name}) for name, kind in kinds.items()]
    return st.one_of(st.sampled_from(sorted(kinds)), *named, ANY_JSON)


LIKELY = settings_of(TrainingSettings)
SPECS = st.one_of(ANY_JSON, settings_of(RunSpec, {
    "v": st.just(1) | ANY_JSON, "name": st.text(max_size=130) | ANY_JSON, "base_model": st.just("starter") | st.sampled_from(ODD) | ANY_JSON,
    "data": st.just({"id": "HERE"}) | st.fixed_dictionaries({}, optional={"id": st.just("HERE") | ANY_JSON, "version": ANY_JSON, "path": st.sampled_from(ODD) | ANY_JSON}) | ANY_JSON,
    "method": parts_of(all_methods()), "objective": parts_of(all_objectives()), "training": LIKELY | ANY_JSON,
}))  # fmt: skip


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Workspace, Card]:
    workspace = make_workspace(tmp_path_factory.mktemp("asked") / "workspace", tiny_model)
    return workspace, save_conversations(workspace, starter_rows(8))


def stored(workspace: Workspace) -> dict[str, bytes]:
    """Every file there is of the saved versions."""
    return {str(path.relative_to(workspace.datasets)): path.read_bytes() for path in workspace.datasets.rglob("*") if path.is_file()}


def with_id(values: Any, card: Card) -> Any:
    """The same, where it asks for the data that is here by its true id."""
    data = values.get("data") if isinstance(values, dict) else None
    return {**values, "data": {**data, "id": card.id}} if isinstance(data, dict) and data.get("id") == "HERE" else values


@pytest.mark.fault("any JSON as a run's spec", tries=EXAMPLES)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(values=SPECS)
def test_any_json_as_a_spec_is_a_run_or_sentences(asked: tuple[Workspace, Card], values: Any) -> None:
    workspace, card = asked
    before = stored(workspace)
    try:
        spec = with_saved_data(parse_spec(with_id(values, card)), workspace)
        plan(spec, workspace)
        run = Run.create(workspace, spec)
        assert run.spec == spec and json.loads((run.folder / "spec.json").read_text())
        shutil.rmtree(run.folder)
    except UserError as refusal:
        assert all(refusal.problems)
        str(refusal).encode()
    assert stored(workspace) == before


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[tuple[Studio, Card, str]]:
    """A studio with its endpoints, over a real port; its queue is held, so that nothing trains."""
    workspace = make_workspace(tmp_path_factory.mktemp("served") / "workspace", tiny_model)
    card = save_conversations(workspace, starter_rows(8))
    studio = Studio.open(workspace.root)
    studio.engine.wait_until_ready()
    studio.engine.hold()
    with gr.Blocks(analytics_enabled=False) as page:
        public_api(studio)
    _, url, _ = page.launch(**launch_options(page, "127.0.0.1", any_port(), False), prevent_thread_lock=True)
    yield studio, card, url
    page.close()
    studio.engine._studio_lock.release()


SPEAKERS = st.sampled_from(["base:starter", "base:", "run:", "run:x", "starter", "base:/dev/zero"]) | ANY_JSON
CALLS = {
    "start_run": st.tuples(SPECS),
    "compare": st.tuples(st.just("Why?") | ANY_JSON, SPEAKERS, SPEAKERS, settings_of(Sampling, {"max_tokens": st.just(2)}) | ANY_JSON),
    "import_dataset": st.tuples(st.sampled_from(ODD) | ANY_JSON, st.just("a name") | ANY_JSON, st.just("alpaca") | ANY_JSON, ANY_JSON),
    "run_events": st.tuples(ANY_JSON, ANY_JSON), "stop_run": st.tuples(ANY_JSON), "list_runs": st.tuples(ANY_JSON, ANY_JSON),
}  # fmt: skip


@pytest.mark.fault("any JSON by a script", tries=EXAMPLES // 50)
@pytest.mark.parametrize("endpoint", CALLS)
@settings(max_examples=max(EXAMPLES // 50, 25), deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(given_data=st.data())
def test_any_json_a_script_sends_is_answered_or_refused_in_a_sentence(
    endpoint: str, served: tuple[Studio, Card, str], given_data: st.DataObject
) -> None:
    studio, card, url = served
    values, before = given_data.draw(CALLS[endpoint]), stored(studio.workspace)
    sent = json.dumps({"data": [with_id(value, card) for value in values]})
    answer = httpx.post(f"{url}gradio_api/call/{endpoint}", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 413, 422), answer.text
    said = answer.text
    if answer.status_code == 200:
        said = httpx.get(f"{url}gradio_api/call/{endpoint}/{answer.json()['event_id']}", timeout=60).text
        event, _, told = said.partition("\n")
        if event == "event: complete" and endpoint == "start_run":
            (id,) = json.loads(told.removeprefix("data: "))
            studio.engine.stop(id)
            assert studio.runs.get(id).spec
        assert event == "event: complete" or (event == "event: error" and len(told) > 20)
    assert "Traceback" not in said and ".py" not in said
    assert stored(studio.workspace) == before


# ---- what else is asked for in JSON

REF = st.fixed_dictionaries({}, optional={"id": st.just("questions") | ANY_JSON, "version": st.just(1) | ANY_JSON, "path": st.sampled_from(ODD) | ANY_JSON}) | ANY_JSON
NAMED = {"v": st.just(1) | ANY_JSON, "name": st.just("a name") | st.text(max_size=130) | ANY_JSON}
WRITER = settings_of(WriterSettings) | ANY_JSON
REQUESTS = {
    "a generation": (parse_generation, settings_of(GenerationSpec, {**NAMED, "seeds": REF, "writer": WRITER, "settings": settings_of(GenerationSettings) | ANY_JSON})),
    "a rewording": (parse_rewriting, settings_of(RewritingSpec, {**NAMED, "data": REF, "writer": WRITER, "settings": settings_of(RewritingSettings) | ANY_JSON})),
    "answers": (parse_answering, settings_of(AnsweringSpec, {**NAMED, "prompts": REF, "answerers": st.lists(settings_of(Answerer), max_size=3) | ANY_JSON})),
    "a mixture": (parse_recipe, settings_of(Recipe, {"parts": st.lists(settings_of(Ingredient), max_size=3) | ANY_JSON})),
    "a batch": (parse_batch, st.dictionaries(st.text(max_size=8), ANY_JSON)), "its filters": (parse_filters, st.dictionaries(st.text(max_size=8), ANY_JSON)),
    "pairs": (parse_pairing, st.dictionaries(st.text(max_size=8), ANY_JSON)), "what is taken": (parse_taking, st.dictionaries(st.text(max_size=8), ANY_JSON)),
}  # fmt: skip


@pytest.mark.fault("any JSON as another request", tries=EXAMPLES // 8)
@pytest.mark.parametrize("what", REQUESTS)
@settings(max_examples=EXAMPLES // 8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(given_data=st.data())
def test_any_json_as_another_request_is_understood_or_answered_in_sentences(what: str, given_data: st.DataObject) -> None:
    parse, values = REQUESTS[what]
    try:
        spec = parse(given_data.draw(values))
    except UserError as refusal:
        assert all(refusal.problems)
        str(refusal).encode()
    else:
        assert parse(json.loads(spec.model_dump_json())) == spec  # it can be kept, and read again
