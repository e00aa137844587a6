"""Agreement against published examples and the reference library."""

import random

import krippendorff
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.labelling.agreement import (
    Label,
    cohens_kappa,
    disagreements,
    krippendorffs_alpha,
    raw_agreement,
    same_answer_again,
)

# Krippendorff (2011), section C: four observers, twelve units, "." is missing
PUBLISHED = {"A": "1 2 3 3 2 1 4 1 2 . . .", "B": "1 2 3 3 2 2 4 1 2 5 . 3", "C": ". 3 3 3 2 3 4 2 2 5 1 .", "D": "1 2 3 3 2 4 4 1 2 5 1 ."}


def published() -> list[Label]:
    return [
        Label(f"unit {place}", who, value)
        for who, row in PUBLISHED.items() for place, value in enumerate(row.split()) if value != "."
    ]


def test_alpha_is_the_published_one() -> None:
    assert krippendorffs_alpha(published()) == pytest.approx(0.743, abs=5e-4)
    assert krippendorffs_alpha(published(), distance=lambda a, b: (int(a) - int(b)) ** 2) == pytest.approx(0.849, abs=5e-4)


def test_kappa_is_the_textbook_one() -> None:
    """Fifty grants, two readers, 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: kappa 0.4."""
    table = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    labels = [Label(str(item), who, value) for item, pair in enumerate(table) for who, value in zip("AB", pair, strict=True)]
    assert cohens_kappa(labels, "A", "B") == pytest.approx(0.4)
    assert raw_agreement(labels).value == pytest.approx(0.7)


@given(data=st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=3, max_size=3), min_size=2, max_size=12))
def test_alpha_is_the_reference_librarys(data: list[list[str | None]]) -> None:
    labels = [Label(str(item), str(who), value) for item, row in enumerate(data) for who, value in enumerate(row) if value]
    units = [[value for value in row if value] for row in data]
    pairable = [value for unit in units if len(unit) > 1 for value in unit]
    if len(set(pairable)) < 2:
        assert krippendorffs_alpha(labels) is None
        return
    numbers = {"a": 1.0, "b": 2.0, "c": 3.0, None: float("nan")}
    wanted = krippendorff.alpha([[numbers[row[who]] for row in data] for who in range(3)], level_of_measurement="nominal")
    assert krippendorffs_alpha(labels) == pytest.approx(float(wanted))


def test_the_order_of_labels_and_the_names_of_people_change_nothing() -> None:
    labels = published()
    shuffled = random.Random(1).sample(labels, len(labels))
    renamed = [label._replace(annotator=f"person {label.annotator}") for label in shuffled]
    assert krippendorffs_alpha(renamed) == pytest.approx(krippendorffs_alpha(labels))
    assert raw_agreement(renamed) == raw_agreement(labels)
    assert cohens_kappa(labels, "A", "B") == pytest.approx(cohens_kappa(shuffled, "B", "A"))


def test_nothing_to_compare_is_no_number() -> None:
    alone = [Label("1", "A", "x"), Label("2", "B", "x")]
    assert raw_agreement(alone).value is None and cohens_kappa(alone, "A", "B") is None and krippendorffs_alpha(alone) is None
    agreed = [Label("1", "A", "x"), Label("1", "B", "x")]
    assert cohens_kappa(agreed, "A", "B") is None and raw_agreement(agreed).value == 1


def test_what_is_in_most_dispute_is_listed_first() -> None:
    labels = [Label("one", who, value) for who, value in zip("ABC", "xxy", strict=True)]
    labels += [Label("two", who, value) for who, value in zip("ABC", "xyz", strict=True)] + [Label("three", who, "x") for who in "ABC"]
    assert disagreements(labels) == ["two", "one"]


def test_consistency_with_oneself() -> None:
    assert same_answer_again([("left", "left"), ("left", "right")]).value == 0.5
    assert same_answer_again([]).value is None
