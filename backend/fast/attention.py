"""Causal attention in bf16 on a CPU: a plain softmax(Q K') V, some queries at a time, twice to three times as fast as torch's fused kernel.

In fp32, and where there is a mask or a cache that holds something, the fused kernel is used. Measured forward and backward, a row
of 9 heads of 64, two cores, in ms: 57 tokens 0.4 against 1.3; 200 tokens 1.1 against 3.2; 512 tokens 4.8 against 14.9; 1,024
tokens 14 against 32; 4,096 tokens 210 against 370. Forward alone it is as fast up to 100 tokens, and from there twice as fast.

Rows may also lie end to end in one long row (rows.py), of which `Layout.mask` tells in the attention mask's place.
"""

import functools
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
QUICKER_IN = {torch.bfloat16}  # types in which ours is the faster one
BLOCK = 128  # queries at a time
SHORT = 1 << 16  # scores; the shares of so few take torch's bf16 kernel up to four times as long as its fp32 one
SHARES_KEPT = 320  # tokens of a row up to which its shares are kept for the gradient; beyond, they are made again: a quarter slower, and far smaller


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
    if plain and _is_alike(query, key, value) and query.dtype in QUICKER_IN:
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        return CausalAttention.apply(query, key, value, scale).transpose(1, 2).contiguous()  # as the libraries' own; some models rely on it
    tokens, before = query.shape[2], key.shape[2] - query.shape[2]
    mask = ~_later(tokens, before, query.device)[None, None] if before else None  # torch's own would begin at the first key
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)[0]


def _is_alike(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether all are of one type and width; some models' values are narrower than their keys."""
    return query.dtype == key.dtype == value.dtype and query.shape[-1] == value.shape[-1]


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


class CausalAttention(torch.autograd.Function):
    """softmax(scale Q K' + causal mask) V, the queries being of the last keys, some queries at a time: no product is made with
    keys that all of them are too early for, and what is made stays in the cache. Query heads that share a key head are laid end
    to end, so that no key is copied."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        rows, heads, tokens, width = query.shape
        groups, seen = rows * key.shape[1], key.shape[2]
        q = (query * scale).reshape(groups, -1, tokens, width)  # [groups, heads of a group, tokens, width]
        k, v = key.reshape(groups, seen, width), value.reshape(groups, seen, width)
        answer = torch.empty_like(q)
        kept = []
        for block, earlier in _blocks(tokens, seen):
            shares = _shares(q, k, block, earlier)
            answer[:, :, block] = torch.bmm(shares, v[:, :earlier]).view(groups, -1, block.stop - block.start, width)
            if seen <= SHARES_KEPT:
                kept.append(shares)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.scale = scale
        return answer.view(rows, heads, tokens, width)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, *kept = ctx.saved_tensors
        (groups, _, tokens, width), seen = q.shape, k.shape[1]
        up = upstream.reshape(q.shape)
        grad_query, grad_key, grad_value = (torch.empty_like(each) for each in (q, k, v))
        for number, (block, earlier) in reversed(list(enumerate(_blocks(tokens, seen)))):  # the last looks at all keys, and so writes all gradients
            shares = kept[number] if kept else _shares(q, k, block, earlier)
            q_block, up_block = (each[:, :, block].reshape(groups, -1, width) for each in (q, up))
            grad_scores = torch._softmax_backward_data(torch.bmm(up_block, v[:, :earlier].transpose(1, 2)), shares, -1, shares.dtype)
            before = 1 if block.stop < tokens else 0
            grad_value[:, :earlier].baddbmm_(shares.transpose(1, 2), up_block, beta=before)
            grad_key[:, :earlier].baddbmm_(grad_scores.transpose(1, 2), q_block, beta=before)
            grad_query[:, :, block] = torch.bmm(grad_scores, k[:, :earlier]).mul_(ctx.scale).view_as(grad_query[:, :, block])
        few = (upstream.shape[0], -1, seen, width)
        return grad_query.view_as(upstream), grad_key.view(few), grad_value.view(few), None


def _blocks(tokens: int, seen: int) -> Iterator[tuple[slice, int]]:
    """Some queries at a time, and how many keys the last of them may look at. The queries are of the last of the keys seen."""
    size = max(1, -(-tokens // max(1, round(tokens / BLOCK))))  # all alike: a few queries left over would take as many calls as many do
    for start in range(0, tokens, size):
        stop = min(start + size, tokens)
        yield slice(start, stop), seen - tokens + stop


def _shares(q: torch.Tensor, k: torch.Tensor, block: slice, earlier: int) -> torch.Tensor:
    """How much each query of a block takes from each key: [groups, heads of a group x queries, earlier]."""
    queries = block.stop - block.start
    scores = torch.bmm(q[:, :, block].reshape(len(q), -1, q.shape[-1]), k[:, :earlier].transpose(1, 2))
    own = scores.view(len(q), -1, queries, earlier)[..., earlier - queries :]  # what came before the block, all of them look at
    own += _too_early(2 * BLOCK, q.dtype, q.device)[:queries, :queries]
    wide = torch.float32 if scores.itemsize < 4 and scores.numel() < SHORT else None
    return scores.softmax(-1, wide).to(q.dtype)  # autocast would leave it in fp32


@functools.cache
def _too_early(tokens: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """[tokens, tokens], what is added to a query's scores: 0, and where a key comes after it minus infinity. Filling in takes four times as long."""
    return torch.zeros(tokens, tokens, dtype=dtype, device=device).masked_fill_(_later(tokens, 0, device), float("-inf"))


def _later(tokens: int, before: int, device: torch.device) -> torch.Tensor:
    """[tokens, before + tokens], True where a token would look at one that comes after it."""
    return torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).triu_(before + 1)
