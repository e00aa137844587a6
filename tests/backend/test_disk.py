"""Files of gigabytes: on the disk as they are written, hashed on the way, and not kept in the system's memory."""

import errno
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.disk import PIECE, WriteThrough, sha256_of

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="what is in memory of a file is asked by Linux's means")


@pytest.fixture
def state() -> dict[str, Any]:
    """More than two pieces, in tensors smaller and larger than one."""
    return {"step": 7, "small": [torch.arange(10) for _ in range(20)], "large": torch.rand(PIECE // 2)}


def in_memory(file: Path, at: int) -> bool:
    """Whether a byte of a file is read without asking the disk."""
    with file.open("rb") as content:
        try:
            os.preadv(content.fileno(), [bytearray(1)], at, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pytest.skip("this file system does not say what is in memory")
    return True


def test_what_is_written_through_is_read_again_and_its_hash_is_known(tmp_path: Path, state: dict[str, Any]) -> None:
    with WriteThrough(tmp_path / "state.pt") as file:
        torch.save(state, file)
    assert (tmp_path / "state.pt").stat().st_size > 2 * PIECE
    assert file.sha256 == hashlib.sha256((tmp_path / "state.pt").read_bytes()).hexdigest() == sha256_of(tmp_path / "state.pt", from_disk=True)
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    assert torch.equal(read["large"], state["large"]) and torch.equal(read["small"][19], state["small"][19]) and read["step"] == 7


@needs_linux
def test_what_is_written_through_is_on_the_disk_and_leaves_memory_to_others(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save(state, tmp_path / "plain.pt")
    with WriteThrough(tmp_path / "through.pt") as file:
        torch.save(state, file)
    assert in_memory(tmp_path / "plain.pt", PIECE)
    assert not in_memory(tmp_path / "through.pt", PIECE)
    sha256_of(tmp_path / "through.pt")
    assert in_memory(tmp_path / "through.pt", PIECE)
    sha256_of(tmp_path / "through.pt", from_disk=True)
    assert not in_memory(tmp_path / "through.pt", PIECE)


@needs_linux
@pytest.mark.fault("disk full: a checkpoint")
def test_what_the_disk_refuses_is_told_as_the_disk_says_it(state: dict[str, Any]) -> None:
    """PyTorch's writer would speak of an unexpected position."""
    with pytest.raises(OSError) as error, WriteThrough(Path("/dev/full")) as file:
        torch.save(state, file)
    assert error.value.errno == errno.ENOSPC


def test_a_fault_that_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError), WriteThrough(tmp_path / "state.pt"):
        raise KeyError("of ours")
