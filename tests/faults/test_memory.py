"""Memory comes back, run after run; and where there is too little of it, for real, that ends in smaller pieces or in words."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from backend.data.versions import Card
from backend.runs import Run
from backend.workspace import Workspace
from tests.backend.test_training import spec_for, told
from tests.conftest import save_conversations
from tests.faults.conftest import ROOT
from tests.faults.survival import LONG

CYCLES = 20 if LONG else 5
WARMING_UP = 5 if LONG else 3  # cycles until all is loaded and the shelf is full
GROWTH = 0.05

CYCLE = """
import gc, json, sys, time
from pathlib import Path
import torch
from transformers import PreTrainedModel
from backend.device import process_memory_bytes
from backend.engine import Engine
from backend.inference import Speaker
from backend.generation import answers
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.workspace import Workspace

def wait_for(condition):
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)

workspace, spec, cycles = Workspace(Path(sys.argv[1])), parse_spec(json.loads(sys.argv[2])), int(sys.argv[3])
engine = Engine(workspace)
engine.start()
engine.wait_until_ready()
for _ in range(cycles):
    run = engine.runs.get(engine.submit(spec))
    wait_for(lambda: any(event["kind"] == "step" for event in run.events.read()[0]))
    engine.stop(run.id)
    wait_for(lambda: engine.status().state == "ready")
    for speaker in (Speaker("base", "starter"), Speaker("run", run.id)):
        model, tokenizer = engine.shelf.get(speaker)
        answers(model, tokenizer, [tokenizer("Why does it rain?")["input_ids"]], Sampling(max_tokens=32), turn=engine.turns.take)
    gc.collect()
    kept = sum(issubclass(type(each), (PreTrainedModel, torch.optim.Optimizer)) for each in gc.get_objects())
    print(process_memory_bytes(), kept, flush=True)
"""  # the model is so small that one more of it would not show in the bytes

LITTLE = """
import resource, sys
from pathlib import Path
from backend import trainer, training
from backend.runs import Runs
from backend.sampling import Sampling
from backend.workspace import Workspace

run, more = Runs(Workspace(Path(sys.argv[1]))).get(sys.argv[2]), int(sys.argv[3])
training.PROBE = Sampling(max_tokens=8)
train = trainer.StudioTrainer.train

def taken(kind):
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith(kind)).split()[1])

def with_little(*args, **kwargs):
    global before
    trainer.StudioTrainer.train, before = train, taken("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (before + more, before + more))
    return train(*args, **kwargs)

trainer.StudioTrainer.train = with_little
ended = training.train(run.spec, run, run.events.append, lambda: False)
print(taken("VmPeak") - before, ended)
"""  # the limit comes with the first step: what is loaded by then is none of it; says what the steps took, in bytes


GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)}  # or the C library keeps what was tried first, and needs it in pieces too small


def python(program: str, *arguments: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    # what is limited is the room for addresses, of which huge pages and threads take more than they fill
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1", "THP_MEM_ALLOC_ENABLE": "0", **variables}
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.fault("memory over runs and chats")
def test_memory_comes_back_after_every_run_and_chat(workspace: Workspace, dataset: Card, tell: Callable[..., None]) -> None:
    spec = spec_for(dataset, max_steps=2000, evaluate_every=2000)
    done = python(CYCLE, workspace.root, spec.model_dump_json(), CYCLES)
    assert done.returncode == 0, done.stderr[-2000:]
    taken, kept = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert len(taken) == CYCLES
    assert len(set(kept[WARMING_UP - 1 :])) == 1, f"models and optimisers kept after each cycle: {kept}"
    growth = taken[-1] / taken[WARMING_UP - 1] - 1
    assert growth < GROWTH, [f"{size / 1e6:.0f} MB" for size in taken]
    tell(tried=CYCLES, lost=f"{max(growth, 0):.1%} more memory held")


@pytest.fixture
def long_rows(workspace: Workspace) -> Card:
    """64 rows of 500 tokens each."""
    words = "the cat sat on the mat and " * 200
    rows = [{"messages": [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": words}]} for number in range(64)]
    return save_conversations(workspace, rows, name="long")


@pytest.fixture
def hungry(workspace: Workspace, long_rows: Card) -> Run:
    """A run whose steps of 64 rows take far more memory than loading the model does."""
    spec = spec_for(long_rows, method="full", max_steps=2, batch_size=64, accumulation=1, max_length=500, validation_share=0.0)
    return Run.create(workspace, spec)


@pytest.mark.fault("out of memory")
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set by Linux's means")
@pytest.mark.skipif(not LONG, reason="how much is too little differs between machines, and is tried out first: part of the long form")
def test_with_too_little_memory_a_run_takes_smaller_pieces(workspace: Workspace, hungry: Run, tell: Callable[..., None]) -> None:
    plenty = Run.create(workspace, hungry.spec)
    needed = int(python(LITTLE, workspace.root, plenty.id, 1 << 40, **GIVEN_BACK).stdout.split()[0])
    done = python(LITTLE, workspace.root, hungry.id, int(0.7 * needed), **GIVEN_BACK)
    assert done.stdout.split()[1:] == ["done"], [needed, done.stdout[-300:], told(hungry, "warned"), told(hungry, "finished")]
    warning = told(hungry, "warned")[0]["message"]
    assert "Started again from clean weights with" in warning and "the same step, smaller pieces" in warning
    assert [step["step"] for step in told(hungry, "step")] == [1, 2]
    tell(tried=1, lost="steps, made again in smaller pieces")


@pytest.mark.fault("out of memory")
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set by Linux's means")
def test_with_far_too_little_memory_a_run_says_so(workspace: Workspace, hungry: Run, tell: Callable[..., None]) -> None:
    done = python(LITTLE, workspace.root, hungry.id, 60 << 20)
    assert done.stdout.split()[1:] == ["failed"], [done.returncode, done.stdout[-300:], done.stderr[-2000:]]
    said = told(hungry, "finished")[-1]["message"]
    assert said.startswith(("Memory ran out even with one row at once", "There is not enough memory to load"))
    tell(tried=1, lost="the run, told in a sentence")
