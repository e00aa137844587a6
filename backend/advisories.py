"""Known weaknesses of the packages the studio stands on: `python3 launch.py doctor --security`.

The whole pinned tree is asked about in one request, by name and version and nothing else, and only when a person asks for
it. The source is OSV (https://google.github.io/osv.dev/api/), which gathers the advisories of Python's packages.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from backend.errors import UserError

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
SOURCE = "https://api.osv.dev/v1"
SECONDS = 20.0


class Pin(NamedTuple):
    name: str
    version: str


class Advisory(NamedTuple):
    """Something known against a pinned package."""

    pin: Pin
    id: str
    summary: str


def main() -> int:
    """Print what is known; 0 where nothing is or nobody could be asked, 1 where something is."""
    pins = pinned(CONSTRAINTS)
    try:
        found = list(advisories(pins))
    except UserError as error:
        print(*error.problems, sep="\n")
        return 0
    for advisory in found:
        print(f"!!  {advisory.pin.name} {advisory.pin.version}  {advisory.id}  {advisory.summary}")
    print(f"{len(found) or 'No'} known advisor{'y' if len(found) == 1 else 'ies'} against {len(pins)} pinned packages.")
    return 1 if found else 0


def pinned(constraints: Path) -> list[Pin]:
    """What a file of constraints pins."""
    return [Pin(*found) for found in re.findall(r"^([\w.-]+)==([\w.!+-]+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)]


def advisories(pins: Sequence[Pin], *, source: str = SOURCE) -> Iterator[Advisory]:
    """What is known against them. Raises `UserError` where the source cannot be asked."""
    queries = [{"package": {"name": pin.name, "ecosystem": "PyPI"}, "version": pin.version} for pin in pins]
    answers = _asked(f"{source}/querybatch", {"queries": queries})["results"]
    for pin, answer in zip(pins, answers, strict=True):
        for vulnerability in answer.get("vulns", []):
            told = _asked(f"{source}/vulns/{vulnerability['id']}")
            yield Advisory(pin, vulnerability["id"], told.get("summary") or str(told.get("details", "")).partition("\n")[0])


def _asked(url: str, question: Any = None) -> Any:
    import httpx

    try:
        answer = httpx.request("GET" if question is None else "POST", url, json=question, timeout=SECONDS)
        answer.raise_for_status()
        return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise UserError(
            f"The advisories could not be looked up: {url} does not answer ({type(error).__name__}). Nothing is known for or against "
            "the packages; try again where there is internet."
        ) from error
