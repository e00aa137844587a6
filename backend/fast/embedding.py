"""Where weights are kept in fp32 and products run in bf16: what goes from layer to layer is bf16 from the first token's vector on.

Otherwise a vector begins in fp32 and stays so through every sum, norm and rotation, each of them twice as long a way through memory,
with a cast before each product. And where the head is the same matrix, the embedding's gradient, which is of the few tokens that
were read, is added into the head's, which is of all, instead of being written for the whole vocabulary and summed with it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel


def quicken_embedding(model: nn.Module) -> None:
    """The embedding that a model's tokens come in by, where it is of fp32."""
    if not isinstance(model, PreTrainedModel):
        return  # PEFT's: its weights are in the type of the products
    layer = model.get_input_embeddings()
    is_plain = type(layer) is nn.Embedding and layer.max_norm is None and not layer.scale_grad_by_freq
    if is_plain and layer.weight.dtype == torch.float32:
        head = model.get_output_embeddings()
        layer.forward = _Quick(layer, is_head=head is not None and head.weight is layer.weight)  # type: ignore[method-assign]


def head_matrix(model: PreTrainedModel) -> torch.Tensor:
    """The weight of the head, [V, width], for what the model has just read: its gradient goes the embedding's way if they are one."""
    weight = model.get_output_embeddings().weight
    quick = model.get_input_embeddings().forward
    return quick.handed_on() if isinstance(quick, _Quick) and quick.is_head else weight


class Looked(torch.autograd.Function):
    """Vectors of tokens, in another type, and the matrix they are from: ids [...], weight [V, width] -> [..., width], [V, width]."""

    @staticmethod
    def forward(ctx: Any, ids: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype, padding: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.padding = weight.shape, padding
        ctx.set_materialize_grads(False)
        return F.embedding(ids, weight).to(dtype), weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, vectors: torch.Tensor | None, matrix: torch.Tensor | None) -> tuple[None, torch.Tensor | None, None, None]:
        if vectors is None:
            return None, matrix, None, None
        (ids,) = ctx.saved_tensors
        grad = torch.zeros(ctx.shape, device=vectors.device) if matrix is None else matrix  # made for us alone, by the head
        if ctx.padding is not None:
            vectors = vectors.masked_fill((ids == ctx.padding)[..., None], 0)  # its vector does not learn
        return None, grad.index_add_(0, ids.flatten(), vectors.flatten(0, -2).to(grad.dtype)), None, None


class _Quick:
    """The forward of an embedding; where products are not cast, the stock one."""

    def __init__(self, layer: nn.Embedding, *, is_head: bool) -> None:
        self.layer, self.is_head, self.stock = layer, is_head, layer.forward
        self._matrix: torch.Tensor | None = None

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        kind = ids.device.type
        if not torch.is_autocast_enabled(kind):
            return self.stock(ids)
        vectors, matrix = Looked.apply(ids, self.layer.weight, torch.get_autocast_dtype(kind), self.layer.padding_idx)
        self._matrix = matrix if self.is_head and vectors.requires_grad else None
        return vectors

    def handed_on(self) -> torch.Tensor:
        """The matrix as of the last tokens looked up, once; after that as it is."""
        matrix, self._matrix = self._matrix, None
        return self.layer.weight if matrix is None else matrix
