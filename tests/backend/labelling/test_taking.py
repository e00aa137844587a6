"""What is taken away: every form is loaded back through the loader of the tool it is for."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from datasets import Dataset, load_dataset
from trl.data_utils import extract_prompt, is_conversational, maybe_unpair_preference_dataset

from backend.data.importing import import_file
from backend.data.readers import inspect, sample_rows
from backend.data.records import Message
from backend.data.shapes import guess_mapping
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.labelling.bringing import pairs_in
from backend.labelling.items import Batch, Candidate, Item, Labels
from backend.labelling.outcomes import Judged, judged_items, records
from backend.labelling.taking import (
    DATA_SET,
    FORMS,
    TakingSettings,
    better_and_worse,
    configuration,
    form_named,
    parse_taking,
    save,
    take,
    write,
)
from backend.store import Store
from backend.workspace import Workspace

EVERYTHING = TakingSettings(short=False, ties=True, both_bad=True)
QUESTION: list[Message] = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "q"}]


def said(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


MIXED: dict[str, tuple[list[int], list[Any]]] = {
    "pairs": ([2, 2, 2], [[2, 1], "tie", "both bad"]), "rankings": ([3, 3, 3], [[2, 1, 3], "tie", "both bad"]),
    "both": ([2, 3, 2], [[2, 1], [2, 1, 3], "tie"]),
}  # fmt: skip


def item(number: int, answers: int = 2, prompt: list[Message] | None = None) -> Item:
    texts = [f"answer {letter} to {number}" for letter in "abcd"[:answers]]
    made = [{"speaker": f"base:{letter}", "name": letter, "tokens": 5, "end": "finished", "sampling": {"temperature": 1.0}, "seed": 3} for letter in "abcd"]
    return Item(prompt or [{"role": "user", "content": f"question {number}"}], [Candidate(said(text), known) for text, known in zip(texts, made, strict=False)])  # type: ignore[arg-type]


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(Store(tmp_path / "studio.db"))


@pytest.fixture
def batch(labels: Labels) -> Batch:
    """A pair, a ranking of three, a pair behind a system prompt, both bad, a tie, one disagreed on, one open."""
    batch = labels.begin("Round one", [item(0), item(1, 3), item(2, prompt=QUESTION), *(item(n) for n in range(3, 7))], overlap=2)
    verdicts = {"ada": [[2, 1], [2, 1, 3], [1, 2], "both bad", "tie", [1, 2]], "bob": [[2, 1], [2, 1, 3], [1, 2], "both bad", "tie", [2, 1]]}
    for person, said_of in verdicts.items():
        for verdict in said_of:
            shown = labels.next(batch.id, person)
            assert shown
            if isinstance(verdict, str):
                labels.vote(shown, person, verdict=verdict)  # type: ignore[arg-type]
            else:
                labels.vote(shown, person, ranks=[verdict[place] for place in shown.order], strength=2)
    return batch


@pytest.fixture
def judged(labels: Labels, batch: Batch) -> list[Judged]:
    return judged_items(labels, batch.id)


def loaded(judged: list[Judged], form: str, folder: Path) -> Dataset:
    """A file of that form as the datasets library loads it."""
    path = write(take(judged, form_named(form), EVERYTHING), form_named(form), folder, name="round")
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"))


def test_a_dpo_file_is_read_by_trl_as_conversations_with_their_prompt_apart(judged: list[Judged], tmp_path: Path) -> None:
    rows = loaded(judged, "trl-dpo", tmp_path)
    assert rows.column_names == ["prompt", "chosen", "rejected"] and is_conversational(rows[0])
    pairs = [(row["prompt"][-1]["content"], row["chosen"][0]["content"][7], row["rejected"][0]["content"][7]) for row in rows]
    assert pairs == [("question 0", "b", "a"), ("question 1", "b", "a"), ("question 1", "b", "c"), ("question 1", "a", "c"), ("q", "a", "b")]
    assert rows[4]["prompt"] == QUESTION


def test_a_dpo_file_of_texts_holds_what_texts_can_and_names_what_they_cannot(judged: list[Judged], tmp_path: Path) -> None:
    rows = loaded(judged, "trl-dpo-text", tmp_path)
    assert rows[0] == {"prompt": "question 0", "chosen": "answer b to 0", "rejected": "answer a to 0"} and not is_conversational(rows[0])
    left_out = take(judged, form_named("trl-dpo-text"), EVERYTHING).left_out
    assert (3, "does not fit the form", "has several turns, or a system prompt") in left_out


def test_answers_put_level_in_a_ranking_make_no_pair(labels: Labels) -> None:
    batch = labels.begin("level", [item(0, 3)])
    labels.settle(batch.id, 0, "cleo", ranks=[1, 1, 2])
    (judged,) = judged_items(labels, batch.id)
    assert list(better_and_worse(judged)) == [(said("answer a to 0"), said("answer c to 0")), (said("answer b to 0"), said("answer c to 0"))]


def test_a_reward_file_gives_trl_the_same_pairs_with_an_implicit_prompt_and_a_margin(judged: list[Judged], tmp_path: Path) -> None:
    rows = loaded(judged, "trl-reward", tmp_path)
    assert rows.column_names == ["chosen", "rejected", "margin"] and rows["margin"][:] == [2.0] * 5
    parted = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in map(lambda row: row | extract_prompt(row), rows)]
    assert parted == loaded(judged, "trl-dpo", tmp_path).to_list()


def test_a_kto_file_is_what_trl_makes_of_pairs_and_has_both_bad_answers_as_bad(judged: list[Judged], tmp_path: Path) -> None:
    rows = loaded(judged, "trl-kto", tmp_path)
    assert rows.column_names == ["prompt", "completion", "label"]
    (pair,) = [each for each in judged if each.number == 1]
    unpaired = maybe_unpair_preference_dataset(loaded([pair], "trl-dpo", tmp_path / "one"))
    by_answer = {row["completion"][0]["content"]: (row["prompt"], row["label"]) for row in rows}
    assert all(by_answer[row["completion"][0]["content"]] == (row["prompt"], row["label"]) for row in unpaired) and len(unpaired) == 2
    assert [row["label"] for row in rows if row["prompt"][0]["content"] == "question 3"] == [False, False]
    assert [row["label"] for row in rows if row["prompt"][0]["content"] == "question 1"] == [False, True, False]
    assert len(rows) == 2 + 3 + 2 + 2


def test_a_kto_file_is_imported_as_what_it_was_taken_from(judged: list[Judged], workspace: Workspace, tmp_path: Path) -> None:
    def rated(records: Any) -> list[tuple[str, str, bool]]:
        return sorted(
            (repr(each["prompt"]), repr(answer), rank == 1) for each in records for answer, rank in zip(each["answers"], each["ranks"], strict=True)
        )

    taken = take(judged, form_named("trl-kto"), EVERYTHING)
    source = inspect(write(taken, form_named("trl-kto"), tmp_path, name="round"))
    mapping = guess_mapping(sample_rows(source))
    assert mapping and mapping.shape == "unpaired"
    datasets = Datasets(workspace)
    card = import_file(datasets, source, mapping, name="back")
    assert rated(datasets.iterate(card.id)) == rated(records(taken.judged)) and card.rows == 9


@pytest.mark.parametrize(("form", "columns"), [
    ("trl-dpo", {"prompt_ids", "chosen_ids", "rejected_ids"}),
    ("trl-dpo-text", {"prompt_ids", "chosen_ids", "rejected_ids"}),
    ("trl-reward", {"chosen_ids", "rejected_ids", "margin"}),
    ("trl-kto", {"prompt_ids", "completion_ids", "label"}),
])  # fmt: skip
def test_trls_own_trainers_prepare_the_files(form: str, columns: set[str], judged: list[Judged], tmp_path: Path, tiny_model: Path) -> None:
    trainer = _trainer(form, loaded(judged, form, tmp_path), tmp_path, tiny_model)
    assert columns <= set(trainer.train_dataset.column_names)
    assert len(trainer.train_dataset) == len(loaded(judged, form, tmp_path))


def _trainer(form: str, rows: Dataset, folder: Path, tiny_model: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

    kinds = {"trl-reward": (RewardConfig, RewardTrainer), "trl-kto": (KTOConfig, KTOTrainer)}
    config, trainer = kinds.get(form, (DPOConfig, DPOTrainer))
    arguments = config(output_dir=str(folder / "run"), use_cpu=True, bf16=False, report_to=[], max_length=128, per_device_train_batch_size=4,
                       gradient_checkpointing=False, disable_tqdm=True)  # fmt: skip
    torch.manual_seed(0)
    if form == "trl-reward":
        model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1, dtype=torch.float32)
    else:
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    return trainer(model, args=arguments, train_dataset=rows, processing_class=AutoTokenizer.from_pretrained(tiny_model))


def test_tasks_of_label_studio_come_back_with_everybodys_votes(judged: list[Judged], tmp_path: Path) -> None:
    form = form_named("label-studio")
    path = write(take(judged, form, EVERYTHING), form, tmp_path, name="round")
    first = json.loads(path.read_text())[0]
    texts = ["answer a to 0", "answer b to 0"]  # of a pair, which stands among rankings
    assert first["data"] == {
        "prompt": "question 0", "answers": [{"id": str(n), "title": f"Answer {n}", "body": text} for n, text in enumerate(texts, 1)],
    }  # fmt: skip
    assert first["annotations"][0]["result"][0] == {
        "from_name": "better", "to_name": "answers", "type": "ranker", "value": {"ranker": {"better": ["2", "1"]}}, "meta": {"annotator": "ada"},
    }  # fmt: skip
    back = pairs_in(path)
    assert [[each.answer for each in item.candidates] for item in back.items] == [[c.answer for c in each.item.candidates] for each in judged]
    assert [item.prompt for item in back.items] == [each.item.prompt for each in judged]
    assert [(v.item, v.verdict, v.ranks, v.strength) for v in back.votes] == [(v.item, v.verdict, v.ranks, v.strength) for each in judged for v in each.votes]
    assert {vote.annotator for vote in back.votes} == {f"{name} (round-label-studio.json)" for name in ("ada", "bob")}


def test_pairs_alone_are_compared_side_by_side(labels: Labels) -> None:
    batch = judged_batch(labels, [2], [[2, 1]])
    (task,) = form_named("label-studio").file(batch)
    assert task["data"] == {"prompt": "question 0", "answer1": "answer a to 0", "answer2": "answer b to 0"}
    assert task["annotations"][0]["result"][0] == {
        "from_name": "better", "to_name": "answer1,answer2", "type": "pairwise", "value": {"selected": "right"}, "meta": {"annotator": "ada"},
    }  # fmt: skip


@pytest.mark.parametrize(("answers", "verdicts"), MIXED.values(), ids=MIXED)
def test_everything_a_task_says_has_a_control_in_the_configuration_of_its_project(answers: list[int], verdicts: list[Any], labels: Labels) -> None:
    judged = judged_batch(labels, answers, verdicts)
    project = ElementTree.fromstring(configuration(judged))
    controls = {tag.get("name"): (tag.tag.lower(), tag.get("toName")) for tag in project if tag.get("toName")}
    tasks = list(form_named("label-studio").file(judged))
    said = [result for task in tasks for annotation in task["annotations"] for result in annotation["result"]]
    assert {result["type"] for result in said} == {"pairwise" if set(answers) == {2} else "ranker", "rating", "choices"}
    assert all(controls[result["from_name"]] == (result["type"], result["to_name"]) for result in said)
    assert all(tag.get("value", "").removeprefix("$") in task["data"] for tag in project if tag.get("value") for task in tasks)


def judged_batch(labels: Labels, answers: list[int], verdicts: list[Any]) -> list[Judged]:
    """Items of so many answers each, judged so by one person."""
    batch = labels.begin("Round two", [item(number, count) for number, count in enumerate(answers)], overlap=1)
    for verdict in verdicts:
        shown = labels.next(batch.id, "ada")
        assert shown
        if isinstance(verdict, str):
            labels.vote(shown, "ada", verdict=verdict)  # type: ignore[arg-type]
        else:
            labels.vote(shown, "ada", ranks=[verdict[place] for place in shown.order], strength=2)
    return judged_items(labels, batch.id)


def test_the_raw_file_keeps_everything_and_can_be_brought_back(labels: Labels, batch: Batch, tmp_path: Path) -> None:
    labels.undo(batch.id, "bob")
    labels.settle(batch.id, 5, "cleo", ranks=[2, 1])
    judged, form = judged_items(labels, batch.id), form_named("raw")
    path = write(take(judged, form, TakingSettings()), form, tmp_path, name="round")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 7 and rows[0]["candidates"][0]["made"]["sampling"] == {"temperature": 1.0}
    undone = [vote for row in rows for vote in row["votes"] if vote["undone"]]
    assert [(vote["annotator"], sorted(vote["shown"])) for vote in undone] == [("bob", [0, 1])] and undone[0]["at"] > 0
    assert rows[5]["settlement"]["settler"] == "cleo" and rows[5]["outcome"]["ranks"] == [2, 1]

    back = pairs_in(path)
    again = labels.begin("again", back.items, votes=back.votes)
    assert [each.item for each in judged_items(labels, again.id)] == [each.item for each in judged]
    kept, before = labels.votes(again.id, undone=True), labels.votes(batch.id, undone=True)
    said_of = lambda votes: {(v.item, v.verdict, *v.ranks, *v.shown, v.strength, v.at, v.undone) for v in votes}  # noqa: E731
    assert said_of(before) < said_of(kept)
    assert len(kept) == len(before) + 1 and "cleo, settling (round-raw.jsonl)" in labels.annotators(again.id)


def test_what_is_left_out_is_counted_and_named_once(labels: Labels, judged: list[Judged]) -> None:
    taken = take(judged, DATA_SET, TakingSettings(shortest_words=5))
    assert not taken.judged and taken.counts["an answer is too short"] == 3
    taken = take(judged, DATA_SET, TakingSettings(short=False))
    assert [each.number for each in taken.judged] == [1, 2, 3]
    assert [(number, reason) for number, _, reason in taken.left_out] == [
        (4, "has no good answer"), (5, "is a tie"), (6, "has votes that disagree"), (7, "has no vote yet"),
    ]  # fmt: skip
    held_out = take(judged, DATA_SET, TakingSettings(short=False), held_out={"question 0"})
    assert held_out.counts["the prompt is kept for evaluation"] == 1 and held_out.left_out[0].number == 1
    with pytest.raises(UserError, match="shortest_words"):
        parse_taking({"shortest_words": 0})


def test_a_pair_nobody_decided_makes_no_duplicate_of_the_one_that_was(labels: Labels) -> None:
    batch = labels.begin("twice", [item(0), item(0), item(0)])
    labels.settle(batch.id, 1, "cleo", ranks=[1, 2])
    labels.settle(batch.id, 2, "cleo", ranks=[1, 2])
    taken = take(judged_items(labels, batch.id), DATA_SET, TakingSettings(short=False))
    assert [each.number for each in taken.judged] == [2] and [each.number for each in taken.left_out] == [1, 3]


def test_a_saved_data_set_knows_where_it_comes_from_and_what_was_left_out(judged: list[Judged], workspace: Workspace) -> None:
    datasets = Datasets(workspace)
    card = save(take(judged, DATA_SET, TakingSettings(short=False)), datasets, name="Round one", source={"batch": "x"})
    assert (card.record, card.rows, card.version, card.made) == ("preferences", 3, 1, {"hand": 3})
    assert card.source == {"made": "labelled by hand", "batch": "x"} and sum(card.left_out.values()) == 4
    pair, ranking, _ = datasets.iterate(card.id)
    assert pair["ranks"] == [1, 2] and pair["margin"] == 2.0 and ranking["ranks"] == [1, 2, 3]  # type: ignore[typeddict-item]
    everything = save(take(judged, DATA_SET, EVERYTHING), datasets, name="Round one", source={})
    assert (everything.version, everything.rows) == (2, 5)
    assert sorted(tuple(row["ranks"]) for row in datasets.iterate(card.id)) == [(1, 1), (1, 2), (1, 2), (1, 2, 3), (2, 2)]  # type: ignore[typeddict-item]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_nothing_is_written_where_there_is_nothing(form: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="None of the 0 items"):
        write(take([], form, EVERYTHING), form, tmp_path / "exports", name="none")
    assert not (tmp_path / "exports").exists()
