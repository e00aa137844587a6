"""Data sets of the hub: fetched from a folder laid out like one, and told in a sentence where there is no hub."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from backend.data.hub import fetch
from backend.data.readers import inspect, read_rows, sample_rows
from backend.data.shapes import guess_mapping
from backend.errors import UserError
from launch import VARIABLES

ROWS = [{"prompt": f"question {number}", "completion": f"answer {number} é😀"} for number in range(2500)]


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_rows(tmp_path / "cats" / "train.jsonl", ROWS)
    write_rows(tmp_path / "cats" / "test.jsonl", ROWS[:3])
    return tmp_path / "cats"


def test_a_split_becomes_a_file_that_is_imported_like_any(repository: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    path = fetch(str(repository), into=tmp_path / "fetched", progress=shares.append)
    source = inspect(path)
    assert (source.format, path.name) == ("parquet", "cats-train.parquet")
    assert [row.values for row in read_rows(source)] == ROWS
    assert guess_mapping(sample_rows(source)) is not None
    assert len(shares) == 3
    assert [each.name for each in (tmp_path / "fetched").iterdir()] == [path.name]


def test_another_split_is_another_file(repository: Path, tmp_path: Path) -> None:
    path = fetch(str(repository), split="test", into=tmp_path)
    assert path.name == "cats-test.parquet" and len(sample_rows(inspect(path))) == 3


def test_class_labels_become_their_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    (tmp_path / "films").mkdir()
    labelled = Dataset.from_dict({"text": ["fine", "dull", "?"], "label": [1, 0, -1]}, features=features)
    labelled.to_parquet(tmp_path / "films" / "train.parquet")
    rows = sample_rows(inspect(fetch(str(tmp_path / "films"), into=tmp_path)))
    assert [row["label"] for row in rows] == ["good", "bad", None]


def test_a_split_or_configuration_that_is_not_there_names_those_that_are(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no split "dev". Choose one it has: train, test'):
        fetch(str(repository), split="dev", into=tmp_path)
    with pytest.raises(UserError, match='no configuration "tiny". Choose one it has: default'):
        fetch(str(repository), config="tiny", into=tmp_path)


def test_several_configurations_are_listed_to_choose_from(repository: Path, tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: short\n  data_files: test.jsonl\n- config_name: long\n  data_files: train.jsonl\n---\n"
    (repository / "README.md").write_text(card)
    with pytest.raises(UserError, match="several configurations. Choose one of: short, long"):
        fetch(str(repository), into=tmp_path)
    path = fetch(str(repository), config="short", into=tmp_path)
    assert path.name == "cats-short-train.parquet" and len(sample_rows(inspect(path))) == 3


def test_a_folder_that_cannot_be_read_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "train.jsonl").write_text('{"a": 1}\n{"a": {"b"\n')
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "program.py").write_text("raise SystemExit('this ran')\n")
    for name in ("empty", "broken", "program"):
        with pytest.raises(UserError) as refusal:
            fetch(str(tmp_path / name), into=tmp_path / "fetched")
        assert name in str(refusal.value)
    assert not list(tmp_path.glob("fetched/*"))


def test_whoever_stops_the_fetching_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(str(repository), into=tmp_path / "fetched", progress=stop)
    assert not list((tmp_path / "fetched").iterdir())


@pytest.mark.parametrize("name", ["", "a b", "../x/y", "a/b/c", "hf://datasets/a/b", "buckets/a/b", "x" * 300 + "/y z", "a\0b"])
def test_what_is_no_name_is_said(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no name of a data set"):
        fetch(name, into=tmp_path)


@pytest.mark.fault("no internet at all")
def test_without_a_network_it_is_said_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match="No hub can be reached"):
        fetch("some-owner/some-rows", into=tmp_path)
    assert time.monotonic() - began < 5


# ---- a hub that answers, or does not: its address is read when the library is imported, so in a process of its own


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for a gated data set, for one that is not there, and with a fault of its own."""

    tokens: set[str | None] = set()  # what was sent to say who asks

    def do_GET(self) -> None:
        self.tokens.add(self.headers["Authorization"])
        status, code = (404, "RepoNotFound") if "missing" in self.path else (403, "GatedRepo")
        if "gated" in self.path and not self.path.endswith("/auth-check"):
            return self._answer(200, {}, json.dumps({"id": "owner/gated", "gated": "manual"}))
        if "broken" in self.path:
            return self._answer(500, {}, "")
        return self._answer(status, {"X-Error-Code": code}, "")

    def _answer(self, status: int, headers: dict[str, str], body: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.tokens.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ASK = """
import sys
from pathlib import Path
from backend.data.hub import fetch
from backend.errors import UserError
from backend.models import locate
from backend.workspace import Workspace
folder, kind, *names = sys.argv[1:]
for name in names:
    try:
        fetch(name, into=Path(folder)) if kind == "data" else locate(name, Workspace(Path(folder)))
    except UserError as refusal:
        print(refusal)
"""


def told(folder: Path, hub: str, *names: str, kind: str = "data", **variables: str) -> list[str]:
    """What is said of each name where the hub is at that address."""
    root = Path(__file__).parents[3]
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")},
        **VARIABLES,
        **variables,
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(folder / "home"),
        "PYTHONPATH": str(root),
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder), kind, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_the_hub_refuses_is_said_with_what_to_do(hub: str, tmp_path: Path) -> None:
    gated, missing, broken = told(tmp_path, hub, "owner/gated", "owner/missing", "owner/broken")
    assert gated.startswith("owner/gated asks for consent") and "HF_TOKEN" in gated
    assert missing.startswith("The hub has no data set owner/missing")
    assert broken.startswith("No hub can be reached")


@pytest.mark.parametrize("kind", ["data", "model"])
@pytest.mark.parametrize(("variables", "sent"), [({}, None), ({"HF_TOKEN": "hf_mine"}, "Bearer hf_mine")], ids=["no token", "a token"])
def test_a_token_comes_from_the_environment_and_from_no_file(
    hub: str, tmp_path: Path, kind: str, variables: dict[str, str], sent: str | None
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_of_another_program")
    told(tmp_path, hub, "owner/missing", kind=kind, **variables)
    assert Hub.tokens == {sent}


def test_a_hub_that_does_not_listen_is_said_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    assert told(tmp_path, "http://127.0.0.1:9", "owner/cats")[0].startswith("No hub can be reached")
    assert time.monotonic() - began < 30
