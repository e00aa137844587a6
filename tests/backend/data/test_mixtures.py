"""Mixtures: how many rows of each part, which, in which order, and never the whole of it in memory."""

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.data import mixtures
from backend.data.mixtures import (
    REPLAY_SHARE,
    Ingredient,
    Recipe,
    general_instructions,
    parse_recipe,
    plan_mixture,
    recipe_of,
    rows_per_part,
    save_mixture,
    tokens_per_row,
)
from backend.data.records import Record
from backend.data.tokens import encode
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.models import load_tokenizer
from backend.workspace import Workspace


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def texts(datasets: Datasets, name: str, count: int, *, words: int = 1) -> Card:
    rows: list[Record] = [{"text": f"{name} {number}" + " word" * (words - 1)} for number in range(count)]
    return datasets.save(rows, name=name, record="text", source={"made": "by hand"})


def part(card: Card, **values: object) -> Ingredient:
    return Ingredient(id=card.id, version=card.version, **values)


def counts(sizes: list[int], parts: list[dict] | None = None, **values: object) -> list[int]:
    made = [Ingredient(id=f"set-{number}", version=1, **given) for number, given in enumerate(parts or [{}] * len(sizes))]
    return rows_per_part(Recipe(parts=tuple(made), **values), sizes)


# ---- how many rows of each


def test_at_temperature_1_every_part_gives_all_its_rows() -> None:
    assert counts([10, 300, 7]) == [10, 300, 7]


def test_shares_at_temperature_1_are_proportional_to_the_rows_up_to_the_cap() -> None:
    """T5, section 3.5.2: the rate of a task is min(rows, K) over the sum of these."""
    assert counts([1000, 3000, 90_000], [{}, {}, {"cap": 6000}], rows=5000) == [500, 1500, 3000]


def test_temperature_3_gives_the_shares_of_mt5() -> None:
    """mT5, arXiv:2010.11934: p is proportional to rows ** 0.3, here of 1,000,000 and 1,000 rows."""
    alpha = 0.3
    expected = 1e6**alpha / (1e6**alpha + 1e3**alpha)
    many, few = counts([1_000_000, 1000], temperature=1 / alpha, rows=10_000, repeat=True)
    assert many / 10_000 == pytest.approx(expected, abs=1e-4) and many + few == 10_000


def test_a_high_temperature_makes_the_shares_even() -> None:
    many, few = counts([1_000_000, 1000], temperature=100, rows=1000, repeat=True)
    assert 500 <= many < 520


def test_twice_the_weight_takes_twice_as_many() -> None:
    assert counts([100, 100, 100], [{}, {"weight": 2}, {"weight": 0}], rows=90) == [30, 60, 0]


def test_without_repeating_the_scarcest_part_decides() -> None:
    assert counts([10, 1000], temperature=100) == [10, 10]
    assert counts([10, 1000], [{"weight": 2}, {}]) == [10, 500]


def test_a_part_that_runs_out_is_made_up_for_by_the_others() -> None:
    assert counts([10, 1000, 1000], [{"weight": 50}, {}, {}], rows=110) == [10, 50, 50]


def test_more_rows_than_there_are_is_refused_unless_they_may_repeat() -> None:
    with pytest.raises(UserError, match="only 15 rows to take, and 16 are wanted"):
        counts([10, 5], rows=16)
    assert counts([10, 5], rows=30, repeat=True) == [20, 10]
    with pytest.raises(UserError, match="raise a cap"):
        counts([10, 5], [{"cap": 3}, {"cap": 3}], rows=7, repeat=True)


def test_a_fixed_share_is_kept_and_never_shrinks_the_mixture() -> None:
    assert counts([950, 100], [{}, {"share": 0.05}]) == [950, 50]
    assert counts([95_000, 100], [{}, {"share": 0.05}]) == [95_000, 100]
    assert counts([95_000, 100], [{}, {"share": 0.05}], repeat=True) == [95_000, 5000]
    assert counts([1000, 100], [{}, {"share": 0.05}], rows=200) == [190, 10]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_counts_are_whole_add_up_and_stay_within_what_there_is(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
    one = st.fixed_dictionaries({"weight": st.floats(0.01, 100), "cap": st.none() | st.integers(1, 10**6)})
    parts = data.draw(st.lists(one, min_size=len(sizes), max_size=len(sizes)))
    have = [min(size, part["cap"] or size) for size, part in zip(sizes, parts, strict=True)]
    wanted = data.draw(st.none() | st.integers(1, sum(have)))
    taken = counts(sizes, parts, rows=wanted, temperature=data.draw(st.floats(1, 100)))
    assert all(0 <= count <= most for count, most in zip(taken, have, strict=True))
    assert sum(taken) == wanted if wanted else sum(taken) >= 1


# ---- what is refused


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"parts": [{"id": "a", "version": 1}] * 2}, "stands in the mixture twice"),
        ({"parts": [{"id": "a", "version": 1, "weight": 0}]}, "No data set is left"),
        ({"parts": [{"id": "a", "version": 1, "share": 0.05}]}, "No data set is left"),
        ({"parts": ()}, "parts"),
        ({"parts": [{"id": "a", "version": 1}], "temperature": 0}, "temperature"),
        ({"parts": [{"id": "a", "version": 1}], "rows": 0}, "rows"),
        ({"parts": [{"id": "a", "version": 1}], "seed": -1}, "seed"),
        ({"parts": [{"id": "a", "version": 1, "weight": float("nan")}]}, "weight"),
    ],
)
def test_a_recipe_that_cannot_be_says_why(values: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_recipe(values)


def test_conversations_and_texts_do_not_mix(datasets: Datasets) -> None:
    talk: Record = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    conversations = datasets.save([talk], name="Talk", record="messages", source={})
    recipe = Recipe(parts=(part(conversations), part(texts(datasets, "prose", 2))))
    with pytest.raises(UserError, match='"Talk" holds conversations and "prose" plain text'):
        plan_mixture(datasets, recipe)


def test_a_part_that_repeats_or_gives_nothing_is_told(datasets: Datasets) -> None:
    large, small = texts(datasets, "large", 90), texts(datasets, "small", 10)
    plan = plan_mixture(datasets, Recipe(parts=(part(large), part(small)), temperature=100, rows=80, repeat=True))
    assert [round(taken.repeats, 1) for taken in plan.taken] == [0.4, 4.0]
    assert len(plan.notes) == 1 and "“small” repeats: each of its rows stands there 4.0 times" in plan.notes[0]
    plan = plan_mixture(datasets, Recipe(parts=(part(large), part(small, weight=0))))
    assert "“small” gives no row" in plan.notes[0]


# ---- which rows, in which order


def mix(datasets: Datasets, recipe: Recipe, name: str = "mixed") -> tuple[Card, list[Record]]:
    card = save_mixture(datasets, recipe, name=name)
    return card, list(datasets.iterate(card.id, card.version))


def test_every_row_is_taken_once_and_shuffled(datasets: Datasets) -> None:
    cards = [texts(datasets, name, count) for name, count in (("a", 2300), ("b", 700))]
    card, rows = mix(datasets, Recipe(parts=tuple(map(part, cards))))
    originals = [row for each in cards for row in datasets.iterate(each.id)]
    assert rows != originals and Counter(row["text"] for row in rows) == Counter(row["text"] for row in originals)
    first = sum(row["text"].startswith("b") for row in rows[:1000])
    assert 180 < first < 290  # 233 expected; the two are interleaved from end to end


def test_rows_repeat_evenly(datasets: Datasets) -> None:
    small, large = texts(datasets, "small", 10), texts(datasets, "large", 100)
    recipe = Recipe(parts=(part(small, weight=10), part(large)), rows=50, repeat=True)
    times = Counter(row["text"] for row in mix(datasets, recipe)[1] if row["text"].startswith("small"))
    assert sum(times.values()) == 25 and set(times.values()) == {2, 3}


def test_a_cap_draws_different_rows_by_seed(datasets: Datasets) -> None:
    card = texts(datasets, "a", 100)
    drawn = [{row["text"] for row in mix(datasets, Recipe(parts=(part(card, cap=20),), seed=seed), f"m{seed}")[1]} for seed in (1, 2)]
    assert [len(rows) for rows in drawn] == [20, 20] and drawn[0] != drawn[1]


def test_the_same_recipe_makes_the_same_rows_in_the_same_order(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tuple(part(texts(datasets, name, count)) for name, count in (("a", 2100), ("b", 1500)))
    recipe = Recipe(parts=parts, rows=3000, seed=7)
    card, rows = mix(datasets, recipe, "once")
    monkeypatch.setattr(mixtures, "BUCKET_BYTES", 10_000)  # many buckets
    again, rows_again = mix(datasets, recipe_of(card), "again")
    assert recipe_of(card) == recipe and again.sha256 == card.sha256 and rows == rows_again
    other, _ = mix(datasets, recipe.model_copy(update={"seed": 8}), "other")
    assert other.sha256 != card.sha256


def test_rows_keep_what_is_known_about_them(datasets: Datasets) -> None:
    rows: list[Record] = [{"text": "x", "about": {"how": "hand", "task": "topic", "cluster": "news", "tags": ["t"]}}, {"text": "y"}]
    card = datasets.save(rows, name="known", record="text", source={})
    mixed, taken = mix(datasets, Recipe(parts=(part(card),)))
    assert sorted(taken, key=lambda row: row["text"]) == rows
    assert mixed.made == {"hand": 1, "imported": 1}


def test_the_card_tells_the_recipe_and_what_was_taken(datasets: Datasets) -> None:
    a, b = texts(datasets, "a", 30), texts(datasets, "b", 10)
    card, _ = mix(datasets, Recipe(parts=(part(a), part(b, weight=0.5)), seed=3))
    assert (card.source["made"], card.source["seed"]) == ("mixture", 3)
    assert [(each["name"], each["rows"], each["sha256"]) for each in card.source["parts"]] == [("a", 30, a.sha256), ("b", 5, b.sha256)]
    with pytest.raises(UserError, match="is no mixture"):
        recipe_of(a)


def test_nothing_is_left_behind_and_progress_is_told(datasets: Datasets) -> None:
    told: list[float] = []
    card = texts(datasets, "a", 3000)
    save_mixture(datasets, Recipe(parts=(part(card),)), name="m", progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0
    assert not list(datasets.root.glob(".*"))


def test_a_large_mixture_is_made_in_bounded_memory(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    card = texts(datasets, "a", 20_000, words=200)  # 20 MB of text
    monkeypatch.setattr(mixtures, "BUCKET_BYTES", 2**20)
    plan = plan_mixture(datasets, Recipe(parts=(part(card),)))
    tracemalloc.start()
    highest, count = 0, 0
    for count, _ in enumerate(mixtures.mixed(datasets, plan, seed=0), start=1):
        highest = max(highest, pa.total_allocated_bytes()) if count % 500 == 0 else highest
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000 and highest < 8 * 2**20 and peak < 8 * 2**20


# ---- tokens and replay


def test_the_tokens_of_a_part_are_measured(datasets: Datasets, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    card = texts(datasets, "a", 50, words=30)
    exact = [len(encode(row, tokenizer).ids) for row in datasets.iterate(card.id)]
    assert tokens_per_row(datasets, part(card), tokenizer) == pytest.approx(sum(exact) / len(exact))
    assert tokens_per_row(datasets, part(card), tokenizer, limit=10) == pytest.approx(sum(exact) / len(exact), rel=0.05)


def test_general_instructions_come_along_varied_and_whole(datasets: Datasets) -> None:
    card = general_instructions(datasets)
    rows = list(datasets.iterate(card.id))
    assert card.rows >= 100 and not card.left_out and not card.notes  # no duplicate, no contradiction
    assert general_instructions(datasets) == card  # once in a workspace, however often it is asked for
    tasks = Counter(row["about"]["task"] for row in rows)
    assert len(tasks) >= 12 and max(tasks.values()) < 0.2 * card.rows
    assert {row["about"]["cluster"] for row in rows} == {"general"}
    mixture = Recipe(parts=(Ingredient(id=card.id, version=1, share=REPLAY_SHARE), part(_questions(datasets, 190))))
    assert [taken.rows for taken in plan_mixture(datasets, mixture).taken] == [10, 190]


def _questions(datasets: Datasets, count: int) -> Card:
    rows: list[Record] = [
        {"messages": [{"role": "user", "content": f"q {number}"}, {"role": "assistant", "content": "a"}]} for number in range(count)
    ]
    return datasets.save(rows, name="questions", record="messages", source={})
