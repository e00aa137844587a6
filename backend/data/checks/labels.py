"""Answers that are labels, some of them much more frequent than others."""

from array import array
from typing import ClassVar, Literal

from pydantic import Field

from backend.data.checks import Check, Finding, Gravity, Mark, Passing, Row, Watch, alike, rows_are

MOST_LABELS = 20  # more different answers are no labels
TASKS_COUNTED = 500
LONGEST_LABEL = 60  # characters
LEAST_ROWS = 5  # of a label, on average
SHOWN = 40  # characters of a label in the sentence


class Labels(Check):
    """The rule: the answers of a task are labels when no more than 20 different short ones stand 5 times each on average."""

    order: ClassVar[int] = 10
    title: ClassVar[str] = "Unbalanced labels"
    looks_for: ClassVar[str] = "unbalanced labels"
    gravity: ClassVar[Gravity] = "doubtful"
    mend: ClassVar[str] = "Thin out the frequent labels"

    name: Literal["labels"] = "labels"
    ratio: float = Field(
        3, ge=1, le=1000, title="Most to least",
        description="How often the most frequent label of a task may stand for each time the rarest does.",
    )

    def begin(self, passing: Passing) -> Watch:
        return _Labels(self)

    def marks(self, row: Row) -> list[Mark]:
        return [Mark(len(row.turns) - 1, 0, len(row.answer or ""))]


class LabelCounts:
    """The rows of each label of each task, for as long as a task's answers look like labels."""

    def __init__(self) -> None:
        self._tasks: dict[str, dict[str, array[int]] | None] = {}  # None: its answers are no labels

    def see(self, row: Row) -> None:
        if row.answer is None:
            return
        task = row.record.get("about", {}).get("task", "")
        if task not in self._tasks and len(self._tasks) < TASKS_COUNTED:
            self._tasks[task] = {}
        labels = self._tasks.get(task)
        if labels is None:
            return
        label = alike(row.answer) if len(row.answer) <= LONGEST_LABEL else None
        if label is None or (label not in labels and len(labels) == MOST_LABELS):
            self._tasks[task] = None
        else:
            labels.setdefault(label, array("q")).append(row.number)

    def by_task(self) -> "dict[str, dict[str, array[int]]]":
        """{task: {label: its rows}}, the most frequent label first; tasks whose answers are labels alone."""
        labelled = {task: labels for task, labels in self._tasks.items() if labels and _are_labels(labels)}
        return {task: dict(sorted(labels.items(), key=lambda pair: (-len(pair[1]), pair[0]))) for task, labels in labelled.items()}


def _are_labels(labels: "dict[str, array[int]]") -> bool:
    return sum(map(len, labels.values())) >= LEAST_ROWS * max(2, len(labels))


class _Labels(Watch):
    def __init__(self, check: Labels) -> None:
        self._check, self._counts, self._seen = check, LabelCounts(), 0

    def see(self, row: Row) -> None:
        self._seen += 1
        self._counts.see(row)

    def findings(self) -> list[Finding]:
        tasks = self._counts.by_task().items()
        alone = [(task, labels) for task, labels in tasks if len(labels) == 1]
        uneven = [(task, labels) for task, labels in tasks if self._is_uneven(labels)]
        return [*self._one_label(alone), *self._unbalanced(uneven)]

    def _is_uneven(self, labels: "dict[str, array[int]]") -> bool:
        counts = [len(rows) for rows in labels.values()]
        return len(counts) > 1 and counts[0] > self._check.ratio * counts[-1]

    def _unbalanced(self, uneven: "list[tuple[str, dict[str, array[int]]]]") -> list[Finding]:
        """One finding for all tasks: the rows of frequent labels that are too many."""
        if not uneven:
            return []
        surplus = sorted(row for _, labels in uneven for row in self._surplus(labels))
        told = "; ".join(f"{_named(task)}{_counts(labels)}" for task, labels in uneven[:5])
        sentence = (
            f"Some labels stand much more often than others: {told}. The model learns to guess the frequent one. "
            f"{rows_are(len(surplus), 'are', 'is')} more than {self._check.ratio:g} for each row of the rarest label."
        )
        return [self._check.finding(sentence, surplus, count=len(surplus), of=self._seen)]

    def _surplus(self, labels: "dict[str, array[int]]") -> list[int]:
        """Rows spread evenly over each frequent label, so that what is left of it is as varied as before."""
        most = max(1, int(self._check.ratio * min(map(len, labels.values()))))
        surplus = []
        for rows in labels.values():
            kept = {index * len(rows) // most for index in range(most)} if len(rows) > most else set(range(len(rows)))
            surplus += [row for index, row in enumerate(rows) if index not in kept]
        return surplus

    def _one_label(self, alone: "list[tuple[str, dict[str, array[int]]]]") -> list[Finding]:
        if not alone:
            return []
        rows = sorted(row for _, labels in alone for each in labels.values() for row in each)
        told = "; ".join(f"{_named(task)}{_counts(labels)}" for task, labels in alone[:5])
        sentence = f"Every answer is the same: {told}. There is nothing to tell apart, and the model learns to say this alone."
        return [self._check.finding(sentence, rows, count=len(rows), of=self._seen, title="One answer for everything", mend="")]


def _named(task: str) -> str:
    return f"{task[:SHOWN]}: " if task else ""


def _counts(labels: "dict[str, array[int]]") -> str:
    """ "positive" 1,200, "negative" 90: the first and the rarest."""
    told = [f"“{label[:SHOWN]}” {len(rows):,}" for label, rows in labels.items()]
    return ", ".join(told if len(told) <= 5 else [*told[:3], "…", told[-1]])
