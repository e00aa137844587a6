"""Templates: what they may ask for, how a table becomes instructions, and that no row is lost, doubled or run as a template."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.data.importing import import_file
from backend.data.readers import inspect
from backend.data.records import family_of
from backend.data.shapes import Mapping
from backend.data.templating.language import missing, parse
from backend.data.templating.rendering import Recipe, Rendering, count, problems, render, save_rendered
from backend.data.templating.sets import FOLDER, OPTIONS, Part, Template, TemplateSet, read_set, save_set, template_sets
from backend.data.templating.tables import (
    FileTable,
    SavedTable,
    TableRow,
    column_names,
    first_rows,
    guess_columns,
    guess_set,
    name_labels,
    survey,
)
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.workspace import Workspace

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"
TASKS = ("sentiment", "topic", "entailment", "paraphrase", "summarisation", "question_answering", "translation", "extraction")


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def real(name: str) -> Path:
    if not (REAL_DATA / name).exists():
        pytest.skip(f"{name} is not on this machine")
    return REAL_DATA / name


def table(folder: Path, rows: list[dict], name: str = "table.jsonl") -> FileTable:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return FileTable(inspect(path))


def reviews(**changed: object) -> TemplateSet:
    """A small set: two templates, the second turned around."""
    values = {
        "title": "Reviews", "task": "sentiment", "cluster": "sentiment",
        "columns": {"text": Part(help="a text"), "label": Part(help="a label", label=True)},
        "templates": [
            Template(name="ask", prompt="{text}\nIs it {options}?", completion="{label}"),
            Template(name="write", prompt="Write a {label} one.", completion="{text}", turned_around=True),
        ],
    }  # fmt: skip
    return TemplateSet.model_validate(values | changed)


def recipe(templates: TemplateSet | None = None, **changed: object) -> Recipe:
    values = {
        "templates": templates or reviews(),
        "columns": {"text": "text", "label": "label"},
        "labels": {"0": "bad", "1": "good"},
    }
    return Recipe.model_validate(values | changed)


# ---- the language


def test_placeholders_are_filled_and_doubled_braces_are_braces() -> None:
    pattern = parse("{{text}} is {text}, {{{text}}}, {{}}")
    assert pattern.names == ("text",)
    assert pattern.fill({"text": "x"}) == "{text} is x, {x}, {}"


def test_a_placeholder_without_a_column_is_told_with_the_columns_there_are() -> None:
    (sentence,) = missing(parse("{txt}"), ["text", "label"], where='The prompt of "ask"')
    assert (
        sentence
        == 'The prompt of "ask" asks for {txt}, and there is no column of that name. Did you mean {text}? There are: text, label.'
    )


@pytest.mark.parametrize("asked", ["text.__class__", "text[0]", "text!r", "text:>9", "text|upper", "1+1", "__import__('os')"])
def test_nothing_but_a_column_is_reached(asked: str) -> None:
    pattern = parse(f"{{{asked}}}")
    assert len(missing(pattern, ["text"])) == 1
    assert pattern.fill({asked: "a column of that very name"}) == "a column of that very name"


@pytest.mark.parametrize("text", ["{text", "text}", "{}", "{ }", "{a{b}}", "}{"])
def test_a_lone_brace_is_told(text: str) -> None:
    with pytest.raises(UserError, match=r"^Here has (a lone|an empty)"):
        parse(text, where="Here")


@given(st.text(), st.text())
def test_what_is_filled_in_is_never_read_as_a_template(first: str, second: str) -> None:
    assert parse("<{a}|{b}>").fill({"a": first, "b": second}) == f"<{first}|{second}>"


@given(st.text(alphabet=st.characters() | st.sampled_from("{}")))
def test_any_text_with_its_braces_doubled_is_itself(text: str) -> None:
    pattern = parse(text.replace("{", "{{").replace("}", "}}"))
    assert pattern.names == () and pattern.fill({}) == text


@given(st.text(alphabet="{}a b"))
def test_any_text_is_a_template_or_a_sentence_about_it(text: str) -> None:
    try:
        pattern = parse(text)
    except UserError as refusal:
        assert len(refusal.problems) == 1
    else:
        assert "{" not in pattern.fill(dict.fromkeys(pattern.names, "")).replace("{", "", text.count("{{"))


# ---- the sets


def test_sets_for_the_common_tasks_come_along() -> None:
    found = template_sets()
    assert found.problems == []
    assert set(TASKS) <= found.sets.keys()


@pytest.mark.parametrize("task", TASKS)
def test_a_set_has_ten_templates_three_turned_around_that_ask_for_what_it_names(task: str) -> None:
    templates = template_sets().sets[task]
    assert (len(templates.templates), sum(template.turned_around for template in templates.templates)) == (10, 3)
    assert [missing(parse(text), templates.names) for template in templates.templates for text in template.texts.values()] == [
        []
    ] * 20
    assert len({template.prompt for template in templates.templates}) == 10
    if templates.label_part:
        named = sum(any(f"{{{name}}}" in template.prompt for name in OPTIONS) for template in templates.templates)
        assert 4 <= named <= 7


def test_a_new_set_is_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(reviews().model_dump_json(), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a set")
    found = template_sets(folder=tmp_path)
    assert found.sets == {"mine": reviews()} and found.problems == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "title = ", "cannot be read"), ("a.json", "[1]", "a.json"), ("a.json", "{", "cannot be read"), ("a.toml", "v = 2", "templates"),
        ("a.json", reviews().model_dump_json().replace("{text}", "{text"), "lone {"),
        ("a.json", reviews().model_dump_json().replace('"write"', '"ask"'), "two templates are called 'ask'"),
        ("a.json", reviews().model_dump_json().replace('"completion":"{text}"', '"completion":""'), "either all have one"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_and_the_others_stay(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "good.json").write_text(reviews().model_dump_json(), encoding="utf-8")
    found = template_sets(folder=tmp_path)
    assert list(found.sets) == ["good"]
    assert any(said in problem for problem in found.problems) and all(name in problem for problem in found.problems)


def test_a_link_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text(reviews().model_dump_json(), encoding="utf-8")
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "inside.json").symlink_to(tmp_path / "outside.json")
    found = template_sets(folder=folder)
    assert found.sets == {} and "a link" in found.problems[0]


def test_a_set_of_ones_own_is_kept_and_found_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).prepare()
    path = save_set(workspace, reviews(title="../Größe"))
    assert path.parent == workspace.templates and read_set(path).title == "../Größe"
    again = save_set(workspace, reviews(title="../Größe", sentence="another"))
    assert again == path and read_set(path).sentence == "another"
    other = save_set(workspace, reviews(title="Gr e"))
    found = template_sets(workspace)
    assert {f"own-{path.stem}", f"own-{other.stem}", "sentiment"} <= found.sets.keys()


def test_the_sets_that_come_along_are_in_their_folder() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(template_sets().sets)


# ---- guessing


def test_reviews_without_a_header_are_known_by_what_is_in_them() -> None:
    rows = first_rows(FileTable(inspect(real("sst2_train.tsv"))))
    sets = template_sets().sets
    assert guess_set(rows, sets) == "sentiment"
    assert guess_columns(rows, sets["sentiment"]) == {"text": "column 1", "label": "column 2"}


@pytest.mark.parametrize(
    ("row", "task"),
    [
        ({"premise": "It rains on us.", "hypothesis": "It is wet.", "label": "entailment"}, "entailment"),
        ({"dialogue": "A: Hello. B: Hello to you.", "summary": "They greet."}, "summarisation"),
        ({"context": "Rome is in Italy.", "question": "Where is Rome?", "answer": "Italy"}, "question_answering"),
        ({"question1": "How are you?", "question2": "How do you do?", "is_duplicate": "1"}, "paraphrase"),
        ({"en": "Good morning", "de": "Guten Morgen"}, "translation"),
        ({"article": "The match ended in a draw.", "category": "sport"}, "topic"),
        ({"Review Text": "A joy.", "Sentiment": "positive"}, "sentiment"),
    ],
)
def test_a_table_is_known_by_its_columns(tmp_path: Path, row: dict, task: str) -> None:
    rows = first_rows(table(tmp_path, [{name: f"{value}" for name, value in row.items()} for _ in range(4)]))
    assert guess_set(rows, template_sets().sets) == task
    assert list(guess_columns(rows, template_sets().sets[task]).values()) == list(row)


def test_numbers_are_named_only_by_a_naming_of_those_very_numbers() -> None:
    sentiment = template_sets().sets["sentiment"]
    assert name_labels(["1", "0"], sentiment) == {"0": "negative", "1": "positive"}
    assert name_labels(["-1", "1", "0"], sentiment) == {"-1": "negative", "0": "neutral", "1": "positive"}
    assert name_labels(["1", "2"], sentiment) == {"1": "1", "2": "2"}  # 1 and 2 of 5 stars, or of 0, 1, 2?
    assert name_labels(["Positive", "furious"], sentiment) == {"Positive": "Positive", "furious": "furious"}
    assert name_labels(["POS", "NEG"], sentiment) == {"NEG": "negative", "POS": "positive"}


# ---- rendering


def test_a_row_becomes_instructions() -> None:
    row = TableRow(1, {"text": "A joy.", "label": "1"}, "f")
    asked, written = render([row], recipe(rendering=Rendering(choice="all")))
    assert [turn["content"] for turn in asked["messages"]] == ["A joy.\nIs it bad or good?", "good"]
    assert [turn["content"] for turn in written["messages"]] == ["Write a good one.", "A joy."]
    assert asked["about"] == {
        "how": "template",
        "author": "Reviews: ask",
        "task": "sentiment",
        "cluster": "sentiment",
        "family": "f",
    }


def test_options_are_listed_in_order_in_a_sentence_and_one_a_line() -> None:
    made = recipe(labels={"a": "bad", "b": "fair", "c": "good", "d": "good", "e": ""})
    assert made.options == {"options": "bad, fair or good", "options_list": "- bad\n- fair\n- good"}


def test_columns_of_the_table_can_be_asked_for_by_their_own_names() -> None:
    templates = reviews(templates=[Template(name="own", prompt="{Stars given} of 5: {text}", completion="{label}")])
    row = TableRow(1, {"text": "A joy.", "label": "1", "Stars given": "4"}, "f")
    (made,) = render([row], recipe(templates))
    assert made["messages"][0]["content"] == "4 of 5: A joy."


def test_every_wrong_placeholder_is_told() -> None:
    templates = reviews(
        templates=[Template(name="a", prompt="{x}", completion="{y}"), Template(name="b", prompt="{text", completion="{label}")]
    )
    found = problems(recipe(templates), ["text", "label"])
    assert len(found) == 3 and 'The completion of "a" asks for {y}' in found[1] and "lone {" in found[2]


@given(
    texts=st.lists(st.text(min_size=1).filter(str.strip), max_size=30), choice=st.sampled_from(["one", "all", "some"]), some=st.integers(1, 12),
    seed=st.integers(0, 2**31 - 1), templates=st.integers(1, 12),
)  # fmt: skip
def test_no_row_is_lost_doubled_or_expanded(texts: list[str], choice: str, some: int, seed: int, templates: int) -> None:
    wordings = [Template(name=str(n), prompt=f"{n}: {{text}}", completion="{label}") for n in range(templates)]
    made = recipe(reviews(templates=wordings), rendering=Rendering(choice=choice, some=some, seed=seed))  # type: ignore[arg-type]
    rows = [TableRow(number, {"text": text, "label": "1"}, f"family {number}") for number, text in enumerate(texts, 1)]
    records = list(render(rows, made))
    assert records == list(render(rows, made))
    expected = {"one": 1, "all": templates, "some": min(some, templates)}[choice]
    assert made.per_row == expected
    assert Counter(map(family_of, records)) == {row.family: expected for row in rows}
    assert len({(family_of(record), record["about"]["author"]) for record in records}) == len(records)
    by_family = {row.family: row.cells["text"] for row in rows}
    for record in records:
        number, _, text = record["messages"][0]["content"].partition(": ")
        assert text == by_family[family_of(record)] and record["about"]["author"] == f"Reviews: {number}"


def test_one_in_turn_uses_every_template_as_often_as_the_others() -> None:
    wordings = [Template(name=str(n), prompt="{text}", completion="{label}") for n in range(5)]
    rows = [TableRow(number, {"text": "t", "label": "1"}, str(number)) for number in range(1, 101)]
    authors = Counter(record["about"]["author"] for record in render(rows, recipe(reviews(templates=wordings))))
    assert set(authors.values()) == {20}


# ---- whole tables


def test_real_reviews_become_as_many_rows(datasets: Datasets) -> None:
    source = FileTable(inspect(real("sst2_train.tsv")))
    templates = template_sets().sets["sentiment"]
    found = survey(source)
    labels = found.labels("column 2")
    assert labels == {"0": 959, "1": 1041} and found.labels("column 1") is None
    made = Recipe(templates=templates, columns={"text": "column 1", "label": "column 2"}, labels=name_labels(labels, templates))
    assert problems(made, column_names(first_rows(source))) == []
    counted = count(found, made)
    assert (counted.usable, counted.made, counted.left_out) == (2000, 2000, {})
    card = save_rendered(datasets, source, made, name="reviews")
    assert (card.rows, card.made, card.left_out) == (2000, {"template": 2000}, {})
    tasks = {(record["about"]["task"], record["about"]["cluster"]) for record in datasets.iterate(card.id)}
    assert tasks == {("sentiment", "sentiment")}
    said = Counter(record["messages"][-1]["content"] for record in datasets.iterate(card.id))
    assert said["positive"] + said["negative"] > 1000


def test_the_card_tells_how_to_make_the_rows_again(datasets: Datasets, tmp_path: Path) -> None:
    source = table(tmp_path, [{"text": f"t {n}", "label": n % 2} for n in range(7)])
    card = save_rendered(datasets, source, recipe(rendering=Rendering(choice="some", some=1, seed=3)), name="x")
    again = Recipe.model_validate(card.source["recipe"])
    assert list(render(source.rows(), again)) == list(datasets.iterate(card.id))
    assert card.source["made"] == "by templates" and card.source["table"]["file"] == "table.jsonl"


def test_rows_that_cannot_be_used_are_listed_and_left_out_only_with_consent(datasets: Datasets, tmp_path: Path) -> None:
    rows = [
        {"text": "a", "label": "0"},
        {"text": " ", "label": "1"},
        {"text": "c"},
        {"text": "d", "label": "2"},
        {"text": "e", "label": 1},
    ]
    source = table(tmp_path, rows)
    counted = count(survey(source), recipe())
    assert (counted.usable, counted.made) == (2, 2)
    with pytest.raises(UserError) as refusal:
        save_rendered(datasets, source, recipe(), name="x")
    listed = ("Nothing in text: row 2.", "Nothing in label: row 3.", 'The label "2" has no name: row 4.')
    assert refusal.value.problems[:-1] == listed and datasets.list() == []
    card = save_rendered(datasets, source, recipe(), name="x", skip=True)
    assert card.rows == 2 and card.left_out == {reason: some.count for reason, some in counted.left_out.items()}


def test_only_columns_that_are_asked_for_must_be_filled(tmp_path: Path) -> None:
    source = table(tmp_path, [{"text": "", "label": "0"}, {"text": "b", "label": ""}])
    only = reviews(templates=[Template(name="label alone", prompt="Say it.", completion="{label}")])
    assert count(survey(source), recipe(only)).usable == 1


@given(st.lists(st.tuples(st.sampled_from(["", "a", " ", "b"]), st.sampled_from(["0", "1", "2", ""])), max_size=30))
def test_what_is_counted_is_what_is_made(rows: list[tuple[str, str]]) -> None:
    table_rows = [TableRow(number, {"text": text, "label": label}, str(number)) for number, (text, label) in enumerate(rows, 1)]

    class Given:
        def rows(self, progress: object = None) -> object:
            return iter(table_rows)

    counted = count(survey(Given()), recipe(rendering=Rendering(choice="all")))  # type: ignore[arg-type]
    assert counted.made == len(list(render(table_rows, recipe(rendering=Rendering(choice="all")))))
    assert counted.usable + sum(some.count for some in counted.left_out.values()) == len(rows)


def test_cells_that_look_like_something_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n=HYPERLINK(1),0\n{label} {{x}} ${y},1\nNA,0\n", encoding="utf-8")
    made = [record["messages"][0]["content"] for record in render(FileTable(inspect(path)).rows(), recipe())]
    assert [
        text
        for text in made
        if "{label} {{x}} ${y}" in text or "=HYPERLINK(1)" in text or "NA" in text or text.startswith("Write")
    ] == made


# ---- an instruction set in other words


def test_prompts_of_an_instruction_set_are_put_otherwise_and_answers_kept(datasets: Datasets) -> None:
    mapping = Mapping(shape="alpaca", columns={"instruction": "instruction", "input": "input", "output": "output"})
    card = import_file(datasets, inspect(real("alpaca_en_demo.json")), mapping, name="alpaca", skip_problems=True)
    saved = SavedTable(datasets, card.id, card.version)
    templates = template_sets().sets["rewording"]
    made = Recipe(templates=templates, columns={"prompt": "prompt"}, rendering=Rendering(choice="some", some=2))
    again = save_rendered(datasets, saved, made, name="alpaca, in other words")
    assert again.rows == 2 * card.rows
    for original, pair in zip(datasets.iterate(card.id), _pairs(datasets.iterate(again.id)), strict=True):
        asked = original["messages"][0]["content"]
        for record in pair:
            assert asked in record["messages"][0]["content"] and record["messages"][1:] == original["messages"][1:]
            assert family_of(record) == family_of(original)


def _pairs(records: object) -> object:
    records = iter(records)  # type: ignore[call-overload]
    return zip(records, records, strict=True)


def test_a_file_cannot_be_put_into_other_words(tmp_path: Path) -> None:
    source = table(tmp_path, [{"prompt": "Why?", "completion": "Because."}])
    made = Recipe(templates=template_sets().sets["rewording"], columns={"prompt": "prompt"})
    with pytest.raises(UserError, match="saved data set of conversations"):
        list(render(source.rows(), made))
