"""What keeps the house: imports follow the arrows, the screen opens without torch, every setting explains itself."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from backend.answering.beginning import BatchSettings
from backend.answering.pairing import PairingSettings
from backend.answering.settings import Answerer, AnsweringSpec, PromptSource
from backend.data.augment import Augmentation
from backend.data.checks import all_checks
from backend.data.guidelines import Guidelines
from backend.data.mixtures import Ingredient, Recipe
from backend.data.templating import rendering, sets
from backend.methods import all_methods
from backend.objectives import all_objectives
from backend.rewriting import RewritingSettings
from backend.specs import RunSpec, TrainingSettings, parse_spec

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate"}
FORBIDDEN = {"backend": {"gradio", "app", "components"}, "components": {"app", *HEAVY}, "app": HEAVY}
VOCABULARY = ("backend.specs", "backend.events", "backend.errors", "backend.workspace", "backend.methods", "backend.objectives")


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["relative"] if node.level else [node.module or ""]
        for name in names:
            yield node.lineno, name.split(".")[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_follow_the_arrows(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {package}"
        for file in files for line, package in imports(file) if package in FORBIDDEN[room] | {"relative"}
    ]
    assert wrong == []


def imported_by(*modules: str) -> set[str]:
    """Heavy packages loaded after importing modules in a fresh interpreter."""
    code = f"import {', '.join(modules)}, sys; print(*sorted({HEAVY | {'gradio'}!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.split())


def test_the_screen_opens_without_torch() -> None:
    if not (ROOT / "app" / "main.py").exists():
        pytest.skip("app/main.py is not there yet")
    assert imported_by("app.main") & HEAVY == set()


def test_the_vocabulary_is_light() -> None:
    assert imported_by(*VOCABULARY) == set()


def test_nobody_listens_to_a_model_of_settings_he_cannot_import() -> None:
    """Every method and every objective parses from its name alone, with its defaults."""
    for method in all_methods():
        for objective in all_objectives():
            spec = parse_spec({"data": {"id": "x"}, "method": method, "objective": {"name": objective}})
            assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


def settings_models() -> list[type[BaseModel]]:
    sampling = importlib.import_module("backend.sampling").Sampling
    generating = importlib.import_module("backend.generating.settings")
    written = [generating.WriterSettings, generating.GenerationSettings]
    made = [sets.Template, sets.TemplateSet, sets.Part, rendering.Rendering, Augmentation, RewritingSettings, Ingredient, Recipe, Guidelines]
    labelled = [PromptSource, Answerer, AnsweringSpec, PairingSettings, BatchSettings]
    everywhere = [TrainingSettings, RunSpec, sampling, *written, *made, *labelled]
    return [*all_methods().values(), *all_objectives().values(), *all_checks().values(), *everywhere]


DISCRIMINATORS = {"v", "data", "objective", "method", "training"}  # of a spec: its version and its parts, no settings


def fields() -> list[tuple[str, str]]:
    """(model, field) of every setting."""
    named = []
    for model in settings_models():
        for name in model.model_fields:
            if name in DISCRIMINATORS or (name == "name" and model is not RunSpec):
                continue
            named.append((model.__name__, name))
    return named


@pytest.mark.parametrize(("model", "name"), fields())
def test_every_setting_has_a_label_and_a_help_text(model: str, name: str) -> None:
    (field,) = (found.model_fields[name] for found in settings_models() if found.__name__ == model)
    assert field.title and field.title[0].isupper()
    assert field.description and len(field.description) >= 20
    assert field.description.endswith((".", ")"))


@pytest.mark.parametrize("kind", [*all_methods().values(), *all_objectives().values()])
def test_every_method_and_objective_introduces_itself(kind: type[BaseModel]) -> None:
    assert kind.title and len(kind.sentence) >= 20 and kind.sentence.endswith(".")  # type: ignore[attr-defined]
    if kind in all_methods().values():
        assert kind.paper.startswith("https://") and 0 < kind.default_learning_rate < 1  # type: ignore[attr-defined]


# a path of the machine a file was written on, quoted or at the start of a word; built so as not to find itself
OF_ONE_MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|tmp)/[\w.]")


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_file_names_a_path_of_one_machine() -> None:
    wrong = []
    for file in tracked_files():
        if file.is_relative_to(ROOT / "tests") or not file.is_file():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, an archive
        wrong += [f"{file.relative_to(ROOT)}:{n}: {line.strip()[:80]}" for n, line in enumerate(text.splitlines(), 1) if OF_ONE_MACHINE.search(line)]
    assert wrong == []


def test_every_test_is_found_by_a_name_of_its_own() -> None:
    """Test folders are no packages, so two files of one name would hide each other."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
