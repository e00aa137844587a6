"""What can be asked for: what is refused and why, which prompts are drawn, and how long it may take."""

from typing import Any

import pytest

from backend.answering.answering import make_answering
from backend.answering.estimate import estimate
from backend.answering.prompts import chat_prompts, draw, drawn_rows, pasted_prompts
from backend.answering.settings import AnsweringSpec, PromptSource, parse_answering
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.specs import DatasetRef
from backend.store import Store
from backend.workspace import Workspace
from tests.conftest import save_conversations, starter_rows

PASTED = {"kind": "pasted", "pasted": "Why?"}


def spec_of(*answerers: dict[str, Any], prompts: dict[str, Any] = PASTED, **more: Any) -> AnsweringSpec:
    return parse_answering({"prompts": prompts, "answerers": list(answerers), **more})


@pytest.mark.parametrize(
    ("answerers", "reason"),
    [
        ([{}], "leaves nothing to compare"),
        ([{"temperature": 0, "draws": 3}], "at temperature 0 all 3 answers would be the same"),
        ([{}, {}], "answerers 1 and 2 would say the same"),
        ([{"seed": 1}, {"temperature": 0}, {"temperature": 0, "seed": 5, "top_p": 0.5}], "answerers 2 and 3 would say the same"),
        ([{}, {"speaker": "reference"}], "only prompts of a data set have one"),
        ([{"draws": 17}], "less than or equal to 16"),
    ],
)
def test_answers_that_could_not_be_compared_are_refused(answerers: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        spec_of(*answerers)


def test_answers_that_differ_in_anything_are_allowed() -> None:
    spec = spec_of({}, {"seed": 1}, {"temperature": 0}, {"temperature": 0, "max_tokens": 9}, {"speaker": "run:x", "temperature": 0})
    assert spec.answers_per_prompt == 5


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UserError) as raised:
        spec_of({"temperature": -1}, {"top_p": 0}, prompts={"kind": "pasted", "pasted": " "})
    assert len(raised.value.problems) == 3


def test_pasted_prompts_are_parted_by_lines_or_by_empty_lines() -> None:
    text = "Why?\r\n\n  How so?\nTell me.\n \n\nWhen?"
    assert pasted_prompts(PromptSource(kind="pasted", pasted=text)) == ["Why?", "How so?", "Tell me.", "When?"]
    parted = PromptSource(kind="pasted", pasted=text.replace("\r", ""), parted_by="empty lines")
    assert pasted_prompts(parted) == ["Why?", "How so?\nTell me.", "When?"]


def test_pasted_prompts_keep_their_order_and_come_once(workspace: Workspace) -> None:
    drawn = draw(PromptSource(kind="pasted", pasted="b\na\nb\n<script>\n"), workspace)
    assert [each.messages for each in drawn] == [[{"role": "user", "content": text}] for text in ("b", "a", "<script>")]


def test_the_seed_draws_the_prompts(workspace: Workspace, dataset: Card) -> None:
    def drawn(seed: int) -> list[str]:
        source = PromptSource(data=DatasetRef(id=dataset.id), number=8, seed=seed)
        return [each.messages[0]["content"] for each in draw(source, workspace)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 8
    assert set(drawn(1)) <= {row["messages"][0]["content"] for row in starter_rows(24)}


def test_a_conversation_is_asked_up_to_its_last_answer(workspace: Workspace) -> None:
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Why?"), ("assistant", "So.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    card = save_conversations(workspace, [{"messages": messages}])
    (asked,) = draw(PromptSource(data=DatasetRef(id=card.id)), workspace)
    assert asked.messages == messages[:4] and asked.reference == messages[4:]


def preferences(workspace: Workspace) -> Card:
    rows: list[Any] = [
        {"prompt": [{"role": "user", "content": f"Question {n}?"}], "ranks": [2, 1],
         "answers": [[{"role": "assistant", "content": f"worse {n}"}], [{"role": "assistant", "content": f"better {n}"}]]}
        for n in range(5)
    ]  # fmt: skip
    return Datasets(workspace).save(rows, name="pairs", record="preferences", source={"made": "for a test"})


def test_of_a_preference_the_better_answer_is_the_one_in_the_data(workspace: Workspace) -> None:
    card = preferences(workspace)
    drawn = draw(PromptSource(data=DatasetRef(id=card.id)), workspace)
    assert {(each.messages[0]["content"], each.reference[0]["content"]) for each in drawn} == {
        (f"Question {n}?", f"better {n}") for n in range(5)
    }


def test_plain_text_and_rows_without_answers_are_told(workspace: Workspace, texts: Card) -> None:
    with pytest.raises(UserError, match="holds plain text, which asks nothing"):
        list(drawn_rows(Datasets(workspace), DatasetRef(id=texts.id), number=1, seed=0))


def test_what_was_voted_on_in_chat_can_be_asked_again(workspace: Workspace) -> None:
    assert chat_prompts(workspace) == []
    with pytest.raises(UserError, match="No question was voted on in Chat yet"):
        draw(PromptSource(kind="chat"), workspace)
    store = Store.of(workspace)
    with store.changing() as db:
        for turn, question in enumerate(("Why?", "Why?", "taken back")):
            db.execute(
                "INSERT INTO chat_votes (talk, turn, prompt, left_answer, right_answer, verdict, same_history, annotator, at) "
                "VALUES ('t', ?, ?, '{}', '{}', 'left', 1, 'me', 1)", (turn, '[{"role":"user","content":"' + question + '"}]'),
            )  # fmt: skip
        db.execute("INSERT INTO chat_undos SELECT id, 9 FROM chat_votes WHERE turn = 2")
    store.close()
    assert [each.messages for each in draw(PromptSource(kind="chat"), workspace)] == [[{"role": "user", "content": "Why?"}]]


def test_an_estimate_rests_on_what_was_measured_here(workspace: Workspace) -> None:
    spec = spec_of({"draws": 2, "max_tokens": 100}, {"temperature": 0, "max_tokens": 50})
    assumed = estimate(spec, 10, workspace)
    assert (assumed.answers, assumed.tokens, assumed.is_measured) == (30, 2500, False) and assumed.seconds > 0
    earlier = make_answering(workspace, spec)
    for tokens, seconds in ((300, 2.0), (200, 3.0)):
        earlier.events.append("step", step=1, model="starter", tokens=tokens, seconds=seconds)
    earlier.events.append("step", step=2, model="", tokens=0, seconds=0.0)  # answers that stood in the data
    known = estimate(spec, 10, workspace)
    assert known.is_measured and known.seconds == pytest.approx(2500 / 100)
