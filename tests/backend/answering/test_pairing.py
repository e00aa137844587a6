"""Answers put beside each other, and a batch begun with them."""

from typing import Any

import pytest

from backend.answering.answering import Answer
from backend.answering.beginning import (
    BatchSettings,
    Gathered,
    begin_batch,
    gathered_from_data,
    gathered_from_file,
    parse_batch,
)
from backend.answering.pairing import PairingSettings, pair, parse_pairing
from backend.answering.prompts import asked
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.labelling.filters import FilterSettings, sieve
from backend.labelling.items import Candidate, Item, Labels, Said
from backend.specs import DatasetRef
from backend.store import Store
from backend.workspace import Workspace

PROMPTS = [asked(f"Question {n}?") for n in range(3)]


def answers(*, answerers: int = 2, draws: int = 2, without: int | None = None) -> list[Answer]:
    """Everybody's answers to every prompt; those to the prompt `without` could not be given."""
    return [
        Answer(prompt, who, draw, f"answer {prompt} {who} {draw} in full", {"speaker": f"run:{who}"}, "is too long" if prompt == without else "")
        for prompt in range(len(PROMPTS)) for who in range(answerers) for draw in range(draws)
    ]


def texts(item: Item) -> list[str]:
    return [candidate.answer[0]["content"] for candidate in item.candidates]


def test_any_two_answers_to_a_prompt_make_a_pair() -> None:
    paired = pair(PROMPTS, answers(without=1), PairingSettings())
    assert len(paired.items) == 2 * 6 and paired.left_out == 1
    assert len({frozenset(texts(item)) for item in paired.items}) == 12
    assert all(text.split()[1] == item.prompt[0]["content"].split()[1][0] for item in paired.items for text in texts(item))


def test_some_pairs_are_drawn_by_the_seed() -> None:
    def drawn(seed: int) -> list[list[str]]:
        return [texts(item) for item in pair(PROMPTS, answers(), PairingSettings(which="some", per_prompt=2, seed=seed)).items]

    assert drawn(0) == drawn(0) != drawn(1) and len(drawn(0)) == 6
    assert len(pair(PROMPTS, answers(), PairingSettings(which="some", per_prompt=99)).items) == 18


def test_one_answerer_stands_against_another() -> None:
    paired = pair(PROMPTS, answers(answerers=3), PairingSettings(which="one against another", one=1, other=3))
    assert len(paired.items) == 3 * 4
    assert {tuple(candidate.made["speaker"] for candidate in item.candidates) for item in paired.items} == {("run:0", "run:2")}


def test_four_to_nine_answers_are_ranked() -> None:
    five = pair(PROMPTS, answers(answerers=3), PairingSettings(form="rankings", answers=5))
    assert [len(set(texts(item))) for item in five.items] == [5, 5, 5]
    fewer = pair(PROMPTS, answers(), PairingSettings(form="rankings", answers=9))
    assert [len(item.candidates) for item in fewer.items] == [4, 4, 4]
    assert pair(PROMPTS, answers(draws=1), PairingSettings(form="rankings")).left_out == 3


def test_an_answerer_against_itself_is_refused() -> None:
    with pytest.raises(UserError, match="stands against itself"):
        parse_pairing({"which": "one against another", "one": 2, "other": 2})


def test_a_batch_is_shuffled_and_its_votes_stay_with_their_items(workspace: Workspace) -> None:
    labels = Labels(Store.of(workspace))
    items = pair([asked(f"Question {n}?") for n in range(9)], _many(9), PairingSettings()).items
    items[4] = Item(items[4].prompt, [Candidate([{"role": "assistant", "content": "no"}], {}), items[4].candidates[1]])
    votes = [Said(n, "ada", "ranked", [1, 2] if n % 2 else [2, 1]) for n in range(9)]
    gathered = Gathered(items, {"from": "file", "name": "x"}, "x", "", votes)
    batch = begin_batch(labels, gathered, sieve(items, FilterSettings()), BatchSettings(name="first", overlap=2, seed=1), with_votes=True)
    kept = labels.all_items(batch.id)
    assert (batch.name, batch.overlap, batch.items, batch.source) == ("first", 3, 8, {"from": "file", "name": "x"})
    order = [int(item.prompt[0]["content"].split()[1][:-1]) for item in kept]
    assert sorted(order) == [0, 1, 2, 3, 5, 6, 7, 8] != order
    said = {vote.item: vote.ranks for vote in labels.votes(batch.id)}
    assert {order[number]: ranks for number, ranks in said.items()} == {n: [1, 2] if n % 2 else [2, 1] for n in order}


def _many(prompts: int) -> list[Answer]:
    return [Answer(n, who, 0, f"answer {n} {who} is long enough", {}) for n in range(prompts) for who in range(2)]


def test_a_batch_of_nothing_says_what_to_do(workspace: Workspace) -> None:
    items = [Item([], [Candidate([{"role": "assistant", "content": ""}], {})] * 2)]
    with pytest.raises(UserError, match="No item passed the filters"):
        begin_batch(Labels(Store.of(workspace)), Gathered(items, {}, "x", ""), sieve(items, FilterSettings()), BatchSettings())
    with pytest.raises(UserError) as raised:
        parse_batch({"name": "", "overlap": 0})
    assert len(raised.value.problems) == 2


def test_saved_preferences_are_labelled_again_blind(workspace: Workspace) -> None:
    def row(n: int, count: int) -> Any:
        said = [[{"role": "assistant", "content": f"answer {n} {k}"}] for k in range(count)]
        return {"prompt": [{"role": "user", "content": f"Question {n}?"}], "answers": said, "ranks": list(range(count, 0, -1))}

    card = Datasets(workspace).save([row(0, 2), row(1, 4), row(2, 12)], name="old", record="preferences", source={})
    gathered = gathered_from_data(Datasets(workspace), DatasetRef(id=card.id), number=10, seed=0)
    assert sorted(len(item.candidates) for item in gathered.items) == [2, 4]
    assert [problem.reason for problem in gathered.problems] == ["has 12 answers, and from 2 to 9 can be compared"]
    assert gathered.source == {"from": "data set", "id": card.id, "version": 1} and gathered.name == "old, again"
    labels, sieved = Labels(Store.of(workspace)), sieve(gathered.items, FilterSettings(short=False))
    blind = begin_batch(labels, gathered, sieved, BatchSettings(name="again"))
    assert labels.votes(blind.id) == [] and labels.next(blind.id, "ada")
    beside = begin_batch(labels, gathered, sieved, BatchSettings(name="beside"), with_votes=True)
    assert len(labels.votes(beside.id)) == 2 and labels.next(beside.id, "ada")


def test_a_file_of_pairs_can_be_labelled(workspace: Workspace) -> None:
    file = workspace.root / "pairs.jsonl"
    file.write_text('{"prompt": "Why?", "answer1": "So it is.", "answer2": "No idea."}\n{"prompt": "How?", "answer1": "Thus."}\n')
    gathered = gathered_from_file(file, name="pairs.jsonl")
    assert [texts(item) for item in gathered.items] == [["So it is.", "No idea."]]
    assert [problem.number for problem in gathered.problems] == [2] and gathered.source == {"from": "file", "name": "pairs.jsonl"}
    assert gathered.words.startswith("pairs.jsonl: a prompt and 2 answers, not labelled, 1 item")
