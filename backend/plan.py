"""The truth before the start: steps, rows cut or left out, memory, time; and everything that cannot work, at once."""

import math
import shutil
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backend.data.importing import import_file
from backend.data.readers import inspect, sample_rows
from backend.data.records import KINDS, Record, family_of, how_of, prompt_of
from backend.data.shapes import guess_mapping
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.examples import AnyExample, LeftOut, hold_out
from backend.methods import all_methods
from backend.models import ModelShape, load_tokenizer, locate, shape, tokenizer_notes
from backend.objectives import ObjectiveSettings, Work
from backend.rollouts import ANSWERED_AT_ONCE, RolloutSettings
from backend.runs import Run, Runs, true_events
from backend.specs import DatasetRef, RunSpec, TrainingSettings
from backend.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STEPS_WANTED = 60  # enough for a curve and, on the starter data, for the habit (README, "What the methods learn")
MOST_EPOCHS = 10
EVALUATIONS = 8
STEPS_BETWEEN = 5  # at least, from one evaluation to the next: answering the probes takes as long as a few steps
WRITING_COST = 3  # a token written takes as long as so many that are read: one position at a time wastes the hardware
LIBRARY_BYTES = 550_000_000  # torch, transformers and peft loaded: on a GPU they lie elsewhere
WORKING_BYTES = 300_000_000  # logits of a chunk, what products need on the side, what is freed and not given back
HOLES = 12  # of the memory answers take to write, left between caches that grow token by token
NOT_WANTED = "augmented, and switched off in the training settings"
COPY_OF_HELD_OUT = "augmented from a row that is held out"
ROWS_LOOKED_AT = 1_000  # a plan is asked for at every change of a setting; larger sets are judged by a sample


@dataclass(frozen=True)
class Schedule:
    """How rows become steps."""

    batch_size: int  # rows in a micro-batch
    accumulation: int  # micro-batches in a step
    steps_per_epoch: int
    total_steps: int
    evaluate_every: int  # steps
    pieces: int = 1  # micro-batches made of what is one where memory is enough

    @property
    def epochs(self) -> float:
        return self.total_steps / self.steps_per_epoch

    def with_smaller_batches(self) -> "Schedule":
        """Fewer rows at once, the same rows per step: half, where they can be halved. For when memory runs out."""
        if self.batch_size == 1:  # what is learnt from at once is not rows but answers to them
            return replace(self, pieces=2 * self.pieces)
        pieces = next(n for n in range(2, self.batch_size + 1) if self.batch_size % n == 0)
        return replace(
            self, batch_size=self.batch_size // pieces, accumulation=self.accumulation * pieces, pieces=self.pieces * pieces
        )

    def in_pieces(self, pieces: int) -> "Schedule":
        """The schedule as it was made smaller before, until there were so many pieces."""
        return self.with_smaller_batches().in_pieces(pieces) if self.pieces < pieces else self

    def at_once(self, objective: ObjectiveSettings) -> int:
        """Rows that a pass with gradients holds, or answers where those are learnt from."""
        return max(1, objective.rows_at_once(self.batch_size * self.pieces) // self.pieces)


def schedule(training: TrainingSettings, rows: int) -> Schedule:
    """Steps for so many training examples; what the settings leave open is chosen to fit them."""
    batch_size = min(training.batch_size, max(rows, 1))
    batches = max(1, math.ceil(rows / batch_size))
    accumulation = min(training.accumulation, batches)
    steps_per_epoch = math.ceil(batches / accumulation)
    epochs = training.epochs or min(max(STEPS_WANTED / steps_per_epoch, 1), MOST_EPOCHS)
    total = training.max_steps or max(1, math.ceil(epochs * steps_per_epoch))
    every = training.evaluate_every or max(STEPS_BETWEEN, math.ceil(total / EVALUATIONS))
    return Schedule(batch_size, accumulation, steps_per_epoch, total, min(every, total))


@dataclass(frozen=True)
class Rows:
    """A data set split and made ready: what is learnt from, what is held out, what is left out and why."""

    train: list[AnyExample]
    validation: list[AnyExample]
    left_out: dict[str, int]  # reason -> rows
    augmented: int  # of the records learnt from: copies of others in other words, or with slips
    probes: list[str]  # prompts of the first held-out rows

    @property
    def cut(self) -> int:
        """Rows the length limit shortened."""
        return sum(example.cut > 0 for example in [*self.train, *self.validation])

    @property
    def tokens_per_epoch(self) -> int:
        return sum(len(sequence.input_ids) for example in self.train for sequence in example.sequences)

    @property
    def trained_tokens_per_epoch(self) -> int:
        return sum(label >= 0 for example in self.train for sequence in example.sequences for label in sequence.labels)


def make_rows(
    spec: RunSpec, records: Sequence[Record], tokenizer: "PreTrainedTokenizerBase", *, before_each: Callable[[], None] = lambda: None
) -> Rows:
    """Split records into training and held-out examples. The same prompt, or what was made of it, never stands on both sides.

    `before_each` is called before each record is made an example; what it raises ends that.
    """

    def chosen(indices: Sequence[int]) -> Iterator[Record]:
        for index in indices:
            before_each()
            yield records[index]

    training, held, left_out = _split(spec.training, records)
    sides: list[list[AnyExample]] = []
    for indices in (training, held):
        made = list(spec.objective.examples(chosen(indices), tokenizer, spec.training.max_length))
        left_out.update(item.reason for item in made if isinstance(item, LeftOut))
        sides.append([item for item in made if not isinstance(item, LeftOut)])
    prompts = [prompt_of(records[i]) for i in held or training if "text" not in records[i]]
    return Rows(sides[0], sides[1], dict(left_out), sum(map(_is_augmented, (records[i] for i in training))), prompts[:3])


def held_out_records(spec: RunSpec, records: Sequence[Record]) -> list[Record]:
    """Those of the records a run learns from that it does not: the ones it is measured on."""
    return [records[index] for index in _split(spec.training, records)[1]]


def _split(training: TrainingSettings, records: Sequence[Record]) -> tuple[list[int], list[int], Counter[str]]:
    """(records to learn from, records held out, rows left out by reason).

    Only originals are drawn and measured on, so the same rows are held out with augmented rows and without them.
    """
    families = [family_of(record) for record in records]
    originals = [index for index, record in enumerate(records) if not _is_augmented(record)]
    augmented = [index for index, record in enumerate(records) if _is_augmented(record)]
    sides = hold_out([families[index] for index in originals], training.validation_share, seed=training.seed)
    learnt, held = ([originals[at] for at in side] for side in sides)
    if not training.augmented_rows:
        return learnt, held, Counter({NOT_WANTED: len(augmented)} if augmented else {})
    measured = {families[index] for index in held}
    copies = [index for index in augmented if families[index] not in measured]
    lost = len(augmented) - len(copies)
    return sorted([*learnt, *copies]), held, Counter({COPY_OF_HELD_OUT: lost} if lost else {})


def _is_augmented(record: Record) -> bool:
    return how_of(record) == "augmented"


@dataclass(frozen=True)
class Plan:
    """The card before the start."""

    schedule: Schedule
    rows: int
    train_rows: int
    validation_rows: int
    cut_rows: int
    augmented_rows: int  # of those learnt from
    left_out: dict[str, int]
    tokens_per_epoch: int
    trainable_parameters: int
    parameters: int
    memory_bytes: int
    memory_free_bytes: int
    seconds: float
    measured_speed: bool  # whether the time comes from an earlier run here rather than from arithmetic
    estimated_from: int | None  # rows looked at, where not all were
    notes: list[str] = field(default_factory=list)


def plan(spec: RunSpec, workspace: Workspace) -> Plan:
    """Check a spec against model, data, memory and disk. Raises `UserError` listing all that cannot work."""
    from backend.device import memory

    problems: list[str] = []
    folder, records, total = None, [], 0
    try:
        folder = start_folder(spec, workspace)
    except UserError as error:
        problems += error.problems
    if unfit := spec.objective.unfit(spec.method):
        problems.append(unfit)
    try:
        records, total = _some_records(spec, workspace)
    except UserError as error:
        problems += error.problems
    try:
        notes = spec.objective.notes(workspace)
    except UserError as error:
        problems += error.problems
    if folder is None or not records:
        raise UserError(*(problems or ["The data set has no rows. Import one that has."]))

    measured = shape(folder)
    rows = make_rows(spec, records, load_tokenizer(folder))
    scale = total / len(records)
    train_rows = round(len(rows.train) * scale)
    steps = schedule(spec.training, train_rows)
    needed = memory_bytes(spec, measured, rows, steps.batch_size)
    room = memory()
    problems += _impossible(spec, measured, rows, needed, room.free)
    problems += _too_little_disk(spec, measured, workspace)
    if problems:
        raise UserError(*problems)
    seconds, known = _seconds(spec, measured, rows, steps, workspace)
    return Plan(
        schedule=steps, rows=total, train_rows=train_rows, validation_rows=round(len(rows.validation) * scale),
        cut_rows=round(rows.cut * scale), augmented_rows=round(rows.augmented * scale),
        left_out={reason: round(n * scale) for reason, n in rows.left_out.items()},
        tokens_per_epoch=round(rows.tokens_per_epoch * scale), parameters=measured.parameters,
        trainable_parameters=trainable_parameters(spec, measured), memory_bytes=needed, memory_free_bytes=room.free,
        seconds=seconds, measured_speed=known, estimated_from=len(records) if len(records) < total else None,
        notes=[*tokenizer_notes(folder), *_advice(spec, rows, steps), *_second_copy(spec, measured), *notes],
    )


@dataclass(frozen=True)
class MethodFacts:
    """What a method would train and need, for its card."""

    trainable_parameters: int
    parameters: int
    memory_bytes: int
    arithmetic: str


def start_folder(spec: RunSpec, workspace: Workspace) -> Path:
    """The folder of the weights a run begins with. Raises `UserError` where the run it goes on from does not fit."""
    if spec.start_from is None:
        return locate(spec.base_model, workspace)
    parent = Runs(workspace).get(spec.start_from)
    if not parent.has_result:
        raise UserError(f"{parent.label['name']} has no result to start from. Train or resume it first, or start from the model.")
    if (parent.spec.method, parent.spec.base_model) != (spec.method, spec.base_model):
        raise UserError(
            f"{parent.label['name']} was trained by {parent.spec.method.title} on {parent.spec.base_model}, with its own settings. "
            "Choose the same model, method and method settings, or start from the model."
        )
    return parent.result if spec.method.name == "full" else locate(spec.base_model, workspace)


def trainable_parameters(spec: RunSpec, measured: ModelShape) -> int:
    """What the method learns, and a head of its own where the objective needs one."""
    head = measured.hidden if spec.objective.head == "scalar" and spec.method.name != "full" else 0
    return spec.method.trainable_parameters(measured) + head


def method_facts(spec: RunSpec, workspace: Workspace) -> dict[str, MethodFacts]:
    """For every method, its card's numbers on this spec's model and data; the spec's own method as it is set."""
    folder = locate(spec.base_model, workspace)
    measured = shape(folder)
    rows = make_rows(spec, _some_records(spec, workspace)[0], load_tokenizer(folder))
    batch_size = schedule(spec.training, len(rows.train)).batch_size
    facts = {}
    for name, kind in all_methods().items():
        method = spec.method if name == spec.method.name else kind(name=name)
        facts[name] = MethodFacts(
            method.trainable_parameters(measured), measured.parameters,
            memory_bytes(spec.model_copy(update={"method": method}), measured, rows, batch_size), method.saving(measured),
        )
    return facts


def _some_records(spec: RunSpec, workspace: Workspace) -> tuple[list[Record], int]:
    """Up to ROWS_LOOKED_AT records spread over the data set, and how many there are."""
    datasets = Datasets(workspace)
    if spec.data.id is None:
        raise UserError("Import the file as a data set first; a run learns from a saved version.")
    card = datasets.card(spec.data.id, spec.data.version)
    if card.record != spec.objective.record:
        raise UserError(
            f'"{spec.objective.title}" learns from {KINDS[spec.objective.record]}, and {card.name} holds {KINDS[card.record]}. '
            "Choose other data, or another objective."
        )
    return list(datasets.sample(card.id, card.version, limit=ROWS_LOOKED_AT)), card.rows


def _impossible(spec: RunSpec, measured: ModelShape, rows: Rows, needed: int, free: int) -> list[str]:
    problems = []
    if not rows.train:
        reasons = "; ".join(f"{count} rows: {reason}" for reason, count in rows.left_out.items()) or "there are no rows"
        problems.append(f"No row is left to learn from ({reasons}). Raise the maximum length, or choose other data.")
    room = measured.context - spec.method.extra_positions
    if spec.training.max_length > room:
        problems.append(
            f"The maximum length of {spec.training.max_length:,} tokens is more than the {room:,} this model can read"
            + (f" behind {spec.method.extra_positions} learnt positions. Lower it." if spec.method.extra_positions else ". Lower it.")
        )
    if needed > free:
        problems.append(
            f"About {gigabytes(needed)} of memory is needed and {gigabytes(free)} is free. Lower the batch size or the "
            "maximum length, choose another method, or close other programs."
        )
    return problems


def _too_little_disk(spec: RunSpec, measured: ModelShape, workspace: Workspace) -> list[str]:
    trainable = spec.method.trainable_parameters(measured)
    needed = trainable * (2 * 4 + 2 * 12) + 50_000_000  # best weights, and checkpoints with the optimiser's two moments: the newest, and the next
    free = shutil.disk_usage(workspace.root).free
    if needed <= free:
        return []
    return [f"The run needs about {gigabytes(needed)} of disk and {gigabytes(free)} is free. Delete old runs, or use another disk."]


def memory_bytes(spec: RunSpec, measured: ModelShape, rows: Rows, batch_size: int) -> int:
    """Estimate of the most a process holds that trains: libraries, weights, gradients, AdamW's moments, activations.

    `python3 launch.py bench --only memory` holds it against trainings of every method.
    """
    from backend.device import device, dtype

    products = dtype(spec.training.precision)
    trainable = spec.method.trainable_parameters(measured)
    at_once = spec.objective.rows_at_once(batch_size)
    lengths = sorted(map(spec.objective.tokens_at_once, rows.train), reverse=True)
    tokens = at_once * statistics.mean(lengths[:at_once]) if lengths else 0
    inner = sum(p.outputs for p in measured.projections)
    # per token and layer: what autograd keeps of norms, projections, rotary turns, attention and the MLP's product
    share = 1.0 if spec.training.stock else spec.method.activation_share
    activations = tokens * measured.layers * (12 * measured.hidden + 3 * inner) * products.itemsize * share
    kept = trainable * (8 + (0 if spec.method.name == "full" else 4))  # two moments, fp32 weight
    besides = max(trainable * 4, _answering_bytes(spec, measured, lengths))  # gradients are gone while it answers
    working = WORKING_BYTES + (LIBRARY_BYTES if device().type == "cpu" else 0)
    return int(spec.method.weight_bytes(measured, products) + _beside_bytes(spec, measured) + kept + activations + besides + working)


def _beside_bytes(spec: RunSpec, measured: ModelShape) -> int:
    """The models beside the one that learns by trying: the one it began with, if that is another, and a reward model."""
    from backend.device import dtype

    if not isinstance(spec.objective, RolloutSettings):
        return 0
    products = dtype(spec.training.precision)
    reference = spec.method.weight_bytes(measured, products) if spec.method.name == "full" else 0
    return reference + (measured.parameters * products.itemsize if spec.objective.reward_run else 0)


def _answering_bytes(spec: RunSpec, measured: ModelShape, lengths: Sequence[int]) -> int:
    """What answering takes: keys and values of every token, and the holes their growing leaves. `lengths`: longest first."""
    from backend.device import dtype

    if not isinstance(spec.objective, RolloutSettings) or not lengths:
        return 0
    per_token = 2 * measured.layers * measured.key_value_width * dtype(spec.training.precision).itemsize
    return HOLES * ANSWERED_AT_ONCE * lengths[0] * per_token


def _seconds(spec: RunSpec, measured: ModelShape, rows: Rows, steps: Schedule, workspace: Workspace) -> tuple[float, bool]:
    """Rough time of a run, and whether it rests on the measured speed of an earlier one."""
    from backend.device import matrix_rate

    known = _known_speed(spec, workspace)
    passes = 6 if spec.method.name == "full" else 4  # forward 2, backward 2, and 2 more where every weight learns
    speed = known or 0.4 * matrix_rate() / (passes * measured.parameters)  # tokens learnt from per second

    def seconds(work: Work) -> float:
        return (work.learnt + (work.read + WRITING_COST * work.written) * 2 / passes) / speed

    a_row = statistics.mean(seconds(spec.objective.work(example)) for example in rows.train)
    learnt_from = steps.batch_size * steps.accumulation * steps.total_steps
    evaluations = steps.total_steps / steps.evaluate_every + 1
    probes = 5 if spec.objective.loop == "batches" else 0  # by trying, what is measured on is what is shown
    return a_row * learnt_from + (seconds(spec.objective.measuring(rows.validation)) + probes) * evaluations, known is not None


def _known_speed(spec: RunSpec, workspace: Workspace) -> float | None:
    """Median tokens per second of the newest run here with the same model and method, that learnt from rows.

    A run that learns from its own answers spends its time on writing them, and tells nothing of the others.
    """
    if spec.objective.loop == "rollouts":
        return None
    runs = Runs(workspace)
    for run_id in runs.ids()[:20]:
        run: Run = runs.get(run_id)
        if not run.is_readable() or run.spec.objective.loop == "rollouts":
            continue
        if (run.spec.base_model, run.spec.method.name) == (spec.base_model, spec.method.name):
            events = true_events(run.events.read()[0])
            speeds = [event["tokens_per_second"] for event in events if event["kind"] == "step"]
            if len(speeds) >= 5:
                return statistics.median(speeds)
    return None


def _advice(spec: RunSpec, rows: Rows, steps: Schedule) -> list[str]:
    notes = []
    if not rows.validation and spec.training.validation_share > 0:
        notes.append("Too few rows to hold any out: there will be no held-out loss, and no early stop.")
    if steps.total_steps < 20:
        notes.append(f"Only {steps.total_steps} steps. More epochs or a smaller batch give the model more to learn from.")
    return notes


def _second_copy(spec: RunSpec, measured: ModelShape) -> list[str]:
    """What it costs to ask the base beside a run whose weights are not the base's own."""
    from backend.device import device, dtype
    from backend.fast.packed import packs

    why = "Full fine-tuning changes every weight" if spec.method.name == "full" else f"{spec.method.title} packs the weights"
    stands_apart = spec.method.name == "full" or spec.method.quantization(dtype(spec.training.precision))
    if spec.objective.head != "language" or not stands_apart:
        return []
    copies = 2 if device().type == "cpu" and packs(dtype("auto")) else 1  # what answers quickly is laid out anew
    cost = gigabytes(copies * measured.parameters * dtype("auto").itemsize)
    return [f"{why}, so asking the base model in Chat beside it takes a copy of its own: {cost} more."]


def gigabytes(size: float) -> str:
    """Bytes in words: "1.8 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def with_saved_data(spec: RunSpec, workspace: Workspace) -> RunSpec:
    """The same spec, its file imported as a data set; the same content gives the same version again."""
    if spec.data.path is None:
        card = Datasets(workspace).card(spec.data.id, spec.data.version)
        return spec.model_copy(update={"data": DatasetRef(id=card.id, version=card.version)})
    source = inspect(workspace.typed_path(spec.data.path))
    mapping = guess_mapping(sample_rows(source))
    if mapping is None:
        raise UserError(f"What the columns of {source.name} mean is not clear. Import it in the Data tab, and say so there.")
    card = import_file(Datasets(workspace), source, mapping, name=Path(spec.data.path).stem.replace("_", " "))
    return spec.model_copy(update={"data": DatasetRef(id=card.id, version=card.version)})
