"""The Quality page without a page: figures, disagreements settled and opened again, and a reward model's opinion beside them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.label.quality_page import ALL, AT_ONCE, OPEN, SETTLED, on_ask, on_come, on_opinion, on_settle, on_turn
from app.studio import Studio
from backend.data.versions import Datasets
from backend.device import Turns
from backend.engine import Engine
from backend.errors import UserError
from backend.inference import Shelf
from backend.labelling.items import Batch, Candidate, Item, Said
from backend.labelling.opinion import known_opinion
from backend.runs import Run, Runs
from backend.workspace import Workspace
from tests.conftest import make_workspace
from tests.judges import preference_rows, save_preferences, train_judge

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"
UNSAFE = re.compile(r"<script|\$\{|\{\{")
MADE: Any = ({"name": "base starter", "sampling": {"temperature": 0.7}}, {"name": "three lines"})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("quality page") / "workspace", tiny_model)


@pytest.fixture(scope="module")
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine lends its device and models, and works on nothing."""
    studio = Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))
    studio.engine._turns, studio.engine._shelf = Turns(), Shelf(workspace)
    studio.engine.ready.set()
    return studio


@pytest.fixture(scope="module")
def judge(studio: Studio) -> Run:
    return train_judge(studio.workspace, save_preferences(studio.workspace, preference_rows(16)), steps=6, name=f"judge {HOSTILE}")


def begun(studio: Studio, count: int = 12, *, disputed: int = 12, answers: int = 2) -> Batch:
    """A batch that two people have labelled; of its first items they say different things."""
    rows, first, last = preference_rows(count), tuple(range(1, answers + 1)), tuple(range(answers, 0, -1))
    items = [
        Item(row["prompt"], [Candidate([{"role": "assistant", "content": f"{HOSTILE} {place} {row['answers'][place % 2][0]['content']}"}], MADE[place % 2])
                             for place in range(answers)]) for row in rows
    ]  # fmt: skip
    votes = [Said(n, "ada", "ranked", list(first), shown=[0, 1], seconds=4.0) for n in range(count)]
    votes += [Said(n, f"ben {HOSTILE}", "ranked", list(last if n < disputed else first), shown=[1, 0], seconds=6.0) for n in range(count)]
    return studio.labels.begin("first round", items, overlap=2, votes=votes)


def listed(updates: Any) -> list[dict[str, Any]]:
    return updates[0]["lines"]


def settle(studio: Studio, batch: Batch, item: int, key: str, *, show: str = ALL) -> Any:
    shown = {**on_turn(studio, "ada", batch.id, show, False, 0, step=0)[0], "asked": {"item": item, "key": key}}
    return on_settle(studio, shown, "cy", batch.id, show, False, 0)


def words_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_without_a_batch_or_a_reward_model_it_says_what_to_do(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "empty").prepare()
    studio = Studio(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))
    figures, rows, _, pager, _, no_judge, asking, _, opinion, *_ = on_come(studio, "ada", None, ALL, False, 0, None)
    assert "Choose a batch above" in figures and rows["lines"] == [] and not pager.visible
    assert no_judge.visible and not asking.visible and opinion == ""


def test_a_batch_nobody_labelled_says_what_to_do(studio: Studio) -> None:
    batch = studio.labels.begin("untouched", [Item([], [Candidate([], {}), Candidate([], {})])])
    figures, rows, *_ = on_come(studio, "ada", batch.id, ALL, False, 0, None)
    assert "Nobody has labelled anything" in figures and "ada has 1 answer left to give in this batch" in rows["empty"]


def test_every_figure_says_how_to_read_it_and_what_is_not_enough(studio: Studio) -> None:
    figures = on_come(studio, "ada", begun(studio, disputed=3).id, ALL, False, 0, None)[0]
    words = words_of(figures)
    assert "Raw agreement 75% of 12" in words and "Krippendorff&#x27;s alpha" in words
    assert "The same again not enough yet" in words and "Not enough yet to lean on: 20 or more would be" in words
    assert len(re.findall('class="figure-sentence"', figures)) == len(re.findall('class="figure-value', figures)) == 6
    assert not UNSAFE.search(figures) and "ben &lt;script&gt;" in figures


def test_pages_of_disagreements_read_only_what_they_show(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, read = begun(studio), []
    item = studio.labels.item
    monkeypatch.setattr(studio.labels, "item", lambda *place: read.append(place) or item(*place))
    rows, page, pager, words = on_turn(studio, "ada", batch.id, ALL, False, 1, step=+1)
    assert [each["item"] for each in rows["lines"]] == [10, 11] and page == 2 and pager.visible and len(read) == 2
    assert "11 to 12 of 12 · 0 of 12 settled" in words
    assert on_turn(studio, "ada", batch.id, ALL, False, 2, step=+1)[1] == 2 and on_turn(studio, "ada", batch.id, ALL, False, 2, step=None)[1] == 0
    assert len(listed(on_turn(studio, "ada", batch.id, ALL, False, 0, step=0))) == AT_ONCE


def test_who_said_what_is_hidden_from_whoever_has_something_left_to_label(studio: Studio, judge: Run) -> None:
    rows = preference_rows(3)
    items = [Item(row["prompt"], [Candidate(answer, MADE[0]) for answer in row["answers"]]) for row in rows]
    batch = studio.labels.begin("open", items, overlap=3, votes=[
        Said(number, who, "ranked", ranks) for number in range(3) for who, ranks in (("ada", [1, 2]), ("ben", [2, 1]))
    ])  # fmt: skip
    list(on_ask(studio, batch.id, judge.id))

    def seen_by(person: str) -> tuple[str, str, str]:
        figures, rows, _, pager, words, *_, opinion, _, _ = on_come(studio, person, batch.id, ALL, True, 0, judge.id)
        return figures, repr((rows, pager.visible, words)), opinion

    for number in range(3, 0, -1):
        figures, listed, opinion = seen_by("cy")
        assert "Raw agreement" in figures and f"cy has {number} answer{'s' * (number > 1)} left to give in this batch" in listed
        for told in (listed, opinion):
            assert "better" not in told and "ben" not in told and "people prefer" not in told
        assert seen_by("ben")[1].count("'title'") == 3  # who has nothing left sees all of it
        shown = studio.labels.next(batch.id, "cy")
        assert shown is not None
        studio.labels.vote(shown, "cy", ranks=[1, 2], verdict="skipped" if number == 1 else "ranked")
    assert "'people': 'ada" in seen_by("cy")[1] and "ada and ben" in seen_by("cy")[0] and "Agreement with it" in seen_by("cy")[2]


def test_who_made_an_answer_is_told_on_request_alone(studio: Studio) -> None:
    batch = begun(studio, 18, disputed=18)
    hidden, shown = (on_turn(studio, "ada", batch.id, ALL, makers, 0, step=0)[0] for makers in (False, True))
    assert "starter" not in repr(hidden) and "three lines" not in repr(hidden)
    assert {answer["made"] for answer in shown["lines"][0]["answers"]} == {"base starter, temperature 0.7", "three lines"}
    lines = [line for page in range(4) for line in on_turn(studio, "ada", batch.id, ALL, True, page, step=0)[0]["lines"]]
    assert len({line["item"] for line in lines}) == 18
    letters = [next(answer["letter"] for answer in line["answers"] if "starter" in answer["made"]) for line in lines]
    assert set(letters) == {"A", "B"}  # which letter a model has is drawn for each item


def test_a_click_settles_what_the_button_says(studio: Studio) -> None:
    batch = begun(studio)
    line = listed(on_turn(studio, "ada", batch.id, ALL, False, 0, step=0))[0]
    choice = next(each for each in line["choices"] if each["words"] == "B is better")
    after = listed(settle(studio, batch, line["item"], choice["key"]))[0]
    assert after["settled"] == "Settled by cy: B is better" and [each["words"] for each in after["choices"] if each["chosen"]] == ["B is better"]
    best = studio.labels.settlements(batch.id)[line["item"]].ranks.index(1)
    text = studio.labels.item(batch.id, line["item"]).candidates[best].answer[0]["content"]
    assert text == next(answer["text"] for answer in after["answers"] if answer["letter"] == "B")


def test_what_is_settled_can_be_seen_apart_changed_and_opened_again(studio: Studio) -> None:
    batch = begun(studio)
    settle(studio, batch, 3, "tie")
    settle(studio, batch, 3, "tie")  # a double click
    assert [each["item"] for each in listed(on_turn(studio, "ada", batch.id, SETTLED, False, 0, step=0))] == [3]
    assert 3 not in [each["item"] for each in listed(on_turn(studio, "ada", batch.id, OPEN, False, 0, step=0))]
    settle(studio, batch, 3, "both bad")
    assert studio.labels.settlements(batch.id)[3].verdict == "both bad"
    assert listed(settle(studio, batch, 3, "reopened"))[3]["settled"] == ""
    assert studio.labels.settlements(batch.id) == {}
    with studio.store.reading() as db:
        assert db.execute("SELECT count(*) FROM label_settlements WHERE batch = ?", (batch.id,)).fetchone() == (3,)


def test_the_figures_are_of_votes_whatever_was_settled(studio: Studio) -> None:
    batch = begun(studio)
    before = on_come(studio, "ada", batch.id, ALL, False, 0, None)[0]
    settle(studio, batch, 0, "1 2")
    assert on_come(studio, "ada", batch.id, ALL, False, 0, None)[0] == before


def test_a_ranking_is_settled_as_somebody_ranked_it(studio: Studio) -> None:
    batch = begun(studio, 3, disputed=3, answers=4)
    line = listed(on_turn(studio, "ada", batch.id, ALL, False, 0, step=0))[0]
    assert [each["key"] for each in line["choices"]] == ["1 2 3 4", "4 3 2 1", "tie", "both bad"]
    assert re.fullmatch(r"[A-D]( > [A-D]){3}", line["choices"][0]["words"])
    assert line["choices"][0]["words"] == line["choices"][1]["words"][::-1]
    assert listed(settle(studio, batch, 0, "1 2 3 4"))[0]["settled"].startswith("Settled by cy: ")


@pytest.mark.parametrize("key", ["", "1 2 3", "2 2", "drop table", "1 99", "0 1"])
def test_what_no_button_says_settles_nothing(studio: Studio, key: str) -> None:
    batch = begun(studio, 2)
    with pytest.raises(UserError):
        settle(studio, batch, 0, key)
    assert studio.labels.settlements(batch.id) == {}


def test_a_long_answer_is_cut_on_the_page(studio: Studio) -> None:
    long = replace(begun_item("word " * 50_000), prompt=[{"role": "user", "content": "x" * 100_000}])
    batch = studio.labels.begin("long", [long], votes=[Said(0, "ada", "ranked", [1, 2]), Said(0, "ben", "ranked", [2, 1])])
    assert len(repr(on_turn(studio, "ada", batch.id, ALL, False, 0, step=0))) < 20_000


def begun_item(text: str) -> Item:
    return Item([{"role": "user", "content": "q"}], [Candidate([{"role": "assistant", "content": each}], {}) for each in (text, text + "!")])


def test_a_reward_model_is_asked_once_and_compared_with_people(studio: Studio, judge: Run) -> None:
    batch = begun(studio, disputed=2)
    updates = on_come(studio, "ada", batch.id, ALL, False, 0, None)
    assert updates[7].value == judge.id and "has not been asked" in updates[8]
    *told, _ = (step[0] for step in on_ask(studio, batch.id, judge.id))
    assert "Loading" in told[0] and not any(UNSAFE.search(each) for each in told)
    opinion, ask, stop = on_opinion(studio, "ada", batch.id, judge.id)
    assert "Agreement with it" in opinion and "Prefers the same" in opinion and ask.visible and not stop.visible
    assert not UNSAFE.search(opinion)
    assert len(list(on_ask(studio, batch.id, judge.id))) == 1  # all of it is known
    assert [vote.annotator for vote in studio.labels.votes(batch.id)].count("ada") == 12  # nothing was added to the votes
    assert studio.labels.annotators(batch.id) == ["ada", f"ben {HOSTILE}"]


def test_asking_that_was_stopped_says_how_far_it_came(studio: Studio, judge: Run) -> None:
    batch = begun(studio)
    steps = on_ask(studio, batch.id, judge.id)
    next(steps), next(steps), steps.close()
    assert len(known_opinion(judge, batch.id)[0]) == 8
    assert "Asked about 8 of 12 items so far" in on_opinion(studio, "ada", batch.id, judge.id)[0]


def test_a_deleted_run_takes_its_model_and_opinions_along(studio: Studio, judge: Run) -> None:
    run = train_judge(studio.workspace, judge.spec.data, steps=1)
    batch = begun(studio, 2)
    list(on_ask(studio, batch.id, run.id))
    studio.delete_run(run.id)
    assert not [key for key in studio.engine.shelf._loaded if run.id in key] and not run.folder.exists()
    updates = on_come(studio, "ada", batch.id, ALL, False, 0, run.id)
    assert isinstance(updates[7], gr.Dropdown) and updates[7].value == judge.id
