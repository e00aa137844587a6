"""How far people agree, with each other and with themselves. Needs no library.

A label is what somebody said of an item: `Label(item, annotator, value)`. One annotator says one thing of an item.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple


class Label(NamedTuple):
    """What one annotator said of one item."""

    item: str
    annotator: str
    value: str


@dataclass(frozen=True)
class Share:
    """A part of a whole, kept with the whole it is a part of."""

    part: float
    whole: int

    @property
    def value(self) -> float | None:
        """None where there is nothing to take a share of."""
        return self.part / self.whole if self.whole else None


def raw_agreement(labels: Iterable[Label]) -> Share:
    """Of all two labels of one item by different people, how many say the same."""
    pairs = [pair for said in _by_item(labels).values() for pair in combinations(said.values(), 2)]
    return Share(sum(a == b for a, b in pairs), len(pairs))


def cohens_kappa(labels: Iterable[Label], one: str, other: str) -> float | None:
    """Agreement of two people beyond chance: (observed - expected) / (1 - expected). Cohen 1960.

    Over the items both labelled. None where there are none, or where both always say the same one thing.
    """
    both = [(said[one], said[other]) for said in _by_item(labels).values() if one in said and other in said]
    if not both:
        return None
    observed = sum(a == b for a, b in both) / len(both)
    firsts, seconds = Counter(a for a, _ in both), Counter(b for _, b in both)
    expected = sum(firsts[value] * seconds[value] for value in firsts) / len(both) ** 2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorffs_alpha(labels: Iterable[Label], *, distance: Callable[[str, str], float] | None = None) -> float | None:
    """Agreement of any number of people, with items left out by some: 1 - observed / expected disagreement.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011). `distance` between two values is 0 or 1 where none is
    given (nominal). 1 is perfect, 0 what chance would give. None where no item has two labels, or all values are the same.
    """
    apart = distance or (lambda a, b: float(a != b))
    units = [list(said.values()) for said in _by_item(labels).values() if len(said) > 1]
    values = Counter(value for unit in units for value in unit)
    total = values.total()
    observed = sum(
        2 * sum(apart(a, b) for a, b in combinations(unit, 2)) / (len(unit) - 1) for unit in units
    )  # over ordered pairs, each unit weighed by its number of values
    if distance is None:  # the same sum without going through every two values, of which rankings have thousands
        expected: float = total**2 - sum(number**2 for number in values.values())
    else:
        expected = sum(values[a] * values[b] * 2 * distance(a, b) for a, b in combinations(values, 2))
    return None if not expected else 1 - (total - 1) * observed / expected


def disagreements(labels: Iterable[Label]) -> list[str]:
    """The items of which people said different things, those in most dispute first."""
    spread = {item: len(set(said.values())) for item, said in _by_item(labels).items() if len(set(said.values())) > 1}
    return sorted(spread, key=lambda item: (-spread[item], item))


def same_answer_again(first: Sequence[tuple[str, str]]) -> Share:
    """Self-consistency: of items shown to one person twice, (said first, said again), how many got the same answer."""
    return Share(sum(a == b for a, b in first), len(first))


def _by_item(labels: Iterable[Label]) -> dict[str, dict[str, str]]:
    """item -> annotator -> value; of two labels of one person the later one stands."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for label in labels:
        said[label.item][label.annotator] = label.value
    return said
