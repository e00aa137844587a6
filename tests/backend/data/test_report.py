"""The report of a version: made once in the background, kept beside it, of these rows and no others."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from backend.data.checks.long_rows import LongRows
from backend.data.mends import mend, preview, undo
from backend.data.prompt_map import PROMPTS, prompt_map
from backend.data.records import Record
from backend.data.report import Report, Reports, report, usual_checks
from backend.data.versions import Card, Datasets
from backend.data.views import row_length
from backend.errors import Stopped, UserError
from backend.models import load_tokenizer
from backend.workspace import Workspace
from tests.conftest import starter_rows

ROOT = Path(__file__).parents[3]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def ask(prompt: str, answer: str, **about: Any) -> Record:
    row: Record = {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}
    return {**row, "about": about} if about else row  # type: ignore[return-value,typeddict-item]


def save(datasets: Datasets, records: list[Record], *, name: str = "rows", **values: Any) -> Card:
    return datasets.save(records, name=name, record="messages", source={"made": "by hand"}, **values)


def dirty(datasets: Datasets) -> Card:
    rows: list[Record] = starter_rows(40)  # type: ignore[assignment]
    return save(datasets, [*rows, rows[2], ask("Who?", "Write to a.b@mail.de"), ask("Where?", "Here.")])


def test_the_gravest_stands_first(datasets: Datasets) -> None:
    made = report(datasets, dirty(datasets), usual_checks())
    assert [(found.check, found.rows) for found in made.findings] == [
        ("exact_duplicates", [41]), ("personal_data", [42]), ("one_word_answers", [43]),
    ]  # fmt: skip
    assert made.rows == 43 and set(made.checks) == {check.name for check in usual_checks()}


def test_the_starter_data_is_clean(datasets: Datasets) -> None:
    assert report(datasets, save(datasets, starter_rows(176)), usual_checks()).findings == []  # type: ignore[arg-type]


def test_tokens_are_those_of_the_model_and_a_limit_is_told(datasets: Datasets, tiny_model: Path) -> None:
    card = save(datasets, starter_rows(30))  # type: ignore[arg-type]
    made = report(datasets, card, usual_checks({"long_rows": {"max_length": 20}}), tokenizer=lambda name: load_tokenizer(tiny_model))
    (found,) = [found for found in made.findings if found.check == "long_rows"]
    assert (found.count, found.rows) == (30, list(range(1, 31)))
    assert len(made.pictures.tokens) == 30


def test_long_rows_of_a_large_set_are_counted_one_by_one_and_can_be_left_out(datasets: Datasets, tiny_model: Path) -> None:
    rows = [ask(f"q {n}", "word " * (60 if n in (1_234, 2_468) else 1)) for n in range(3 * PROMPTS // 2)]
    card = save(datasets, rows)
    made = report(datasets, card, usual_checks({"long_rows": {"max_length": 60}}), tokenizer=lambda name: load_tokenizer(tiny_model))
    found, check = made.finding("long_rows", LongRows.title), LongRows(max_length=60)
    assert (found.rows, found.of, len(made.pictures.tokens)) == ([1_235, 2_469], len(rows), len(rows) // 2)
    assert [change.number for change in preview(datasets, card, found, check).first] == [1_235, 2_469]
    mended = mend(datasets, card, found, check)
    assert mended.rows == len(rows) - 2 and undo(datasets, mended).sha256 == card.sha256


@pytest.mark.parametrize("limit", [10, 20, 40, 80, 160])
def test_long_rows_are_those_that_one_finds_by_counting_every_row(datasets: Datasets, tiny_model: Path, limit: int) -> None:
    tokenizer = load_tokenizer(tiny_model)
    rows = [ask("Why? 🐈 " * (n % 7), "日本 zzz qxj! " * (n % 13)) for n in range(100)]
    rows += [{"messages": [{"role": "system", "content": "s" * n}, *row["messages"]]} for n, row in enumerate(rows)]  # type: ignore[typeddict-item]
    made = report(datasets, save(datasets, rows), [LongRows(max_length=limit)], tokenizer=lambda name: tokenizer)
    long = [number for number, row in enumerate(rows, 1) if row_length(row, tokenizer).tokens > limit]
    assert [found.rows for found in made.findings] == ([long] if long else [])


def test_a_row_that_no_template_fits_leaves_the_tokens_uncounted_and_is_told_once(datasets: Datasets, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = "{% if messages[0].content == 'Who?' %}{{ raise_exception('No.') }}{% endif %}" + str(tokenizer.chat_template)
    made = report(datasets, dirty(datasets), usual_checks({"long_rows": {"max_length": 2}}), tokenizer=lambda name: tokenizer)
    assert len(made.left_undone) == 1 and made.left_undone[0].startswith("Tokens were not counted: ")
    assert "long_rows" not in {found.check for found in made.findings}


def test_a_model_that_is_not_there_leaves_the_rest_of_the_report(datasets: Datasets) -> None:
    def tokenizer(name: str) -> Any:
        raise UserError(f"There is no model {name}.")

    made = report(datasets, dirty(datasets), usual_checks(), tokenizer=tokenizer)
    assert made.left_undone == ["Tokens were not counted: There is no model starter."]
    assert len(made.findings) == 3


def test_a_report_is_kept_beside_its_version_and_is_no_version(datasets: Datasets) -> None:
    card = dirty(datasets)
    reports = Reports(datasets)
    assert reports.saved(card) is None
    reports.begin(card)
    made = reports.wait(card, seconds=20)
    file = datasets.root / card.id / "report-v1.json"
    assert made and json.loads(file.read_text())["v"] == 1
    assert Reports(datasets).saved(card) == made  # another studio, another day
    assert reports.work(card) is None
    assert datasets.versions(card.id) == [1] and len(datasets.list()) == 1


def test_a_damaged_or_foreign_report_is_as_good_as_none(datasets: Datasets) -> None:
    card, other = dirty(datasets), save(datasets, [ask("a", "b c")], name="other")
    reports = Reports(datasets)
    reports.begin(other)
    reports.wait(other, seconds=20)
    file = datasets.root / card.id / "report-v1.json"
    for content in ("", "{}", "[", (datasets.root / other.id / "report-v1.json").read_text()):
        file.write_text(content)
        assert reports.saved(card) is None


def test_two_who_ask_at_once_get_one_pass(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    card, passes = dirty(datasets), []
    monkeypatch.setattr("backend.data.report.report", lambda *args, **values: passes.append(time.sleep(0.2)) or report(*args, **values))
    reports = Reports(datasets)
    askers = [threading.Thread(target=reports.begin, args=(card,)) for _ in range(5)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    for thread in threading.enumerate():
        if thread.name == "report":
            thread.join(timeout=20)
    assert reports.saved(card) and len(passes) == 1


def test_a_report_can_be_stopped_and_made_later(datasets: Datasets) -> None:
    card = save(datasets, [ask(f"question {n}", f"the answer {n}") for n in range(300)])
    with pytest.raises(Stopped):
        report(datasets, card, usual_checks(), should_stop=lambda: True)
    reports = Reports(datasets)
    with reports._one_at_a_time:  # it waits, or it might be done before it is stopped
        reports.begin(card)
        reports.stop(card)
    assert reports.wait(card, seconds=20) is None
    work = reports.work(card)
    assert work and work.failed == "Stopped. Nothing was changed."
    reports.begin(card)
    assert reports.wait(card, seconds=20)


def test_how_far_it_is_grows_to_the_end(datasets: Datasets) -> None:
    told: list[float] = []
    report(datasets, save(datasets, [ask(f"q {n}", f"a b {n}") for n in range(350)]), usual_checks(), tell=lambda share, doing: told.append(share))
    assert told == sorted(told) and told[0] < 0.3 and told[-1] == 0.9


def test_a_data_set_deleted_meanwhile_is_said_in_a_sentence(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    card = dirty(datasets)

    def and_deleted(*args: Any, **values: Any) -> Report:
        made = report(*args, **values)
        datasets.delete(card.id)
        return made

    monkeypatch.setattr("backend.data.report.report", and_deleted)
    reports = Reports(datasets)
    reports.begin(card)
    reports.wait(card, seconds=20)
    work = reports.work(card)
    assert work and work.failed == "The data set was deleted meanwhile."


def test_a_version_is_checked_by_the_rules_of_the_one_it_was_made_from(datasets: Datasets) -> None:
    card = dirty(datasets)
    reports = Reports(datasets)
    reports.begin(card, usual_checks({"one_word_answers": {"label_from": 1}}))
    reports.wait(card, seconds=20)
    later = datasets.save(
        datasets.iterate(card.id), name=card.name, record="messages", of=card.id, source={"made": "mended", "from_version": 1}, again=True
    )
    reports.begin(later)
    made = reports.wait(later, seconds=20)
    assert made and made.checks["one_word_answers"]["label_from"] == 1


def test_pictures_count_what_is_there(datasets: Datasets) -> None:
    rows = [ask(f"sentence {n}", "good" if n % 3 else "bad", task="sentiment", how="template") for n in range(30)] + [ask("tell me all", "x" * 64)]
    pictures = report(datasets, save(datasets, rows), usual_checks()).pictures
    assert pictures.tasks == {"sentiment": 30} and pictures.ways == {"template": 30, "imported": 1}
    assert pictures.labels == {"sentiment": {"good": 20, "bad": 10}}
    assert sum(pictures.characters.values()) == 31


def test_prompts_about_one_thing_stand_together_under_its_words() -> None:
    prompts = [f"How do I cook rice with {thing} in the kitchen?" for thing in ("peas", "salt", "milk", "leek")] * 6
    prompts += [f"Which planet circles the star {thing} in astronomy?" for thing in ("Vega", "Sirius", "Altair", "Deneb")] * 6
    drawn = prompt_map(prompts)
    assert drawn and len(set(drawn.group[:24]) & set(drawn.group[24:])) == 0
    assert {"cook", "rice", "kitchen"} & set(" ".join(drawn.names).replace(",", "").split())
    assert drawn == prompt_map(prompts)


@pytest.mark.parametrize("prompts", [[], ["one"] * 5, ["the very same words again"] * 50, [""] * 50, [str(n) for n in range(50)]])
def test_where_there_is_nothing_to_see_there_is_no_map(prompts: list[str]) -> None:
    assert prompt_map(prompts) is None


def test_a_map_holds_no_more_points_than_can_be_told_apart() -> None:
    topics = ("bread", "tax", "bikes", "stars", "cats", "law", "rain", "salt", "wine", "roads", "birds", "code")
    drawn = prompt_map([f"What about {topics[n % 12]} and {topics[n % 11]}?" for n in range(PROMPTS + 100)])
    assert drawn and len(drawn.x) == len(drawn.prompts) == PROMPTS


def test_the_report_imports_nothing_heavy() -> None:
    code = "import sys, backend.data.report, backend.data.mends; print({'torch', 'numpy', 'pyarrow', 'ftfy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
