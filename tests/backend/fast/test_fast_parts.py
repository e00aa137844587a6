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
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from backend.fast import attention, norm, quicken, swiglu
from backend.fast.lora import LoraProduct
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


def test_the_norms_gradient_is_the_stock_ones() -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    torch.manual_seed(0)
    layer = LlamaRMSNorm(16)
    layer.weight.data.normal_()
    layer.weight.requires_grad_(False)
    x = torch.randn(3, 5, 16, requires_grad=True)
    (stock,) = torch.autograd.grad(layer(x).pow(3).sum(), x)
    (quick,) = torch.autograd.grad(norm.RootMeanSquare.apply(x, layer.weight, layer.variance_epsilon).pow(3).sum(), x)
    assert torch.allclose(stock, quick, rtol=1e-4, atol=1e-4)
