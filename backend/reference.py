"""What a model thought of the answers before it was trained: made once, and kept with the run for when it is resumed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from backend.device import device
from backend.evaluation import in_order, on_device
from backend.examples import Ranking, Rated
from backend.generation import evaluating
from backend.loss import scorer_of
from backend.plan import Rows
from backend.specs import RunSpec
from backend.trainer import Reporter
from backend.workspace import write_whole

FILE = "reference.safetensors"  # {"train": [answers], "validation": [answers]}, log p of each, in the rows' order


def refer(
    model: torch.nn.Module, spec: RunSpec, rows: Rows, folder: Path, *, pad: int, batch_size: int,
    autocast: torch.dtype | None, report: Reporter,
) -> Rows:
    """The rows, each answer with its log p under the model as it is now, or as it was when the run began."""
    kept = folder / FILE
    if not kept.exists():
        sides = {"train": rows.train, "validation": rows.validation}
        made = {
            side: _logprobs(model, spec, examples, pad=pad, batch_size=batch_size, autocast=autocast, report=report)
            for side, examples in sides.items()
        }
        write_whole(kept, save(made))
    values = load_file(kept)
    return replace(rows, train=_with(rows.train, values["train"]), validation=_with(rows.validation, values["validation"]))


def _logprobs(
    model: torch.nn.Module, spec: RunSpec, examples: Sequence[Ranking | Rated], *, pad: int, batch_size: int,
    autocast: torch.dtype | None, report: Reporter,
) -> torch.Tensor:
    """log p of every answer of the examples, in their order: [answers], in fp32."""
    scorer = scorer_of(model, model, spec.objective.head)
    found: dict[int, list[float]] = {}
    for batch in in_order(examples, batch_size):
        report.stop_if_asked()
        tensors = on_device(spec.objective.collate(batch, pad))
        with report.turn(), evaluating(model), torch.autocast(device().type, dtype=autocast, enabled=autocast is not None):
            values = iter(scorer.logprobs(tensors["input_ids"], tensors["labels"]).tolist())
        found |= {id(example): [next(values) for _ in example.sequences] for example in batch}
        report.note_memory()
    return torch.tensor([value for example in examples for value in found[id(example)]], dtype=torch.float32)


def _with(examples: Sequence[Ranking | Rated], values: torch.Tensor) -> list[Ranking | Rated]:
    """The examples with their answers' values, taken in order."""
    rest = iter(values.tolist())
    return [replace(example, reference=tuple(next(rest) for _ in example.sequences)) for example in examples]
