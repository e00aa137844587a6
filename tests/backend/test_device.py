"""The device: whose helpers there are when nobody multiplies, and whose memory what nobody holds is."""

import ctypes
import os
import subprocess
import sys

import psutil
import pytest

from backend.memory import trim_memory

COUNTING = """
import os, threading, time, torch
from backend.device import Turns, dismiss_helpers, matrix_rate

def threads():
    return len(os.listdir("/proc/self/task"))

def multiply():
    torch.randn(512, 512) @ torch.randn(512, 512)

def in_a_thread(work, then):
    done, over = threading.Event(), threading.Event()
    def life():
        work(); done.set(); over.wait()  # as the threads of a page's requests do, it lives on after its work
    thread = threading.Thread(target=life, daemon=True); thread.start(); done.wait()
    counted = then(); over.set(); thread.join()
    until = time.monotonic() + 10
    while threads() > alone and time.monotonic() < until:  # the kernel counts it and its helper until they have left
        time.sleep(.001)
    return counted

torch.set_num_threads(2)
multiply(); dismiss_helpers()
alone = threads()
turns = Turns()

def a_token():
    with turns.take(quick=True):
        multiply()

def a_step():
    with turns.take():
        multiply()

print(*[in_a_thread(work, threads) - alone - 1 for work in (multiply, a_token, a_step, matrix_rate)])
"""


@pytest.mark.skipif(sys.platform != "linux" or (os.cpu_count() or 1) < 2, reason="counts the threads of a process on Linux, with two cores")
def test_helpers_stay_with_a_run_and_go_after_a_token_and_a_measurement() -> None:
    said = subprocess.run([sys.executable, "-c", COUNTING], capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    product, token, step, measurement = map(int, said.stdout.split())
    assert (product, token, step, measurement) == (1, 0, 1, 0)


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no such call")
def test_memory_that_nothing_holds_goes_back_to_the_system() -> None:
    pieces = [bytearray(100_000) for _ in range(2000)]
    pieces = pieces[::20]  # what is left stands between what is free
    process = psutil.Process()
    before = process.memory_info().rss
    trim_memory()
    assert before - process.memory_info().rss > 100_000_000 and len(pieces) == 100
