"""What the losses ought to be: a plain loop in fp32, row after row without padding, with the libraries' own computation.

Shares with the studio how rows become tokens, what a method adds to a model, and in which order rows come; nothing else.
"""

import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from backend import models
from backend.data.versions import Datasets
from backend.device import device
from backend.examples import IGNORED, AnyExample, Example, LikeLengths
from backend.plan import make_rows, with_saved_data
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace
from tests.bench.workloads import Moment, Task, asked, tell

BETA = 0.1  # of DPO

Step = list[AnyExample]  # what one optimiser step learns from


def main() -> None:
    models.hush_libraries()
    task = asked()
    spec = parse_spec(task.values())
    steps = list(islice(steps_of(task, spec), task.steps))
    model = untrained(task, spec)
    before = [[said(model, each) for each in step] for step in steps]  # no adapter is on it yet
    torch.manual_seed(spec.training.seed)
    model = spec.method.attach(model, models.load_tokenizer(Path(task.model))).train()
    losses, norms, ends = (list(each) for each in zip(*trained(model, spec, steps, before), strict=True))
    tokens = [sum(len(sequence.input_ids) for each in step for sequence in each.sequences) for step in steps]
    tell(task, tokens=tokens, ends=ends, losses=losses, grad_norms=norms)


def steps_of(task: Task, spec: RunSpec) -> Iterator[Step]:
    """What each step learns from, epoch after epoch."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder)).prepare()
        data = with_saved_data(spec, workspace).data
        rows = make_rows(spec, list(Datasets(workspace).iterate(data.id or "", data.version)), models.load_tokenizer(Path(task.model))).train
    order = LikeLengths([row.length for row in rows], task.batch_size, seed=spec.training.seed)
    for epoch in count():
        order.set_epoch(epoch)
        in_file = (range(start, start + task.batch_size) for start in range(0, len(rows), task.batch_size))
        for batch in order if task.of.free_batches else in_file:
            yield [rows[at] for at in batch if at < len(rows)]


def untrained(task: Task, spec: RunSpec) -> nn.Module:
    return models.load(Path(task.model), torch.float32, device=device(), quantization=spec.method.quantization(torch.float32))


def trained(model: nn.Module, spec: RunSpec, steps: list[Step], before: list[list[list[float]]]) -> Iterator[tuple[float, float, Moment]]:
    """Loss, gradient norm and end of every step."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=spec.learning_rate, weight_decay=0.0)
    for step, reference in zip(steps, before, strict=True):
        total = 0.0
        for each, was in zip(step, reference, strict=True):
            loss = pair_loss(model, each, was) / len(step) if spec.objective.name == "dpo" else row_loss(model, each) / _labels(step)
            loss.backward()
            total += loss.item()
        norm = nn.utils.clip_grad_norm_(learnt, spec.training.max_grad_norm)
        optimiser.step()
        optimiser.zero_grad()
        yield total, norm.item(), Moment.now()


def row_loss(model: nn.Module, row: Example) -> torch.Tensor:
    """-log p of a row's answer, summed over its tokens."""
    ids, labels = torch.tensor([row.input_ids]), torch.tensor(row.labels)
    logits = model(input_ids=ids, use_cache=False).logits[0, -len(labels) :]  # a soft prompt's positions come first
    return F.cross_entropy(logits[:-1].float(), labels[1:], ignore_index=IGNORED, reduction="sum")


def pair_loss(model: nn.Module, pair: AnyExample, before: list[float]) -> torch.Tensor:
    """-log sigmoid(beta (how much likelier the better answer became - how much the worse did)), arXiv 2305.18290."""
    better, worse = (-row_loss(model, row) - was for row, was in zip(pair.sequences, before, strict=True))
    return -F.logsigmoid(BETA * (better - worse))


@torch.no_grad()
def said(model: nn.Module, example: AnyExample) -> list[float]:
    """log p of a pair's answers; nothing for a row, which is measured against nothing."""
    return [-row_loss(model, row).item() for row in example.sequences] if len(example.sequences) > 1 else []


def _labels(step: Step) -> int:
    """Trained tokens of a step."""
    return sum(label != IGNORED for row in step for label in row.labels[1:])


if __name__ == "__main__":
    main()
