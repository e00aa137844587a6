"""Whatever JSON is sent as a run's spec: a run, or sentences; never a trace, and never a changed version."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.data.versions import Card
from backend.errors import UserError
from backend.methods import all_methods
from backend.objectives import all_objectives
from backend.plan import plan, with_saved_data
from backend.runs import Run
from backend.specs import RunSpec, TrainingSettings, parse_spec
from backend.workspace import Workspace
from tests.conftest import make_workspace, save_conversations, starter_rows
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

