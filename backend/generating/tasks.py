"""A task is an instruction, what it is about where it needs that, and an answer: the unit that is generated.

    seeds = read_seeds(DatasetRef(id="cats-1a2b3c"), workspace)      the tasks a data set's rows begin with
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from backend.data.records import Conversation, Record
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.specs import DatasetRef
from backend.workspace import Workspace

MOST_SEEDS = 100_000  # of a longer data set the first so many; the pool is kept in memory


class Task(NamedTuple):
    """An instruction with one example of it."""

    instruction: str
    input: str  # empty where the instruction needs none
    output: str
    is_classification: bool

    @property
    def prompt(self) -> str:
        """What a model is asked: the input follows the instruction on a new line, as in an imported Alpaca row."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction

    def record(self, *, author: str) -> Conversation:
        """The task as a row to learn from."""
        return {
            "messages": [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.output}],
            "about": {"how": "generated", "author": author, "task": "classification" if self.is_classification else "generation"},
        }


def read_seeds(data: DatasetRef, workspace: Workspace) -> list[Task]:
    """Tasks to begin with, from a saved data set or a file in the shape of Self-Instruct's seed tasks. Raises `UserError`."""
    seeds = list(islice(_from_file(Path(data.path)) if data.path else _from_dataset(data, workspace), MOST_SEEDS))
    if not seeds:
        raise UserError("The seeds hold no question with an answer. Choose a data set of conversations with at least one row.")
    return seeds


def _from_dataset(data: DatasetRef, workspace: Workspace) -> Iterator[Task]:
    datasets = Datasets(workspace)
    card = datasets.card(data.id or "", data.version)
    if card.record != "messages":
        raise UserError(f'"{card.name}" holds plain text, and seeds are questions with answers. Choose a data set of conversations.')
    return _from_records(datasets.iterate(card.id, card.version))


def _from_records(records: Iterable[Record]) -> Iterator[Task]:
    """The first question and the first answer of each conversation that has both."""
    for record in records:
        said = {turn["role"]: turn["content"].strip() for turn in reversed(record["messages"])}  # type: ignore[typeddict-item]
        if said.get("user") and said.get("assistant"):
            is_classification = record.get("about", {}).get("task") == "classification"
            yield Task(said["user"], "", said["assistant"], is_classification)


def _from_file(path: Path) -> Iterator[Task]:
    """One JSON object a line: instruction, instances (a list of input and output), is_classification."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The seeds {path.name} cannot be read ({type(error).__name__}). Choose a text file, one JSON object a line.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _seed_task(line, f"Line {number} of {path.name}")


def _seed_task(line: str, where: str) -> Task:
    try:
        values: dict[str, Any] = json.loads(line)
        first = values["instances"][0]
        return Task(values["instruction"].strip(), first["input"].strip(), first["output"].strip(), bool(values["is_classification"]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{where} is no seed task. It needs instruction, is_classification, and instances with an input and an output."
        ) from error
