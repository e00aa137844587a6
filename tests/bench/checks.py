"""How long the quality report of a large set takes, and how much memory: made-up conversations with planted duplicates.

    python -m tests.bench.checks [--rows 1000000]

The rows are made up from a seed as in `tests.bench.pool`: an instruction, and an answer of 60 words on average. Each
hundredth row is an exact copy of an earlier one, and each hundredth an earlier one with one word replaced; how many of
either the report finds stands beside how many were planted.
"""

import argparse
import math
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from backend.data.records import Record
from backend.data.report import report, usual_checks
from backend.data.versions import Datasets
from backend.workspace import Workspace
from tests.bench.pool import Author

KEPT = 1000  # earlier rows that a copy may be made of


class Conversations:
    """Made-up rows; `planted` counts the copies among those given out."""

    def __init__(self, rows: int) -> None:
        self.rows, self.planted, self._author = rows, Counter[str](), Author(seed=0)

    def __iter__(self) -> Iterator[Record]:
        earlier: list[tuple[str, str]] = []
        for number in range(self.rows):
            prompt, answer = self._next(number, earlier)
            yield {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}

    def _next(self, number: int, earlier: list[tuple[str, str]]) -> tuple[str, str]:
        if number % 100 in (50, 51) and earlier:
            prompt, answer = earlier[number // 100 % len(earlier)]
            self.planted["near" if number % 100 == 51 else "exact"] += 1
            return prompt, self._changed(answer, number) if number % 100 == 51 else answer
        length = min(400, max(20, round(self._author.random.lognormvariate(math.log(60), 0.6))))
        row = self._author.instruction(), " ".join(self._author._draw(length))
        if number % 100 == 0 and len(earlier) < KEPT:
            earlier.append(row)
        return row

    def _changed(self, answer: str, number: int) -> str:
        spoken = answer.split()
        spoken[-1] = f"word{number}"
        return " ".join(spoken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        datasets, made_up = Datasets(Workspace(Path(folder)).prepare()), Conversations(rows)
        card = datasets.save(made_up, name="made up", record="messages", source={"made": "for a measurement"})
        size = (datasets.root / card.id / "v1.parquet").stat().st_size
        print(f"{card.rows:,} rows, {size / 1e6:.0f} MB of Parquet, memory before {_peak():.0f} MB; planted: {dict(made_up.planted)}", flush=True)
        begun = time.perf_counter()
        made = report(datasets, card, usual_checks())
        seconds = time.perf_counter() - begun
        print(f"report in {seconds:.0f} s ({1e6 * seconds / rows:.0f} µs a row), peak memory {_peak():.0f} MB")
        for found in made.findings:
            print(f"  {found.count:>9,}  {found.title}{'' if found.rows_are_whole else f' (the first {len(found.rows):,} listed)'}")
        print(f"report file: {len(made.model_dump_json()) / 1e6:.1f} MB")


def _peak() -> float:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
