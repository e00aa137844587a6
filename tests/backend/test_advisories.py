"""What is known against the pinned packages: asked of a server of this machine that answers as OSV does."""

import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from backend import advisories
from backend.advisories import Advisory, Pin
from backend.errors import UserError


@pytest.fixture
def source() -> Iterator[str]:
    """Knows one weakness of jinja2 2.4.1, as https://google.github.io/osv.dev/post-v1-querybatch/ shows it."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            known = {"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.4.1"}
            self._say({"results": [{"vulns": [{"id": "GHSA-462w"}]} if query == known else {} for query in asked]})

        def do_GET(self) -> None:
            self._say({"id": self.path.rsplit("/", 1)[1], "summary": "Sandbox escape", "details": "Long."})

        def _say(self, value: object) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_what_is_known_is_told_of_the_package_it_is_known_of(source: str) -> None:
    pins = [Pin("gradio", "6.31.0"), Pin("jinja2", "2.4.1"), Pin("jinja2", "3.1.6")]
    assert list(advisories.advisories(pins, source=source)) == [Advisory(Pin("jinja2", "2.4.1"), "GHSA-462w", "Sandbox escape")]


def test_a_source_that_cannot_be_reached_is_no_clean_bill(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(UserError, match="could not be looked up"):
        list(advisories.advisories([Pin("gradio", "6.31.0")], source="http://127.0.0.1:9"))
    monkeypatch.setattr(advisories, "advisories", lambda pins: advisories._asked("http://127.0.0.1:9"))
    assert advisories.main() == 0
    said = capsys.readouterr().out
    assert "could not be looked up" in said and "No known" not in said


def test_findings_are_listed_and_the_command_fails(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked_there = partial(advisories.advisories, source=source)
    monkeypatch.setattr(advisories, "advisories", asked_there)
    monkeypatch.setattr(advisories, "CONSTRAINTS", tmp_path / "constraints.txt")
    (tmp_path / "constraints.txt").write_text("gradio==6.31.0\njinja2==2.4.1\n")
    assert advisories.main() == 1
    assert capsys.readouterr().out == "!!  jinja2 2.4.1  GHSA-462w  Sandbox escape\n1 known advisory against 2 pinned packages.\n"
    (tmp_path / "constraints.txt").write_text("gradio==6.31.0\n")
    assert advisories.main() == 0
    assert capsys.readouterr().out == "No known advisories against 1 pinned packages.\n"


def test_every_package_the_requirements_bring_is_pinned(tmp_path: Path) -> None:
    """The tree is walked from the requirements through what is installed; a package that is needed nowhere here is not."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    root = Path(__file__).parents[2]
    pins = {pin.name.lower().replace("_", "-") for pin in advisories.pinned(advisories.CONSTRAINTS)}
    asked = [pin.name for file in ("requirements.txt", "requirements-dev.txt") for pin in advisories.pinned(root / file)]
    seen: set[str] = set()
    while asked:
        name = asked.pop().lower().replace("_", "-")
        try:
            needed = [Requirement(text) for text in requires(name) or []] if name not in seen else []
        except PackageNotFoundError:
            continue  # for another system
        seen.add(name)
        asked += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert seen <= pins
