"""Matrices that were packed multiply as they did before; what is trained, what is too large and what is gone is not packed."""

import gc

import pytest
import torch
from torch import nn

from backend.device import Memory
from backend.fast import packed
from backend.fast.packed import pack, packs, side_by_side

needs_packing = pytest.mark.skipif(not (packs(torch.float32) and packs(torch.bfloat16)), reason="torch cannot pack matrices on this processor")
pytestmark = needs_packing


def frozen(*outputs: int, dtype: torch.dtype = torch.bfloat16, bias: bool = False) -> list[nn.Linear]:
    """Modules that read the same 576 numbers."""
    torch.manual_seed(0)
    return [nn.Linear(576, out, bias=bias, dtype=dtype).requires_grad_(False) for out in outputs]


def is_packed(*parts: nn.Linear) -> bool:
    return parts[0].weight in packed._copies and side_by_side(parts) is packed._copies[parts[0].weight]


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_side_by_side_are_those_of_each(rows: int, bias: bool, dtype: torch.dtype) -> None:
    parts = frozen(576, 192, 192, dtype=dtype, bias=bias)
    x = torch.randn(rows, 576, dtype=dtype)
    apart = torch.cat([part(x) for part in parts], dim=-1)
    pack([parts])
    assert is_packed(*parts)
    torch.testing.assert_close(side_by_side(parts)(x), apart, rtol=1e-5 if dtype is torch.float32 else 8e-3, atol=1e-5)


def test_a_bias_that_only_some_have_is_nothing_for_the_others() -> None:
    parts = [*frozen(64, dtype=torch.float32), *frozen(32, dtype=torch.float32, bias=True)]
    x = torch.randn(3, 576)
    pack([parts])
    torch.testing.assert_close(side_by_side(parts)(x), torch.cat([part(x) for part in parts], dim=-1))


def test_what_is_trained_is_not_packed() -> None:
    parts = frozen(64, 64)
    parts[1].weight.requires_grad_(True)
    pack([parts])
    assert not is_packed(*parts)


def test_what_comes_to_be_trained_is_no_longer_read_from_its_copy() -> None:
    parts = frozen(64)
    pack([parts])
    parts[0].weight.requires_grad_(True)
    assert side_by_side(parts) is parts[0]


def test_another_kind_of_module_over_the_same_matrix_is_asked_itself() -> None:
    class Scaled(nn.Linear):
        pass

    (part,) = frozen(64)
    pack([[part]])
    other = Scaled(576, 64, bias=False)
    other.weight = part.weight
    assert side_by_side([other]) is other


def test_nothing_is_packed_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = frozen(1024)
    size = parts[0].weight.nbytes
    monkeypatch.setattr(packed, "memory", lambda: Memory(used=0, total=4 * size - 1))
    pack([parts])
    assert not is_packed(*parts)
    monkeypatch.setattr(packed, "memory", lambda: Memory(used=0, total=4 * size))
    pack([parts])
    assert is_packed(*parts)


def test_a_copy_is_made_once_and_goes_with_its_matrix() -> None:
    before = len(packed._copies)
    parts = frozen(64)
    pack([parts])
    copied = side_by_side(parts)
    pack([parts])
    assert side_by_side(parts) is copied
    del parts, copied
    gc.collect()
    assert len(packed._copies) == before


def test_finding_out_what_can_be_packed_throws_no_dice() -> None:
    packs.cache_clear()
    before = torch.get_rng_state()
    packs(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
