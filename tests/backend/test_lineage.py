"""A run knows its parents and its children, whatever became of them, and however many runs there are."""

import json

import pytest

from backend import lineage
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.lineage import DELETED, MOST_CHILDREN, Family, Lineage, Tie
from backend.runs import Run, Runs, _spec_of
from backend.specs import parse_spec
from backend.workspace import Workspace


def run_of(workspace: Workspace, card: Card, name: str, objective: object = "sft", *, start_from: str | None = None) -> str:
    values = {"name": name, "data": {"id": card.id, "version": 1}, "objective": objective, "start_from": start_from}
    return Run.create(workspace, parse_spec(values)).id


@pytest.fixture
def family(workspace: Workspace) -> Family:
    return Family(Runs(workspace), Datasets(workspace))


def told(lineage: Lineage) -> dict[str, tuple[str, str, int]]:
    return {member.name: (member.kind, member.taught, member.column) for member in lineage.members}


def test_the_chain_from_the_base_model_to_ppo(workspace: Workspace, dataset: Card, family: Family) -> None:
    taught = run_of(workspace, dataset, "taught")
    judge = run_of(workspace, dataset, "judge", "reward", start_from=taught)
    aligned = run_of(workspace, dataset, "aligned", {"name": "ppo", "reward_run": judge}, start_from=taught)
    found = family.lineage(aligned)
    assert told(found) == {
        "starter": ("model", "the model itself", 0), "taught": ("run", "SFT, LoRA", 1), "judge": ("run", "reward model, LoRA", 2),
        "aligned": ("run", "PPO, LoRA", 3),
    }  # fmt: skip
    assert set(found.ties) == {
        Tie("model:starter", taught, "starts from"), Tie(taught, judge, "starts from"), Tie(taught, aligned, "starts from"),
        Tie(judge, aligned, "rewarded by"),
    }
    assert {member.data for member in found.members} == {"", "questions v1"}


def test_a_run_shows_what_came_of_it_and_its_other_parents(workspace: Workspace, dataset: Card, family: Family) -> None:
    taught, judge = run_of(workspace, dataset, "taught"), run_of(workspace, dataset, "judge", "reward")
    run_of(workspace, dataset, "aligned", {"name": "grpo", "reward_run": judge}, start_from=taught)
    run_of(workspace, dataset, "apart")
    assert family.names_of_children(judge) == ["aligned"] and family.names_of_children("nobody") == []
    assert told(family.lineage(judge)).keys() == {"starter", "judge", "taught", "aligned"}


def test_a_deleted_parent_is_shown_as_deleted(workspace: Workspace, dataset: Card, family: Family) -> None:
    child = run_of(workspace, dataset, "child", {"name": "rloo", "reward_run": "judge-abcdef"}, start_from="taught-abcdef")
    found = family.lineage(child)
    assert [(member.name, member.kind) for member in found.members] == [(DELETED, "deleted"), (DELETED, "deleted"), ("child", "run")]
    Datasets(workspace).delete(dataset.id)
    assert family.lineage(child).members[-1].data == "data (deleted)"


def test_a_new_run_is_seen_and_a_deleted_one_forgotten(workspace: Workspace, dataset: Card, family: Family) -> None:
    taught = run_of(workspace, dataset, "taught")
    assert family.children(taught) == []
    child = run_of(workspace, dataset, "child", start_from=taught)
    assert family.children(taught) == [child]
    run = Runs(workspace).get(child)
    run.events.append("finished", status="done")
    Runs(workspace).delete(child)
    assert family.children(taught) == []
    with pytest.raises(UserError, match="There is no run"):
        family.lineage(child)


def test_a_circle_written_by_hand_ends(workspace: Workspace, dataset: Card, family: Family) -> None:
    run_id = run_of(workspace, dataset, "itself")
    file = workspace.runs / run_id / "spec.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "start_from": run_id}))
    assert [member.name for member in family.lineage(run_id).members] == ["itself"]


def test_a_broken_spec_stands_in_nobodys_way(workspace: Workspace, dataset: Card, family: Family) -> None:
    taught, broken = run_of(workspace, dataset, "taught"), run_of(workspace, dataset, "broken", start_from="x")
    (workspace.runs / broken / "spec.json").write_text("{")
    assert [member.name for member in family.lineage(taught).members] == ["starter", "taught"]


def test_many_runs_are_looked_through_once(workspace: Workspace, dataset: Card, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = run_of(workspace, dataset, "taught")
    spec = json.loads((workspace.runs / taught / "spec.json").read_text())
    text = json.dumps({**spec, "start_from": taught})
    for number in range(1_500):
        folder = workspace.runs / f"run-{number}"
        folder.mkdir()
        (folder / "spec.json").write_text(text)
    read, real = [], lineage._parents
    monkeypatch.setattr(lineage, "_parents", lambda spec: (read.append(spec), real(spec))[1])
    found = family.lineage(taught)
    assert (len(found.members), found.more_children) == (2 + MOST_CHILDREN, 1_500 - MOST_CHILDREN)
    assert len(read) == len(set(read)) == 1_501
    taken_up = _spec_of.cache_info().misses
    assert family.lineage(taught) == found
    assert (len(read), _spec_of.cache_info().misses) == (1_501, taken_up)  # specs never change: the second look reads none
