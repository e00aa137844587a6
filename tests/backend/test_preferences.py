"""Preferences: how answers become tokens, and the same losses as TRL's DPOTrainer and RewardTrainer on the same rows."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer
from trl.data_utils import maybe_unpair_preference_dataset

from backend import models
from backend.data.shapes import guess_mapping, to_record
from backend.examples import LeftOut, collate
from backend.loss import RewardScorer, Scorer
from backend.objectives import Batch, ObjectiveSettings, parse
from backend.preferences import rankings
from tests.conftest import starter_rows

ROWS = 8


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def pairs(count: int = ROWS) -> list[dict[str, Any]]:
    """The starter's answer is better than its first line alone."""
    made = []
    for row in starter_rows(count):
        question, answer = row["messages"]
        short = answer["content"].split("\n")[0]
        made.append({"prompt": [question], "answers": [[answer], [said("assistant", short)]], "ranks": [1, 2]})
    return made


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return models.load_tokenizer(tiny_model)


def load(folder: Path, head: str = "language", seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return models.load(folder, torch.float32, device=torch.device("cpu"), head=head)


def made(records: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, *, max_length: int = 512, whole: bool = False) -> list[Any]:
    return list(rankings(records, tokenizer, max_length, whole=whole))  # type: ignore[arg-type]


def with_reference(examples: list[Any], model: PreTrainedModel) -> list[Any]:
    scorer = Scorer(model, model)
    with torch.no_grad():
        batches = [collate(example.sequences, 0) for example in examples]
        return [replace(e, reference=tuple(scorer.logprobs(b["input_ids"], b["labels"]).tolist())) for e, b in zip(examples, batches, strict=True)]


# ---- tokens


def test_only_the_last_answer_is_learnt_from(tokenizer: PreTrainedTokenizerBase) -> None:
    prompt = [said("system", "Be brief."), said("user", "One?"), said("assistant", "Earlier."), said("user", "Two?")]
    (ranking,) = made([{"prompt": prompt, "answers": [[said("assistant", "Yes.")], [said("assistant", "No.")]], "ranks": [1, 2]}], tokenizer)
    learnt = [tokenizer.decode([label for label in sequence.labels if label >= 0]) for sequence in ranking.sequences]
    assert learnt == ["Yes.<|im_end|>\n", "No.<|im_end|>\n"]


@pytest.mark.parametrize(("change", "reason"), [
    ({"answers": [[said("assistant", "Same.")], [said("assistant", "Same.")]]}, "two of its answers are the same"),
    ({"ranks": [1, 1]}, "none of its answers is better than another"),
    ({"prompt": [said("user", "why " * 100)]}, "nothing of one of its answers is left within 40 tokens"),
])  # fmt: skip
def test_what_cannot_be_learnt_from_is_left_out_with_the_reason(change: dict[str, Any], reason: str, tokenizer: PreTrainedTokenizerBase) -> None:
    row = {"prompt": [said("user", "Hi?")], "answers": [[said("assistant", "Yes.")], [said("assistant", "No.")]], "ranks": [1, 2]}
    assert made([row | change], tokenizer, max_length=40) == [LeftOut(1, reason)]


def test_a_reward_model_never_judges_half_an_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    assert made(pairs(1), tokenizer, max_length=30, whole=True) == [LeftOut(1, "one of its answers ends behind 30 tokens")]


def test_a_ranking_of_four_is_six_pairs_in_one_batch(tokenizer: PreTrainedTokenizerBase) -> None:
    answers = [[said("assistant", text)] for text in ("one", "two", "three", "four")]
    (ranking,) = made([{"prompt": [said("user", "Hi?")], "answers": answers, "ranks": [2, 1, 3, 3]}], tokenizer)
    batch = parse("dpo").collate([ranking, *made(pairs(1), tokenizer)], 0)
    assert ranking.pairs == [(0, 2), (0, 3), (1, 0), (1, 2), (1, 3)]  # the two tied answers make no pair
    assert (batch["better"].tolist(), batch["worse"].tolist()) == ([0, 0, 1, 1, 1, 4], [2, 3, 0, 2, 3, 5])
    assert batch["share"].tolist() == pytest.approx([0.2] * 5 + [1.0])
    assert parse("dpo").batch_weight(batch) == 2


def test_kto_learns_the_same_from_answers_rated_by_themselves_as_from_pairs(tokenizer: PreTrainedTokenizerBase) -> None:
    unpaired = maybe_unpair_preference_dataset(Dataset.from_list([
        {"prompt": row["prompt"], "chosen": row["answers"][0], "rejected": row["answers"][1]} for row in pairs()
    ])).to_list()  # fmt: skip
    mapping = guess_mapping(unpaired)
    assert mapping is not None

    def learnt(records: Any) -> list[Any]:
        """Each answer with its prompt, and whether it is good."""
        examples = parse("kto").examples(records, tokenizer, 512)
        return sorted((example.sequences[0].input_ids, example.sequences[0].labels, example.good) for example in examples)  # type: ignore[union-attr]

    assert learnt(to_record(row, mapping) for row in unpaired) == learnt(pairs())
    assert made([to_record(unpaired[0], mapping)], tokenizer) == [LeftOut(1, "none of its answers is better than another")]  # type: ignore[list-item]


# ---- parity with TRL


def trl_rows() -> Dataset:
    return Dataset.from_list([{"prompt": row["prompt"], "chosen": row["answers"][0], "rejected": row["answers"][1]} for row in pairs()])


def one_batch(trainer: Any) -> dict[str, torch.Tensor]:
    (batch,) = trainer.get_train_dataloader()
    return batch


def settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "per_device_train_batch_size": 100, "use_cpu": True, "bf16": False, "report_to": [],
        "gradient_checkpointing": False, "disable_tqdm": True, "dataloader_pin_memory": False, "max_length": 512,
    }  # fmt: skip


def our_loss(objective: ObjectiveSettings, scorer: Any, batch: Batch) -> torch.Tensor:
    return objective.score(scorer, batch).loss / objective.batch_weight(batch)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge"])
def test_direct_preference_optimisation(loss: str, tiny_model: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    reference, policy = load(tiny_model), load(tiny_model)
    with torch.no_grad():  # a policy that has moved, so that no term is zero
        for parameter in policy.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    arguments = DPOConfig(**settings(tmp_path), beta=0.3, loss_type=[loss])
    trainer = DPOTrainer(policy, ref_model=reference, args=arguments, train_dataset=trl_rows(), processing_class=tokenizer)
    batch = one_batch(trainer)
    policy.eval()
    theirs = trainer.compute_loss(policy, batch)
    objective = parse({"name": "dpo", "beta": 0.3, "loss": loss})
    ours = objective.collate(with_reference(made(pairs(), tokenizer), reference), 0)
    their_rows = sorted(ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True))
    assert their_rows == sorted(ids[:length].tolist() for ids, length in zip(ours["input_ids"], ours["lengths"], strict=True))
    mine = our_loss(objective, Scorer(policy, policy), ours)
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    for a, b in zip(torch.autograd.grad(mine, parameters), torch.autograd.grad(theirs, parameters), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", [0, 1])
def test_the_pull_towards_the_better_answer(row: int, tiny_model: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """TRL's loss "sft" beside "sigmoid", of one pair: of several it takes the mean over all tokens, and the paper over answers."""
    reference, policy = load(tiny_model), load(tiny_model, seed=1)
    arguments = DPOConfig(**settings(tmp_path), beta=0.3, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.7])
    trainer = DPOTrainer(policy, ref_model=reference, args=arguments, train_dataset=trl_rows().select([row]), processing_class=tokenizer)
    theirs = trainer.compute_loss(policy.eval(), one_batch(trainer))
    objective = parse({"name": "dpo", "beta": 0.3, "sft_weight": 0.7})
    ours = objective.collate(with_reference(made(pairs(), tokenizer)[row : row + 1], reference), 0)
    torch.testing.assert_close(our_loss(objective, Scorer(policy, policy), ours), theirs, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weight", [1.0, 1.7])
def test_kahneman_tversky_optimisation(weight: float, tiny_model: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    reference, policy = load(tiny_model), load(tiny_model)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    rows = [
        {"prompt": row["prompt"], "completion": answer, "label": rank == 1}
        for row in pairs() for answer, rank in zip(row["answers"], row["ranks"], strict=True)
    ]
    arguments = KTOConfig(**settings(tmp_path), beta=0.3, desirable_weight=weight)
    trainer = KTOTrainer(policy, ref_model=reference, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    batch = one_batch(trainer)
    theirs = trainer.compute_loss(policy.eval(), batch)
    objective = parse({"name": "kto", "beta": 0.3, "desirable_weight": weight})
    examples = list(objective.examples(pairs(), tokenizer, 512))
    ours = objective.collate(with_reference(examples, reference), 0)
    scored = objective.score(Scorer(policy, policy), ours)
    torch.testing.assert_close(scored.loss / objective.batch_weight(ours), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smoothing_expects_some_pairs_to_be_the_wrong_way_round(smoothing: float, tiny_model: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """TRL's "robust" loss is this one less constants; here by the formula of cDPO, pair by pair."""
    model = load(tiny_model)
    examples = made(pairs(3), tokenizer)
    objective = parse({"name": "dpo", "beta": 0.5, "label_smoothing": smoothing})
    ours = our_loss(objective, Scorer(model, model), objective.collate(examples, 0)).item()
    terms = []
    for example in examples:
        batch = objective.collate([example], 0)
        with torch.no_grad():
            better, worse = Scorer(model, model).logprobs(batch["input_ids"], batch["labels"])
        delta = 0.5 * (better - worse)
        terms.append((-(1 - smoothing) * F.logsigmoid(delta) - smoothing * F.logsigmoid(-delta)).item())
    assert ours == pytest.approx(sum(terms) / 3, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("centring", [0.0, 0.1])
@pytest.mark.parametrize("margin", [None, 0.7])
def test_reward_model(centring: float, margin: float | None, tiny_model: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    model = load(tiny_model, "scalar")
    model.config.pad_token_id = tokenizer.convert_tokens_to_ids("<|im_start|>")  # TRL pools before the first padding token
    rows, records = trl_rows(), pairs()
    if margin is not None:
        rows = rows.add_column("margin", [margin] * len(rows))
        records = [{**record, "margin": margin} for record in records]
    arguments = RewardConfig(**settings(tmp_path), center_rewards_coefficient=centring or None, pad_token="<|im_start|>")
    trainer = RewardTrainer(model, args=arguments, train_dataset=rows, processing_class=models.load_tokenizer(tiny_model))
    theirs = trainer.compute_loss(model.eval(), one_batch(trainer))
    objective = parse({"name": "reward", "centring": centring})
    ours = our_loss(objective, RewardScorer(model, model), objective.collate(made(records, tokenizer, whole=True), 0))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_a_ranking_counts_once_whatever_its_length(tiny_model: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """-1 / (K choose 2) sum of log sigmoid(r_w - r_l), as in InstructGPT; answer by answer, by torch alone."""
    model = load(tiny_model, "scalar")
    texts = ["one answer", "another", "a third one, longer", "bad"]
    answers = [[said("assistant", text)] for text in texts]
    record = {"prompt": [said("user", "Hi?")], "answers": answers, "ranks": [1, 2, 3, 4]}
    objective = parse("reward")
    ours = our_loss(objective, RewardScorer(model, model), objective.collate(made([record], tokenizer, whole=True), 0))
    with torch.no_grad():
        rewards = []
        for answer in answers:
            ids = tokenizer.apply_chat_template([*record["prompt"], *answer], return_tensors="pt", return_dict=True)["input_ids"]
            rewards.append(model.score(model.model(ids).last_hidden_state[0, -1]).item())
    terms = [F.logsigmoid(torch.tensor(rewards[a] - rewards[b])).item() for a, b in combinations(range(4), 2)]
    assert ours.item() == pytest.approx(-sum(terms) / 6, abs=1e-5)
