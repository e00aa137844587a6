"""RMSNorm with a frozen weight: one statistic per token kept for the gradient instead of three tensors of full width."""

from typing import Any

import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm


def quicken_norms(model: nn.Module) -> None:
    """Every RMSNorm computed as Llama's is, where its weight does not train."""
    stock = LlamaRMSNorm.forward.__code__.co_code
    for layer in model.modules():
        is_rms = type(layer).__name__.endswith("RMSNorm") and type(layer).forward.__code__.co_code == stock
        if is_rms and not layer.weight.requires_grad:
            layer.forward = _Quick(layer)  # type: ignore[method-assign]


class RootMeanSquare(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight: [..., width] -> the same, in x's type; statistics in fp32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        grad = (upstream * weight).float()
        lean = (grad * x).sum(-1, keepdim=True).mul_(scale**3 / x.shape[-1])
        return grad.mul_(scale).sub_(x * lean).to(x.dtype), None, None


class _Quick:
    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return RootMeanSquare.apply(x, self.layer.weight, self.layer.variance_epsilon)
