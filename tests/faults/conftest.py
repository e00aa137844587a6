"""What the fault tests share: their long form, and the table of what was survived.

    python3 launch.py test --faults      the long form of every test marked `fault`, and the table

Without STUDIO_FAULTS=1 each test tries its fault a few times, as one test among the others. Any test of any folder counts
that carries `@pytest.mark.fault("a row of the table")`, once, or `tries=200` times; those here may tell more:
`tell(tried=50, lost="4 steps made again", seconds=[1.2, 0.9])`.
"""

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LONG = os.environ.get("STUDIO_FAULTS") == "1"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def tell(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Writes into the table how often this test tried its fault, what that cost, and the seconds until work went on."""

    def write(*, tried: int, lost: str = "", seconds: list[float] | None = None) -> None:
        record_property("told", (tried, lost, seconds or []))

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB, in memory. Skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


# ---- the table


@dataclass
class Line:
    """One row: what the tests of one fault have told."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    skipped: int = 0

    def add(self, report: pytest.TestReport) -> None:
        self.failed += report.failed
        self.skipped += report.skipped
        if report.passed and report.when == "call":
            known = dict(report.user_properties)
            tried, lost, seconds = known.get("told", (known["tries"], "", []))
            self.tried += tried
            self.lost += filter(None, [lost])
            self.seconds += seconds

    def cells(self) -> tuple[str, str, str]:
        """(times tried, lost, median seconds) in words."""
        lost = list(dict.fromkeys(self.lost)) or ["nothing"] * bool(self.tried)
        apart = [f"{count} {what}" for count, what in ((self.failed, "FAILED"), (self.skipped, "not tried here")) if count]
        seconds = f"{statistics.median(self.seconds):.1f}" if self.seconds else ""
        return f"{self.tried:,}", "; ".join([*lost, *apart]), seconds


@pytest.hookimpl(tryfirst=True)  # before `-m fault` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if mark := item.get_closest_marker("fault"):
            item.user_properties += [("fault", mark.args[0]), ("tries", mark.kwargs.get("tries", 1))]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines: dict[str, Line] = {}
    for report in (report for reports in terminalreporter.stats.values() for report in reports if isinstance(report, pytest.TestReport)):
        if fault := dict(report.user_properties).get("fault"):
            lines.setdefault(fault, Line()).add(report)
    if LONG and lines:
        terminalreporter.section("what was survived")
        for row in table(lines):
            terminalreporter.write_line(row)


def table(lines: dict[str, Line]) -> list[str]:
    """As Markdown."""
    head = ["| fault | times tried | lost | recovered in seconds (median) |", "|---|---|---|---|"]
    return head + [" | ".join(("| " + fault, *line.cells())) + " |" for fault, line in sorted(lines.items())]
