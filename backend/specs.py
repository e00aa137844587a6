"""The vocabulary of a run: what is taught, to which model, from which data, how. Imports no torch."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from backend import methods, objectives
from backend.errors import UserError
from backend.methods import MethodSettings
from backend.objectives import ObjectiveSettings
from backend.settings import Settings, advanced, sentences

SPEC_VERSION = 1


class DatasetRef(Settings):
    """Rows to learn from: a saved version in the workspace, or (headless) a file to import first."""

    id: str | None = Field(None, title="Data set", description="A data set of this workspace.")
    version: int | None = Field(None, ge=1, title="Version", description="Which version of it; the newest if left out.")
    path: str | None = Field(None, title="File", description="A file to import as a data set before the run.")

    @model_validator(mode="after")
    def _names_one_source(self) -> Self:
        if (self.id is None) == (self.path is None):
            raise ValueError("data needs either the id of a data set or the path of a file")
        return self


class TrainingSettings(Settings):
    """How the optimiser goes about it. `None` means: chosen to fit the data or the method."""

    epochs: float | None = Field(
        None, gt=0, le=1000, title="Epochs",
        description="How many times every row is seen. More learns longer, and sooner or later learns the rows by heart. "
        "Empty: enough for 60 steps, at least once, at most ten times.",
    )
    max_steps: int | None = Field(
        None, ge=1, le=1_000_000, title="Steps",
        description="Stop after this many optimiser steps, whatever the epochs say. Empty: go by epochs.",
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, title="Learning rate",
        description="How far each step moves the weights. Too high and the loss jumps or explodes; too low and "
        "nothing is learnt. Empty: the method's proven value.",
    )
    batch_size: int = Field(
        8, ge=1, le=1024, title="Batch size",
        description="Rows worked on at once. Larger is steadier and needs more memory.",
    )
    max_length: int = Field(
        512, ge=8, le=131_072, title="Maximum length (tokens)",
        description="Rows longer than this are cut at the end. Longer needs more memory and time.",
    )
    validation_share: float = Field(
        0.1, ge=0, le=0.5, title="Held-out share",
        description="The part of the rows kept aside to see whether the model learns or only memorises.",
    )
    augmented_rows: bool = Field(
        True, title="Learn from augmented rows",
        description="Whether copies of rows in other words, or with slips, are learnt from. They help against learning few rows by heart, "
        "and make an epoch longer. Nothing is ever measured on them.",
    )
    early_stopping: bool = Field(
        True, title="Stop early",
        description="Stop when the held-out loss no longer falls, and keep the best weights seen.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Seed",
        description="The same seed, data and settings on the same machine give the same curve.",
    )
    accumulation: int = advanced(
        1, ge=1, le=1024, title="Gradient accumulation",
        description="Batches added up before each step: the effect of a larger batch without its memory.",
    )
    schedule: Literal["cosine", "linear", "constant"] = advanced(
        "cosine", title="Schedule",
        description="How the learning rate goes on after the warm-up: down a curve, down a line, or not at all.",
    )
    warmup_share: float = advanced(
        0.05, ge=0, le=0.5, title="Warm-up share",
        description="The part of the steps over which the learning rate rises from nothing. Avoids a rough start.",
    )
    weight_decay: float = advanced(
        0.0, ge=0, le=1, title="Weight decay",
        description="Pulls weights towards zero a little at each step. A mild brake on memorising.",
    )
    max_grad_norm: float = advanced(
        1.0, gt=0, le=1000, title="Gradient clipping",
        description="Longest gradient allowed; longer ones are shortened to this. Keeps one odd row from doing harm.",
    )
    evaluate_every: int | None = advanced(
        None, ge=1, le=1_000_000, title="Evaluate every (steps)",
        description="How often the held-out loss and the probe answers are made. Empty: about ten times a run.",
    )
    patience: int = advanced(
        3, ge=1, le=1000, title="Patience (evaluations)",
        description="How many evaluations without a lower held-out loss are borne before stopping early.",
    )
    precision: Literal["auto", "bf16", "fp32"] = advanced(
        "auto", title="Precision",
        description="bf16 is faster and halves the memory where the hardware has it; fp32 is exact everywhere.",
    )
    stock: bool = advanced(
        False, title="Stock computation",
        description="Leave every part of the model to the libraries' own computation. Slower, with the same results: to see that they are.",
    )
    probes: tuple[str, ...] = advanced(
        (), max_length=8, title="Probe prompts",
        description="Questions answered at every evaluation, one a line, so that you can read the model learning. "
        "Empty: the first three held-out prompts.",
    )


class RunSpec(Settings):
    """Everything needed to repeat a run; plain JSON with a version number."""

    v: Literal[1] = SPEC_VERSION
    name: str = Field("untitled", min_length=1, max_length=120, title="Name", description="What to call this run.")
    base_model: str = Field(
        "starter", min_length=1, title="Model",
        description="The starter model, a local folder with a model in it, or a hub id.",
    )
    start_from: str | None = Field(
        None, title="Start from",
        description="The model itself, or what an earlier run with the same method made of it.",
    )
    data: DatasetRef
    objective: Annotated[SerializeAsAny[ObjectiveSettings], BeforeValidator(objectives.parse)] = Field(
        default={"name": "sft"}, validate_default=True
    )
    method: Annotated[SerializeAsAny[MethodSettings], BeforeValidator(methods.parse)] = Field(
        default={"name": "lora"}, validate_default=True
    )
    training: TrainingSettings = TrainingSettings()

    @property
    def learning_rate(self) -> float:
        """The rate this run trains at: the one asked for, or the method's own as the objective bears it."""
        return self.training.learning_rate or self.method.default_learning_rate * self.objective.rate_factor


def parse_spec(values: Any) -> RunSpec:
    """A spec from plain values. Raises `UserError` naming every problem at once."""
    if not isinstance(values, dict):
        raise UserError('A spec is an object of settings, {"data": {"path": "rows.jsonl"}}, and this is none. Write one.')
    if _has_half_characters(values):
        raise UserError("The spec has half a character in it (a lone surrogate), which no file can hold. Type that text anew.")
    values, problems = dict(values), []
    for part, find in (("method", methods.parse), ("objective", objectives.parse)):
        try:
            if part in values:
                values[part] = find(values[part])
        except ValidationError as error:  # found apart, so that pydantic reports its fields one by one
            problems += sentences(error, within=part)
            del values[part]
        except ValueError as error:
            problems.append(f"{part}: {error}.")
            del values[part]
    try:
        spec = RunSpec.model_validate(values)
    except ValidationError as error:
        problems += sentences(error)
    if problems:
        raise UserError(*problems)
    return spec


def _has_half_characters(values: dict[str, Any]) -> bool:
    r"""JSON can say "\ud800", which is no text; pydantic finds that out in some fields only."""
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False
