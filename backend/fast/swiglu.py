"""The gate of a SwiGLU: silu(gate) * up, keeping its two inputs for the gradient and making the rest again.

Left to itself autograd keeps silu(gate) and the product too: two more tensors of the widest size in the model, per layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def quicken_swiglu(model: nn.Module) -> None:
    """Every MLP of the form down(silu(gate(x)) * up(x))."""
    for layer in model.modules():
        if _is_swiglu(layer):
            layer.forward = _Quick(layer)  # type: ignore[method-assign]


class GatedProduct(torch.autograd.Function):
    """silu(gate) * up: [..., width] each."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        open_ = F.silu(gate)
        grad_gate = torch.ops.aten.silu_backward(upstream * up, gate)
        return grad_gate, open_.mul_(upstream)


class _Quick:
    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        return layer.down_proj(GatedProduct.apply(layer.gate_proj(x), layer.up_proj(x)))


def _is_swiglu(layer: nn.Module) -> bool:
    """By what it is made of, and by what its class computes: Llama's MLP and those that copy it."""
    parts = dict(layer.named_children())
    if not {"gate_proj", "up_proj", "down_proj", "act_fn"} == parts.keys():
        return False
    return isinstance(parts["act_fn"], nn.SiLU) or type(parts["act_fn"]).__name__ == "SiLUActivation"
