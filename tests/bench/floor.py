"""The floor: how fast a workload could go here if nothing but its matrix products took time.

FLOP per token, P the weights of the body's matrices, A attention's forward products, a the share of positions that are
trained, H the width and V the vocabulary: 4P + 3A + 6P_adapter + 4aHV where the base is frozen (no gradient of its
weights), 6P + 3A + 6aHV where all of it learns. Prints {"flops": per second, "flops_per_token"} as one line of JSON.
"""

import json
import time
from pathlib import Path

import torch

from backend import models
from backend.device import device
from backend.examples import IGNORED, Example
from backend.models import ModelShape
from backend.specs import parse_spec
from tests.bench.reference import steps_of
from tests.bench.workloads import Task, asked

TOKENS = 1024  # of a product: about those of a step
ROUNDS = 5


def main() -> None:
    task = asked()
    shape = models.shape(Path(task.model))
    print(json.dumps({"flops": rate(shape), "flops_per_token": flops_per_token(task, shape)}))


def rate(shape: ModelShape) -> float:
    """Floating point operations per second in bf16, over the products of one layer and of the head at their own shapes."""
    sizes = [(p.inputs, p.outputs) for p in shape.projections] + [(shape.hidden, shape.vocabulary // shape.layers)]
    drawn = [(torch.randn(TOKENS, i, **BF16), torch.randn(o, i, **BF16)) for i, o in sizes]
    seconds = min(_seconds(drawn) for _ in range(ROUNDS))
    return 2 * TOKENS * sum(i * o for i, o in sizes) / seconds


def flops_per_token(task: Task, shape: ModelShape) -> float:
    """Of the first epoch's mean token."""
    spec = parse_spec(task.values())
    rows = _rows(task)
    tokens = sum(len(row.input_ids) for row in rows)
    trained = sum(label != IGNORED for row in rows for label in row.labels) / tokens
    looked_at = sum(len(row.input_ids) ** 2 for row in rows) / tokens / 2  # positions a token attends to, on average
    body = shape.layers * sum(p.inputs * p.outputs for p in shape.projections)
    query = next(p.outputs for p in shape.projections)
    attention = 2 * 2 * looked_at * query * shape.layers  # q k' and the sum of values
    learnt = 0 if spec.method.name == "full" else spec.method.trainable_parameters(shape)
    passes = 6 if spec.method.name == "full" else 4
    return passes * body + 3 * attention + 6 * learnt + passes * trained * shape.hidden * shape.vocabulary


def _rows(task: Task) -> list[Example]:
    steps = steps_of(task, parse_spec(task.values()))
    return [sequence for _ in range(task.steps) for example in next(steps) for sequence in example.sequences]


def _seconds(drawn: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    begun = time.perf_counter()
    for left, right in drawn:
        torch.nn.functional.linear(left, right)
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


BF16 = {"dtype": torch.bfloat16, "device": device()}


if __name__ == "__main__":
    main()
