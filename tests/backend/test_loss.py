"""Our loss against torch's own cross-entropy on full logits: the value and every gradient."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto import AutoModelForCausalLM

from backend import models
from backend.examples import IGNORED
from backend.fast import quicken
from backend.loss import RewardScorer, Scorer
from backend.methods import parse
from backend.objectives import parse as parse_objective


@pytest.fixture
def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# ---- whole models

SIZE = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS = {
    "one product": LlamaConfig(**SIZE),
    "one product, tied": LlamaConfig(**SIZE, tie_word_embeddings=True),
    "soft cap": Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=30.0),
    "scaled up": CohereConfig(**SIZE, logit_scale=3.0),
    "scaled down": GraniteConfig(**SIZE, logits_scaling=4.0),
}


def make(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name]).eval()


def batch(numbers: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """input_ids, labels, weights: rows of 12, 7 and 3 tokens, the first ones of each not learnt from."""
    ids = torch.randint(3, 90, (3, 12), generator=numbers)
    labels = ids.clone()
    for row, (prompt, length) in enumerate([(4, 12), (1, 7), (2, 3)]):
        ids[row, length:] = 0
        labels[row, :prompt], labels[row, length:] = IGNORED, IGNORED
    return ids, labels, torch.rand(3, 12, generator=numbers)


def kin(numbers: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """input_ids, labels, weights: two answers to a prompt of 12 tokens, and two to another that begins with 9 of them."""
    drawn = iter(torch.randint(3, 90, (32,), generator=numbers).tolist())
    first = [next(drawn) for _ in range(12)]
    second = [*first[:9], *(next(drawn) for _ in range(5))]
    ids, labels = torch.zeros(4, 18, dtype=torch.long), torch.full((4, 18), IGNORED)
    for row, (prompt, answer) in enumerate([(first, 5), (first, 3), (second, 4), (second, 2)]):
        said = torch.tensor([next(drawn) for _ in range(answer)])
        end = len(prompt) + answer
        ids[row, :end] = torch.cat((torch.tensor(prompt), said))
        labels[row, len(prompt) : end] = said
    return ids, labels, torch.rand(4, 18, generator=numbers)


Rows = Callable[[torch.Generator], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
BATCHES = pytest.mark.parametrize("rows", [batch, kin], ids=["of strangers", "that begin alike"])


def reference(model: torch.nn.Module, ids: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The same from full logits and an attention mask over the padding, by torch alone."""
    logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits[:, -ids.shape[1] :].float()
    each = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=IGNORED)
    return (each * weights[:, 1:]).sum()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_is_scored_as_by_its_own_logits(name: str, numbers: torch.Generator) -> None:
    model = make(name)
    scorer = Scorer(model, model)
    with torch.no_grad():  # as large as a trained model's logits, where caps and scales bite
        model.get_output_embeddings().weight.mul_(60)
    inputs = batch(numbers)
    parameters = list(model.parameters())
    expected, actual = reference(model, *inputs), scorer.loss(*inputs)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    theirs = torch.autograd.grad(expected, parameters)
    for ours, wanted in zip(torch.autograd.grad(actual, parameters), theirs, strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "plain"), [("one product", True), ("scaled up", True), ("soft cap", False)])
def test_a_head_is_taken_off_where_that_changes_nothing(name: str, plain: bool) -> None:
    model = make(name)
    assert Scorer(model, model).plain_head == plain


def test_a_trial_leaves_the_model_as_it_was(numbers: torch.Generator) -> None:
    model = make("one product").train()
    ids = batch(numbers)[0]
    before = model(input_ids=ids).logits
    Scorer(model, model)
    assert model.training and "forward" not in model.lm_head.__dict__
    assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt", "adapter"])
def test_an_adapted_model_is_scored_by_its_own_logits(method: str, tiny_model: Path, numbers: torch.Generator) -> None:
    torch.manual_seed(0)
    base = models.load(tiny_model, torch.float32, device=torch.device("cpu"))
    model = parse(method).attach(base, models.load_tokenizer(tiny_model)).eval()
    inputs = batch(numbers)
    torch.testing.assert_close(Scorer(model, model).loss(*inputs), reference(model, *inputs), atol=1e-4, rtol=1e-5)


def test_a_library_s_own_hook_on_the_head_is_put_back(numbers: torch.Generator) -> None:
    model = make("one product")
    calls: list[int] = []
    plain = model.lm_head.forward

    def hooked(hidden: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return plain(hidden)

    model.lm_head.forward = hooked  # type: ignore[method-assign]
    scorer = Scorer(model, model)
    scorer.loss(*batch(numbers))
    before = len(calls)
    model(input_ids=batch(numbers)[0])
    assert len(calls) == before + 1


def test_under_autocast_the_loss_is_near_the_exact_one(numbers: torch.Generator) -> None:
    model = make("one product")
    scorer, inputs = Scorer(model, model), batch(numbers)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = scorer.loss(*inputs)
    torch.testing.assert_close(rounded, scorer.loss(*inputs), atol=0.05, rtol=0.01)
    rounded.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


def test_per_example_every_answer_counts_the_same(numbers: torch.Generator) -> None:
    """-(1/n) sum over answers of (1/length) sum over tokens of log p, by hand."""
    model = make("one product")
    ids, labels, _ = batch(numbers)
    objective = parse_objective({"name": "sft", "loss": "per_example"})
    data = {"input_ids": ids, "labels": labels}
    actual = objective.score(Scorer(model, model), data).loss / objective.batch_weight(data)
    logp = model(input_ids=ids).logits.log_softmax(-1)
    answers = []
    for row, (prompt, length) in enumerate([(4, 12), (1, 7), (2, 3)]):
        tokens = [logp[row, at - 1, ids[row, at]] for at in range(prompt, length)]
        answers.append(sum(tokens) / len(tokens))
    assert objective.batch_weight(data) == pytest.approx(3)
    torch.testing.assert_close(actual, -sum(answers) / 3, atol=1e-5, rtol=1e-5)


# ---- rows end to end, without padding

END_TO_END = {
    "turned positions": LlamaConfig(**SIZE),
    "learnt positions": GPT2Config(vocab_size=90, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "scaled up": CONFIGS["scaled up"],
}
PADDED = {
    "a window": MistralConfig(**SIZE, sliding_window=4),
    "convolutions": Lfm2Config(**(SIZE | {"num_hidden_layers": 2}), layer_types=["conv", "full_attention"]),
    "slopes for positions": BloomConfig(vocab_size=90, hidden_size=32, n_layer=1, n_head=4),
}


def quick(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return quicken(AutoModelForCausalLM.from_config(config)).eval()


@BATCHES
@pytest.mark.parametrize("name", END_TO_END)
def test_rows_end_to_end_are_scored_as_rows_apart(name: str, rows: Rows, numbers: torch.Generator) -> None:
    model = quick(END_TO_END[name])
    apart, together = Scorer(model, model), Scorer(model, model)
    apart.rows_lie_end_to_end = False
    assert together.rows_lie_end_to_end
    ids, labels, weights = rows(numbers)
    labels[1] = IGNORED  # a row that is not read at all
    parameters = list(model.parameters())
    values = [scorer.loss(ids, labels, weights) for scorer in (apart, together)]
    torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    for ours, wanted in zip(*(torch.autograd.grad(value, parameters) for value in values), strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.logprobs(ids, labels), apart.logprobs(ids, labels), atol=1e-5, rtol=1e-5)


@BATCHES
@pytest.mark.parametrize("ours", [set(), {torch.float32}], ids=["fused", "ours"])
@pytest.mark.parametrize("method", ["lora", "prefix", "prompt", "adapter", "full"])
def test_rows_end_to_end_learn_as_rows_apart(
    method: str, ours: set[torch.dtype], rows: Rows, tiny_model: Path, numbers: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.fast.attention.QUICKER_IN", ours)
    monkeypatch.setattr("backend.fast.attention.BLOCK", 5)
    torch.manual_seed(0)
    base = models.load(tiny_model, torch.float32, device=torch.device("cpu"))
    model = quicken(parse(method).attach(base, models.load_tokenizer(tiny_model))).eval()
    apart, together = Scorer(model, model), Scorer(model, model)
    apart.rows_lie_end_to_end = False
    assert together.rows_lie_end_to_end and together.reads_once
    ids, labels, weights = rows(numbers)
    if rows is batch:
        labels[1] = IGNORED
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in learning:
            parameter += 0.01 * torch.randn(parameter.shape, generator=numbers)
    values = [scorer.loss(ids, labels, weights) for scorer in (apart, together)]
    torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    for ours, wanted in zip(*(torch.autograd.grad(value, learning) for value in values), strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt", "adapter"])
def test_with_its_adapter_off_a_model_reads_as_its_base(method: str, tiny_model: Path, numbers: torch.Generator) -> None:
    base = models.load(tiny_model, torch.float32, device=torch.device("cpu"))
    inputs = batch(numbers)
    expected = reference(base, *inputs)
    model = quicken(parse(method).attach(base, models.load_tokenizer(tiny_model))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=numbers)
    scorer = Scorer(model, model)
    assert (scorer.loss(*inputs) - expected).abs() > 1e-3
    with model.disable_adapter():
        torch.testing.assert_close(scorer.loss(*inputs), expected, atol=1e-4, rtol=1e-5)


@BATCHES
@pytest.mark.parametrize("method", ["full", "lora", "adapter"])
def test_rows_end_to_end_are_rewarded_as_rows_apart(method: str, rows: Rows, tiny_model: Path, numbers: torch.Generator) -> None:
    torch.manual_seed(0)
    base = models.load(tiny_model, torch.float32, device=torch.device("cpu"), head="scalar")
    model = quicken(parse(method).attach(base, models.load_tokenizer(tiny_model))).eval()
    apart, together = RewardScorer(model, model), RewardScorer(model, model)
    apart.rows_lie_end_to_end = False
    assert together.rows_lie_end_to_end
    ids = rows(numbers)[0]
    inputs = ids, (ids != 0).sum(1)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    values = [scorer.rewards(*inputs) for scorer in (apart, together)]
    torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
    for ours, wanted in zip(*(torch.autograd.grad(value.square().sum(), learning, allow_unused=True) for value in values), strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", PADDED)
def test_rows_stay_apart_where_a_model_would_mix_them(name: str, numbers: torch.Generator) -> None:
    model = quick(PADDED[name])
    scorer = Scorer(model, model)
    assert not scorer.rows_lie_end_to_end
    inputs = batch(numbers)
    torch.testing.assert_close(scorer.loss(*inputs), reference(model, *inputs), atol=1e-5, rtol=1e-5)


def test_what_rows_begin_with_alike_is_read_once_and_never_where_parts_are_left_out_by_chance(numbers: torch.Generator) -> None:
    seen: list[int] = []

    def read(config: PreTrainedConfig, *, learns: bool) -> int:
        model = quick(config).train(learns)
        scorer = Scorer(model, model)
        model.base_model.get_input_embeddings().register_forward_hook(lambda *passed: seen.append(passed[-1].shape[1]))
        scorer.loss(*kin(numbers))
        return seen[-1]

    whole = (12 + 5 + 12 + 3 + 14 + 4 + 14 + 2) - 4  # the last token of a row is never read
    # the last token of a prompt is what the first of its answer is told from, so each row has it to itself
    assert read(LlamaConfig(**SIZE), learns=True) == whole - (11 + 9 + 13)
    assert read(LlamaConfig(**SIZE, attention_dropout=0.1), learns=True) == whole
    assert read(GPT2Config(vocab_size=90, n_embd=32, n_layer=1, n_head=4, n_positions=64, embd_pdrop=0.1, attn_pdrop=0, resid_pdrop=0), learns=True) == whole


def test_no_position_of_padding_is_computed(numbers: torch.Generator) -> None:
    model = quick(END_TO_END["turned positions"])
    scorer, seen = Scorer(model, model), []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:2]))
    scorer.loss(*batch(numbers))
    assert seen == [(1, 11 + 6 + 2)]  # rows of 12, 7 and 3 tokens, whose last is never read
