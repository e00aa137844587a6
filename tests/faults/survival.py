"""The table of what was survived: how often each fault was tried, what it cost, how soon work went on. Hooks of pytest."""

import os
import statistics
from dataclasses import dataclass, field
from typing import Any

import pytest

LONG = os.environ.get("STUDIO_FAULTS") == "1"


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
