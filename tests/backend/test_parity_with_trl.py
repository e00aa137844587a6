"""The same rows, the same loss: ours against TRL's SFTTrainer, in fp32 on the CPU."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from backend import models
from backend.data.tokens import encode_messages
from backend.examples import Example, collate
from backend.loss import Scorer
from backend.objectives import ObjectiveSettings, parse
from tests.conftest import starter_rows

ROWS = 12
BLOCK = 64


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return models.load_tokenizer(tiny_model)


@pytest.fixture
def model(tiny_model: Path) -> PreTrainedModel:
    return models.load(tiny_model, torch.float32, device=torch.device("cpu"))


def trl(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[dict], folder: Path, **settings: Any) -> SFTTrainer:
    """TRL's trainer with every row in one batch, in the order given."""
    arguments = SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=1000, use_cpu=True, bf16=False, report_to=[], max_length=settings.pop("max_length", 512),
        gradient_checkpointing=False, disable_tqdm=True, dataloader_pin_memory=False, **settings,
    )
    return SFTTrainer(model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)


def batch_of(trainer: SFTTrainer) -> dict[str, torch.Tensor]:
    (batch,) = trainer.get_train_dataloader()
    return batch


def their_loss(trainer: SFTTrainer, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return trainer.compute_loss(trainer.model.eval(), dict(batch))


def our_loss(objective: ObjectiveSettings, model: PreTrainedModel, examples: Iterable[Example]) -> torch.Tensor:
    batch = collate(list(examples), 0)
    return objective.score(Scorer(model, model), batch).loss / objective.batch_weight(batch)


def rows_of(batch: dict[str, torch.Tensor]) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of every row, padding taken off, sorted."""
    mask = batch["attention_mask"].bool()
    return sorted((ids[m].tolist(), labels[m].tolist()) for ids, labels, m in zip(batch["input_ids"], batch["labels"], mask, strict=True))


def examples_of(objective: ObjectiveSettings, records: list[dict], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Example]:
    made = list(objective.examples(records, tokenizer, max_length))
    assert all(isinstance(example, Example) for example in made)
    return made  # type: ignore[return-value]


@pytest.mark.parametrize("max_length", [512, 60], ids=["whole", "cut"])
def test_supervised_fine_tuning(max_length: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    conversations = starter_rows(ROWS)
    rows = [{"prompt": row["messages"][:1], "completion": row["messages"][1:]} for row in conversations]
    trainer = trl(model, tokenizer, rows, tmp_path, max_length=max_length, completion_only_loss=True)
    batch = batch_of(trainer)
    ours = examples_of(parse("sft"), conversations, tokenizer, max_length)
    assert rows_of(batch) == sorted((example.input_ids, example.labels) for example in ours)
    theirs = their_loss(trainer, batch)
    torch.testing.assert_close(our_loss(parse("sft"), model, ours), theirs, atol=1e-4, rtol=0)


def test_the_gradients_too(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    conversations = starter_rows(ROWS)
    rows = [{"prompt": row["messages"][:1], "completion": row["messages"][1:]} for row in conversations]
    trainer = trl(model, tokenizer, rows, tmp_path, completion_only_loss=True)
    parameters = list(model.parameters())
    theirs = torch.autograd.grad(their_loss(trainer, batch_of(trainer)), parameters)
    loss = our_loss(parse("sft"), model, examples_of(parse("sft"), conversations, tokenizer, 512))
    for ours, wanted in zip(torch.autograd.grad(loss, parameters), theirs, strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-3)


def test_continued_pretraining(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    texts = [{"text": row["messages"][1]["content"]} for row in starter_rows(ROWS)]
    trainer = trl(
        model, tokenizer, texts, tmp_path, max_length=BLOCK, packing=True, packing_strategy="wrapped", shuffle_dataset=False
    )
    batch = batch_of(trainer)
    ours = examples_of(parse("pretraining"), texts, tokenizer, BLOCK)
    assert len(ours) > 5 and len(ours[-1].input_ids) < BLOCK  # the last, shorter block is kept by both
    assert rows_of(batch) == sorted((example.input_ids, example.labels) for example in ours)
    torch.testing.assert_close(our_loss(parse("pretraining"), model, ours), their_loss(trainer, batch), atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_conversations_of_several_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """TRL's own mask needs a template that marks the assistant's turns; the loss on ours is the same."""
    pairs = starter_rows(ROWS)
    conversations = [{"messages": [*a["messages"], *b["messages"]]} for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
    marked = (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' }}"
        "{% generation %}{{ message['content'] + '<|im_end|>\n' }}{% endgeneration %}{% else %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    ours = examples_of(parse("sft"), conversations, tokenizer, 512)
    theirs = models.load_tokenizer(Path(tokenizer.name_or_path))
    theirs.chat_template = marked
    trainer = trl(model, theirs, conversations, tmp_path, assistant_only_loss=True)
    batch = batch_of(trainer)
    assert rows_of(batch) == sorted((example.input_ids, example.labels) for example in ours)
    torch.testing.assert_close(our_loss(parse("sft"), model, ours), their_loss(trainer, batch), atol=1e-4, rtol=0)


def test_per_example_by_the_formula(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """TRL has no such loss: -(1/n) sum over answers of (1/length) sum over tokens of log p, row by row."""
    conversations = starter_rows(ROWS)
    means = []
    for row in conversations:
        encoded = encode_messages(row["messages"], tokenizer)
        with torch.no_grad():
            logp = model(input_ids=torch.tensor([encoded.ids])).logits[0].log_softmax(-1)
        answer = [at for at, trained in enumerate(encoded.trained) if trained]
        means.append(sum(logp[at - 1, encoded.ids[at]].item() for at in answer) / len(answer))
    objective = parse({"name": "sft", "loss": "per_example"})
    ours = our_loss(objective, model, examples_of(objective, conversations, tokenizer, 512)).item()
    assert ours == pytest.approx(-sum(means) / len(means), abs=1e-4)
    assert ours != pytest.approx(our_loss(parse("sft"), model, examples_of(objective, conversations, tokenizer, 512)).item(), abs=1e-4)
