"""The quality report of a version: every check over every row in one pass, made in the background and kept beside it.

    reports = Reports(datasets, tokenizer=load)
    reports.begin(card)                  in a thread of its own; two who ask at once get one pass
    reports.work(card)                   how far it is; None once it is done
    reports.saved(card)                  the report, as soon as there is one

    datasets/<id>/report-v3.json         of version 3; derived from its rows, so it may be deleted at any time
"""

import logging
import math
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from backend.data import parquet
from backend.data.checks import GRAVITIES, Check, Finding, Passing, Row, Ruler, Watch, all_checks
from backend.data.checks.labels import LabelCounts
from backend.data.checks.long_rows import LongRows
from backend.data.prompt_map import PROMPTS, PromptMap, prompt_map
from backend.data.records import Record, how_of, prompt_of
from backend.data.versions import Card, Datasets
from backend.data.views import RowLength, row_length
from backend.errors import Stopped, UserError
from backend.workspace import write_whole

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile
    from transformers import PreTrainedTokenizerBase

KEYS_IN_MEMORY = 256 * 2**20  # bytes of rows up to which every prompt is held whole
BARS_PER_DOUBLING = 4  # of the picture of lengths
TASKS_SHOWN = 30
BREATH_EVERY, BREATH_SECONDS = 100, 0.001  # rows; see `_breathing`
NOT_COUNTED = "Tokens were not counted"
READ, FOUND = 0.7, 0.9  # shares of the work done after each part
log = logging.getLogger(__name__)

Tell = Callable[[float, str], None]  # share done, what is being done
TokenizerOf = Callable[[str], "PreTrainedTokenizerBase"]  # by the name of a base model
RulerOf = Callable[[str], Ruler]


class Pictures(BaseModel):
    """What is better looked at than read."""

    model_config = ConfigDict(frozen=True)

    characters: dict[int, int] = {}  # rows by length: bar n holds lengths from 2 ** (n / BARS_PER_DOUBLING) on
    tokens: list[int] = []  # lengths of rows, or of a sample
    tasks: dict[str, int] = {}  # rows by task, the most frequent first
    ways: dict[str, int] = {}  # rows by how they came about
    labels: dict[str, dict[str, int]] = {}  # by task
    prompts: PromptMap | None = None


class Report(BaseModel):
    """What the checks found in a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1] = 1
    sha256: str  # of the version's rows, and of what is known about them: the report is of these and no others
    about_sha256: str
    rows: int
    checks: dict[str, dict[str, Any]]  # the settings of every check made
    findings: list[Finding]  # the gravest first
    left_undone: list[str] = []  # what could not be looked at, in sentences
    pictures: Pictures
    seconds: float  # it took
    created: str  # ISO 8601, UTC

    def finding(self, check: str, title: str) -> Finding:
        """One of its findings. Raises `UserError` where there is none such."""
        for found in self.findings:
            if (found.check, found.title) == (check, title):
                return found
        raise UserError("The report has changed since this page was drawn. Look at it again.")


def report(
    datasets: Datasets, card: Card, checks: Sequence[Check], *, tokenizer: TokenizerOf | None = None,
    tell: Tell = lambda share, doing: None, should_stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Go over a version once and say what the checks found. Raises `UserError`, and `Stopped` where somebody says so."""
    began, undone = time.monotonic(), _Undone()
    ruler = _rulers(tokenizer, undone)
    with datasets.opened(card) as file:
        passing, painter = _passing(file, card, ruler), _Painter(card.rows, ruler(_base_model(checks)))
        watches = [check.begin(passing) for check in checks]
        for row in _breathing(parquet.all_records(file), card.rows, tell, should_stop):
            for seeing in (passing, painter, *watches):
                seeing.see(row)
        findings = [found for each in _in_turn(checks, watches, tell, should_stop) for found in each.findings()]
    tell(FOUND, "Drawing the pictures")
    return Report(
        sha256=card.sha256, about_sha256=card.about_sha256, rows=card.rows, checks={check.name: check.model_dump() for check in checks},
        findings=sorted(findings, key=_by_gravity), left_undone=undone.sentences, pictures=painter.pictures(),
        seconds=round(time.monotonic() - began, 1), created=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def usual_checks(settings: Mapping[str, Mapping[str, Any]] | None = None) -> list[Check]:
    """Every check, with the settings given for it, or else its own. Raises `ValidationError`."""
    return [kind(**{"name": name, **(settings or {}).get(name, {})}) for name, kind in all_checks().items()]


@dataclass
class Work:
    """A report in the making."""

    share: float = 0.0
    doing: str = "Waiting for another report"
    failed: str = ""  # why there will be no report, in a sentence; empty while there may be
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        return bool(self.failed)


class Reports:
    """The reports of a workspace's data sets, those in the making and those that are saved. Safe for many threads."""

    def __init__(self, datasets: Datasets, *, tokenizer: TokenizerOf | None = None) -> None:
        self._datasets, self._tokenizer = datasets, tokenizer
        self._works: dict[tuple[str, int], Work] = {}
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()

    def saved(self, card: Card) -> Report | None:
        """The report there is of a version; None where there is none, or none that can be read."""
        restored = [card.source["from_version"]] if card.source.get("made") == "restored" else []
        for version in [card.version, *restored]:  # the same rows, the same report
            found = _read(self._path(card.id, version))
            if found and (found.sha256, found.about_sha256) == (card.sha256, card.about_sha256):
                return found
        return None

    def work(self, card: Card) -> Work | None:
        """The report that is being made of a version, or could not be; None where there is neither."""
        return self._works.get((card.id, card.version))

    def begin(self, card: Card, checks: Sequence[Check] | None = None) -> None:
        """Make the report of a version, unless that is being done already. Returns at once.

        Without `checks` it is checked as the version it was made from.
        """
        key = (card.id, card.version)
        with self._lock:
            if key in self._works and not self._works[key].is_over:
                return
            work = self._works[key] = Work()
        threading.Thread(target=self._make, args=(card, checks or self._checks_of(card), work), name="report", daemon=True).start()

    def stop(self, card: Card) -> None:
        """Give up a report in the making."""
        if work := self.work(card):
            work.stop.set()

    def wait(self, card: Card, *, seconds: float) -> Report | None:
        """The report, once it is made; None where it fails, is stopped, or takes longer than `seconds`."""
        end = time.monotonic() + seconds
        while (work := self.work(card)) and not work.is_over and time.monotonic() < end:
            time.sleep(0.02)
        return self.saved(card)

    def _make(self, card: Card, checks: Sequence[Check], work: Work) -> None:
        """In a thread: make it, save it, and say in a sentence where that fails."""

        def tell(share: float, doing: str) -> None:
            work.share, work.doing = share, doing

        try:
            with self._one_at_a_time:
                made = report(self._datasets, card, checks, tokenizer=self._tokenizer, tell=tell, should_stop=work.stop.is_set)
                write_whole(self._path(card.id, card.version), made.model_dump_json(indent=1) + "\n")
        except Stopped:
            work.failed = "Stopped. Nothing was changed."
        except UserError as error:
            work.failed = " ".join(error.problems)
        except FileNotFoundError:
            work.failed = "The data set was deleted meanwhile."
        except Exception as error:  # the thread's border: what went wrong goes to the log, a sentence to the screen
            log.exception("a report could not be made")
            work.failed = f"The rows could not be checked ({type(error).__name__}). The details are in the log; check again."
        else:
            with self._lock:
                self._works.pop((card.id, card.version), None)

    def _checks_of(self, card: Card) -> list[Check]:
        """The checks with the settings of the version it was made from, where that was checked; else as they are."""
        before = _read(self._path(card.id, card.source["from_version"])) if "from_version" in card.source else None
        return usual_checks(before.checks if before else None)

    def _path(self, id: str, version: int) -> Path:
        return self._datasets.root / id / f"report-v{version}.json"


def _read(path: Path) -> Report | None:
    try:
        return Report.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


# ---- one pass ---------------------------------------------------------------------------------------------------------


def _breathing(records: Iterator[Record], rows: int, tell: Tell, should_stop: Callable[[], bool]) -> Iterator[Row]:
    """Rows, with a short rest now and then: Python's threads take turns, and the page and the chat shall not wait.

    A lower priority of the thread would do harm: it would hold the interpreter's lock while others of the machine run.
    """
    for number, record in enumerate(records, 1):
        yield Row(number, record)
        if number % BREATH_EVERY == 0:
            _stop_if(should_stop)
            tell(READ * number / rows, f"Reading row {number:,} of {rows:,}")
            time.sleep(BREATH_SECONDS)


def _in_turn(checks: Sequence[Check], watches: Sequence[Watch], tell: Tell, should_stop: Callable[[], bool]) -> Iterator[Watch]:
    """The checks at work, each when it is its turn to say what it found."""
    for number, (check, watch) in enumerate(zip(checks, watches, strict=True)):
        tell(READ + (FOUND - READ) * number / len(checks), f"Looking for {check.looks_for}")
        _stop_if(should_stop)
        yield watch


def _stop_if(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Stopped


def _by_gravity(finding: Finding) -> tuple[int, float]:
    return GRAVITIES.index(finding.gravity), -finding.count / max(finding.of, 1)


def _base_model(checks: Sequence[Check]) -> str:
    """Whose tokens the picture of lengths counts: those the check of long rows counts."""
    return next((check.base_model for check in checks if isinstance(check, LongRows)), "")


def _passing(file: "ParquetFile", card: Card, ruler: RulerOf) -> Passing:
    is_large = _bytes_of_content(file) > KEYS_IN_MEMORY
    return Passing(card.rows, lambda numbers: parquet.at(file, numbers), ruler=ruler, is_large=is_large)


def _bytes_of_content(file: "ParquetFile") -> int:
    """How large the rows are, without reading them."""
    return sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))


@dataclass
class _Undone:
    sentences: list[str] = field(default_factory=list)

    @contextmanager
    def noted(self, what: str) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            self.sentences.append(f"{what}: {' '.join(error.problems)}")


def _rulers(tokenizer: TokenizerOf | None, undone: _Undone) -> RulerOf:
    """What measures rows, by base model, one for each; where rows cannot be measured, that is noted once."""

    @cache
    def ruler(base_model: str) -> Ruler:
        if tokenizer and base_model:
            with undone.noted(NOT_COUNTED):
                return _heeding(tokenizer(base_model), undone)
        return lambda record: None

    return ruler


def _heeding(tokenizer: "PreTrainedTokenizerBase", undone: _Undone) -> Ruler:
    """Measures rows until there is one that it cannot."""
    failed = False

    def measure(record: Record) -> RowLength | None:
        nonlocal failed
        if not failed:
            with undone.noted(NOT_COUNTED):
                return row_length(record, tokenizer)
            failed = True
        return None

    return measure


class _Painter:
    """Gathers what the pictures need, in bounded memory."""

    def __init__(self, rows: int, ruler: Ruler) -> None:
        self._ruler = ruler
        self._every = max(1, math.ceil(rows / PROMPTS))
        self._characters: Counter[int] = Counter()
        self._tasks: Counter[str] = Counter()
        self._ways: Counter[str] = Counter()
        self._labels = LabelCounts()
        self._prompts: list[str] = []
        self._tokens: list[int] = []

    def see(self, row: Row) -> None:
        self._characters[int(BARS_PER_DOUBLING * math.log2(max(row.characters, 1)))] += 1
        self._ways[how_of(row.record)] += 1
        task = row.record.get("about", {}).get("task", "")
        if task and (task in self._tasks or len(self._tasks) < 10_000):
            self._tasks[task] += 1
        self._labels.see(row)
        if (row.number - 1) % self._every == 0:
            self._prompts.append(prompt_of(row.record)[:2000])
            if length := self._ruler(row.record):
                self._tokens.append(length.tokens)

    def pictures(self) -> Pictures:
        return Pictures(
            characters=dict(sorted(self._characters.items())), tokens=self._tokens,
            tasks=dict(self._tasks.most_common(TASKS_SHOWN)), ways=dict(self._ways.most_common()),
            labels={task: _counts(labels) for task, labels in self._labels.by_task().items()},
            prompts=prompt_map(self._prompts),
        )  # fmt: skip


def _counts(labels: "Mapping[str, array[int]]") -> dict[str, int]:
    return {label: len(rows) for label, rows in labels.items()}
