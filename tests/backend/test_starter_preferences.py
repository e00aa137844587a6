"""The short answers that come along, the command that measures what is learnt from them, and a real set of pairs beside them."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from backend import training
from backend.data.importing import check, import_file
from backend.data.readers import inspect, sample_rows
from backend.data.shapes import guess_mapping
from backend.data.starter import HELD_OUT, MOST_WORDS, SHORT_ANSWERS, SHORT_ANSWERS_HELD_OUT, THREE_LINES
from backend.data.versions import Card, Datasets
from backend.labelling.bringing import pairs_in
from backend.labelling.items import Labels
from backend.labelling.outcomes import judged_items
from backend.labelling.taking import DATA_SET, TakingSettings, save, take
from backend.rewards import Answered, RewardSettings
from backend.runs import Run, true_events
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.store import Store
from backend.workspace import Workspace
from tests.bench import alignment

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
DEMO_ROWS = 64


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def asked(file: Path) -> list[str]:
    return [row.get("prompt", row.get("messages"))[0]["content"].casefold() for row in rows(file)]


def words(row: dict[str, Any], side: str) -> int:
    return len(row[side][0]["content"].split())


@pytest.mark.parametrize(("file", "count"), [(SHORT_ANSWERS, 149), (SHORT_ANSWERS_HELD_OUT, 24)])
def test_the_better_answer_is_short_and_the_worse_one_long_winded(file: Path, count: int) -> None:
    pairs = rows(file)
    assert len(pairs) == count
    assert all(words(row, "chosen") <= MOST_WORDS and 45 <= words(row, "rejected") <= 80 for row in pairs)


def test_the_rule_that_counts_the_habit_tells_the_two_sides_apart() -> None:
    rule = RewardSettings(most_words=MOST_WORDS)
    for side, kept in (("chosen", 1), ("rejected", 0)):
        said = [Answered(row["prompt"], row[side][0]["content"], finished=True) for row in rows(SHORT_ANSWERS_HELD_OUT)]
        assert set(rule.judge(said)) == {kept}


def test_no_prompt_is_asked_twice_or_held_out_and_learnt() -> None:
    prompts = asked(SHORT_ANSWERS) + asked(SHORT_ANSWERS_HELD_OUT)
    assert len(set(prompts)) == len(prompts)
    assert not set(prompts) & {*asked(THREE_LINES), *asked(HELD_OUT)}


def test_no_answer_stands_twice() -> None:
    answers = [row[side][0]["content"] for file in (SHORT_ANSWERS, SHORT_ANSWERS_HELD_OUT) for row in rows(file) for side in ("chosen", "rejected")]
    assert len(set(answers)) == len(answers)


def test_the_pairs_are_imported_without_a_question(workspace: Workspace) -> None:
    source = inspect(SHORT_ANSWERS)
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None and not check(source, mapping).problems
    card = import_file(Datasets(workspace), source, mapping, name="short answers")
    assert (card.record, card.rows) == ("preferences", 149)


def test_the_command_makes_every_run_and_prints_its_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=4))
    monkeypatch.setattr(sys, "argv", ["alignment.py", "--short", "--workspace", str(workspace.root)])
    alignment.main()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in table] == [stage.title for stage in alignment.STAGES.values()]
    assert all(row[2] == "2" for row in table)  # steps
    assert "of 4 (" in table[0][6] and all("of 4 (" in row[7] for row in table[1:])  # accuracy of the judge, habit of the others
    assert all("→" in row[4] and f"of {alignment.KL_TARGET:g})" in row[5] for row in table[2:])  # reward and KL of those that try


@pytest.fixture(params=["tiny", "starter"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A workspace whose starter model is the tiny one, or itself."""
    if request.param == "tiny":
        return request.getfixturevalue("workspace")
    if os.environ.get("STUDIO_SLOW") != "1":
        pytest.skip("takes some minutes; STUDIO_SLOW=1 trains the starter model itself")
    return Workspace(tmp_path / "home").prepare()


@pytest.fixture
def demo(home: Workspace, tmp_path: Path) -> Card:
    """The first rows of a real set of pairs, brought in, sifted and saved as the Label tab does it."""
    file = REAL_DATA / "dpo_en_demo.json"
    if not file.exists():
        pytest.skip(f"the real data sets are not at {REAL_DATA}")
    part = tmp_path / "demo.json"
    part.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8"))[:DEMO_ROWS]), encoding="utf-8")
    brought, labels = pairs_in(part), Labels(Store(home.root / "studio.db"))
    batch = labels.begin("demo", brought.items, votes=brought.votes)
    return save(take(judged_items(labels, batch.id), DATA_SET, TakingSettings()), Datasets(home), name="demo", source={})


@pytest.mark.parametrize("objective", ["reward", "dpo"])
def test_a_real_set_of_pairs_is_brought_in_sifted_and_learnt_from(
    objective: str, demo: Card, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=4))
    rows_there = json.loads((REAL_DATA / "dpo_en_demo.json").read_text(encoding="utf-8"))[:DEMO_ROWS]
    long_enough = [row for row in rows_there if all(len(row[side]["value"].split()) >= 5 for side in ("chosen", "rejected"))]
    assert demo.rows == len(long_enough) < DEMO_ROWS
    spec = parse_spec({
        "data": {"id": demo.id, "version": demo.version}, "objective": {"name": objective},
        "training": {"max_steps": 3, "batch_size": 2, "max_length": 512, "evaluate_every": 3},
    })
    run = Run.create(home, spec)
    assert training.train(spec, run, run.events.append, lambda: False) == "done", run.events.read()[0][-1]
    steps = [event for event in true_events(run.events.read()[0]) if event["kind"] == "step"]
    assert len(steps) == 3 and all(0 <= step["metrics"]["accuracy"] <= 1 for step in steps)
