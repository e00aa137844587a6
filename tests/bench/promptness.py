"""How promptly the studio does what one waits for, and whether it needs the memory it says: beside what is to be reached.

    python3 launch.py bench --only start,first_token,decoding,side_by_side,memory,poll,reload,long_run,many_runs

Each name is one measurement, in a folder of its own. What happens at the page is clicked and seen in a real Chromium.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import answering, at_the_page, long_and_many, memory
from tests.bench.findings import HEAD, Finding, Place

MEASUREMENTS: dict[str, Callable[[Place], Iterator[Finding]]] = {
    "start": at_the_page.start, "first_token": at_the_page.first_token, "decoding": answering.decoding,
    "side_by_side": answering.side_by_side, "memory": memory.memory, "poll": at_the_page.poll, "reload": at_the_page.reload,
    "long_run": long_and_many.long, "many_runs": long_and_many.many,
}  # fmt: skip


def print_table(names: list[str], model: Path, *, times: int) -> None:
    """Measure and print, a line as soon as it is known; one that fails says so and does not end the others."""
    print(HEAD, flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                for finding in MEASUREMENTS[name](Place(Path(folder), model, times)):
                    print(finding.line(), flush=True)
            except Exception as error:
                print(f"| {name} | failed: {error!r} | | |".replace("\n", " "), flush=True)
                sys.excepthook(*sys.exc_info())
