"""The same answers, the same advantages and the same loss: ours against TRL's RLOOTrainer and GRPOTrainer, in fp32 on the CPU.

TRL's trainer answers, rewards and weighs by its own code; ours weighs and scores the very answers it made, after both
have been moved a little, so that ratios and distances are not all one and nought.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from backend import models
from backend.data.tokens import Encoded
from backend.examples import collate, example_of
from backend.loss import Scorer
from backend.objectives import parse
from backend.policy import Seen
from backend.rollouts import RolloutSettings
from tests.conftest import starter_rows

PROMPTS, SAMPLES, ANSWER_TOKENS = 3, 4, 8
BETA = 0.1


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return models.load_tokenizer(tiny_model)


@pytest.fixture
def model(tiny_model: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """One that likes to end, so that answers differ in length."""
    model = models.load(tiny_model, torch.float32, device=torch.device("cpu"))
    with torch.no_grad():
        model.get_output_embeddings().weight[tokenizer.eos_token_id] *= 4
    return model


def letters(completions: list[Any], **_: Any) -> list[float]:
    """A reward that differs among answers: how often they hold an e."""
    return [float(completion[0]["content"].count("e")) for completion in completions]


def theirs(kind: type, settings: type, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, **values: Any) -> Any:
    """TRL's trainer, its answers made and weighed: (trainer, what it made of them)."""
    rows = [{"prompt": row["messages"][:1]} for row in starter_rows(PROMPTS)]
    arguments = settings(
        output_dir=str(folder), per_device_train_batch_size=PROMPTS * SAMPLES, num_generations=SAMPLES, num_iterations=2, beta=BETA,
        max_completion_length=ANSWER_TOKENS, use_cpu=True, bf16=False, report_to=[], gradient_checkpointing=False, disable_tqdm=True, seed=3,
        **values,
    )
    trainer = kind(model, reward_funcs=letters, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    move(trainer.ref_model, seed=1)  # away from the model that answers, so that distance is something
    trainer.model.train()
    return trainer, trainer._generate_and_score_completions([row for row in rows for _ in range(SAMPLES)])


def move(model: torch.nn.Module, *, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.003 * torch.randn(parameter.shape, generator=draw)


def answers_of(made: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Prompts and answers as our batches have them, padding taken off."""
    examples = []
    for prompt, seen, answer, told in zip(*(made[name] for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")), strict=True):
        before, after = prompt[seen.bool()].tolist(), answer[told.bool()].tolist()
        examples.append(example_of(Encoded(before + after, [False] * len(before) + [True] * len(after)), cut=0, row=0))
    return collate(examples, 0)


def ours(settings: RolloutSettings, trainer: Any, made: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerBase) -> tuple[Any, torch.Tensor]:
    """(advantages per answer, loss) by our own code. Call after TRL's answers are made; moves the model."""
    batch, lengths = answers_of(made), made["completion_mask"].sum(1).tolist()
    texts = tokenizer.batch_decode([ids[: int(n)] for ids, n in zip(made["completion_ids"], lengths, strict=True)], skip_special_tokens=True)
    rewards = letters([[{"content": text}] for text in texts])
    assert len(set(rewards)) > 2 and len(set(lengths)) > 2
    with torch.no_grad():
        logprobs, _ = Scorer(trainer.model, trainer.model).tokens(batch["input_ids"], batch["labels"])
        reference, _ = Scorer(trainer.ref_model, trainer.ref_model).tokens(batch["input_ids"], batch["labels"])
    tokens = settings.weighed(Seen(lengths, logprobs, reference, torch.zeros_like(logprobs)), rewards, BETA)
    move(trainer.model, seed=2)
    now, _ = Scorer(trainer.model, trainer.model).tokens(batch["input_ids"], batch["labels"])
    found = settings.losses(now, torch.zeros_like(now), tokens, BETA)
    assert 0 < found.clip_share < 1
    return torch.stack([part[0] for part in tokens.advantages.split(lengths)]), found.total


def compare(settings: RolloutSettings, trainer: Any, made: dict[str, torch.Tensor], tokenizer: PreTrainedTokenizerBase) -> None:
    advantages, loss = ours(settings, trainer, made, tokenizer)
    torch.testing.assert_close(advantages, made["advantages"], atol=1e-4, rtol=0)
    wanted = trainer._compute_loss(trainer.model.eval(), made)
    torch.testing.assert_close(loss, wanted, atol=1e-4, rtol=0)
    parameters = list(trainer.model.parameters())
    for one, other in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(wanted, parameters), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("normalise", [False, True])
def test_leave_one_out(normalise: bool, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    trainer, made = theirs(RLOOTrainer, RLOOConfig, model, tokenizer, tmp_path, normalize_advantages=normalise)
    settings = parse({"name": "rloo", "samples": SAMPLES, "answer_tokens": ANSWER_TOKENS, "normalise": normalise})
    compare(settings, trainer, made, tokenizer)  # type: ignore[arg-type]


@pytest.mark.parametrize(("loss", "scale", "unbiased"), [("grpo", "group", True), ("grpo", "batch", False), ("dr_grpo", "none", True)])
def test_relative_to_the_group(
    loss: str, scale: str, unbiased: bool, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    trainer, made = theirs(
        GRPOTrainer, GRPOConfig, model, tokenizer, tmp_path, loss_type=loss, scale_rewards=scale, use_bias_correction_kl=unbiased
    )
    chosen = {"loss": loss, "scale_rewards": scale, "unbiased_kl": unbiased}
    settings = parse({"name": "grpo", "samples": SAMPLES, "answer_tokens": ANSWER_TOKENS, **chosen})
    compare(settings, trainer, made, tokenizer)  # type: ignore[arg-type]
