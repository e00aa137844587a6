"""The device that trains and answers: which one it is, what it can do, and whose turn it is.

Whoever holds the device holds it alone. Training takes it for one micro-step at a time; chat gets it in between.
"""

import ctypes
import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
import torch


class Memory(NamedTuple):
    """Memory of the device that holds the weights, in bytes."""

    used: int
    total: int

    @property
    def free(self) -> int:
        return self.total - self.used


@functools.cache
def device() -> torch.device:
    """The best device of this machine: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def several_may_read() -> bool:
    """Whether two threads may copy weights from the device at once; Apple's MPS may end the process."""
    return device().type != "mps"


@functools.cache
def fast_bf16() -> bool:
    """Whether bf16 matrix products run in hardware here; where they do not, bf16 is slower than fp32."""
    if device().type == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    if device().type == "mps":
        return False
    flags = cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cpu_flags() -> frozenset[str]:
    """Instruction sets of this CPU as Linux names them; empty where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return frozenset()
    lines = (line for line in cpuinfo.read_text(errors="replace").splitlines() if line.startswith(("flags", "Features")))
    return frozenset(next(lines, "").split())


def dtype(precision: Literal["auto", "bf16", "fp32"]) -> torch.dtype:
    """The type frozen weights are kept in and matrix products run in."""
    if precision == "auto":
        return torch.bfloat16 if fast_bf16() else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def memory() -> Memory:
    """Memory of the device now, everybody's use counted."""
    if device().type == "cuda":
        free, total = torch.cuda.mem_get_info()
        return Memory(total - free, total)
    system = psutil.virtual_memory()
    return Memory(system.total - system.available, system.total)


def process_memory_bytes() -> int:
    """What this process holds: on CUDA the peak of the allocator, elsewhere the resident size."""
    if device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss


def describe() -> str:
    """The device in a few words: "CPU 2 cores bf16"."""
    precision = "bf16" if fast_bf16() else "fp32"
    if device().type == "cuda":
        return f"{torch.cuda.get_device_name()} {precision}"
    if device().type == "mps":
        return f"Apple GPU {precision}"
    return f"CPU {psutil.cpu_count(logical=False) or psutil.cpu_count()} cores {precision}"


@functools.cache
def matrix_rate() -> float:
    """Measured rate of matrix products in the precision `auto` picks, in floating point operations per second."""
    tokens, width = (512, 1024) if device().type == "cpu" else (4096, 4096)
    left = torch.randn(tokens, width, device=device(), dtype=dtype("auto"))
    right = torch.randn(width, width, device=device(), dtype=dtype("auto"))
    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        for _ in range(4):
            (left @ right).sum().item()
        seconds.append(time.perf_counter() - begun)
    dismiss_helpers()
    return 4 * 2 * tokens * width * width / min(seconds)


def dismiss_helpers() -> None:
    """End the threads that help the calling one with its products; they come back with its next product, at no cost to speak of.

    OpenMP gives every thread that multiplies helpers of its own and keeps them. Once there are more of all together than
    cores, helpers no longer watch for the next small product but fall asleep after each one: on two cores a training step
    then takes 1.5 times as long, and a token 1.8 times. So whoever is done for the moment lets them go.
    """
    if pause := _pause_openmp():
        pause(1)  # omp_pause_soft: what is allocated stays


@functools.cache
def _pause_openmp() -> Callable[[int], int] | None:
    """OpenMP's own call for it in the library torch came with; None where torch uses another, which has other habits."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(torch._C.__file__), "omp_pause_resource_all", None)


@dataclass(eq=False)
class _Ticket:
    since: float  # when somebody began to wait


class Turns:
    """A lock on the device for two kinds of work: quick turns (a token of an answer) and patient ones (a micro-step).

    Quick turns go first, so that an answer flows while a model trains; but a patient one waits no longer than
    `patience` seconds, so that chatting slows a run and never stops it. Within a kind: first come, first served.
    """

    def __init__(self, *, patience: float = 1.0) -> None:
        self.patience = patience
        self._state = threading.Condition()
        self._quick: deque[_Ticket] = deque()
        self._patient: deque[_Ticket] = deque()
        self._holder: _Ticket | None = None

    @contextmanager
    def take(self, *, quick: bool = False) -> Iterator[None]:
        """Hold the device for the length of a `with` block."""
        line, ticket = self._quick if quick else self._patient, _Ticket(time.monotonic())
        try:
            with self._state:
                line.append(ticket)
                self._hand_over()
                self._state.wait_for(lambda: self._holder is ticket)
            yield
        finally:
            if quick or self._quick:
                dismiss_helpers()  # for somebody in another thread
            with self._state:
                if self._holder is ticket:
                    self._holder = None
                    self._hand_over()
                else:
                    line.remove(ticket)  # broken off while it waited

    def _hand_over(self) -> None:
        """Give a free device to whose turn it is. Said once for all who wait: each for himself, by the clock, might leave it to the other."""
        if self._holder is None and (line := self._next()):
            self._holder = line.popleft()
            self._state.notify_all()

    def _next(self) -> deque[_Ticket]:
        overdue = bool(self._patient) and time.monotonic() - self._patient[0].since > self.patience
        return self._patient if overdue or not self._quick else self._quick
