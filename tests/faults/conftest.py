"""What the fault tests share: their long form, and the table of what was survived.

    python3 launch.py test --faults      the long form of every test marked `fault`, and the table

Without STUDIO_FAULTS=1 each test tries its fault a few times, as one test among the others. Any test of any folder counts
that carries `@pytest.mark.fault("a row of the table")`, once, or `tries=200` times; those here may tell more:
`tell(tried=50, lost="4 steps made again", seconds=[1.2, 0.9])`.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
