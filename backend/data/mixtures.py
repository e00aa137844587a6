"""Several data sets mixed into one: how many rows come from each, and which, drawn by a seed.

    recipe = Recipe(parts=(Ingredient(id="cats-1a2b3c", version=2), Ingredient(id="dogs-4d5e6f", version=1, weight=2)))
    plan = plan_mixture(datasets, recipe)             rows of each part, and what stands out; nothing is read yet
    card = save_mixture(datasets, recipe, name="Pets")

A part's share goes with weight x min(rows, cap) ** (1 / temperature). Temperature 1 is T5's examples-proportional mixing,
with the cap as its limit K (arXiv:1910.10683, 3.5.2; FLAN has it too, arXiv:2109.01652); 1 / temperature is mT5's alpha
(arXiv:2010.11934), and the higher the temperature, the more even the shares. A part with a share of its own, such as a few
per cent of general instructions against forgetting, keeps it whatever the others do.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, model_validator

from backend.data import parquet
from backend.data.importing import import_file
from backend.data.readers import Progress, inspect
from backend.data.records import KINDS, Record, RecordKind
from backend.data.shapes import Mapping
from backend.data.tokens import encode_all
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.settings import Settings, sentences

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table
    from transformers import PreTrainedTokenizerBase

GENERAL_INSTRUCTIONS = Path(__file__).resolve().parents[2] / "assets" / "data" / "general_instructions.jsonl"
REPLAY_SHARE = 0.05  # a few per cent keep what was learnt before: 1 % to 5 % in arXiv:2403.08763, arXiv:2205.12393
MOST_ROWS = 10_000_000  # of a mixture; a slip of the keyboard should not fill the disk
BUCKET_BYTES = 48 * 2**20  # of rows held in memory while they are put in order
MOST_BUCKETS = 200  # files open at once
DEALING = 0.3  # the share of the time that goes into the buckets; the rest is writing
ROWS_TOKENISED = 200  # of each part, to tell its share of tokens


class Ingredient(Settings):
    """One version in a mixture, and how much of it."""

    id: str = Field(title="Data set", description="The data set the rows are taken from.")
    version: int = Field(title="Version", description="Which of its versions; each is what it was when it was saved.", ge=1)
    weight: float = Field(
        1.0, title="Weight", ge=0, le=1000,
        description="2 takes it twice as often as its size would give, 0.5 half as often, 0 not at all.",
    )
    cap: int | None = Field(
        None, title="Cap", ge=1, le=MOST_ROWS,
        description="At most so many rows are taken from it, and it counts as no larger; empty for all.",
    )
    share: float | None = Field(
        None, title="Fixed share", gt=0, le=0.5,
        description="Its part of all rows, whatever the others do: 0.05 is 5 %. Empty where weight and size decide.",
    )


class Recipe(Settings):
    """Everything a mixture is made from: the same recipe makes the same rows in the same order."""

    parts: tuple[Ingredient, ...] = Field(title="Parts", description="The versions that are mixed.", min_length=1, max_length=50)
    temperature: float = Field(
        1.0, title="Temperature", ge=1, le=100,
        description="1 goes by size; higher is more even (mT5: about 3).",
    )
    rows: int | None = Field(
        None, title="Rows", ge=1, le=MOST_ROWS,
        description="How many rows the mixture has. Empty: as many as these shares allow without repeating a row.",
    )
    repeat: bool = Field(
        False, title="Rows may repeat",
        description="A data set too small for its share gives its rows again. It learns those more by heart.",
    )
    seed: int = Field(
        0, title="Seed", ge=0, le=2**32 - 1, description="Decides which rows are drawn and their order. The same seed draws the same.",
    )

    @model_validator(mode="after")
    def _can_be_mixed(self) -> "Recipe":
        named = [(part.id, part.version) for part in self.parts]
        if len(set(named)) < len(named):
            raise ValueError("A version stands in the mixture twice. Take one of them out, and give the other more weight.")
        if not any(part.share is None and part.weight > 0 for part in self.parts):
            raise ValueError("No data set is left to take rows from. Add one, or give one a weight above 0.")
        if sum(part.share or 0 for part in self.parts) > 0.9:
            raise ValueError("The fixed shares leave nothing for the others. Make them smaller.")
        return self


@dataclass(frozen=True)
class Taken:
    """What a mixture takes from one part."""

    part: Ingredient
    card: Card
    rows: int

    @property
    def repeats(self) -> float:
        """How often each of its rows stands in the mixture, on average; at most once where it is not above 1."""
        return self.rows / min(self.card.rows, self.part.cap or self.card.rows)


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to, before anything is read."""

    taken: list[Taken]
    notes: list[str]  # what is worth a look, in sentences

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.taken)

    @property
    def record(self) -> RecordKind:
        return self.taken[0].card.record


def parse_recipe(values: dict[str, Any]) -> Recipe:
    """A recipe from plain values. Raises `UserError` with every problem."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        of_the_whole = [problem["msg"].removeprefix("Value error, ") for problem in error.errors() if not problem["loc"]]
        raise UserError(*of_the_whole or sentences(error)) from error


def plan_mixture(datasets: Datasets, recipe: Recipe) -> Plan:
    """How many rows come from each part. Raises `UserError` where the parts do not go together or do not suffice."""
    cards = [datasets.card(part.id, part.version) for part in recipe.parts]
    _require_one_kind(cards)
    counts = rows_per_part(recipe, [card.rows for card in cards])
    taken = [Taken(part, card, count) for part, card, count in zip(recipe.parts, cards, counts, strict=True)]
    return Plan(taken, [note for each in taken for note in _notes(each, sum(counts))])


def rows_per_part(recipe: Recipe, sizes: Sequence[int]) -> list[int]:
    """How many rows each part gives, from the rows it has. Raises `UserError` where they cannot give as many as wanted."""
    have = [min(size, part.cap or size) for part, size in zip(recipe.parts, sizes, strict=True)]
    limits = [part.cap or math.inf for part in recipe.parts] if recipe.repeat else have
    shares = [part.share or 0.0 for part in recipe.parts]
    rates = [
        0.0 if part.share else part.weight * size ** (1 / recipe.temperature) for part, size in zip(recipe.parts, have, strict=True)
    ]
    free = _most_without_repeating(rates, have)
    total = recipe.rows or free / (1 - sum(shares))
    kept = [int(min(round(share * total), limit)) for share, limit in zip(shares, limits, strict=True)]
    free = recipe.rows - sum(kept) if recipe.rows else free
    return [keep + rest for keep, rest in zip(kept, _filled(free, rates, limits), strict=True)]


def save_mixture(datasets: Datasets, recipe: Recipe, *, name: str, progress: Progress | None = None) -> Card:
    """Make the mixture and save it as a version, in bounded memory. Raises `UserError`."""
    plan = plan_mixture(datasets, recipe)
    dealt = progress and (lambda share: progress(DEALING * share))
    written = progress and (lambda share: progress(DEALING + (1 - DEALING) * share))
    records = mixed(datasets, plan, seed=recipe.seed, progress=dealt)
    source = {"made": "mixture", **recipe.model_dump(exclude={"parts"}), "parts": [_origin(each) for each in plan.taken]}
    return datasets.save(records, name=name, record=plan.record, source=source, progress=written, rows=plan.rows)


def recipe_of(card: Card) -> Recipe:
    """The recipe a version was mixed by. Raises `UserError` where it was not mixed."""
    if card.source.get("made") != "mixture":
        raise UserError(f'"{card.name}", version {card.version}, is no mixture. Choose one that is.')
    settings = {name: card.source[name] for name in Recipe.model_fields if name != "parts"}
    parts = [{name: part[name] for name in Ingredient.model_fields} for part in card.source["parts"]]
    return parse_recipe({**settings, "parts": parts})


def tokens_per_row(datasets: Datasets, part: Ingredient, tokenizer: "PreTrainedTokenizerBase", *, limit: int = ROWS_TOKENISED) -> float:
    """Tokens in a row of a part: the mean of up to about `limit` rows, spread evenly over it."""
    counts = [len(encoded.ids) for encoded in encode_all(datasets.sample(part.id, part.version, limit=limit), tokenizer)]
    return sum(counts) / len(counts)


def general_instructions(datasets: Datasets) -> Card:
    """The general instructions that come along, saved in the workspace: something to replay where there is nothing else."""
    mapping = Mapping(shape="messages", columns={"messages": "messages"})
    return import_file(datasets, inspect(GENERAL_INSTRUCTIONS), mapping, name="General instructions")


# ---- how many --------------------------------------------------------------------------------------------------------


def _most_without_repeating(rates: Sequence[float], have: Sequence[int]) -> int:
    """The rows of the parts by rates at which the scarcest gives its last one. A fixed share is small and never decides."""
    whole = sum(rates)
    return max(1, math.floor(min(size * whole / rate for rate, size in zip(rates, have, strict=True) if rate > 0) + 1e-6))


def _filled(total: int, rates: Sequence[float], limits: Sequence[float]) -> list[int]:
    """`total` rows by rates; a part that reaches its limit gives no more, and the others make up for it."""
    most = sum(limit for rate, limit in zip(rates, limits, strict=True) if rate > 0)
    if most < total:
        raise UserError(f"There are only {most:,.0f} rows to take, and {total:,} are wanted. Want fewer, raise a cap, or let rows repeat.")
    exact: dict[int, float] = {}
    left, begging = float(total), {index: rate for index, rate in enumerate(rates) if rate > 0}
    while begging:
        whole = sum(begging.values())
        full = [index for index, rate in begging.items() if left * rate / whole > limits[index]]
        exact |= {index: limits[index] for index in full} if full else {index: left * rate / whole for index, rate in begging.items()}
        left -= sum(limits[index] for index in full)
        begging = {index: rate for index, rate in begging.items() if index not in full} if full else {}
    return _whole([exact.get(index, 0.0) for index in range(len(rates))], total)


def _whole(exact: Sequence[float], total: int) -> list[int]:
    """Whole rows that add up to `total`: the largest remainders are rounded up."""
    counts = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _require_one_kind(cards: Sequence[Card]) -> None:
    odd = next((card for card in cards if card.record != cards[0].record), None)
    if odd is not None:
        first = cards[0]
        raise UserError(
            f'"{first.name}" holds {KINDS[first.record]} and "{odd.name}" {KINDS[odd.record]}; they are learnt from in different ways. '
            "Mix conversations with conversations, and text with text."
        )


def _notes(taken: Taken, total: int) -> list[str]:
    name, part = taken.card.name, taken.part
    notes = []
    if taken.repeats > 1:
        notes.append(f"“{name}” repeats: each of its rows stands there {taken.repeats:.1f} times. Fewer rows or a cap avoid that.")
    if taken.rows == 0:
        notes.append(f"“{name}” gives no row. Raise its weight, or take it out.")
    if part.share and taken.rows < 0.9 * part.share * total:
        notes.append(
            f"“{name}” has only {taken.rows:,} rows: {taken.rows / total:.2%} instead of {part.share:.0%}. "
            "Let rows repeat, or choose a larger one."
        )
    return notes


def _origin(taken: Taken) -> dict[str, Any]:
    """A part as the card tells it: which rows they were, and how many of them were taken."""
    card = taken.card
    return {**taken.part.model_dump(), "name": card.name, "sha256": card.sha256, "rows": taken.rows}


# ---- which, and in which order ---------------------------------------------------------------------------------------


def mixed(datasets: Datasets, plan: Plan, *, seed: int, progress: Progress | None = None) -> Iterator[Record]:
    """The rows of a mixture in their order.

    Every part is read once from front to end; each of its rows goes to the bucket in which its place lies, a file on
    disk, and bucket after bucket is read and put in order. So memory holds a bucket, however large the mixture is.
    `progress` is told the share of rows that are in buckets.
    """
    buckets = _bucket_count(datasets, plan)
    size = math.ceil(plan.rows / buckets)  # rows
    with TemporaryDirectory(dir=datasets.root, prefix=".", suffix=".partial") as folder:
        with _Buckets(Path(folder), plan.record, buckets) as files:
            done = 0
            for each, rows, places in _drawn(plan, seed):
                for count in _deal(datasets, each, rows, places, files, size):
                    done += count
                    if progress:
                        progress(done / plan.rows)
        for number in range(buckets):
            yield from _in_order(Path(folder) / f"{number}.arrow")


def _bucket_count(datasets: Datasets, plan: Plan) -> int:
    """So many that one fits in memory: by the uncompressed size of what is taken."""
    expected = 0.0  # bytes
    for each in plan.taken:
        with datasets.opened(each.card) as file:
            groups = (file.metadata.row_group(group) for group in range(file.num_row_groups))
            expected += sum(group.total_byte_size for group in groups) * each.rows / each.card.rows
    return min(MOST_BUCKETS, plan.rows, 1 + int(expected / BUCKET_BYTES))


def _drawn(plan: Plan, seed: int) -> Iterator[tuple[Taken, "NDArray[Any]", "NDArray[Any]"]]:
    """For each part: the rows drawn from it, ascending, and the place each has in the mixture."""
    import numpy as np

    places = np.random.default_rng([seed, 0]).permutation(plan.rows)
    begin = 0
    for number, each in enumerate(plan.taken, start=1):
        order = np.random.default_rng([seed, number]).permutation(each.card.rows)[: each.part.cap]
        rows = np.resize(order, each.rows)  # once through all of them before any comes again
        own = places[begin : begin + each.rows]
        ascending = np.argsort(rows, kind="stable")
        yield each, rows[ascending], own[ascending]
        begin += each.rows


class _Buckets:
    """Files of rows with their places, written side by side."""

    def __init__(self, folder: Path, record: RecordKind, count: int) -> None:
        import pyarrow as pa

        schema = parquet.schema(record).append(pa.field("place", pa.int64()))
        self._files = [pa.ipc.new_stream(str(folder / f"{number}.arrow"), schema) for number in range(count)]
        self._waiting: list[list[Table]] = [[] for _ in self._files]
        self._bytes = 0

    def __enter__(self) -> "_Buckets":
        return self

    def __exit__(self, *fault: Any) -> None:
        self._flush()
        for file in self._files:
            file.close()

    def add(self, bucket: int, rows: "Table") -> None:
        self._waiting[bucket].append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= BUCKET_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Write what waits, in pieces that are not too small."""
        import pyarrow as pa

        for file, waiting in zip(self._files, self._waiting, strict=True):
            if waiting:
                file.write_table(pa.concat_tables(waiting).combine_chunks())
            waiting.clear()
        self._bytes = 0


def _deal(
    datasets: Datasets, taken: Taken, rows: "NDArray[Any]", places: "NDArray[Any]", files: _Buckets, size: int
) -> Iterator[int]:
    """Read a part group by group, and put each drawn row into its bucket, with its place. Yields how many each time."""
    import numpy as np
    import pyarrow as pa

    with datasets.opened(taken.card) as file:
        for group, start, end in parquet.groups(file):
            first, last = np.searchsorted(rows, [start, end])
            if first == last:
                continue
            table = file.read_row_group(group).take(rows[first:last] - start)
            table = table.append_column("place", pa.array(places[first:last]))
            bucket_of = places[first:last] // size
            for bucket in np.unique(bucket_of):
                files.add(int(bucket), table.take(np.flatnonzero(bucket_of == bucket)))
            yield int(last - first)


def _in_order(path: Path) -> Iterator[Record]:
    """The rows of a bucket by their places."""
    import pyarrow as pa

    with pa.ipc.open_stream(str(path)) as file:
        table = file.read_all().sort_by("place").drop_columns("place")
    for batch in table.to_batches(max_chunksize=parquet.ROWS_PER_GROUP):
        yield from map(parquet.as_record, batch.to_pylist())
