"""Seeds: the tasks a generation begins with, from a data set or from a file in the papers' shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.generating.generation import make_generation
from backend.generating.settings import parse_generation
from backend.generating.tasks import Task, read_seeds
from backend.specs import DatasetRef
from backend.workspace import Workspace

REAL_SEEDS = Path(__file__).parents[4] / "shared" / "data" / "seed_tasks.jsonl"


def save(workspace: Workspace, rows: list[Any], record: Any = "messages") -> Card:
    return Datasets(workspace).save(rows, name="mine", record=record, source={})


def turns(*said: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, _, content in (each.partition(" ") for each in said)]


def test_a_row_s_first_question_and_answer_are_a_seed(workspace: Workspace) -> None:
    card = save(workspace, [
        {"messages": turns("system Be brief.", "user First? ", "assistant One.", "user Second?", "assistant Two.")},
        {"messages": turns("user Is it spam?", "assistant Yes"), "about": {"task": "classification"}},
        {"messages": turns("system alone")},
    ])  # fmt: skip
    assert read_seeds(DatasetRef(id=card.id), workspace) == [Task("First?", "", "One.", False), Task("Is it spam?", "", "Yes", True)]


def test_seeds_without_a_question_are_refused(workspace: Workspace) -> None:
    card = save(workspace, [{"messages": turns("system alone")}])
    with pytest.raises(UserError, match="no question with an answer"):
        read_seeds(DatasetRef(id=card.id), workspace)
    texts = save(workspace, [{"text": "once"}], record="text")
    for refuse in (lambda: read_seeds(DatasetRef(id=texts.id), workspace), lambda: make_generation(workspace, parse_generation({"seeds": {"id": texts.id}}))):
        with pytest.raises(UserError, match='"mine" holds plain text'):
            refuse()
    with pytest.raises(UserError, match="There is no data set"):
        make_generation(workspace, parse_generation({"seeds": {"id": "gone-123456"}}))


def test_a_generation_keeps_to_the_version_it_was_made_with(workspace: Workspace) -> None:
    card = save(workspace, [{"messages": turns("user First?", "assistant One.")}])
    generation = make_generation(workspace, parse_generation({"seeds": {"id": card.id}}))
    save(workspace, [{"messages": turns("user Other?", "assistant Two.")}])
    assert generation.spec.seeds.version == 1
    assert read_seeds(generation.spec.seeds, workspace)[0].instruction == "First?"


def test_the_papers_seed_tasks_are_read(workspace: Workspace) -> None:
    if not REAL_SEEDS.exists():
        pytest.skip("the real seed tasks are not here")
    seeds = read_seeds(DatasetRef(path=str(REAL_SEEDS)), workspace)
    assert len(seeds) == 175 and sum(seed.is_classification for seed in seeds) == 26
    assert all(seed.instruction and seed.output for seed in seeds)


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"instruction": 1, "instances": [{"input": "", "output": ""}], "is_classification": false}',
                                  '{"instruction": "x", "instances": [], "is_classification": false}', '{"instruction": "x", "instances": "ab", "is_classification": 0}'])  # fmt: skip
def test_a_line_that_is_no_seed_task_is_named(workspace: Workspace, tmp_path: Path, line: str) -> None:
    good = {"instruction": "Name a bird.", "instances": [{"input": "", "output": "A wren."}], "is_classification": False}
    file = tmp_path / "seeds.jsonl"
    file.write_text(f"{json.dumps(good)}\n\n{line}\n")
    with pytest.raises(UserError, match="Line 3 of seeds.jsonl is no seed task"):
        read_seeds(DatasetRef(path=str(file)), workspace)


def test_a_file_that_is_not_there_or_no_text_is_told(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_seeds(DatasetRef(path=str(tmp_path / "gone.jsonl")), workspace)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        read_seeds(DatasetRef(path=str(tmp_path / "binary")), workspace)
