"""Rows of a table, written out as instructions by a template set.

    recipe = Recipe(templates=templates, columns={"text": "column 1", "label": "column 2"}, labels={"0": "bad", "1": "good"})
    for record in render(table.rows(), recipe): ...
    card = save_rendered(datasets, table, recipe, name="Reviews")

The same table and recipe give the same rows. All that is made of one row of the table shares its family, so that it
stands on one side of a hold-out.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.data.readers import BrokenRow, Progress
from backend.data.records import About, Message, Record
from backend.data.templating.language import Pattern, missing, parse
from backend.data.templating.sets import Template, TemplateSet
from backend.data.templating.tables import MOST_LABELS, NUMBERS_KEPT, Some, Survey, Table, TableRow
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.settings import Settings

UNREADABLE = "unreadable"
NAMELESS = "other labels without a name"


class Rendering(Settings):
    """How many wordings each row of the table gets."""

    choice: Literal["one", "all", "some"] = Field(
        "one",
        title="Templates for each row",
        description="One in turn makes as many rows as the table has; all makes the model robust to wording and the set many "
        "times as large; "
        "some draws a few for each row.",
    )
    some: int = Field(
        2,
        ge=1,
        le=100,
        title="Some per row",
        description="Templates drawn for each row, where some are. No more than are ticked.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed", description="The same seed, table and templates make the same rows.")


class Recipe(BaseModel):
    """Everything needed to make the same rows again, beside the table itself."""

    model_config = ConfigDict(frozen=True)

    templates: TemplateSet  # those that are used, and no others
    columns: dict[str, str]  # part -> column of the table
    labels: dict[str, str] = {}  # value -> name; rows whose value has none are left out
    words: dict[str, str] = {}
    rendering: Rendering = Rendering()

    @cached_property
    def patterns(self) -> list[dict[str, Pattern]]:
        """{"prompt", "completion"} of each template, read. Raises `UserError`."""
        return [
            {part: parse(text, where=_where(template, part)) for part, text in template.texts.items()}
            for template in self.templates.templates
        ]

    @cached_property
    def label_column(self) -> str | None:
        part = self.templates.label_part
        return self.columns.get(part) if part else None

    @cached_property
    def needed(self) -> frozenset[str]:
        """Columns of the table that must not be empty: those any of the templates asks for."""
        asked = {name for patterns in self.patterns for pattern in patterns.values() for name in pattern.names}
        return frozenset(self.columns.get(name, name) for name in asked if name not in self.words and name not in self.options)

    @cached_property
    def options(self) -> dict[str, str]:
        """The names of the labels, in a sentence and one a line."""
        if not self.label_column:
            return {}
        names = list(dict.fromkeys(filter(None, self.labels.values())))
        return {"options": _in_a_sentence(names), "options_list": "\n".join(f"- {name}" for name in names)}

    def names(self, columns: Iterable[str]) -> list[str]:
        """What a template can ask for in a table of these columns."""
        return list(dict.fromkeys([*self.columns, *self.words, *self.options, *columns]))

    def values(self, cells: dict[str, str]) -> dict[str, str]:
        """What stands for each name in a row."""
        played = {part: cells.get(column, "") for part, column in self.columns.items()}
        if self.label_column:
            label = cells.get(self.label_column, "").strip()
            played[self.templates.label_part or ""] = self.labels.get(label, "")
        return {**cells, **self.options, **self.words, **played}

    def fits(self, row: TableRow) -> str | None:
        """Why a row cannot be used, in a few words; None if it can."""
        empty = sorted(name for name in self.needed if not row.cells.get(name, "").strip())
        if empty:
            return _nothing_in(empty)
        value = row.cells.get(self.label_column, "").strip() if self.label_column in self.needed else ""  # type: ignore[arg-type]
        return _nameless(value) if value and not self.labels.get(value) else None

    @property
    def per_row(self) -> int:
        """Rows made of each row of the table."""
        there = len(self.templates.templates)
        return {"one": 1, "all": there, "some": min(self.rendering.some, there)}[self.rendering.choice]


def problems(recipe: Recipe, columns: Iterable[str]) -> list[str]:
    """Everything that keeps a recipe from being used on a table of these columns, in sentences."""
    names = recipe.names(columns)
    found = []
    for template in recipe.templates.templates:
        for part, text in template.texts.items():
            try:
                found += missing(parse(text, where=_where(template, part)), names, where=_where(template, part))
            except UserError as error:
                found += error.problems
    return found


def render(rows: Iterable[TableRow | BrokenRow], recipe: Recipe) -> Iterator[Record]:
    """The records that the rows become; those that cannot be used are passed over (`Recipe.fits` tells why)."""
    for row in rows:
        if isinstance(row, TableRow) and recipe.fits(row) is None:
            yield from _renderings(row, recipe)


def rendered(row: TableRow, index: int, recipe: Recipe) -> Record:
    """One row in the wording of one template, whatever the choice."""
    template, patterns, values = recipe.templates.templates[index], recipe.patterns[index], recipe.values(row.cells)
    prompt = patterns["prompt"].fill(values)
    if recipe.templates.keeps_answers:
        return _asked_otherwise(row, prompt, template, recipe.templates)
    turns: list[Message] = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": patterns["completion"].fill(values)},
    ]
    known = {"task": recipe.templates.task, "cluster": recipe.templates.cluster}
    return {
        "messages": turns,
        "about": {"how": "template", "author": author_of(template, recipe.templates), **known, "family": row.family},
    }


def reworded(record: Record, prompt: str, about: About) -> Record:
    """A conversation whose first question is put otherwise; all else stays, and so does what is known about it."""
    turns = [dict(turn) for turn in record["messages"]]  # type: ignore[typeddict-item]
    first = next(turn for turn in turns if turn["role"] == "user")
    first["content"] = prompt
    return {"messages": turns, "about": {**record.get("about", {}), **about}}  # type: ignore[typeddict-item]


def author_of(template: Template, templates: TemplateSet) -> str:
    """What a row made by a template says of who wrote it."""
    return f"{templates.title}: {template.name}"


@dataclass(frozen=True)
class Yield:
    """What a recipe makes of a table."""

    usable: int  # rows of the table
    made: int  # rows of the data set
    left_out: dict[str, Some] = field(default_factory=dict)  # why -> which


def count(found: Survey, recipe: Recipe) -> Yield:
    """What saving would make and leave out, without going over the table again."""
    left_out: dict[str, Some] = {}
    for filled, rows in found.filled.items():
        if empty := sorted(recipe.needed - filled):
            _join(left_out, _nothing_in(empty), rows)
    label = recipe.label_column
    if label in recipe.needed and label in found.values:
        for (value, filled), rows in found.values[label].items():
            if recipe.needed <= filled and not recipe.labels.get(value):
                _join(left_out, _nameless(value), rows)
    usable = found.rows - sum(rows.count for rows in left_out.values())
    if found.broken.count:
        left_out[UNREADABLE] = found.broken
    return Yield(usable, usable * recipe.per_row, left_out)


def save_rendered(
    datasets: Datasets, table: Table, recipe: Recipe, *, name: str, skip: bool = False, progress: Progress | None = None
) -> Card:
    """Save what a table becomes as a version. Raises `UserError` listing rows that cannot be used, unless told to `skip` them."""
    left_out: dict[str, Some] = {}
    with datasets.new_version(name, "messages") as version:
        for row in table.rows(progress):
            reason = UNREADABLE if isinstance(row, BrokenRow) else recipe.fits(row)
            if reason:
                left_out.setdefault(reason if reason in left_out or len(left_out) < MOST_LABELS else NAMELESS, Some()).add(
                    row.number
                )
            else:
                for record in _renderings(row, recipe):  # type: ignore[arg-type]
                    version.write(record)
        if left_out and not skip:
            raise UserError(*sentences_on(left_out), "Mend the table, or save without these rows.")
        return version.keep(source=_source(table, recipe), left_out={reason: rows.count for reason, rows in left_out.items()})


def sentences_on(left_out: dict[str, Some]) -> list[str]:
    """Rows that cannot be used, listed by their numbers: "Nothing in text: rows 3, 14." """
    return [f"{reason[0].upper()}{reason[1:]}: {_numbered(rows)}." for reason, rows in left_out.items()]


# ---- which templates for which row -----------------------------------------------------------------------------------


def _renderings(row: TableRow, recipe: Recipe) -> Iterator[Record]:
    for index in _drawn(row.number, len(recipe.templates.templates), recipe.rendering):
        yield rendered(row, index, recipe)


def _drawn(number: int, there: int, rendering: Rendering) -> list[int]:
    """Which of the templates a row gets, by its number and the seed alone."""
    if rendering.choice == "all":
        return list(range(there))
    if rendering.choice == "one":  # each as often as the others: every so many rows begin another order
        order = random.Random(f"{rendering.seed} {(number - 1) // there}").sample(range(there), there)
        return [order[(number - 1) % there]]
    return sorted(random.Random(f"{rendering.seed} {number}").sample(range(there), min(rendering.some, there)))


def _asked_otherwise(row: TableRow, prompt: str, template: Template, templates: TemplateSet) -> Record:
    """A row of a saved version in other words: its answers stay, and so do the task and cluster it has."""
    author: About = {"how": "template", "author": author_of(template, templates), "family": row.family}
    if row.record and "messages" in row.record:
        return reworded(row.record, prompt, author)
    raise UserError(
        "These templates put the prompts of conversations into other words. Choose a saved data set of conversations, "
        "or other templates."
    )


# ---- words -----------------------------------------------------------------------------------------------------------


def _where(template: Template, part: str) -> str:
    return f'The {part} of "{template.name}"'


def _in_a_sentence(names: list[str]) -> str:
    """ "good, fair or bad"."""
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)


def _nothing_in(columns: list[str]) -> str:
    return f"nothing in {' and '.join(columns)}"


def _nameless(value: str) -> str:
    return f'the label "{value}" has no name'


def _join(left_out: dict[str, Some], reason: str, rows: Some) -> None:
    some = left_out.setdefault(reason, Some())
    some.count += rows.count
    some.numbers[:] = sorted([*some.numbers, *rows.numbers])[:NUMBERS_KEPT]


def _numbered(rows: Some) -> str:
    """ "row 3", or "rows 3, 14 and 200 more"."""
    listed = ", ".join(f"{number:,}" for number in rows.numbers)
    more = rows.count - len(rows.numbers)
    return f"{'row' if rows.count == 1 else 'rows'} {listed}{f' and {more:,} more' if more else ''}"


def _source(table: Table, recipe: Recipe) -> dict[str, Any]:
    return {"made": "by templates", "table": table.described(), "recipe": recipe.model_dump(mode="json")}
