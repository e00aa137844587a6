"""Frozen matrices laid out for products with few rows: what an answer waits for, token by token, is reading them.

A second copy in the order oneDNN reads them in, matrices of one input side by side, gives the same numbers (bit for bit in
bf16) from 40 % more bytes a second than the matrices as they lie: 34 GB/s against 25 on two cores for 3,072 x 576, one row.
Only matrices that nobody trains can be so copied; a copy is forgotten with them.
"""

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from backend.device import memory

Product = Callable[[torch.Tensor], torch.Tensor]

ROOM = 4  # a copy is made where so many times its size is free
_copies = WeakIdKeyDictionary()  # by the first matrix of those side by side: what multiplies by them all


def side_by_side(parts: Sequence[nn.Linear]) -> Product:
    """The products of modules that read the same, one behind the other: [rows, in] -> [rows, out of all]."""
    if _can_be_packed(parts[0]) and (copied := _copies.get(parts[0].weight)):
        return copied
    return parts[0] if len(parts) == 1 else lambda x: torch.cat([part(x) for part in parts], dim=-1)


def pack(groups: Sequence[Sequence[nn.Linear]]) -> None:
    """Copy the matrices of modules that read the same, group by group, so that `side_by_side` has less to wait for.

    Does nothing where one of them is trained or of another kind, and where memory is short.
    """
    missing = [group for group in groups if group[0].weight not in _copies]
    parts = [part for group in missing for part in group]
    if all(map(_can_be_packed, parts)) and _has_room(sum(part.weight.nbytes for part in parts)):
        for group in missing:
            _copies[group[0].weight] = _packed(group)


def _has_room(size: int) -> bool:
    held = memory()
    return ROOM * size <= held.total - held.used


def _packed(group: Sequence[nn.Linear]) -> Product:
    weight = torch.cat([part.weight.detach() for part in group])
    has_bias = any(part.bias is not None for part in group)
    return _multiplied(weight, torch.cat([_bias(part) for part in group]) if has_bias else None)


def _bias(part: nn.Linear) -> torch.Tensor:
    return part.weight.new_zeros(part.out_features) if part.bias is None else part.bias.detach()


def _multiplied(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    """By operations that torch's compiler uses; they have no public names."""
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid_out, bias, "none", [], "")


def _can_be_packed(part: nn.Module) -> bool:
    if type(part) is not nn.Linear or part.weight.requires_grad or part.weight.device.type != "cpu":
        return False
    return packs(part.weight.dtype)


@functools.cache
def packs(dtype: torch.dtype) -> bool:
    """Whether matrices of a type are multiplied out of a packed copy on this machine's CPU, found out by a trial."""
    weight, x = (torch.arange(64 * 32).view(64, 32) % 7 - 3).to(dtype), torch.ones(1, 32, dtype=dtype)
    try:
        return bool(torch.allclose(_multiplied(weight, None)(x), F.linear(x, weight), rtol=1e-2))
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
