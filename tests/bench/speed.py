"""How fast the studio trains beside a plain TRL script: the same rows, each side in fresh processes, in turns.

    python3 launch.py bench [--only lora,dpo,start] [--pairs 3] [--steps 10] [--quick]

Sides run A B B A, so that whatever else the machine does falls on both; what counts is the median of the pairs' ratios.
No ratio counts where the losses of 20 steps are not those of a plain fp32 loop (`reference.py`), or where no gradient
flows. There the bench fails, and where a ratio is below half of what was known, or aimed at (`Workload`). The floor is the time of
the matrix products alone (`floor.py`). The plain script has the plain environment; the studio has what launch.py sets for
it. What one waits for besides training is measured by `promptness.py`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from backend.device import cpu_flags
from backend.models import STARTER, locate
from backend.workspace import Workspace
from tests.bench import promptness
from tests.bench.workloads import HOME, STUDIO, WORKLOADS, Measured, Task, Workload, heard, source, write_rows

Side = Literal["ours", "plain_trl", "reference", "floor"]

COMPARED_STEPS = 20  # whose losses are held against the reference
TOLERANCE = 2e-2  # nats
HEAD = (
    "| workload | plain TRL, tokens/s | studio, tokens/s | times as fast | of the floor | peak memory, TRL | studio "
    f"| loss off by | gradient norm | aim | |\n|{'---|' * 11}"
)


@dataclass(frozen=True)
class Pair:
    """Both sides, one after the other."""

    plain: Measured
    ours: Measured
    floor: float  # tokens per second

    @property
    def ratio(self) -> float:
        return self.ours.tokens_per_second / self.plain.tokens_per_second

    @property
    def processor_ratio(self) -> float:
        """The same by the processor's time, which other work on the machine disturbs less."""
        each = (side.tokens / side.processor_seconds for side in (self.ours, self.plain))
        return next(each) / next(each)

    @property
    def share_of_floor(self) -> float:
        return self.ours.tokens_per_second / self.floor


@dataclass(frozen=True)
class Truth:
    """Whether a side learns what it should."""

    off: float  # the largest difference between a step's loss and the reference's, in nats
    smallest_norm: float  # of the gradients

    @property
    def holds(self) -> bool:
        return self.off <= TOLERANCE and self.smallest_norm > 0


def main() -> None:
    arguments = read_arguments()
    print(environment(), flush=True)
    asked = arguments.only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        model = locate(STARTER, Workspace(arguments.workspace or Path(folder)).prepare())
        failures: list[str] = []
        if trained := [name for name in asked if name in WORKLOADS]:
            failures = print_table(trained, Path(folder), model, arguments)
        if waited_for := [name for name in asked if name not in WORKLOADS]:
            promptness.print_table(waited_for, model, times=arguments.pairs)
    if failures:
        sys.exit("\n".join(failures))


def print_table(names: Sequence[str], folder: Path, model: Path, arguments: argparse.Namespace) -> list[str]:
    """The speed of training, a line as soon as it is known. What cannot be left like this is returned, in sentences."""
    print(HEAD, flush=True)
    failures: list[str] = []
    for name in names:
        result = Bench(first_task(name, folder, model, arguments), arguments.compared).result(arguments.pairs)
        print(result.line(), flush=True)
        failures += result.failures
    return failures


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*WORKLOADS, *promptness.MEASUREMENTS]
    parser.add_argument("--only", default=",".join(known), help="which lines of the tables, in their order")
    parser.add_argument("--pairs", type=int, default=3, help="how often both sides run, and each wait is measured")
    parser.add_argument("--steps", type=int, default=10, help="steps of each run; the first two are not timed")
    parser.add_argument("--compared", type=int, default=COMPARED_STEPS, help="steps whose losses are compared")
    parser.add_argument("--batch-size", type=int, help="rows, or pairs, a step, where not the workload's own")
    parser.add_argument("--quick", action="store_true", help="LoRA alone, one pair, few steps of few rows: under 3 minutes")
    parser.add_argument("--workspace", type=Path, help="where the starter model lies unpacked; the runs go elsewhere")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.only, arguments.pairs, arguments.steps, arguments.compared, arguments.batch_size = "lora", 1, 4, 4, 4
    if unknown := set(arguments.only.split(",")) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return arguments


def first_task(name: str, folder: Path, model: Path, arguments: argparse.Namespace) -> Task:
    workload = WORKLOADS[name]
    rows = write_rows(workload, folder / f"{name}.jsonl")
    return Task(name, str(model.absolute()), str(rows), arguments.steps, arguments.batch_size or workload.batch_size)


def environment() -> str:
    """What the numbers were measured on."""
    import psutil
    import torch

    flags = " ".join(sorted(flag for flag in cpu_flags() if flag.startswith(("avx512_bf16", "amx_", "avx512f", "avx2"))))
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{_processor()} ({flags})"
    busy = f"{psutil.getloadavg()[0]:.1f} processes were waiting for it before the first run"
    return (
        f"{where}, torch {torch.__version__}, {torch.get_num_threads()} threads, Python {platform.python_version()}; "
        f"rows of {source()}; {busy}.\n"
    )


@dataclass(frozen=True)
class Result:
    """What was found of one workload."""

    workload: Workload
    pairs: list[Pair]
    truth: Truth

    @property
    def ratio(self) -> float:
        return statistics.median(pair.ratio for pair in self.pairs)

    @property
    def failures(self) -> list[str]:
        """Why it cannot be left like this, in sentences: something has made it slower, or wrong."""
        title, known = self.workload.title, self.workload.known or self.workload.aim
        slow = [f"{title}: {self.ratio:.1f} times as fast as the plain script, and half of {known:g} times is the least."]
        return slow * (self.ratio < known / 2) + [f"{title}: the losses are not the reference's, or no gradient flows."] * (not self.truth.holds)

    def line(self) -> str:
        ratios = sorted(pair.ratio for pair in self.pairs)
        reached = "the losses differ" if not self.truth.holds else "reached" if self.ratio >= self.workload.aim else ""
        cells = [
            self.workload.title, _median(pair.plain.tokens_per_second for pair in self.pairs),
            _median(pair.ours.tokens_per_second for pair in self.pairs), f"{self.ratio:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
            f"{statistics.median(pair.share_of_floor for pair in self.pairs):.0%}", _gigabytes(pair.plain for pair in self.pairs),
            _gigabytes(pair.ours for pair in self.pairs), f"{self.truth.off:.4f}", f"at least {self.truth.smallest_norm:.2g}",
            f"{self.workload.aim:g}", reached,
        ]  # fmt: skip
        return f"| {' | '.join(cells)} |"


class Bench:
    """One workload, measured."""

    def __init__(self, task: Task, compared: int) -> None:
        self.task, self.compared = task, compared

    def result(self, pairs: int) -> Result:
        measured = list(self.pairs(pairs))
        return Result(self.task.of, measured, self.truth(measured[-1].ours))

    def pairs(self, count: int) -> Iterator[Pair]:
        """A B, B A, A B, ..., after a short run that brings the files into memory."""
        run("ours", replace(self.task, steps=2))
        for number in range(count):
            order: Sequence[Side] = ("plain_trl", "ours") if number % 2 == 0 else ("ours", "plain_trl")
            said = {side: heard(run(side, self.task)) for side in order}
            products = json.loads(run("floor", self.task).splitlines()[-1])
            pair = Pair(said["plain_trl"], said["ours"], products["flops"] / products["flops_per_token"])
            print(f"  {self.task.of.title}: {pair.ratio:.2f} times, {_told(pair)}", file=sys.stderr, flush=True)
            yield pair

    def truth(self, ours: Measured) -> Truth:
        """`ours` says it too, where it made as many steps as are compared."""
        task = replace(self.task, steps=self.compared)
        ours = ours if self.task.steps == self.compared else heard(run("ours", task))
        reference = heard(run("reference", task))
        off = max(abs(a - b) for a, b in zip(ours.losses, reference.losses, strict=True))
        return Truth(off, min(ours.grad_norms))


def run(side: Side, task: Task) -> str:
    """What a side prints, in a process of its own. Ends the bench with the side's last words where it fails."""
    file = Path(f"{task.rows}.task.json")
    file.write_text(json.dumps(asdict(task)), encoding="utf-8")
    bare = {name: value for name, value in os.environ.items() if name not in STUDIO}
    environment = bare if side == "plain_trl" else bare | STUDIO
    command = [sys.executable, "-m", f"tests.bench.{side}", str(file)]
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} failed on {task.workload}:\n{done.stdout[-500:]}{done.stderr[-3000:]}")
    return done.stdout


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def _median(values: Iterator[float]) -> str:
    return f"{statistics.median(values):,.0f}"


def _gigabytes(sides: Iterator[Measured]) -> str:
    return f"{max(side.peak_bytes for side in sides) / 1e9:.1f} GB"


def _told(pair: Pair) -> str:
    a, b = pair.plain.tokens_per_second, pair.ours.tokens_per_second
    return f"{a:.0f} against {b:.0f} tokens/s, floor {pair.floor:.0f}; {pair.processor_ratio:.2f} times by the processor's time"


if __name__ == "__main__":
    main()
