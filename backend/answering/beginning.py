"""A batch begun: items from wherever they come, filtered, in an order drawn by a seed, with what people are told.

    gathered = gathered_from_data(datasets, DatasetRef(id="pairs-1a2b3c"), number=100, seed=0)
    sieved = sieve(gathered.items, FilterSettings())
    batch = begin_batch(labels, gathered, sieved, BatchSettings(name="first round"))
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from backend.answering.answering import Answering
from backend.answering.pairing import PairingSettings, pair
from backend.answering.prompts import drawn_rows
from backend.data.importing import Problem
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.labelling.bringing import Brought, pairs_in, pairs_of
from backend.labelling.filters import FilterSettings, Sieved
from backend.labelling.items import Batch, Item, Labels, Said
from backend.settings import Settings, sentences
from backend.specs import DatasetRef

AnySettings = TypeVar("AnySettings", bound=Settings)
GUIDELINES = (
    "Prefer the answer that helps the person who asked more: right before well put, to the point before long.\n"
    "Choose “equally good” where you would not mind which one you got, and “both bad” where you would want neither.\n"
    "Skip what you cannot judge."
)


class BatchSettings(Settings):
    """What a batch is called, and how it is labelled."""

    name: str = Field("untitled", min_length=1, max_length=120, title="Name", description="What to call the batch, to find it again.")
    guidelines: str = Field(
        GUIDELINES, max_length=20_000, title="Guidelines",
        description="What people shall go by. They are shown while labelling, and can be changed there.",
    )
    overlap: int = Field(
        1, ge=1, le=20, title="People for each item",
        description="With 2 or more you see how far people agree; each item then takes that many votes. Votes that come along are not counted in.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Shuffled by the seed", description="The order items are shown in, so that items of one prompt do not follow each other.",
    )


@dataclass(frozen=True, eq=False)
class Gathered:
    """Items to be labelled, before the filters, and where they come from. What is gathered anew is another one, whatever it holds."""

    items: list[Item]
    source: dict[str, Any]  # see `Batch.source`
    name: str  # proposed for the batch
    words: str  # what was found, in a sentence
    votes: list[Said] = field(default_factory=list)  # that come with the items; `item` counts from 0 among `items`
    problems: list[Problem] = field(default_factory=list)  # rows that could not become items


def gathered_from_answers(answering: Answering, settings: PairingSettings) -> Gathered:
    """Answers put beside each other."""
    prompts, name = answering.prompts(), answering.label["name"]
    paired = pair(prompts, answering.answers(), settings)
    few = f" {paired.left_out:,} of {len(prompts):,} prompts have too few answers for it." if paired.left_out else ""
    words = f"{_counted(len(paired.items), settings.form)} of {len(prompts):,} prompts.{few}"
    source = {"from": "candidates", "id": answering.id, "pairing": settings.model_dump()}
    return Gathered(paired.items, source, name, words)


def gathered_from_file(path: Path, *, name: str) -> Gathered:
    """What a file holds. Raises `UserError` where that is nothing to choose between."""
    return _brought(pairs_in(path, name=name), {"from": "file", "name": name}, Path(name).stem[:120], name)


def gathered_from_data(datasets: Datasets, data: DatasetRef, *, number: int, seed: int) -> Gathered:
    """Rows of a saved version of preferences; what was said of them comes as votes. Raises `UserError`."""
    card = datasets.card(data.id or "", data.version)
    if card.record != "preferences":
        raise UserError(f'"{card.name}" holds no preferences. Choose a data set of preferences, or let models answer its prompts.')
    rows: Iterable[Any] = drawn_rows(datasets, DatasetRef(id=card.id, version=card.version), number=number, seed=seed)
    source = {"from": "data set", "id": card.id, "version": card.version}
    return _brought(pairs_of(rows, name=card.name), source, f"{card.name}, again"[:120], card.name)


def begin_batch(labels: Labels, gathered: Gathered, sieved: Sieved, settings: BatchSettings, *, with_votes: bool = False) -> Batch:
    """The batch, and with it the votes that came with its items. Raises `UserError` where nothing passed the filters."""
    if not sieved.kept:
        raise UserError("No item passed the filters, so there is nothing to label. Untick a filter, or bring other answers.")
    order = random.Random(settings.seed).sample(range(len(sieved.kept)), len(sieved.kept))
    votes = _votes_of(gathered, [sieved.numbers[place] - 1 for place in order]) if with_votes else []
    return labels.begin(
        settings.name, [sieved.kept[place] for place in order], guidelines=settings.guidelines, source=gathered.source, votes=votes,
        overlap=settings.overlap + most_votes(votes),
    )  # fmt: skip


def most_votes(votes: Iterable[Said]) -> int:
    """How many people said something of one item, at most."""
    people = Counter(item for item, _ in {(vote.item, vote.annotator) for vote in votes if vote.verdict != "skipped"})
    return max(people.values(), default=0)


def parse_batch(values: dict[str, Any]) -> BatchSettings:
    """From plain values. Raises `UserError` naming every problem at once."""
    return _parsed(BatchSettings, values)


def parse_filters(values: dict[str, Any]) -> FilterSettings:
    """From plain values. Raises `UserError` naming every problem at once."""
    return _parsed(FilterSettings, values)


def _parsed(kind: type[AnySettings], values: dict[str, Any]) -> AnySettings:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(*sentences(error)) from error


def _brought(brought: Brought, source: dict[str, Any], name: str, where: str) -> Gathered:
    items = "1 item" if len(brought.items) == 1 else f"{len(brought.items):,} items"
    return Gathered(brought.items, source, name, f"{where}: {brought.shape}, {items}.", brought.votes, brought.problems)


def _votes_of(gathered: Gathered, places: list[int]) -> list[Said]:
    """The votes on some of the items, numbered as those stand in the batch."""
    return Brought(gathered.items, gathered.votes, [], "").votes_of(places)


def _counted(number: int, form: str) -> str:
    return f"1 {form[:-1]}" if number == 1 else f"{number:,} {form}"
