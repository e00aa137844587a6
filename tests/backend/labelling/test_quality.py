"""What is told of a batch's votes: by hand, against the reference library, and unmoved by names, sides and order."""

import random
import time
from dataclasses import replace
from pathlib import Path

import krippendorff
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.labelling.agreement import Share
from backend.labelling.items import Candidate, Item, Labels, Said
from backend.labelling.quality import Quality, comparisons, disputes, from_both_sides, quality
from backend.labelling.scoreboard import wilson
from backend.store import Store

PEOPLE = ("ada", "ben", "cy")


def item(number: int, *answers: str) -> Item:
    made = [Candidate([{"role": "assistant", "content": text}], {"name": f"model {place}"}) for place, text in enumerate(answers)]
    return Item([{"role": "user", "content": f"question {number}"}], made)


def pairs(count: int) -> list[Item]:
    return [item(number, "a long answer", "short") for number in range(count)]


def said(number: int, who: str, *ranks: int, shown: tuple[int, ...] = (0, 1), seconds: float = 4.0, repeat: bool = False) -> Said:
    return Said(number, who, "ranked", list(ranks), shown=list(shown), seconds=seconds, repeat=repeat)


def test_agreement_of_two_is_the_one_counted_by_hand() -> None:
    """Ten pairs, eight alike: 0.8 where guessing gives 0.5, so (0.8 - 0.5) / (1 - 0.5) = 0.6."""
    votes = [said(n, "ada", 1, 2) for n in range(10)] + [said(n, "ben", *((1, 2) if n < 8 else (2, 1))) for n in range(10)]
    measured = quality(votes, pairs(10))
    assert measured.same == Share(8, 10)
    (together,) = measured.together
    assert (together.one, together.other, together.same) == ("ada", "ben", Share(8, 10))
    assert together.kappa == pytest.approx(0.6)


def test_those_who_agree_that_one_model_wins_do_not_agree_by_chance() -> None:
    votes = [said(n, who, 1, 2) for n in range(20) for who in ("ada", "ben")]
    measured = quality(votes, pairs(20))
    assert measured.alpha == 1 and measured.together[0].kappa == 1


def test_alpha_is_the_reference_librarys() -> None:
    rng = random.Random(1)
    votes = [vote for n in range(40) for who in PEOPLE if (vote := drawn(rng, n, who))]
    codes = {"first": 1.0, "second": 2.0, "tie": 3.0, "both bad": 4.0}
    labels = {(label.item, label.annotator): codes[label.value] for label in from_both_sides(comparisons(votes, [2] * 40))}
    units = sorted({unit for unit, _ in labels})
    wanted = krippendorff.alpha([[labels.get((unit, who), float("nan")) for unit in units] for who in PEOPLE], level_of_measurement="nominal")
    assert quality(votes, pairs(40)).alpha == pytest.approx(float(wanted))


def drawn(rng: random.Random, number: int, who: str) -> Said | None:
    """What somebody said of a pair, at random; now and then nothing."""
    shown = tuple(rng.sample((0, 1), 2))
    kind = rng.choice(["ranked", "ranked", "ranked", "tie", "both bad", "skipped", "nothing"])
    if kind == "nothing":
        return None
    ranks = rng.sample((1, 2), 2) if kind == "ranked" else []
    return Said(number, who, kind, ranks, shown=list(shown), seconds=rng.uniform(1, 9))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), shuffle=st.randoms(use_true_random=False))
def test_swapped_sides_renamed_models_and_shuffled_votes_change_nothing(seed: int, shuffle: random.Random) -> None:
    rng = random.Random(seed)
    items = [item(n, "x" * rng.randint(1, 5), "y" * rng.randint(1, 5)) for n in range(12)]
    votes = [vote for n in range(12) for who in PEOPLE if (vote := drawn(rng, n, who))]
    before = quality(votes, items)

    turned = [shuffle.random() < 0.5 for _ in items]  # the candidates of these items are kept the other way round
    swapped_items = [_renamed(Item(each.prompt, each.candidates[::-1]) if turn else each) for each, turn in zip(items, turned, strict=True)]
    swapped = [_turned(vote) if turned[vote.item] else vote for vote in votes]
    shuffle.shuffle(swapped)
    assert _but_sides(quality(swapped, swapped_items)) == _but_sides(before)
    assert quality(swapped, swapped_items).left == before.left

    mirrored = quality([replace(vote, shown=vote.shown[::-1]) for vote in votes], items)  # the page shown the other way round
    assert _but_sides(mirrored) == _but_sides(before)
    assert mirrored.left == Share(before.left.whole - before.left.part, before.left.whole)


def _renamed(each: Item) -> Item:
    return Item(each.prompt, [replace(candidate, made={"name": f"other {candidate.made['name']}"}) for candidate in each.candidates])


def _turned(vote: Said) -> Said:
    return replace(vote, ranks=vote.ranks[::-1], shown=[1 - place for place in vote.shown])


def _but_sides(measured: Quality) -> tuple:
    numbers = [measured.alpha, *(each.kappa for each in sorted(measured.together, key=lambda each: (each.one, each.other)))]
    rounded = [None if number is None else round(number, 9) for number in numbers]
    return rounded, measured.same, dict(measured.verdicts), measured.people, measured.again, measured.longer


def test_a_ranking_counts_by_its_comparisons() -> None:
    """Of three answers in two orders that differ in the last two, two comparisons of three are alike."""
    votes = [said(0, "ada", 1, 2, 3), said(0, "ben", 1, 3, 2)]
    assert quality(votes, [item(0, "a", "bb", "ccc")]).same == Share(2, 3)


def test_a_second_look_is_measured_against_the_first_alone() -> None:
    votes = [said(0, "ada", 1, 2), said(1, "ada", 1, 2), said(0, "ada", 1, 2, repeat=True), said(1, "ada", 2, 1, repeat=True), said(0, "ben", 1, 2)]
    measured = quality(votes, pairs(2))
    assert measured.again == Share(1, 2)
    assert [(person.name, person.items, person.again) for person in measured.people] == [("ada", 2, Share(1, 2)), ("ben", 1, Share(0, 0))]
    assert sum(measured.verdicts.values()) == 3


def test_habits_are_counted_over_decided_pairs() -> None:
    """Left: of three decided, the first shown won twice. Longer: the same three, the long one won twice."""
    votes = [
        said(0, "ada", 1, 2, shown=(0, 1)), said(1, "ada", 1, 2, shown=(1, 0)), said(2, "ada", 2, 1, shown=(1, 0)),
        Said(3, "ada", "tie", [], shown=[0, 1], seconds=2.0),
    ]  # fmt: skip
    measured = quality(votes, pairs(4))
    assert measured.left == Share(2, 3) and measured.longer == Share(2, 3)
    assert measured.verdicts == {"ranked": 3, "tie": 1}
    assert wilson(2, 3).low < 0.5


def test_answers_of_one_length_and_votes_without_sides_or_times_are_left_out() -> None:
    brought = Said(0, "ada", "ranked", [1, 2])
    measured = quality([brought], [item(0, "same", "long")])
    assert measured.left == Share(0, 0) and measured.longer == Share(0, 0)
    assert measured.people[0].seconds is None


def test_the_time_of_an_item_is_a_median_without_skipped_ones() -> None:
    votes = [said(n, "ada", 1, 2, seconds=seconds) for n, seconds in enumerate((2.0, 4.0, 600.0))]
    votes.append(Said(3, "ada", "skipped", [], seconds=0.1))
    assert quality(votes, pairs(4)).people[0].seconds == 4.0


def test_a_dispute_tells_who_said_what_most_said_first() -> None:
    votes = [said(0, who, 1, 2) for who in PEOPLE]
    votes += [said(1, "ada", 2, 1), said(1, "cy", 1, 2), said(1, "ben", 1, 2)]
    votes += [said(2, "ada", 1, 2), Said(2, "ben", "tie", []), Said(2, "cy", "both bad", [])]
    votes += [said(3, "ada", 1, 2), Said(3, "ben", "skipped", []), said(3, "ada", 2, 1, repeat=True)]
    votes += [said(4, "ada", 1, 2), said(4, "ben", 1, 2), said(4, "ada", 2, 1, repeat=True)]
    found = disputes(votes)
    assert [each.item for each in found] == [2, 1]
    assert [(stance.ranks, stance.people) for stance in found[1].stances] == [((1, 2), ("ben", "cy")), ((2, 1), ("ada",))]


def test_nothing_and_one_item_are_no_trouble() -> None:
    assert quality([], []).alpha is None and disputes([]) == []
    assert quality([said(0, "ada", 1, 2)], pairs(1)).same.value is None


def test_ten_thousand_items_are_told_of_at_once(tmp_path: Path) -> None:
    labels, rng = Labels(Store(tmp_path / "studio.db")), random.Random(0)
    votes = [vote for n in range(10_000) for who in ("ada", "ben") if (vote := drawn(rng, n, who))]
    batch = labels.begin("large", pairs(10_000), overlap=2, votes=votes)
    begun = time.process_time()
    measured = quality(labels.votes(batch.id), labels.all_items(batch.id))
    assert time.process_time() - begun < 5  # about one
    assert measured.items == 10_000 and abs(measured.together[0].kappa or 0) < 0.05
