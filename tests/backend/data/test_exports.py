"""What is taken away comes back the same: every form, real data, and rows made to break it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.data import exports
from backend.data.exports import Form, export, form_named, forms, survey
from backend.data.importing import import_file
from backend.data.readers import inspect, sample_rows
from backend.data.readers.neutralised import BEGINNINGS, MARK, neutralised, restored
from backend.data.records import Record
from backend.data.shapes import guess_mapping
from backend.data.starter import import_starter
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.workspace import Workspace

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"
CONVERSATION_FORMS = [form.name for form in forms("messages")]
TEXT_FORMS = [form.name for form in forms("text")]
SINGLE = ("prompt_completion", "csv")
HOSTILE = [
    '=HYPERLINK("http://x.example";"y")', "+1", "-5", "@SUM(A1)", "\tx", "\rx", "\nx", "'=1", "'", '"', 'a"b,c;d\te|f', "a\r\nb\rc\nd",
    "NA", "0123", "1e5", " 😀 ", "שלום\u200b", "<b>${x}{{y}}</b>", "\u2028", "\x85", "\ufeff", "＝1", "{}\n{}\n{}", "x" * 200_000,
]  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace").prepare()


@pytest.fixture
def datasets(workspace: Workspace) -> Datasets:
    return Datasets(workspace)


def talk(*contents: str, system: str | None = None, **about: Any) -> Record:
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(contents)]
    record: Record = {"messages": [*([{"role": "system", "content": system}] if system is not None else []), *turns]}
    return {**record, "about": about} if about else record


def save(datasets: Datasets, rows: list[Record], name: str = "cats") -> Card:
    return datasets.save(rows, name=name, record="text" if "text" in rows[0] else "messages", source={"made": "by hand"}, again=True)


def take_away(datasets: Datasets, card: Card, form: Form, **consent: bool) -> Path:
    return export(datasets, card, form, survey(datasets, card, form), datasets.root.parent / "exports", **consent)


def brought_back(datasets: Datasets, path: Path) -> Card:
    """The file imported as a user would: whatever is found out and guessed is taken as it is."""
    source = inspect(path)
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None
    return import_file(datasets, source, mapping, name=f"back from {path.name}")


# ---- the same hash


@pytest.mark.parametrize("name", CONVERSATION_FORMS)
def test_the_starter_data_comes_back_the_same(datasets: Datasets, name: str) -> None:
    card = import_starter(datasets)
    again = brought_back(datasets, take_away(datasets, card, form_named(name)))
    assert (again.sha256, again.rows) == (card.sha256, card.rows)


@pytest.mark.parametrize("name", CONVERSATION_FORMS)
def test_real_instructions_come_back_the_same(datasets: Datasets, name: str) -> None:
    path = REAL_DATA / "alpaca_en_demo.json"
    if not path.exists():
        pytest.skip("the real data are not here")
    card = brought_back(datasets, path)
    assert brought_back(datasets, take_away(datasets, card, form_named(name))).sha256 == card.sha256


@pytest.mark.parametrize("name", TEXT_FORMS)
def test_real_texts_come_back_the_same(datasets: Datasets, name: str) -> None:
    path = REAL_DATA / "c4_demo.jsonl"
    if not path.exists():
        pytest.skip("the real data are not here")
    card = brought_back(datasets, path)
    assert brought_back(datasets, take_away(datasets, card, form_named(name))).sha256 == card.sha256


@pytest.mark.parametrize("name", [name for name in CONVERSATION_FORMS if name not in SINGLE])
def test_several_turns_and_system_prompts_come_back_the_same(datasets: Datasets, name: str) -> None:
    rows = [talk("q", "a")] * 300 + [talk("q", "a", "q2", "a2", system="Be kind."), talk("q", "a", "q2", "a2", "q3", "a3")]
    card = save(datasets, rows)  # the odd ones come later than an import looks to find the columns
    assert brought_back(datasets, take_away(datasets, card, form_named(name))).sha256 == card.sha256


@pytest.mark.parametrize("name", CONVERSATION_FORMS)
def test_hostile_conversations_come_back_the_same(datasets: Datasets, name: str) -> None:
    texts = [text for text in HOSTILE if text.strip()]
    rows = [talk(text, text) for text in texts] + [talk("q", "a", system=text) for text in texts]
    card = save(datasets, rows)
    assert brought_back(datasets, take_away(datasets, card, form_named(name))).sha256 == card.sha256


@pytest.mark.parametrize("name", TEXT_FORMS)
def test_hostile_texts_come_back_the_same(datasets: Datasets, name: str) -> None:
    card = save(datasets, [{"text": text} for text in HOSTILE if text.strip()])
    assert brought_back(datasets, take_away(datasets, card, form_named(name))).sha256 == card.sha256


said = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(lambda text: text.strip())
spoken = st.sampled_from([text for text in HOSTILE[:-1] if text.strip()]) | said
conversations = st.builds(
    lambda system, pairs: talk(*[text for pair in pairs for text in pair], system=system),
    st.none() | spoken | st.just(""), st.lists(st.tuples(spoken, spoken), min_size=1, max_size=3),
)  # fmt: skip


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(conversations, min_size=1, max_size=6), st.sampled_from(CONVERSATION_FORMS))
def test_any_conversations_come_back_the_same_or_are_named(datasets: Datasets, rows: list[Record], name: str) -> None:
    _come_back(datasets, rows, form_named(name))


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(spoken, min_size=1, max_size=6), st.sampled_from(TEXT_FORMS))
def test_any_texts_come_back_the_same_or_are_named(datasets: Datasets, texts: list[str], name: str) -> None:
    _come_back(datasets, [{"text": text} for text in texts], form_named(name))


def _come_back(datasets: Datasets, rows: list[Record], form: Form) -> None:
    card = save(datasets, rows)
    found = survey(datasets, card, form)
    assert found.rows + found.left_out.total() == len(rows)
    try:
        path = export(datasets, card, form, found, datasets.root.parent / "exports", leave_out=True)
    except UserError as error:  # nothing fits, or (`{}` in most lines of a table) it would be taken for something else
        assert not found.rows or (form.ending == "csv" and "taken for something else" in str(error))
        return
    missing = {number for number, _ in found.misfits}
    left = [row for number, row in enumerate(rows, start=1) if number not in missing]
    assert list(datasets.iterate(brought_back(datasets, path).id)) == left


@pytest.mark.parametrize("name", ["messages", "parquet"])
def test_what_is_known_about_rows_comes_back_too(datasets: Datasets, name: str) -> None:
    about = {"how": "template", "author": "me", "task": "topic", "cluster": "news", "family": "f", "tags": ["a", "b"]}
    card = save(datasets, [talk("q", "a", **about), talk("q2", "a2"), talk("q3", "a3", how="hand")])
    again = brought_back(datasets, take_away(datasets, card, form_named(name)))
    assert list(datasets.iterate(again.id)) == list(datasets.iterate(card.id))
    assert (again.about_sha256, again.made) == (card.about_sha256, card.made)


@pytest.mark.parametrize(
    "about", [{"how": "somehow"}, {"page": 3}, {"author": 7}, {"tags": "x"}, {"tags": [1]}, "a cat", ["x"], {}, {"how": []}]
)
def test_somebody_elses_column_called_about_is_a_column_like_others(datasets: Datasets, tmp_path: Path, about: Any) -> None:
    path = tmp_path / "cats.jsonl"
    path.write_text(json.dumps({"prompt": "q", "completion": "a", "about": about}) + "\n")
    assert list(datasets.iterate(brought_back(datasets, path).id)) == [talk("q", "a")]


def test_preferences_come_back_the_same(datasets: Datasets) -> None:
    sides = [[{"role": "assistant", "content": text}] for text in ("good", "bad")]
    row: Any = {"prompt": [{"role": "user", "content": "q"}], "answers": sides, "ranks": [1, 2]}
    rows = [row, {**row, "about": {"how": "hand"}, "prompt": [{"role": "user", "content": "q2"}]}, {**row, "margin": 2.0}]
    odd = [{**row, "ranks": [1, 1]}, {**row, "ranks": [2, 1]}]
    card = datasets.save(rows, name="pairs", record="preferences", source={})
    assert brought_back(datasets, take_away(datasets, card, form_named("preferences"))).sha256 == card.sha256
    mixed = datasets.save(rows + odd, name="odd", record="preferences", source={})
    found = survey(datasets, mixed, form_named("preferences"))
    assert [number for number, _ in found.misfits] == [4, 5] and found.rows == 3


def test_good_and_bad_answers_come_back_the_same(datasets: Datasets) -> None:
    answer: Any = [{"role": "assistant", "content": "a"}]
    row: Any = {"prompt": [{"role": "user", "content": "q"}], "answers": [answer], "ranks": [1]}
    card = datasets.save([row, {**row, "ranks": [2], "about": {"how": "hand"}}], name="rated", record="preferences", source={})
    assert brought_back(datasets, take_away(datasets, card, form_named("unpaired"))).sha256 == card.sha256
    pair = datasets.save([row, {**row, "answers": [answer, answer], "ranks": [1, 2]}], name="pair", record="preferences", source={})
    assert [number for number, _ in survey(datasets, pair, form_named("unpaired")).misfits] == [2]


# ---- what does not fit


def test_rows_that_do_not_fit_are_counted_named_and_left_out_on_consent_only(datasets: Datasets) -> None:
    rows = [talk("q", "a"), talk("q", "a", "q2", "a2"), talk("q3", "a", system=""), talk("q4", "a\x00b")]
    card, form = save(datasets, rows), form_named("csv")
    found = survey(datasets, card, form)
    assert found.rows == 1
    assert found.misfits == [
        (2, "has several turns"), (3, "has an empty system turn"), (4, "has control characters, which no table can hold"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="Row 2 of “cats” has several turns") as refused:
        take_away(datasets, card, form)
    assert "3 of 4 rows do not fit" in str(refused.value)
    assert not list((datasets.root.parent / "exports").glob("*"))
    assert brought_back(datasets, take_away(datasets, card, form, leave_out=True)).rows == 1


def test_a_form_that_fits_no_row_is_refused(datasets: Datasets) -> None:
    card = save(datasets, [talk("q", "a", "q", "a")])
    with pytest.raises(UserError, match="None of the 1 rows"):
        take_away(datasets, card, form_named("csv"), leave_out=True)
    with pytest.raises(UserError, match="cannot hold the rows"):
        take_away(datasets, card, form_named("text"))
    with pytest.raises(UserError, match='no form "pdf"'):
        form_named("pdf")


def test_a_table_that_would_be_taken_for_something_else_is_not_handed_out(datasets: Datasets) -> None:
    card = save(datasets, [{"text": "x\n" + "{}\n" * 30}])
    with pytest.raises(UserError, match="taken for something else"):
        take_away(datasets, card, form_named("text-csv"))
    assert not list((datasets.root.parent / "exports").glob("*"))


def test_a_full_disk_is_said_and_leaves_nothing(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    card, form = save(datasets, [talk("q", "a")]), form_named("messages")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "_put_if_fitting", full)
    with pytest.raises(UserError, match="No space left on device"):
        take_away(datasets, card, form)
    assert not list((datasets.root.parent / "exports").glob("*"))


# ---- the forms, as others know them


def test_the_lines_are_what_the_forms_promise(datasets: Datasets) -> None:
    card = save(datasets, [talk("q", "a", "q2", "a2", system="s", how="hand")])
    lines = {name: json.loads(take_away(datasets, card, form_named(name)).read_text()) for name in ("messages", "alpaca", "sharegpt")}
    turns = [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "q2"), ("assistant", "a2")]
    assert lines["messages"] == {"messages": [{"role": role, "content": text} for role, text in turns], "about": {"how": "hand"}}
    assert lines["alpaca"] == {"instruction": "q2", "input": "", "output": "a2", "system": "s", "history": [["q", "a"]]}
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    assert lines["sharegpt"] == {"conversations": [{"from": speakers[role], "value": text} for role, text in turns]}


def cells_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.mark.fault("emoji, right-to-left, zero-width, formulas")
def test_no_cell_of_a_table_begins_like_a_formula(datasets: Datasets) -> None:
    texts = [text for text in HOSTILE if text.strip()]
    path = take_away(datasets, save(datasets, [talk(text, text, system=text) for text in texts]), form_named("csv"))
    rows = cells_of(path)
    assert len(rows) == len(texts)
    assert not any(cell.startswith(BEGINNINGS) for row in rows for cell in row.values())
    assert path.read_bytes().startswith(b"\xef\xbb\xbfprompt,completion,system")


def test_a_table_without_such_cells_has_no_column_that_marks_them(datasets: Datasets) -> None:
    assert list(cells_of(take_away(datasets, save(datasets, [talk("q", "'a")]), form_named("csv")))[0]) == ["prompt", "completion", "system"]
    assert MARK in cells_of(take_away(datasets, save(datasets, [talk("=q", "'a")]), form_named("csv")))[0]


def test_apostrophes_go_away_where_they_were_put_and_nowhere_else() -> None:
    cells = {"prompt": "=1", "completion": "'=1", "system": ""}
    safe, changed = neutralised(cells)
    assert (safe, changed) == ({"prompt": "'=1", "completion": "'=1", "system": ""}, ["prompt"])
    assert restored({**safe, MARK: "prompt"}) == cells
    assert restored(safe) == safe  # of another tool: its apostrophes are its own
    assert restored({"prompt": "mended", "completion": "x", MARK: "prompt"}) == {"prompt": "mended", "completion": "x"}


def test_progress_is_told_and_the_file_has_a_name_of_ours(datasets: Datasets) -> None:
    told: list[float] = []
    card = save(datasets, [talk(f"q {number}", "a") for number in range(2500)], name="../../etc/長い")
    form = form_named("messages")
    folder = datasets.root.parent / "exports"
    path = export(datasets, card, form, survey(datasets, card, form, progress=told.append), folder, progress=told.append)
    assert told == [0.4, 0.8, 0.4, 0.8]
    assert path.parent == folder and path.name == f"{card.id}-v1-messages.jsonl"
    assert list(folder.iterdir()) == [path]
