"""How far a reward model can be trusted: how sure it is of pairs it has not learnt from, and what people preferred of them.

    for share in measure(run, judge, datasets, run.spec.data): ...     its own held-out pairs, scored once
    trial = known_trial(run, run.spec.data)
    calibration(trial.margins)                                          accuracy, Brier score, bins to plot

What was measured is kept in the run's folder, for the result it was measured on. Imports no torch.
"""

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backend.data.records import Record, family_of
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.labelling.agreement import Share
from backend.labelling.scoreboard import Interval, wilson
from backend.runs import Run
from backend.specs import DatasetRef
from backend.workspace import write_whole

if TYPE_CHECKING:
    from backend.examples import Ranking
    from backend.judging import Judge, Turn

BINS = 5  # from a half to one: few pairs are held out, and each bin needs some
MOST_ROWS = 300  # scored: the interval of the accuracy is then about 5 points to either side
SEEN = "learnt from in training"


@dataclass(frozen=True)
class Bin:
    """Pairs of which the model was about equally sure."""

    low: float  # how sure: the probability it gives the answer it prefers
    high: float
    sure: float  # on average
    right: int  # in how many people preferred that answer too
    pairs: int

    @property
    def share(self) -> float:
        return self.right / self.pairs

    @property
    def interval(self) -> Interval:
        return wilson(self.right, self.pairs)


@dataclass(frozen=True)
class Calibration:
    """What a reward model's probabilities are worth, over some pairs."""

    pairs: int
    right: int
    brier: float  # mean squared error of the probability of the preferred answer; a coin has 0.25
    log_loss: float  # -log of that probability, on average; a coin has 0.69
    error: float  # expected calibration error: how far sure and right are apart, over the bins (arXiv 1706.04599)
    bins: list[Bin]  # those that hold pairs

    @property
    def accuracy(self) -> float:
        return self.right / self.pairs

    @property
    def interval(self) -> Interval:
        return wilson(self.right, self.pairs)

    @property
    def leaning(self) -> Literal["too sure", "not sure enough", "about right"]:
        """Whether it is right less often than it says, beyond the interval of chance."""
        sure = sum(each.sure * each.pairs for each in self.bins) / self.pairs
        return "too sure" if self.interval.high < sure else "not sure enough" if self.interval.low > sure else "about right"


@dataclass(frozen=True)
class Trial:
    """What a reward model made of rows it had not learnt from."""

    rows: int  # scored
    rewards: list[float]  # of every answer, ascending
    margins: list[float]  # of every pair: the reward of the answer people preferred, less the other's
    left_out: dict[str, int]  # reason -> rows


def probability(margin: float) -> float:
    """How sure Bradley-Terry is that an answer is preferred whose reward is higher by `margin`: 1 / (1 + exp(-margin))."""
    return 1 / (1 + math.exp(-margin)) if margin >= 0 else 1 - 1 / (1 + math.exp(margin))


def calibration(margins: Sequence[float]) -> Calibration | None:
    """Over pairs, each by the reward of the answer people preferred less the other's; None without any.

    A pair counts from its likelier side: the model is sure to at least a half, and right or wrong.
    """
    if not margins:
        return None
    chances = [probability(margin) for margin in margins]
    bins = [made for number in range(BINS) if (made := _bin(number, chances)) is not None]
    return Calibration(
        pairs=len(margins),
        right=sum(margin > 0 for margin in margins),
        brier=sum((1 - chance) ** 2 for chance in chances) / len(chances),
        log_loss=sum(math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0) for margin in margins) / len(margins),
        error=sum(each.pairs * abs(each.share - each.sure) for each in bins) / len(margins),
        bins=bins,
    )


def beaten(reward: float, others: Sequence[float]) -> Share:
    """How many of some rewards, in ascending order, are below one."""
    return Share(bisect_left(others, reward), len(others))


def _bin(number: int, chances: Sequence[float]) -> Bin | None:
    inside = [chance for chance in chances if _bin_of(max(chance, 1 - chance)) == number]
    if not inside:
        return None
    sure = sum(max(chance, 1 - chance) for chance in inside) / len(inside)
    width = 0.5 / BINS
    return Bin(0.5 + number * width, 0.5 + (number + 1) * width, sure, sum(chance > 0.5 for chance in inside), len(inside))


def _bin_of(sure: float) -> int:
    return min(BINS - 1, int((sure - 0.5) * 2 * BINS))


# ---- measured on a data set ------------------------------------------------------------------------------------------


def known_trial(run: Run, data: DatasetRef) -> Trial | None:
    """What was measured before on a version, of the result the run has now."""
    try:
        kept = json.loads(_file(run, data).read_text(encoding="utf-8"))
        return Trial(kept["rows"], kept["rewards"], kept["margins"], kept["left_out"])
    except (OSError, ValueError, KeyError):
        return None


def measure(run: Run, judge: "Judge", datasets: Datasets, data: DatasetRef, *, turn: "Turn") -> Iterator[float]:
    """Score the rows of a version that the run has not learnt from, and keep what came of it. Yields the share done.

    Of the version it learnt from those are the rows held out. Raises `UserError` where a data set is gone.
    """
    records, left_out = unseen(run, datasets, data)
    rankings, unfit = _rankings(run, judge, _spread(records, MOST_ROWS))
    answers = [sequence for ranking in rankings for sequence in ranking.sequences]
    rewards: dict[int, float] = {}
    for place, reward in judge.as_they_come(answers, turn=turn):
        rewards[place] = reward
        yield len(rewards) / len(answers)
    _keep(run, data, rankings, [rewards[place] for place in range(len(answers))], left_out + unfit)


def unseen(run: Run, datasets: Datasets, data: DatasetRef) -> tuple[list[Record], Counter[str]]:
    """The rows of a version that a run has not learnt from, and how many it has. Raises `UserError`."""
    from backend.plan import held_out_records

    assert data.id is not None, "a reward model is measured on a saved version"
    own = run.spec.data
    if (own.id, own.version) == (data.id, data.version):
        return held_out_records(run.spec, list(datasets.iterate(data.id, data.version))), Counter()
    families = _learnt_from(run, datasets)
    records = list(datasets.iterate(data.id, data.version))
    fresh = [record for record in records if family_of(record) not in families]
    seen = len(records) - len(fresh)
    return fresh, Counter({SEEN: seen} if seen else {})


def kept_with(run: Run, name: str, ending: str) -> Path:
    """Where a run keeps what its reward model was asked, told apart by the result it has now: after a run was resumed its
    old answers are not found. Raises `UserError` where it has no result."""
    try:
        mark = (run.result / "manifest.json").stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{run.label['name']} has no result to judge with, or it is damaged. Train or resume it first.") from error
    folder = run.folder / "opinions"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}-{mark:x}.{ending}"


def _learnt_from(run: Run, datasets: Datasets) -> set[str]:
    """The families of the rows a run learnt from; none where its data set was deleted, and nobody can tell any more."""
    from backend.plan import held_out_records

    families: set[str] = set()
    with suppress(UserError):
        records = list(datasets.iterate(run.spec.data.id or "", run.spec.data.version))
        held = {family_of(record) for record in held_out_records(run.spec, records)}
        families = {family_of(record) for record in records} - held
    return families


def _rankings(run: Run, judge: "Judge", records: Sequence[Record]) -> tuple[list["Ranking"], Counter[str]]:
    """The rows as the run's objective reads them, and those it would leave out."""
    from backend.examples import LeftOut

    made = list(run.spec.objective.examples(records, judge.tokenizer, run.spec.training.max_length))
    unfit = Counter(item.reason for item in made if isinstance(item, LeftOut))
    return [item for item in made if not isinstance(item, LeftOut)], unfit  # type: ignore[misc]


def _keep(run: Run, data: DatasetRef, rankings: Sequence["Ranking"], rewards: Sequence[float], left_out: Counter[str]) -> None:
    margins, first = [], 0
    for ranking in rankings:
        margins += [rewards[first + better] - rewards[first + worse] for better, worse in ranking.pairs]
        first += len(ranking.sequences)
    trial = Trial(len(rankings), sorted(rewards), margins, dict(left_out))
    write_whole(_file(run, data), json.dumps({"v": 1, **asdict(trial)}))


def _spread(records: Sequence[Record], most: int) -> Sequence[Record]:
    """At most so many records, spread evenly."""
    return [records[place * len(records) // most] for place in range(most)] if len(records) > most else records


def _file(run: Run, data: DatasetRef) -> Path:
    return kept_with(run, f"{data.id}-v{data.version}", "json")
