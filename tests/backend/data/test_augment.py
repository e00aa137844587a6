"""Augmented rows: answers untouched, what must be read letter by letter untouched, originals kept, families shared."""

import json
import random
import re
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.data.augment import AUTHOR_OF_SLIPS, Augmentation, augment, count, examples, save_augmented, slip
from backend.data.records import Record, family_of, how_of, prompt_of
from backend.data.similarity import Pool
from backend.data.templating.sets import TemplateSet, template_sets
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.workspace import Workspace
from tests.conftest import starter_rows

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"
FRAMES = template_sets().sets["rewording"]
BOTH = Augmentation(reworded=2, slipped=2)


def row(prompt: str, answer: str = "So.", **about: str) -> Record:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **({"about": about} if about else {})}  # type: ignore[typeddict-item]


def copies(records: list[Record], settings: Augmentation = BOTH, frames: TemplateSet = FRAMES) -> list[Record]:
    return [record for record in augment(records, settings, frames) if how_of(record) == "augmented"]


def test_originals_stay_and_copies_follow_them() -> None:
    rows = starter_rows(20)
    made = list(augment(rows, BOTH, FRAMES))
    assert [record for record in made if how_of(record) != "augmented"] == rows
    assert len(made) == 20 * 5
    assert [len(list(group)) for _, group in groupby(made, family_of)] == [5] * 20


def test_only_the_first_question_changes() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why does bread rise in the oven?"},
        {"role": "assistant", "content": "Yeast."},
        {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": "Steam."},
    ]
    for copy in copies([{"messages": turns}]):  # type: ignore[typeddict-item]
        first, asked, *rest = copy["messages"]
        assert first == turns[0] and rest == turns[2:] and asked["content"] != turns[1]["content"]


def test_what_is_known_of_a_row_stays_known_of_its_copies() -> None:
    original = row("Why does bread rise?", task="baking", cluster="kitchen", how="hand", author="Ada")
    for copy in copies([original]):
        about = copy["about"]
        assert (about["task"], about["cluster"], about["how"], about["family"]) == (
            "baking",
            "kitchen",
            "augmented",
            "Why does bread rise?",
        )
        assert about["author"] != "Ada"
    assert {family_of(copy) for copy in copies([row("Why?", family="f")])} == {"f"}


def test_copies_depend_on_their_row_and_the_seed_alone() -> None:
    rows = starter_rows(10)
    assert copies(rows) == copies(rows)
    assert copies(rows[5:]) == [copy for copy in copies(rows) if family_of(copy) in set(map(family_of, rows[5:]))]
    assert copies(rows) != copies(rows, Augmentation(reworded=2, slipped=2, seed=1))


def test_no_two_copies_are_alike_nor_like_their_original() -> None:
    for original in starter_rows(30):
        prompts = [prompt_of(record) for record in augment([original], Augmentation(reworded=10, slipped=10), FRAMES)]
        assert len(set(prompts)) == len(prompts)
        assert sum("as it is" in record["about"]["author"] for record in copies([original])) == 0


def test_augmented_rows_are_not_augmented_again_and_do_not_pile_up() -> None:
    once = list(augment(starter_rows(5), BOTH, FRAMES))
    assert list(augment(once, BOTH, FRAMES)) == once
    added = list(augment(once, Augmentation(reworded=2, slipped=2, seed=9, afresh=False), FRAMES))
    assert len(added) == len(once) + 5 * 4


def test_a_share_of_the_rows_gets_copies() -> None:
    rows = [row(f"Why is number {n} a nice number?") for n in range(400)]
    made = copies(rows, Augmentation(reworded=1, share=0.25))
    assert 60 < len(made) < 140


# ---- slips


KEPT = [
    "`foo_bar(baz)`", "```\nprint('hello world')\n```", "https://example.org/some/path", "somebody@example.org", "{placeholder}", "<name>",
    "[your company]", '"accomodation"', "3.14159", "route66", "snake_case_name", "/usr/local/share",
]  # fmt: skip


@pytest.mark.parametrize("kept", KEPT)
def test_what_must_be_read_letter_by_letter_stays(kept: str) -> None:
    settings = Augmentation(typos=0.5, casing=1.0, endings=1.0)
    prompt = f"Please explain carefully what {kept} means within this sentence."
    for seed in range(40):
        slipped = slip(prompt, settings, random.Random(seed))
        assert kept in slipped and slipped != prompt


@given(st.text(max_size=200), st.integers(0, 2**31))
def test_slips_never_touch_digits_and_only_ever_touch_a_little(prompt: str, seed: int) -> None:
    slipped = slip(prompt, Augmentation(casing=0), random.Random(seed))
    assert re.findall(r"\d", slipped) == re.findall(r"\d", prompt)
    assert abs(len(slipped) - len(prompt)) <= len(prompt.split()) + 2


def test_a_slip_is_one_letter_of_a_word() -> None:
    pool = Pool(["Why do recipes tell people to rest a steak"])
    for seed in range(60):
        slipped = slip(
            "Why do recipes tell people to rest a steak", Augmentation(typos=0.01, casing=0, endings=0), random.Random(seed)
        )
        assert slipped != pool.texts[0]
        changed = [(ours, theirs) for ours, theirs in zip(pool.texts[0].split(), slipped.split(), strict=True) if ours != theirs]
        assert all(ours[0] == theirs[0] and abs(len(ours) - len(theirs)) <= 1 for ours, theirs in changed)


@pytest.mark.parametrize("prompt", ["", "42", "翻译这句话", "مرحبا بالعالم", "NASA AND ESA", "`code alone`", "A B C"])
def test_a_prompt_without_words_to_mistype_stays(prompt: str) -> None:
    settings = Augmentation(casing=0, endings=0)
    assert {slip(prompt, settings, random.Random(seed)) for seed in range(10)} == {prompt}
    assert copies([row(prompt)], Augmentation(reworded=0, slipped=3, casing=0, endings=0)) == []


def test_real_instructions_keep_their_answers_and_their_numbers() -> None:
    path = REAL_DATA / "alpaca_en_demo.json"
    if not path.exists():
        pytest.skip("alpaca_en_demo.json is not on this machine")
    rows = [row(each["instruction"], each["output"]) for each in json.loads(path.read_text(encoding="utf-8"))]
    made = copies(rows, Augmentation(reworded=0, slipped=1))
    assert len(made) > 0.95 * len(rows)
    originals = {prompt_of(record): record for record in rows}
    for copy in made:
        original = originals[family_of(copy)]
        assert copy["messages"][1:] == original["messages"][1:]
        assert re.findall(r"\d+", prompt_of(copy)) == re.findall(r"\d+", prompt_of(original))
        assert copy["about"]["author"] == AUTHOR_OF_SLIPS


# ---- versions


def test_the_share_is_told_and_is_what_is_saved(workspace: Workspace, dataset: Card) -> None:
    datasets = Datasets(workspace)
    told = count(datasets, dataset.id, dataset.version, BOTH, FRAMES)
    card = save_augmented(datasets, dataset.id, dataset.version, BOTH, FRAMES)
    assert (told.originals, told.augmented, told.looked_at) == (24, 96, 24)
    assert (card.id, card.version, card.rows, card.made["augmented"]) == (dataset.id, 2, 120, 96)
    assert card.source["from"] == {"data": dataset.id, "version": 1}
    again = Augmentation.model_validate(card.source["settings"])
    assert list(augment(datasets.iterate(dataset.id, 1), again, FRAMES)) == list(datasets.iterate(card.id, 2))


def test_another_name_makes_another_data_set(workspace: Workspace, dataset: Card) -> None:
    datasets = Datasets(workspace)
    card = save_augmented(datasets, dataset.id, dataset.version, BOTH, FRAMES, name="questions and more")
    assert card.id != dataset.id and (card.name, card.version) == ("questions and more", 1)
    assert datasets.card(dataset.id).version == 1


def test_plain_text_and_no_copies_are_refused(workspace: Workspace, texts: Card, dataset: Card) -> None:
    datasets = Datasets(workspace)
    with pytest.raises(UserError, match="holds no conversations"):
        save_augmented(datasets, texts.id, texts.version, BOTH, FRAMES)
    with pytest.raises(UserError, match="No copies are asked for"):
        save_augmented(datasets, dataset.id, dataset.version, Augmentation(reworded=0, slipped=0), FRAMES)
    with pytest.raises(UserError, match="does not only put prompts into other words"):
        save_augmented(datasets, dataset.id, dataset.version, BOTH, template_sets().sets["sentiment"])


def test_examples_show_the_original_beside_the_copy() -> None:
    shown = list(examples(starter_rows(2), Augmentation(reworded=1), FRAMES))
    assert [prompt for prompt, _ in shown] == [prompt_of(record) for record in starter_rows(2)]
    assert all(prompt in prompt_of(copy) for prompt, copy in shown)
