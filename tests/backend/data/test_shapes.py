"""What columns mean: the guess, the records, and every reason why a row is none."""

from pathlib import Path
from typing import Any

import pytest

from backend.data.readers import inspect, sample_rows
from backend.data.shapes import ROLES, Mapping, RowProblem, guess_mapping, parse_mapping, to_record
from backend.errors import UserError

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


def mapping(shape: Any, **columns: str) -> Mapping:
    """A mapping whose columns are called what their roles are, unless told otherwise."""
    return Mapping(shape=shape, columns={**{role: role for role in ROLES[shape]}, **columns})


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


TURNS = [user("hi"), assistant("hello")]


# ---- guessing


@pytest.mark.parametrize(
    ("row", "shape", "columns"),
    [
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca", {"instruction", "input", "output"}),
        ({"instruction": "a", "context": "c", "response": "b"}, "alpaca", {"instruction", "context", "response"}),
        (
            {"instruction": "a", "output": "b", "text": "a b", "history": []},
            "alpaca",
            {"instruction", "output", "history"},
        ),
        (
            {"Instruction ": "a", "Output": "b", "System Prompt": "s"},
            "alpaca",
            {"Instruction ", "Output", "System Prompt"},
        ),
        ({"prompt": "a", "completion": "b"}, "prompt_completion", {"prompt", "completion"}),
        ({"id": 1, "question": "a", "answer": "b"}, "prompt_completion", {"question", "answer"}),
        ({"QUERY": "a", "Response": "b", "system": "s"}, "prompt_completion", {"QUERY", "Response", "system"}),
        ({"input": "a", "output": "b"}, "prompt_completion", {"input", "output"}),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, "prompt_completion", {"prompt", "completion"}),
        ({"messages": TURNS, "id": "x"}, "messages", {"messages"}),
        ({"dialogue": TURNS}, "messages", {"dialogue"}),
        ({"Chat": TURNS, "text": "all of it"}, "messages", {"Chat"}),
        ({"conversations": [{"from": "human", "value": "a"}], "system": "s"}, "sharegpt", {"conversations", "system"}),
        ({"conversations": TURNS}, "messages", {"conversations"}),
        ({"text": "a", "url": "b"}, "text", {"text"}),
        ({"poem": "a", "year": 1900}, "text", {"poem"}),
    ],
)
def test_the_mapping_is_guessed_from_names_and_values(row: dict[str, Any], shape: str, columns: set[str]) -> None:
    guess = guess_mapping([{}, {**row, "none": None}, row])
    assert guess is not None
    assert (guess.shape, set(guess.columns.values())) == (shape, columns)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"a": 1},
        {"left": "x", "right": "y"},
        {"prompt": 1, "completion": 2},
        {"messages": "not a list", "b": "x"},
        {"messages": []},
    ],
)
def test_nothing_is_guessed_where_nothing_is_likely(row: dict[str, Any]) -> None:
    assert guess_mapping([row]) is None
    assert guess_mapping([]) is None


def test_a_few_odd_values_do_not_spoil_the_guess() -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": 1, "completion": None}, {"prompt": "c"}]
    assert guess_mapping(rows) == parse_mapping("prompt_completion", {"prompt": "prompt", "completion": "completion"})


def test_a_form_with_columns_missing_or_unknown_is_said_so() -> None:
    with pytest.raises(UserError, match="alpaca needs a column for instruction and for output"):
        parse_mapping("alpaca", {"instruction": "", "input": "x", "output": None})
    with pytest.raises(UserError, match="has no answer. Choose from: text"):
        parse_mapping("text", {"text": "x", "answer": "y"})
    with pytest.raises(UserError, match="Input should be"):
        parse_mapping("poem", {})


# ---- records


@pytest.mark.parametrize(
    ("shape", "values", "messages"),
    [
        ("alpaca", {"instruction": "a", "input": "", "output": "b"}, [user("a"), assistant("b")]),
        ("alpaca", {"instruction": "a", "input": "i", "output": "b"}, [user("a\ni"), assistant("b")]),
        (
            "alpaca",
            {"instruction": "a", "input": None, "output": "b", "system": "s"},
            [system("s"), user("a"), assistant("b")],
        ),
        (
            "alpaca",
            {"instruction": "a", "output": "b", "history": [["q1", "a1"], ["q2", "a2"]]},
            [user("q1"), assistant("a1"), user("q2"), assistant("a2"), user("a"), assistant("b")],
        ),
        ("prompt_completion", {"prompt": " a\n", "completion": "\tb "}, [user(" a\n"), assistant("\tb ")]),
        (
            "prompt_completion",
            {"prompt": "a", "completion": "b", "system": "s"},
            [system("s"), user("a"), assistant("b")],
        ),
        (
            "prompt_completion",
            {"prompt": [system("s"), user("a")], "completion": [assistant("b")]},
            [system("s"), user("a"), assistant("b")],
        ),
        ("messages", {"messages": [system(""), *TURNS, *TURNS]}, [system(""), *TURNS, *TURNS]),
        ("messages", {"messages": [{"role": "developer", "content": "s", "name": "x"}, *TURNS]}, [system("s"), *TURNS]),
        (
            "messages",
            {
                "messages": [
                    {"role": "User", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": " b"}]},
                    TURNS[1],
                ]
            },
            [user("a b"), TURNS[1]],
        ),
        *(
            ("sharegpt", {"conversations": [{"from": asks, "value": "hi"}, {"from": answers, "value": "hello"}]}, TURNS)
            for asks, answers in [
                ("human", "gpt"),
                ("user", "assistant"),
                ("human", "model"),
                ("human", "chatgpt"),
                ("user", "bing"),
            ]
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}], "system": "s"},
            [system("s"), *TURNS],
        ),
    ],
)
def test_rows_become_conversations(shape: str, values: dict[str, Any], messages: list[dict[str, str]]) -> None:
    assert to_record(values, mapping(shape)) == {"messages": messages}


@pytest.mark.parametrize("text", ['=HYPERLINK("x")', " \u200b😀 שלום\r\n", "<|im_end|>", "NA", "\x00"])
def test_texts_are_kept_character_for_character(text: str) -> None:
    assert to_record({"body": text}, mapping("text", text="body")) == {"text": text}
    assert to_record({"prompt": text, "completion": text}, mapping("prompt_completion")) == {
        "messages": [user(text), assistant(text)]
    }


PAIR = {"prompt": "a", "completion": "b"}


@pytest.mark.parametrize(
    ("shape", "values", "reason"),
    [
        ("prompt_completion", {"prompt": "a"}, 'has no "completion" text'),
        ("prompt_completion", {**PAIR, "completion": None}, 'has no "completion" text'),
        ("prompt_completion", {**PAIR, "completion": ""}, 'has an empty "completion"'),
        ("prompt_completion", {**PAIR, "completion": " \n"}, 'has an empty "completion"'),
        ("prompt_completion", {**PAIR, "prompt": ""}, 'has an empty "prompt"'),
        ("prompt_completion", {**PAIR, "prompt": 7}, 'has a number where "prompt" should be text'),
        ("prompt_completion", {**PAIR, "prompt": float("nan")}, 'has a number where "prompt" should be text'),
        ("prompt_completion", {**PAIR, "prompt": True}, 'has true or false where "prompt" should be text'),
        ("prompt_completion", {**PAIR, "prompt": {"a": 1}}, 'has an object where "prompt" should be text'),
        ("prompt_completion", {**PAIR, "prompt": []}, 'has no turns in "prompt"'),
        ("prompt_completion", {**PAIR, "system": 1}, 'has a number where "system" should be text'),
        ("prompt_completion", {"prompt": [user("a")], "completion": [user("b")]}, "has no assistant turn"),
        ("alpaca", {"instruction": "a", "output": ["b"]}, 'has a list where "output" should be text'),
        ("alpaca", {"instruction": "a", "output": "b", "input": 3}, 'has a number where "input" should be text'),
        (
            "alpaca",
            {"instruction": "a", "output": "b", "history": [["q"]]},
            'has something else than [question, answer] pairs in "history"',
        ),
        (
            "alpaca",
            {"instruction": "a", "output": "b", "history": "q"},
            'has something else than [question, answer] pairs in "history"',
        ),
        (
            "alpaca",
            {"instruction": "a", "output": "b", "history": [["q", None]]},
            'has a turn without text in "history"',
        ),
        ("text", {"text": ""}, 'has an empty "text"'),
        ("text", {}, 'has no "text" text'),
        ("text", {"text": 1.5}, 'has a number where "text" should be text'),
        ("messages", {}, 'has no turns in "messages"'),
        ("messages", {"messages": []}, 'has no turns in "messages"'),
        ("messages", {"messages": "hi"}, 'has a text where "messages" should be a list of turns'),
        ("messages", {"messages": ["hi"]}, "has a text where a turn should be"),
        ("messages", {"messages": [{"content": "hi"}]}, 'has a turn without "role"'),
        ("messages", {"messages": [{"role": "narrator", "content": "hi"}]}, 'has an unknown role "narrator"'),
        ("messages", {"messages": [{"role": "tool", "content": "hi"}]}, 'has an unknown role "tool"'),
        ("messages", {"messages": [{"role": 5, "content": "hi"}]}, 'has an unknown role "5"'),
        ("messages", {"messages": [user("")]}, "has an empty user turn"),
        ("messages", {"messages": [user("a"), assistant(" ")]}, "has an empty assistant turn"),
        (
            "messages",
            {"messages": [user("a"), {"role": "assistant"}]},
            "has nothing where the assistant turn should have text",
        ),
        (
            "messages",
            {"messages": [user("a"), {"role": "assistant", "content": 1}]},
            "has a number where the assistant turn should have text",
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "has a turn with a part that is not text, such as a picture",
        ),
        ("messages", {"messages": [user("a")]}, "has no assistant turn"),
        ("messages", {"messages": [system("a")]}, "has no assistant turn"),
        ("messages", {"messages": [assistant("a")]}, "begins with the assistant; a user turn comes first"),
        ("messages", {"messages": [*TURNS, system("a")]}, "has a system turn that is not the first"),
        ("messages", {"messages": [system("a"), system("b"), *TURNS]}, "has a system turn that is not the first"),
        ("messages", {"messages": [user("a"), *TURNS]}, "has two user turns in a row"),
        ("messages", {"messages": [*TURNS, assistant("a")]}, "has two assistant turns in a row"),
        ("messages", {"messages": [*TURNS, user("a")]}, "ends with a user turn that has no answer"),
        ("sharegpt", {"conversations": TURNS}, 'has a turn without "from"'),
        ("sharegpt", {"conversations": [{"from": "bard", "value": "a"}]}, 'has an unknown role "bard"'),
    ],
)
def test_a_row_that_does_not_fit_says_why(shape: str, values: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowProblem) as problem:
        to_record(values, mapping(shape))
    assert problem.value.reason == reason


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data sets are not at {REAL_DATA}")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("alpaca_en_demo.json", "alpaca"),
        ("identity.json", "alpaca"),
        ("c4_demo.jsonl", "text"),
        ("dpo_en_demo.json", "preferences"),
        ("seed_tasks.jsonl", None),
        ("sst2_dev.tsv", None),
    ],
)
def test_real_files_are_guessed_or_left_to_the_user(name: str, shape: str | None) -> None:
    guess = guess_mapping(sample_rows(inspect(REAL_DATA / name)))
    assert (guess and guess.shape) == shape


# ---- preferences


def pair(**changes: Any) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": "Q"}], "answers": [[{"role": "assistant", "content": "good"}], [{"role": "assistant", "content": "bad"}]], "ranks": [1, 2], **changes}


@pytest.mark.parametrize("row", [
    {"prompt": "Q", "chosen": "good", "rejected": "bad"},
    {"prompt": [{"role": "user", "content": "Q"}], "chosen": [{"role": "assistant", "content": "good"}], "rejected": [{"role": "assistant", "content": "bad"}]},
    {"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "good"}], "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "bad"}]},
    {"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
    {"instruction": "Q", "chosen": "good", "rejected": "bad"},
], ids=["texts", "turns", "implicit prompt", "ShareGPT", "instruction"])  # fmt: skip
def test_pairs_are_recognised_however_they_are_written(row: dict[str, Any]) -> None:
    mapping = guess_mapping([row])
    assert mapping is not None and mapping.record == "preferences"
    assert to_record(row, mapping) == pair()


def test_a_margin_is_a_number_and_may_be_missing() -> None:
    rows = [{"prompt": "Q", "chosen": "good", "rejected": "bad", "margin": margin} for margin in ("0.5", None, "much", "nan")]
    mapping = guess_mapping(rows)
    assert mapping is not None
    assert (to_record(rows[0], mapping), to_record(rows[1], mapping)) == (pair(margin=0.5), pair())
    for row, reason in zip(rows[2:], ['has "much" where the margin should be a number', "has a margin of nan"], strict=True):
        with pytest.raises(RowProblem) as problem:
            to_record(row, mapping)
        assert problem.value.reason == reason


@pytest.mark.parametrize(("row", "reason"), [
    ({"prompt": "Q", "chosen": "good"}, 'has no "rejected" text'),
    ({"prompt": "Q", "chosen": "same", "rejected": "same"}, "has two answers that are the same"),
    ({"prompt": "Q", "chosen": "good", "rejected": " "}, 'has an empty "rejected"'),
    ({"prompt": [{"role": "assistant", "content": "A"}], "chosen": "good", "rejected": "bad"}, "begins with the assistant; a user turn comes first"),
])  # fmt: skip
def test_a_pair_that_is_none_is_said_so(row: dict[str, Any], reason: str) -> None:
    mapping = Mapping(shape="preferences", columns={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"})
    with pytest.raises(RowProblem) as problem:
        to_record(row, mapping)
    assert problem.value.reason == reason


# ---- answers rated by themselves


def rated(*, good: bool) -> dict[str, Any]:
    return {"prompt": [user("Q")], "answers": [[assistant("A")]], "ranks": [1 if good else 2]}


@pytest.mark.parametrize("row", [
    {"prompt": "Q", "completion": "A"},
    {"prompt": [user("Q")], "completion": [assistant("A")]},
    {"question": "Q", "response": "A"},
], ids=["texts", "turns", "other names"])  # fmt: skip
@pytest.mark.parametrize("labels", [(True, False), ("true", "False")], ids=["JSON", "a table"])
def test_good_and_bad_answers_are_recognised_as_trl_writes_them(row: dict[str, Any], labels: tuple[Any, Any]) -> None:
    rows = [{**row, "label": label} for label in labels]
    found = guess_mapping(rows)
    assert found is not None and (found.shape, found.record) == ("unpaired", "preferences")
    assert [to_record(each, found) for each in rows] == [rated(good=True), rated(good=False)]


def test_a_label_that_says_something_else_makes_no_rated_answer() -> None:
    found = guess_mapping([{"prompt": "Q", "completion": "A", "label": label} for label in (0, 1, 2)])
    assert found is not None and found.shape == "prompt_completion"


@pytest.mark.parametrize(("change", "reason"), [
    ({"label": None}, 'has "None" where the label should be true or false'),
    ({"label": "fine"}, 'has "fine" where the label should be true or false'),
    ({"completion": " "}, 'has an empty "completion"'),
    ({"completion": [user("A")]}, "has no assistant turn"),
])  # fmt: skip
def test_what_is_no_rated_answer_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowProblem) as problem:
        to_record({"prompt": "Q", "completion": "A", "label": True} | change, mapping("unpaired"))
    assert problem.value.reason == reason
