"""Causal attention of short rows on a CPU: a plain softmax(Q K') V, whose backward is up to three times the fused one's speed.

torch's fused kernel wins from a few hundred tokens on, and where there is a mask, a cache or no gradient; there it is used.
Measured forward and backward, 9 heads of 64, bf16, two cores: 8 rows of 57 tokens 1.9 ms against 6.2; of 200 15.9 against
18.5; of 512 74 against 60.

Rows may also lie end to end in one long row (rows.py), of which `Layout.mask` tells in the attention mask's place.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from backend.fast.rows import Layout

NAME = "studio"
ROUNDING = {torch.float32: 1e-4}  # how far two computations of the same may lie apart, as a share; in bf16 further
LONGEST = 320  # tokens of a row from which on the fused kernel is faster


def quicken_attention(model: nn.Module) -> None:
    """Every attention of a model on the CPU that now goes through torch's fused kernel."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    for part in model.modules():
        if isinstance(part, PreTrainedModel) and part.config._attn_implementation == "sdpa" and part.device.type == "cpu":
            part.set_attn_implementation(NAME)


def takes_rows_end_to_end(model: nn.Module) -> bool:
    """Whether every attention of a quickened model keeps rows that lie end to end apart."""
    parts = [part.config for part in model.modules() if isinstance(part, PreTrainedModel)]
    is_whole = all(getattr(config, "sliding_window", None) is None for config in parts)  # ours looks at all that came before
    return bool(parts) and is_whole and all(config._attn_implementation == NAME for config in parts)


@torch.no_grad()
def keeps_rows_apart(model: PreTrainedModel) -> bool:
    """Whether a row behind another is read as if it stood alone, found out by a trial: convolutions and states would carry over."""
    rows = torch.tensor([[0, 1, 2], [0, 3, 0]], device=model.device)
    read = torch.tensor([[True, True, True], [False, True, False]], device=model.device)  # the second begins as the first does
    layout = Layout(read, *torch.tensor([[3, 1], [0, 1], [0, 0]], device=model.device))
    was_training, body = model.training, model.base_model
    model.eval()
    try:
        together = body(input_ids=rows[read][None], position_ids=layout.positions[None], attention_mask=layout.mask, use_cache=False)
    except (IndexError, RuntimeError, TypeError, ValueError):  # such a mask means nothing to this architecture
        return False
    else:
        alone = body(input_ids=rows[1:, :2], use_cache=False).last_hidden_state[:, -1].float()
        off = (together.last_hidden_state[:, -1].float() - alone).norm() / alone.norm()
        return bool(off < ROUNDING.get(model.dtype, 0.05))
    finally:
        model.train(was_training)


def attend(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    dropout: float = 0.0, scaling: float | None = None, is_causal: bool | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query [rows, heads, tokens, width], key and value [rows, fewer heads, tokens, width] -> [rows, tokens, heads, width]."""
    causal = getattr(module, "is_causal", True) and is_causal is not False
    plain = causal and not dropout and not kwargs.get("position_bias") and query.device.type == "cpu"
    if attention_mask is not None and _says_lengths(attention_mask):
        rows = _apart(query, key, value, *attention_mask[0, 0].tolist())
        said = [_attend_causally(module, *row, plain=plain, dropout=dropout, scaling=scaling, **kwargs) for row in rows]
        return torch.cat(said, dim=1), None
    if plain and attention_mask is None and query.shape[2] == key.shape[2]:
        return _attend_causally(module, query, key, value, plain=plain, dropout=dropout, scaling=scaling, **kwargs), None
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **kwargs
    )


def _attend_causally(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, plain: bool, scaling: float | None, **kwargs: Any
) -> torch.Tensor:
    """The query's tokens being the last of the key's. `plain`: whether it is a softmax(Q K') V on a CPU and no more."""
    learns = query.requires_grad or key.requires_grad
    if plain and learns and key.shape[2] <= LONGEST and query.dtype == key.dtype == value.dtype:
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        return ShortCausalAttention.apply(query, key, value, scale).transpose(1, 2).contiguous()
    tokens, before = query.shape[2], key.shape[2] - query.shape[2]
    mask = ~_later(tokens, before, query.device)[None, None] if before else None  # torch's own would begin at the first key
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)[0]


def _says_lengths(attention_mask: torch.Tensor) -> bool:
    """Whether it is a `Layout`'s, and no mask."""
    return not attention_mask.is_floating_point() and attention_mask.dtype != torch.bool


def _apart(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int], shared: list[int], parents: list[int]
) -> Iterator[tuple[torch.Tensor, ...]]:
    """(query, key, value) of each row, the keys and values of what it shares with its parent before its own.

    Keys and values that no query belongs to are a prefix, and stand before every row.
    """
    prefix = key.shape[2] - query.shape[2]
    begun = tuple(each[:, :, :prefix] for each in (key, value))
    rows: list[tuple[torch.Tensor, ...]] = []
    own = (each[:, :, prefix:].split(lengths, dim=2) for each in (key, value))
    for q, *kept, before, parent in zip(query.split(lengths, dim=2), *own, shared, parents, strict=True):
        earlier = rows[parent] if before else begun
        rows.append(tuple(_behind(each[:, :, : prefix + before], row) for each, row in zip(earlier, kept, strict=True)))
        yield q, *rows[-1]


def _behind(before: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    return torch.cat((before, row), dim=2) if before.shape[2] else row


class ShortCausalAttention(torch.autograd.Function):
    """softmax(scale Q K' + causal mask) V, the queries being of the last keys. Query heads that share a key head are laid end
    to end, so that no key is copied."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        rows, heads, tokens, width = query.shape
        groups = rows * key.shape[1]
        q = (query * scale).reshape(groups, -1, width)  # [groups, heads of a group x tokens, width]
        seen = key.shape[2]
        k, v = key.reshape(groups, seen, width), value.reshape(groups, seen, width)
        with torch.autocast(query.device.type, enabled=False):  # which would make the shares fp32
            scores = q @ k.transpose(1, 2)
            scores.view(groups, -1, tokens, seen).masked_fill_(_later(tokens, seen - tokens, query.device), float("-inf"))
            shares = scores.softmax(-1)
            answer = shares @ v
        ctx.save_for_backward(q, k, v, shares)
        ctx.scale = scale
        return answer.view(rows, heads, tokens, width)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, shares = ctx.saved_tensors
        rows, heads, tokens, width = upstream.shape
        up = upstream.reshape(q.shape)
        grad_value = shares.transpose(1, 2) @ up
        grad_scores = torch._softmax_backward_data(up @ v.transpose(1, 2), shares, -1, shares.dtype)
        grad_query = (grad_scores @ k).mul_(ctx.scale)
        grad_key = grad_scores.transpose(1, 2) @ q
        few = (rows, -1, k.shape[1], width)
        return grad_query.view(rows, heads, tokens, width), grad_key.view(few), grad_value.view(few), None


def _later(tokens: int, before: int, device: torch.device) -> torch.Tensor:
    """[tokens, before + tokens], True where a token would look at one that comes after it."""
    return torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).triu_(before + 1)
