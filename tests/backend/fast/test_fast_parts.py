"""Every fast part gives what the stock computation gives: values and gradients, in fp32 to rounding, in bf16 as near as bf16 is."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from backend.fast import attention, head, norm, quicken, swiglu
from backend.fast.embedding import head_matrix
from backend.fast.lora import LoraProduct
from backend.loss import Scorer
from backend.models import load

IDS = torch.arange(36).reshape(3, 12) % 500 + 5


@pytest.fixture
def model(tiny_model: Path) -> nn.Module:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj"], init_lora_weights=False))
    return adapted.train()


def gradients(model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradient of everything that trains."""
    logits = model(input_ids=IDS, use_cache=False).logits
    model.zero_grad()
    logits.float().log_softmax(-1)[..., 7].sum().backward()
    return logits.detach(), {name: each.grad.clone() for name, each in model.named_parameters() if each.requires_grad}


def quickened(model: nn.Module) -> nn.Module:
    return quicken(copy.deepcopy(model))


def test_a_quick_model_is_the_stock_model(model: nn.Module) -> None:
    quick = quickened(model)
    (logits, grads), (quick_logits, quick_grads) = gradients(model), gradients(quick)
    assert torch.allclose(quick_logits, logits, atol=1e-5)
    assert grads.keys() == quick_grads.keys() and any(grad.abs().max() > 0 for grad in grads.values())
    for name, grad in grads.items():
        assert torch.allclose(quick_grads[name], grad, rtol=1e-3, atol=1e-4), name


def test_in_bf16_it_is_as_near_to_fp32_as_the_stock_model_is(model: nn.Module) -> None:
    truth = gradients(model)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    stock, quick = gradients(model), gradients(quickened(model))

    def error(found: tuple[torch.Tensor, dict[str, torch.Tensor]]) -> float:
        return sum(float((found[1][name] - grad).norm() / grad.norm()) for name, grad in truth[1].items()) / len(truth[1])

    assert error(quick) < 1.25 * error(stock) < 0.2


def test_every_part_is_found_in_a_real_model(model: nn.Module) -> None:
    quick = quickened(model)
    found = [type(layer.forward).__module__ for layer in quick.modules() if type(layer.forward).__name__ == "_Quick"]
    assert found.count("backend.fast.lora") == 2 * 3
    assert found.count("backend.fast.swiglu") == 2 and found.count("backend.fast.norm") == 2 * 2 + 1
    assert quick.get_base_model().config._attn_implementation == attention.NAME
    assert model.get_base_model().config._attn_implementation == "sdpa", "another model is left as it was"


def test_attention_s_answer_lies_in_one_piece_as_the_libraries_own_does(model: nn.Module) -> None:
    part = model.get_base_model().model.layers[0].self_attn
    query, key, value = (torch.randn(3, heads, 12, 16, dtype=torch.bfloat16) for heads in (4, 2, 2))
    answer, _ = attention.attend(part, query, key, value, None)
    assert answer.shape == (3, 12, 4, 16) and answer.is_contiguous()


def test_the_adapter_can_be_switched_off_and_on(model: nn.Module) -> None:
    quick = quickened(model)
    with torch.no_grad(), model.disable_adapter(), quick.disable_adapter():
        off, quick_off = model(input_ids=IDS).logits, quick(input_ids=IDS).logits
    with torch.no_grad():
        on = quick(input_ids=IDS).logits
    assert torch.allclose(off, quick_off, atol=1e-5) and not torch.allclose(off, on, atol=1e-3)


@pytest.mark.parametrize("config", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_what_is_not_plain_keeps_pefts_computation(tiny_model: Path, config: dict) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    model = quicken(get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], **config)))
    assert "backend.fast.lora" not in {type(layer.forward).__module__ for layer in model.modules()}


@pytest.mark.parametrize("nested", [True, False], ids=["scales packed too", "scales as they are"])
def test_a_packed_base_gives_what_the_stock_layers_give_and_no_copy_of_it_is_kept(tiny_model: Path, nested: bool) -> None:
    packing = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32, bnb_4bit_use_double_quant=nested
    )
    base = load(tiny_model, torch.float32, device=torch.device("cpu"), quantization=packing)
    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj"], init_lora_weights=False)
    model = get_peft_model(base, settings).train()
    logits, grads = gradients(model)
    quicken(model)
    kept: list[torch.Size] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        quick_logits, quick_grads = gradients(model)
    assert [type(layer.forward).__module__ for layer in model.modules()].count("backend.fast.lora") == 2 * 3
    assert torch.allclose(quick_logits, logits, atol=1e-5) and grads.keys() == quick_grads.keys()
    for name, grad in grads.items():
        assert grad.abs().max() > 0 and torch.allclose(quick_grads[name], grad, rtol=1e-3, atol=1e-4), name
    packed = {layer.base_layer.weight.quant_state.shape for layer in model.modules() if hasattr(layer, "lora_A")}
    assert len(packed) > 1 and not packed & set(kept)


def test_what_is_saved_stays_as_it_was(model: nn.Module, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "stock")
    quickened(model).save_pretrained(tmp_path / "quick")
    weights = [(tmp_path / each / "adapter_model.safetensors").read_bytes() for each in ("stock", "quick")]
    stock, quick = (json.loads((tmp_path / each / "adapter_config.json").read_text()) for each in ("stock", "quick"))
    assert weights[0] == weights[1]
    assert {**stock, "target_modules": sorted(stock["target_modules"])} == {**quick, "target_modules": sorted(quick["target_modules"])}


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    fixed = drawn(5, 3).detach()
    assert torch.autograd.gradcheck(lambda x, a, b: LoraProduct.apply(x, fixed, None, a, b, 0.5), (drawn(2, 4, 3), drawn(2, 3), drawn(5, 2)))
    assert torch.autograd.gradcheck(swiglu.GatedProduct.apply, (drawn(2, 4), drawn(2, 4)))


@pytest.mark.parametrize("kept", [0, 1000], ids=["shares made again", "shares kept"])
@pytest.mark.parametrize(("tokens", "seen"), [(3, 3), (4, 4), (7, 7), (5, 8), (1, 4)])
def test_attention_a_few_queries_at_a_time_is_the_stock_one(tokens: int, seen: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queries being of the last of the keys, two query heads to a key head."""
    monkeypatch.setattr(attention, "BLOCK", 3)
    monkeypatch.setattr(attention, "SHARES_KEPT", kept)
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(2, length, heads, 8, dtype=torch.float64, requires_grad=True).transpose(1, 2)  # laid out as models hand it over
        for heads, length in ((4, tokens), (2, seen), (2, seen))
    )
    mask = torch.ones(tokens, seen, dtype=torch.bool).tril(seen - tokens)
    stock = F.scaled_dot_product_attention(query, key, value, mask, scale=0.3, enable_gqa=True)
    ours = attention.CausalAttention.apply(query, key, value, 0.3)
    upstream = torch.randn_like(stock)
    assert torch.allclose(ours, stock)
    for mine, theirs in zip(*(torch.autograd.grad(said, (query, key, value), upstream) for said in (ours, stock)), strict=True):
        assert torch.allclose(mine, theirs)


@pytest.mark.parametrize("tokens", [57, 300, 700])
def test_attention_in_bf16_is_as_near_to_fp32_as_torchs_own(tokens: int) -> None:
    torch.manual_seed(0)
    drawn, upstream = [torch.randn(1, heads, tokens, 64) for heads in (9, 3, 3)], torch.randn(1, 9, tokens, 64)

    def found(dtype: torch.dtype, attend: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        inputs = [each.to(dtype).requires_grad_() for each in drawn]
        said = attend(*inputs)
        return [each.float() for each in (said, *torch.autograd.grad(said, inputs, upstream.to(dtype)))]

    stock = partial(F.scaled_dot_product_attention, is_causal=True, enable_gqa=True)
    truth, theirs = found(torch.float32, stock), found(torch.bfloat16, stock)
    ours = found(torch.bfloat16, lambda q, k, v: attention.CausalAttention.apply(q, k, v, 64**-0.5))
    errors = [[float((each - true).norm() / true.norm()) for each, true in zip(side, truth, strict=True)] for side in (ours, theirs)]
    assert all(mine < 1.5 * others and mine < 0.02 for mine, others in zip(*errors, strict=True)), errors


def test_attention_goes_our_way_in_bf16_and_torchs_in_fp32(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(attention.CausalAttention, "apply", lambda q, k, v, scale: taken.append(q.dtype) or q)
    quick = quickened(model)
    quick(input_ids=IDS)
    assert taken == []
    quick.to(torch.bfloat16)(input_ids=IDS)
    assert taken == [torch.bfloat16] * 2


@pytest.mark.parametrize("learns", [True, False])
def test_the_norms_gradients_are_the_stock_ones(learns: bool) -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    torch.manual_seed(0)
    layer = LlamaRMSNorm(16)
    layer.weight.data.normal_()
    layer.weight.requires_grad_(learns)
    x = torch.randn(3, 5, 16, requires_grad=True)
    wanted = [x, layer.weight] if learns else [x]
    stock = torch.autograd.grad(layer(x).pow(3).sum(), wanted)
    quick = torch.autograd.grad(norm.RootMeanSquare.apply(x, layer.weight, layer.variance_epsilon).pow(3).sum(), wanted)
    for theirs, ours in zip(stock, quick, strict=True):
        assert torch.allclose(theirs, ours, rtol=1e-4, atol=1e-4)


# ---- where all of a model learns: weights in fp32, products in bf16


def learning(tiny_model: Path, *, tied: bool) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).requires_grad_(True).train()
    if tied:
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    return model


def full_gradients(model: PreTrainedModel, *, products: torch.dtype = torch.bfloat16, passes: int = 1) -> dict[str, torch.Tensor]:
    """Of every weight, after a loss on everything but each row's last token."""
    model.zero_grad()
    for _ in range(passes):
        with torch.autocast("cpu", products, enabled=products != torch.float32):
            loss = Scorer(model, model).loss(IDS, IDS, torch.ones(IDS.shape))
        loss.backward()
    return {name: each.grad.clone() for name, each in model.named_parameters()}


def far_off(found: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> dict[str, float]:
    """How far each gradient is from the true one, as a share of its size."""
    assert found.keys() == truth.keys() and all(found[name].dtype == torch.float32 for name in found)
    return {name: float((found[name] - true).norm() / true.norm()) for name, true in truth.items()}


@pytest.mark.parametrize("tied", [True, False], ids=["head is the embedding", "head apart"])
def test_where_all_learns_every_gradient_is_as_near_to_fp32_as_the_stock_one(tiny_model: Path, tied: bool) -> None:
    model = learning(tiny_model, tied=tied)
    truth = full_gradients(model, products=torch.float32)
    stock, quick = far_off(full_gradients(model), truth), far_off(full_gradients(quickened(model)), truth)
    assert max(quick.values()) < 0.05 and sum(quick.values()) < 1.5 * sum(stock.values())
    twice = far_off(full_gradients(quickened(model), passes=2), truth)  # twice the gradient, so off by once its size
    assert all(abs(off - 1) < 0.05 for off in twice.values())


def test_where_all_learns_vectors_are_bf16_from_the_first_on_and_back_in_fp32_where_nothing_is_cast(tiny_model: Path) -> None:
    model = quickened(learning(tiny_model, tied=True))
    seen = []
    model.model.layers[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=IDS)
    model(input_ids=IDS)
    assert seen == [torch.bfloat16, torch.float32]


def test_a_padding_token_s_vector_does_not_learn(tiny_model: Path) -> None:
    model = learning(tiny_model, tied=False)
    layer = model.get_input_embeddings()
    layer.padding_idx = int(IDS[0, 0])
    gradient = full_gradients(quickened(model))["model.embed_tokens.weight"]
    assert gradient[layer.padding_idx].abs().max() == 0 < gradient[IDS[0, 1]].abs().max()


def test_a_head_of_its_own_turn_gets_its_own_gradient(tiny_model: Path) -> None:
    """The matrix is handed on for one reading only: who asks again, or asks without one, is given the weight itself."""
    model = quickened(learning(tiny_model, tied=True))
    weight = model.get_input_embeddings().weight
    assert head_matrix(model) is weight
    with torch.autocast("cpu", torch.bfloat16):
        model.get_input_embeddings()(IDS)
        assert head_matrix(model) is not weight
        assert head_matrix(model) is weight
        with torch.no_grad():
            model.get_input_embeddings()(IDS)
        assert head_matrix(model) is weight


@pytest.mark.parametrize("tied", [True, False], ids=["head is the embedding", "head apart"])
def test_a_look_at_held_out_rows_makes_no_gradient_of_the_head(tiny_model: Path, tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    through = head.Through.__init__

    def watched(self: head.Through, *args: object, **kwargs: object) -> None:
        through(self, *args, **kwargs)  # type: ignore[arg-type]
        made.append(self.grad_weight)

    monkeypatch.setattr(head.Through, "__init__", watched)
    model = quickened(learning(tiny_model, tied=tied))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        Scorer(model, model).loss(IDS, IDS, torch.ones(IDS.shape))
    assert made == [None]
    full_gradients(model)
    assert made[1] is not None


@pytest.mark.parametrize("tied", [True, False], ids=["head is the embedding", "head apart"])
def test_a_model_that_has_been_read_can_be_copied(tiny_model: Path, tied: bool) -> None:
    model = quickened(learning(tiny_model, tied=tied))
    full_gradients(model)
    copy.deepcopy(model)
