"""Pairs and rankings that somebody brings in a file, labelled already or not.

    brought = pairs_in(path, name="pairs.jsonl")
    brought.shape                      "pairs, the better answer named"
    brought.items, brought.votes       a vote's `item` is the place of its item among them, from 0
    brought.problems                   the rows that are none, by number and with a reason

What it is shows in the columns: prompt, chosen and rejected as TRL (explicit or implicit prompt, texts or turns), ShareGPT and
hh-rlhf write them; a prompt with answer1, answer2 and so on; a prompt with a list of answers, ranked or not; tasks of Label
Studio, annotated or not; what our own Take away page writes as raw. Whoever voted in a file has the file's name behind
theirs, so that they are never taken for somebody who labels here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backend.data.importing import Problem
from backend.data.readers import BrokenRow, Row, clip, inspect, read_rows
from backend.data.readers.source import shown_value
from backend.data.records import Preference
from backend.data.shapes import RowProblem, conversation, guess_mapping, pair_of, turns_in
from backend.errors import UserError
from backend.labelling.columns import Read, answer_columns, beside, list_column, listed, prompt_column, strength_of
from backend.labelling.items import MOST_ANSWERS, Candidate, Item, Made, Said
from backend.labelling.label_studio import is_task, read_task, whole_tasks

MOST_ITEMS = 100_000  # of a file; they are all held at once
LOOKED_AT = 200  # rows the shape is guessed from


@dataclass(frozen=True)
class Brought:
    """What a file holds."""

    items: list[Item]
    votes: list[Said]
    problems: list[Problem]
    shape: str  # what was found, in words

    def votes_of(self, places: Sequence[int]) -> list[Said]:
        """The votes on some of the items, which are counted from 0, numbered as they stand in that list."""
        numbers = {place: number for number, place in enumerate(places)}
        return [replace(vote, item=numbers[vote.item]) for vote in self.votes if vote.item in numbers]


def pairs_in(path: Path, *, name: str | None = None) -> Brought:
    """All items of a file, and what was said of them. Raises `UserError` for a file that holds none."""
    source = inspect(path, name=name)
    rows = read_rows(replace(source, layout="plain"))  # tasks of Label Studio whole, and not laid out as columns
    first = list(islice(rows, LOOKED_AT))
    shape = _shape_of([row.values for row in first if isinstance(row, Row)], source.name)
    brought = _brought(shape, chain(first, rows), source.name)
    if not brought.items:
        reasons = [f"Row {each.number} of {source.name} {each.reason}." for each in brought.problems[:5]]
        raise UserError(*reasons, f"None of the {len(brought.problems):,} rows of {source.name} can be used. Mend it, or bring another file.")
    return brought


def pairs_of(records: Iterable[Preference], *, name: str) -> Brought:
    """The rows of a saved data set of preferences as items, and its ranks as votes of somebody named after it."""
    rows = (Row(number, dict(record)) for number, record in enumerate(records, start=1))
    return _brought(_Shape("preferences of a data set", _ranked), rows, name)


@dataclass(frozen=True)
class _Shape:
    """How the rows of a file are written."""

    words: str
    read: Callable[[dict[str, Any]], Read]  # raises RowProblem


def _brought(shape: _Shape, rows: Iterable[Row | BrokenRow], file: str) -> Brought:
    brought = Brought([], [], [], shape.words)
    for row in whole_tasks(rows) if shape.read is read_task else rows:
        read = _read(row, shape)
        if isinstance(read, Problem):
            brought.problems.append(read)
            continue
        place = len(brought.items)
        if place == MOST_ITEMS:
            raise UserError(f"{file} has more than {MOST_ITEMS:,} rows to label. Bring a part of it.")
        brought.items.append(read.item)
        brought.votes.extend(replace(vote, item=place, annotator=_of_file(vote.annotator, file)) for vote in read.votes)
    return brought


def _read(row: Row | BrokenRow, shape: _Shape) -> Read | Problem:
    """A row's item and votes, or what is wrong with it."""
    if isinstance(row, BrokenRow):
        return Problem(row.number, row.reason, row.text)
    try:
        read = shape.read(row.values)
        _require_choice(read.item)
    except RowProblem as problem:
        return Problem(row.number, problem.reason, shown_value(row.values))
    return read


def _require_choice(item: Item) -> None:
    """Raise `RowProblem` for what nobody could choose between."""
    if not 2 <= len(item.candidates) <= MOST_ANSWERS:
        raise RowProblem(f"has {len(item.candidates)} answers, and from 2 to {MOST_ANSWERS} can be compared")
    for candidate in item.candidates:
        conversation(item.prompt + candidate.answer)


def _of_file(annotator: str, file: str) -> str:
    """The name of somebody who voted in a file; the file's own where it does not say who did."""
    return f"{clip(annotator, max_chars=40)} ({clip(file, max_chars=36)})" if annotator else clip(f"in {file}", max_chars=80)


# ---- what it is ------------------------------------------------------------------------------------------------------


def _shape_of(rows: list[dict[str, Any]], file: str) -> _Shape:
    """How some rows are written. Raises `UserError` where there is nothing to choose between."""
    names = dict.fromkeys(name for row in rows for name in row)
    if rows and is_task(rows[0]):
        return _Shape("tasks of Label Studio", read_task)
    if {"prompt", "candidates"} <= names.keys():
        return _Shape("items with all that was said of them", _raw)
    if {"prompt", "answers", "ranks"} <= names.keys():
        return _Shape("answers with their ranks", _ranked)
    mapping = guess_mapping(rows)
    if mapping and mapping.shape == "preferences":
        return _Shape("pairs, the better answer named", lambda values: _named_better(values, mapping.columns))
    return _unlabelled(names, file)


def _unlabelled(names: Iterable[str], file: str) -> _Shape:
    prompt, columns, column = prompt_column(names), answer_columns(names), list_column(names)
    if prompt and columns:
        return _Shape(f"a prompt and {len(columns)} answers, not labelled", lambda values: Read(beside(values, prompt, columns)))
    if prompt and column:
        return _Shape("a prompt and a list of answers, not labelled", lambda values: Read(listed(values, prompt, column)))
    found = ", ".join(f'"{clip(name, max_chars=40)}"' for name in islice(names, 12)) or "none"
    raise UserError(
        f"{file} has nothing to choose between; its columns are {found}. Name them prompt, chosen and rejected; or prompt, answer1 "
        "and answer2; or prompt and answers, for a list of them."
    )


# ---- rows to items ---------------------------------------------------------------------------------------------------


def _named_better(values: dict[str, Any], columns: dict[str, str]) -> Read:
    """A pair whose better answer is named. That is what was said of it, and not who made it."""
    prompt, chosen, rejected = pair_of(values, columns)
    vote = Said(0, "", "ranked", [1, 2], strength_of(values.get(columns.get("margin", ""))))
    return Read(Item(prompt, [Candidate(chosen, {}), Candidate(rejected, {})]), [vote])


def _ranked(values: dict[str, Any]) -> Read:
    """A record of preferences as data sets here keep them: ranks that are all 1 are a tie; all behind it, both are bad."""
    item, ranks = listed(values, "prompt", "answers"), values.get("ranks")
    if not ranks:
        return Read(item)
    if not (isinstance(ranks, list) and len(ranks) == len(item.candidates) and all(isinstance(rank, int) and rank > 0 for rank in ranks)):
        raise RowProblem("has not one rank for each answer, 1 for the best")
    if len(set(ranks)) == 1:
        return Read(item, [Said(0, "", "tie" if ranks[0] == 1 else "both bad", [])])
    return Read(item, [Said(0, "", "ranked", [sorted(set(ranks)).index(rank) + 1 for rank in ranks], strength_of(values.get("margin")))])


_MADE, _VOTES = TypeAdapter(Made), TypeAdapter(list[Said])


def _raw(values: dict[str, Any]) -> Read:
    """What our own Take away page writes with all it knows; what was settled comes as a vote of whoever settled it."""
    try:
        candidates = [Candidate(turns_in(each, "answer", by="assistant"), _MADE.validate_python(each.get("made", {}))) for each in values["candidates"]]
        votes = _VOTES.validate_python([*values.get("votes", []), *_settling(values.get("settlement"))])
    except (ValidationError, AttributeError, TypeError, KeyError) as error:
        raise RowProblem("is not as the Take away page writes what it knows of an item") from error
    if any(vote.ranks and len(vote.ranks) != len(candidates) for vote in votes):
        raise RowProblem("has a vote with more or fewer ranks than answers")
    return Read(Item(turns_in(values, "prompt", by="user"), candidates), votes)


def _settling(settlement: Any) -> Iterator[dict[str, Any]]:
    if settlement:
        yield {**settlement, "item": 0, "annotator": f"{settlement['settler']}, settling"}
