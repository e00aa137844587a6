"""How fast a million rows come in, and how fast one finds one's way among them.

    python -m tests.bench.million [--rows 1000000] [--model FOLDER] [--keep FOLDER]

A JSON Lines file of about 500 bytes a row is made up from a seed and imported in a process of its own, whose speed and
peak memory are printed; then what a person at the screen waits for: the preview, a page of rows, a search, the token
histogram and the plan of a training. Tokens are those of `--model` (a small one is made where none is named).
Needs about 2 GB of disk for a while, and some minutes.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from backend.data.importing import Reached, import_file, preview
from backend.data.readers import inspect, sample_rows
from backend.data.search import search
from backend.data.shapes import guess_mapping
from backend.data.versions import Datasets
from backend.data.views import token_lengths
from backend.models import STARTER
from backend.workspace import Workspace

WORDS = (
    "the of a to and in is it that for on with as are this be by from at or an which have not was can will they but one all more "
    "water light time people number part sound place year work day word example answer question line list reason result method "
    "system value field point table paper house garden kettle river letter music market winter summer morning evening number"
).split()
QUESTIONS = ("Explain", "Describe", "List", "Rewrite", "Summarise", "Compare", "Translate", "Answer", "Continue", "Classify")


def rows(count: int, *, seed: int) -> Iterator[dict[str, str]]:
    """Rows of an instruction set: no two alike, some with letters beyond ASCII, some long."""
    author = random.Random(seed)
    sentences = [" ".join(author.choices(WORDS, k=author.randint(5, 18))).capitalize() + "." for _ in range(20_000)]
    sentences += [f"Größe {number}: «naïve» 日本 {number * 7}." for number in range(500)]
    for number in range(count):
        asked = f"{QUESTIONS[number % 10]} number {number}: {author.choice(sentences)}"
        told = author.choice(sentences) if number % 3 == 0 else ""
        said = author.choices(sentences, k=author.choice((3, 4, 5, 6, 7, 8 if number % 500 else 60)))
        yield {"instruction": asked, "input": told, "output": " ".join(said)}


def write_rows(path: Path, count: int) -> None:
    with path.open("wb") as file:
        for row in rows(count, seed=0):
            file.write(orjson.dumps(row) + b"\n")


def import_and_tell(path: Path, workspace: Workspace) -> None:
    """What the process of its own does: import the file, and print how it went."""
    source = inspect(path)
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None
    told: list[Reached] = []
    begun, begun_cpu = time.perf_counter(), time.process_time()
    card = import_file(Datasets(workspace), source, mapping, name="million", progress=told.append)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"import: {card.rows:,} rows, {source.size / 1e6:.0f} MB in {seconds:.0f} s: {source.size / 1e6 / seconds:.1f} MB/s "
          f"({source.size / 1e6 / cpu:.1f} MB in a second of one core), "
          f"peak memory {peak:.0f} MB, progress told {len(told)} times")  # fmt: skip


def ways(path: Path, datasets: Datasets, model: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a person waits for."""
    from backend.models import load_tokenizer
    from backend.plan import plan
    from backend.specs import parse_spec

    (card,) = datasets.list()
    tokenizer = load_tokenizer(model)
    workspace = Workspace(datasets.root.parent)
    spec = parse_spec({"name": "million", "base_model": STARTER, "data": {"id": card.id, "version": card.version}})
    source = inspect(path)
    mapping = guess_mapping(sample_rows(source))
    yield "preview of the file", lambda: preview(source, mapping)
    yield "first page of rows", lambda: datasets.rows(card.id, limit=50)
    yield "last page of rows", lambda: datasets.rows(card.id, offset=card.rows - 50, limit=50)
    yield "search for a common word", lambda: _far(search(datasets, card.id, 1, "kettle"))
    yield "search for what is not there", lambda: _far(search(datasets, card.id, 1, "zeppelin"))
    yield "token histogram", lambda: f"{len(token_lengths(datasets, card.id, 1, tokenizer).measured):,} rows measured"
    yield "plan of a training", lambda: f"{plan(spec, workspace).schedule.total_steps:,} steps"


def _far(found: Any) -> str:
    return f"{len(found.numbers):,} found in the first {found.searched:,} of {found.rows:,} rows"


def small_model(folder: Path) -> Path:
    from tests.conftest import save_model, save_tokenizer

    save_tokenizer(folder)
    save_model(folder)
    return folder


@contextmanager
def place(kept: Path | None) -> Iterator[Path]:
    """A folder for the file and the workspace: one that stays, or one that goes."""
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--model", type=Path, help="the folder of a model, for its tokenizer and the plan")
    parser.add_argument("--keep", type=Path, help="a folder for the file and the workspace, which then stay")
    parser.add_argument("--import-only", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.import_only:
        path, root = arguments.import_only
        import_and_tell(path, Workspace(root).prepare())
        return
    with place(arguments.keep) as folder:
        path, workspace = folder / "million.jsonl", Workspace(folder / "workspace").prepare()
        if not path.exists():
            write_rows(path, arguments.rows)
        subprocess.run([sys.executable, "-m", "tests.bench.million", "--import-only", path, workspace.root], check=True)
        model = workspace.models / STARTER
        if not model.exists():
            model.symlink_to(arguments.model.absolute()) if arguments.model else small_model(model)
        for name, way in ways(path, Datasets(workspace), model):
            begun, begun_cpu = time.perf_counter(), time.process_time()
            said = way()
            seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
            print(f"{name}: {seconds:.2f} s ({cpu:.2f} s of one core){f', {said}' if isinstance(said, str) else ''}")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
