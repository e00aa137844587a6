"""A saved version as a file to take away, in the forms other tools read, each of which our import reads back the same.

    found = survey(datasets, card, form)                         which rows fit the form, and why the others do not
    path = export(datasets, card, form, found, workspace.exports)

A form says how a record becomes a row, and by which mapping the row becomes that record again. A row fits if it does:
that is tried for each one, so that importing the file gives the hash of the version. What does not fit is counted and
named before anything is written, and left out on consent only.
"""

import csv
import re
import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import orjson

from backend.data import parquet
from backend.data.readers import LARGEST_ROW, Progress, inspect, sample_rows
from backend.data.readers.neutralised import MARK, neutralised
from backend.data.records import Message, Record, RecordKind
from backend.data.shapes import Mapping, RowProblem, Shape, guess_mapping, to_record
from backend.data.versions import Card, Datasets
from backend.errors import UserError

MISFITS_LISTED = 200
ROWS_A_TELL = 1000  # rows between two words about progress

Put = Callable[[dict[str, Any]], None]


class Misfit(NamedTuple):
    """A row that a form cannot hold: its number, counted from 1, and why."""

    number: int
    reason: str


@dataclass
class Survey:
    """How the rows of a version fit a form."""

    rows: int = 0  # that fit
    misfits: list[Misfit] = field(default_factory=list)  # the first of those that do not
    left_out: Counter[str] = field(default_factory=Counter)  # how many do not, by reason
    neutralised: int = 0  # rows with a cell that a spreadsheet would run


class Form(ABC):
    """A form that versions are taken away in."""

    name: ClassVar[str]
    title: ClassVar[str]
    sentence: ClassVar[str]  # who reads it
    ending: ClassVar[str]
    shape: ClassVar[Shape]

    @property
    def record(self) -> RecordKind:
        """The kind of record it holds."""
        return self.mapping.record

    @property
    @abstractmethod
    def mapping(self) -> Mapping:
        """What its columns mean when it is imported again."""

    @abstractmethod
    def row(self, record: Record) -> dict[str, Any]:
        """The columns of a record. Raises `RowProblem` where it does not fit."""

    @abstractmethod
    def written(self, path: Path, found: Survey) -> AbstractContextManager[Put]:
        """Opens the file; what it gives writes a row."""

    def alters(self, row: dict[str, Any]) -> bool:
        """Whether it writes a row differently from what it is."""
        return False

    def fitting_row(self, record: Record) -> dict[str, Any]:
        """The columns of a record, if they become that very record again. Raises `RowProblem` where they do not."""
        row = self.row(record)
        known = {"about": record["about"]} if "about" in record else {}
        if to_record(row, self.mapping) | known != record:
            raise RowProblem("would not come back the same")
        return row


def forms(record: RecordKind) -> list[Form]:
    """The forms a kind of record can be taken away in, the one that keeps everything first."""
    return [form for form in ALL_FORMS if form.record == record]


def form_named(name: str) -> Form:
    """Raises `UserError` where there is none."""
    for form in ALL_FORMS:
        if form.name == name:
            return form
    raise UserError(f'There is no form "{name}". Choose one of: {", ".join(form.name for form in ALL_FORMS)}.')


def survey(datasets: Datasets, card: Card, form: Form, *, progress: Progress | None = None) -> Survey:
    """Go over every row and count which fit the form. Writes nothing."""
    _require_kind(card, form)
    found = Survey()
    for number, record in _counted(datasets, card, progress):
        try:
            row = form.fitting_row(record)
        except RowProblem as problem:
            found.left_out[problem.reason] += 1
            found.misfits += [Misfit(number, problem.reason)] if len(found.misfits) < MISFITS_LISTED else []
        else:
            found.rows += 1
            found.neutralised += form.alters(row)
    return found


def export(
    datasets: Datasets, card: Card, form: Form, found: Survey, folder: Path, *, leave_out: bool = False, progress: Progress | None = None
) -> Path:
    """Write the rows that fit, in bounded memory; the file is there whole or not at all.

    Raises `UserError` for rows that do not fit unless `leave_out` consents to that, and for a full disk.
    """
    _require_kind(card, form)
    _require_consent(card, form, found, leave_out)
    path = folder / f"{card.id}-v{card.version}-{form.name}.{form.ending}"
    partial = folder / f".{secrets.token_hex(8)}.{form.ending}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with form.written(partial, found) as put:
            for _, record in _counted(datasets, card, progress):
                _put_if_fitting(record, form, put)
        _require_reads_back(partial, form)
        return partial.replace(path)
    except OSError as error:
        raise UserError(f"{path.name} cannot be written ({error.strerror or error}). Make room, or choose another workspace.") from error
    finally:
        partial.unlink(missing_ok=True)


def _put_if_fitting(record: Record, form: Form, put: Put) -> None:
    try:
        row = form.fitting_row(record)
    except RowProblem:
        return
    put(row)


def _counted(datasets: Datasets, card: Card, progress: Progress | None) -> Iterator[tuple[int, Record]]:
    """The records with their numbers, from 1."""
    for number, record in enumerate(datasets.iterate(card.id, card.version), start=1):
        yield number, record
        if progress and number % ROWS_A_TELL == 0:
            progress(number / card.rows)


def _require_kind(card: Card, form: Form) -> None:
    if card.record != form.record:
        titles = ", ".join(form.title for form in forms(card.record))
        raise UserError(f"{form.title} cannot hold the rows of “{card.name}”. Choose one of: {titles}.")


def _require_consent(card: Card, form: Form, found: Survey, leave_out: bool) -> None:
    """Raise `UserError` for rows that do not fit, unless somebody consented to leave them out."""
    bad = found.left_out.total()
    if not found.rows:
        raise UserError(f"None of the {bad:,} rows of “{card.name}” fits the form {form.title}. Choose another form.")
    if bad and not leave_out:
        first = [f"Row {number:,} of “{card.name}” {reason}." for number, reason in found.misfits[:5]]
        raise UserError(
            *first, f"{bad:,} of {card.rows:,} rows do not fit the form {form.title}. Choose another form, or agree to leave them out."
        )


def _require_reads_back(path: Path, form: Form) -> None:
    """Raise `UserError` where our own import would take the file for another kind: other tools would as well."""
    try:
        source = inspect(path)
        is_known = source.format == form.ending and guess_mapping(sample_rows(source, limit=5)) == form.mapping
    except UserError:
        is_known = False
    if not is_known:
        raise UserError(f"These rows, written as {form.title}, would be taken for something else. Choose another form.")


# ---- JSON Lines ------------------------------------------------------------------------------------------------------


class Lines(Form):
    """One JSON object in a line."""

    ending = "jsonl"

    @contextmanager
    def written(self, path: Path, found: Survey) -> Iterator[Put]:
        with path.open("wb") as file:

            def put(row: dict[str, Any]) -> None:
                file.write(orjson.dumps(row) + b"\n")

            yield put

    def fitting_row(self, record: Record) -> dict[str, Any]:
        row = super().fitting_row(record)
        _require_length(len(orjson.dumps(row)))
        return row


class MessageLines(Lines):
    name, title, shape = "messages", "Messages (JSON Lines)", "messages"
    sentence = "The form of OpenAI and of most tools today. Keeps every turn, and what is known about each row."
    mapping = Mapping(shape="messages", columns={"messages": "messages"})

    def row(self, record: Record) -> dict[str, Any]:
        return dict(record)


class TextLines(Lines):
    name, title, shape = "text", "Texts (JSON Lines)", "text"
    sentence = "One text in a line, as pre-training tools read it. Keeps what is known about each row."
    mapping = Mapping(shape="text", columns={"text": "text"})

    def row(self, record: Record) -> dict[str, Any]:
        return dict(record)


class AlpacaLines(Lines):
    name, title, shape = "alpaca", "Alpaca (JSON Lines)", "alpaca"
    sentence = "Instruction, input and output, earlier turns in history: Stanford Alpaca and LLaMA-Factory."
    mapping = Mapping(
        shape="alpaca",
        columns={"instruction": "instruction", "input": "input", "output": "output", "system": "system", "history": "history"},
    )

    def row(self, record: Record) -> dict[str, Any]:
        """All columns in every row: a tool reads off the first ones which there are."""
        system, turns = _parted(record)
        texts = [turn["content"] for turn in turns]
        history = [texts[at : at + 2] for at in range(0, len(texts) - 2, 2)]
        return {"instruction": texts[-2], "input": "", "output": texts[-1], "system": system, "history": history}


class ShareGptLines(Lines):
    name, title, shape = "sharegpt", "ShareGPT (JSON Lines)", "sharegpt"
    sentence = "Turns with from and value: Vicuna, Axolotl, LLaMA-Factory."
    mapping = Mapping(shape="sharegpt", columns={"conversations": "conversations"})
    speakers: ClassVar[dict[str, str]] = {"system": "system", "user": "human", "assistant": "gpt"}

    def row(self, record: Record) -> dict[str, Any]:
        turns = record["messages"]  # type: ignore[typeddict-item]
        return {"conversations": [{"from": self.speakers[turn["role"]], "value": turn["content"]} for turn in turns]}


class PromptCompletionLines(Lines):
    name, title, shape = "prompt_completion", "Prompt and completion (JSON Lines)", "prompt_completion"
    sentence = "One question and its answer: TRL, and the older form of OpenAI."
    mapping = Mapping(shape="prompt_completion", columns={"prompt": "prompt", "completion": "completion", "system": "system"})

    def row(self, record: Record) -> dict[str, Any]:
        return _pair(record)


class PreferenceLines(Lines):
    name, title, shape = "preferences", "Preferences (JSON Lines)", "preferences"
    sentence = "A prompt with the better and the worse answer, as TRL reads it. Keeps what is known about each row."
    mapping = Mapping(shape="preferences", columns={name: name for name in ("prompt", "chosen", "rejected", "margin")})

    def row(self, record: Record) -> dict[str, Any]:
        """A pair, the better answer first."""
        if record["ranks"] != [1, 2]:  # type: ignore[typeddict-item]
            raise RowProblem("is no pair, the better answer first")
        known = {name: record[name] for name in ("margin", "about") if name in record}  # type: ignore[literal-required]
        chosen, rejected = record["answers"]  # type: ignore[typeddict-item]
        return {"prompt": record["prompt"], "chosen": chosen, "rejected": rejected} | known  # type: ignore[typeddict-item]


class UnpairedLines(Lines):
    name, title, shape = "unpaired", "Good and bad answers (JSON Lines)", "unpaired"
    sentence = "A prompt, one answer to it, and whether it is good, as TRL's KTO reads it. Keeps what is known about each row."
    mapping = Mapping(shape="unpaired", columns={name: name for name in ("prompt", "completion", "label")})

    def row(self, record: Record) -> dict[str, Any]:
        if len(record["answers"]) != 1:  # type: ignore[typeddict-item]
            raise RowProblem("has more than one answer")
        known = {"about": record["about"]} if "about" in record else {}
        (answer,), (rank,) = record["answers"], record["ranks"]  # type: ignore[typeddict-item]
        return {"prompt": record["prompt"], "completion": answer, "label": rank == 1} | known  # type: ignore[typeddict-item]


# ---- tables ----------------------------------------------------------------------------------------------------------


class Table(Form):
    """A table for spreadsheets. Every cell is in quotes, so that its text cannot end the cell; no cell is a formula."""

    ending = "csv"

    @contextmanager
    def written(self, path: Path, found: Survey) -> Iterator[Put]:
        with path.open("w", newline="", encoding="utf-8-sig") as file:  # without the mark, Excel takes it for another encoding
            columns = [*self.mapping.columns.values(), *([MARK] if found.neutralised else [])]
            csv.writer(file).writerow(columns)
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)

            def put(row: dict[str, Any]) -> None:
                cells, changed = neutralised(row)
                writer.writerow((cells | {MARK: " ".join(changed)})[column] for column in columns)

            yield put

    def fitting_row(self, record: Record) -> dict[str, Any]:
        row = super().fitting_row(record)
        if any(map(_CONTROL.search, row.values())):
            raise RowProblem("has control characters, which no table can hold")
        _require_length(sum(len(cell) + cell.count('"') + 4 for cell in row.values()))
        return row

    def alters(self, row: dict[str, Any]) -> bool:
        return bool(neutralised(row)[1])


class PairTable(Table):
    name, title, shape = "csv", "Table (CSV)", "prompt_completion"
    sentence = "Prompt, completion and system for a spreadsheet. A cell that a spreadsheet would run gets an apostrophe before it."
    mapping = PromptCompletionLines.mapping

    def row(self, record: Record) -> dict[str, Any]:
        return _pair(record)


class TextTable(Table):
    name, title, shape = "text-csv", "Table (CSV)", "text"
    sentence = "One column of texts for a spreadsheet. A cell that a spreadsheet would run gets an apostrophe before it."
    mapping = TextLines.mapping

    def row(self, record: Record) -> dict[str, Any]:
        return {"text": record["text"]}  # type: ignore[typeddict-item]


# ---- Parquet ---------------------------------------------------------------------------------------------------------


class Columns(Form):
    """Parquet, as the versions themselves are kept."""

    ending = "parquet"

    @contextmanager
    def written(self, path: Path, found: Survey) -> Iterator[Put]:
        writer = parquet.RecordWriter(path, self.record)
        try:
            yield writer.write  # type: ignore[misc]
            writer.finish()
        finally:
            writer.close()

    def row(self, record: Record) -> dict[str, Any]:
        return dict(record)


class MessageColumns(Columns):
    name, title, shape = "parquet", "Messages (Parquet)", "messages"
    sentence = "Small and quick to load, for the datasets library and others. Keeps every turn, and what is known about each row."
    mapping = MessageLines.mapping


class TextColumns(Columns):
    name, title, shape = "text-parquet", "Texts (Parquet)", "text"
    sentence = "Small and quick to load, for the datasets library and others. Keeps what is known about each row."
    mapping = TextLines.mapping


ALL_FORMS: tuple[Form, ...] = (
    MessageLines(), AlpacaLines(), ShareGptLines(), PromptCompletionLines(), PairTable(), MessageColumns(),
    TextLines(), TextTable(), TextColumns(), PreferenceLines(), UnpairedLines(),
)  # fmt: skip


# ---- parts of a conversation -----------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def _parted(record: Record) -> tuple[str, list[Message]]:
    """The system prompt, "" where there is none, and the other turns."""
    turns = record["messages"]  # type: ignore[typeddict-item]
    first = turns[:1] if turns and turns[0]["role"] == "system" else []
    if first and not first[0]["content"].strip():
        raise RowProblem("has an empty system turn")
    if len(turns) - len(first) < 2:
        raise RowProblem("has no question with an answer")
    return first[0]["content"] if first else "", turns[len(first) :]


def _pair(record: Record) -> dict[str, Any]:
    system, turns = _parted(record)
    if len(turns) > 2:
        raise RowProblem("has several turns")
    return {"prompt": turns[0]["content"], "completion": turns[1]["content"], "system": system}


def _require_length(characters: int) -> None:
    """Raise `RowProblem` for a row that no import takes in one piece."""
    if characters > LARGEST_ROW:
        raise RowProblem(f"is longer than {LARGEST_ROW:,} characters as it is written")
