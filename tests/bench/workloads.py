"""What the speed bench trains, and what each side tells of it: the same rows in the same order, in a process of its own.

A side is started as `python -m tests.bench.SIDE TASK.json` and prints one line of JSON, a `Measured`.
"""

import json
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from backend.data.starter import SHORT_ANSWERS, THREE_LINES
from backend.models import STARTER
from launch import VARIABLES

HOME = Path(__file__).parents[2]
DATA = HOME.parent / "shared" / "data"
SPEED_AND_MEMORY = (
    "THP_MEM_ALLOC_ENABLE", "GOMP_SPINCOUNT", "LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX",
)  # fmt: skip
STUDIO = {name: VARIABLES[name] for name in SPEED_AND_MEMORY}
WARM_UP = 2  # steps before the clock starts
MAX_LENGTH = 512  # tokens of a row


@dataclass(frozen=True)
class Workload:
    """A line of the table."""

    title: str
    method: str
    learning_rate: float
    aim: float  # times the plain script's speed that are to be reached
    known: float | None = None  # times that were measured, on two cores of an AMD EPYC (README)
    objective: Literal["sft", "dpo"] = "sft"
    rows: int = 256
    batch_size: int = 8  # rows, or pairs, a step
    free_batches: bool = False  # whether our side may put rows of like length together


WORKLOADS = {
    "lora": Workload("LoRA", "lora", 2e-4, 10, known=6),
    "free": Workload("LoRA, batches made by the studio", "lora", 2e-4, 12, free_batches=True),
    "full": Workload("Full", "full", 2e-5, 6),
    "prefix": Workload("Prefix", "prefix", 1e-3, 6),
    "prompt": Workload("Prompt", "prompt", 1e-2, 6),
    "adapter": Workload("Adapter", "adapter", 2e-4, 6),
    "qlora": Workload("QLoRA", "qlora", 2e-4, 5),
    "dpo": Workload("DPO, LoRA", "lora", 5e-5, 6, objective="dpo", rows=64, batch_size=4),
}


@dataclass(frozen=True)
class Task:
    """What a side is asked to train."""

    workload: str
    model: str  # a folder
    rows: str  # a file of JSON Lines
    steps: int
    batch_size: int  # rows, or pairs, a step

    @property
    def of(self) -> Workload:
        return WORKLOADS[self.workload]

    @property
    def warm_up(self) -> int:
        """Steps that are not timed."""
        return min(WARM_UP, self.steps - 1)

    def values(self) -> dict[str, Any]:
        """The studio's own spec of this training, as plain values."""
        return {
            "name": "bench", "base_model": STARTER, "data": {"path": self.rows},
            "method": {"name": self.of.method}, "objective": {"name": self.of.objective},
            "training": {
                "max_steps": self.steps, "batch_size": self.batch_size, "learning_rate": self.of.learning_rate, "schedule": "constant",
                "warmup_share": 0, "max_length": MAX_LENGTH, "validation_share": 0, "evaluate_every": self.steps,
                "early_stopping": False, "precision": "bf16", "probes": ["Hello!"],
            },
        }  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What a side says of its training."""

    tokens: int  # in the timed steps, padding aside
    rows: int  # in the timed steps: rows, or pairs
    seconds: float  # of the timed steps
    processor_seconds: float  # of them, over all cores: what other work on the machine disturbs less
    peak_bytes: int  # of resident memory, over the whole process
    losses: list[float]  # of every step
    grad_norms: list[float]

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


class Moment(NamedTuple):
    """When something was, in seconds."""

    clock: float
    processor: float

    @classmethod
    def now(cls) -> "Moment":
        return cls(time.perf_counter(), time.process_time())


def asked() -> Task:
    """The task this process was started for."""
    return Task(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def tell(task: Task, *, tokens: list[int], ends: list[Moment], losses: list[float], grad_norms: list[float]) -> None:
    """Print a `Measured`. `tokens`, `ends`, `losses`, `grad_norms`: of each step."""
    timed = slice(task.warm_up, task.steps)
    clock, processor = (end - begun for begun, end in zip(ends[task.warm_up - 1], ends[task.steps - 1], strict=True))
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = task.batch_size * (task.steps - task.warm_up)
    print(json.dumps(asdict(Measured(sum(tokens[timed]), rows, clock, processor, peak_bytes, losses, grad_norms))))


def heard(said: str) -> Measured:
    """What a side printed, in its last line."""
    return Measured(**json.loads(said.splitlines()[-1]))


# ---- the rows ---------------------------------------------------------------------------------------------------------


def write_rows(workload: Workload, file: Path) -> Path:
    """A workload's rows as {"messages": [...]}, or as {"prompt", "chosen", "rejected": [...]} each a list of messages."""
    rows = _pairs() if workload.objective == "dpo" else _conversations()
    file.write_text("".join(json.dumps(row) + "\n" for row in _first(workload.rows, rows)), encoding="utf-8")
    return file


def source() -> str:
    """Where the rows come from, in words."""
    return f"{DATA.name}/alpaca_en_demo.json and dpo_en_demo.json" if DATA.is_dir() else "the starter data, which is shorter"


def _conversations() -> list[dict[str, Any]]:
    if not DATA.is_dir():
        return _lines(THREE_LINES)
    rows = json.loads((DATA / "alpaca_en_demo.json").read_text(encoding="utf-8"))
    asked = ("\n\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows)
    return [{"messages": [_says("user", ask), _says("assistant", row["output"])]} for ask, row in zip(asked, rows, strict=True)]


def _pairs() -> list[dict[str, Any]]:
    if not DATA.is_dir():
        return _lines(SHORT_ANSWERS)
    rows = json.loads((DATA / "dpo_en_demo.json").read_text(encoding="utf-8"))
    return [
        {
            "prompt": [_says(_role(turn), turn["value"]) for turn in row["conversations"]],
            **{side: [_says("assistant", row[side]["value"])] for side in ("chosen", "rejected")},
        }
        for row in rows
    ]


def _says(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _role(turn: dict[str, str]) -> str:
    return {"human": "user", "gpt": "assistant", "system": "system"}[turn["from"]]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _first(count: int, rows: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """So many rows, from the start again where there are fewer."""
    return (rows[at % len(rows)] for at in range(count))
