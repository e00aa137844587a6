"""The studio as it is launched, over its real port: who is refused at every route of it, and which files it hands out."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path

import gradio as gr
import pytest
from starlette.routing import BaseRoute, Route

from app.doors import POLICY, Password
from app.main import build, launch_options
from app.studio import Studio
from backend.store import Store
from backend.workspace import Workspace
from tests.conftest import any_port, make_workspace

FOREIGN = ({"Host": "evil.example"}, 400), ({"Origin": "http://evil.example"}, 403), ({"Origin": "http://127.0.0.1:9"}, 403)
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@dataclass
class Launched:
    """A page and where it is served."""

    page: gr.Blocks
    workspace: Workspace

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None) -> tuple[int, HTTPMessage, bytes]:
        """Status, headers and the first bytes of an answer to what is asked letter by letter."""
        connection = HTTPConnection("127.0.0.1", self.page.server_port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read(1000)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Launched]:
    workspace = make_workspace(tmp_path_factory.mktemp("served") / "workspace", tiny_model)
    studio = Studio.open(workspace.root)
    page = build(studio)
    options = launch_options(page, "127.0.0.1", any_port(), False)
    page.launch(**options, allowed_paths=[str(workspace.exports)], prevent_thread_lock=True)
    yield Launched(page, workspace)
    page.close()
    studio.engine._studio_lock.release()


def ways_in(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """(method, path) of all that can be asked of a page, and what a browser asks first."""
    for route in routes:
        if isinstance(route, Route):
            yield from ((method, re.sub(r"{[^}]*}", "x", route.path)) for method in {*route.methods, "OPTIONS"})
        else:
            yield from ways_in(route.original_router.routes)  # of a router that was included


@pytest.mark.fault("a page of another site or port")
@pytest.mark.parametrize(("headers", "status"), FOREIGN)
def test_whoever_is_foreign_is_refused_at_every_route_and_told_nothing(launched: Launched, headers: dict[str, str], status: int) -> None:
    ways = list(ways_in(launched.page.app.routes))
    assert len(ways) > 50 and ("POST", "/gradio_api/upload") in ways
    for method, path in ways:
        for asked in (headers, headers | PREFLIGHT, {"Origin": "http://evil.example"} | headers | PREFLIGHT):
            said = launched.ask(method, path, asked)
            assert said[0] == status, (method, path, asked)
            assert not [name for name in said[1] if name.lower().startswith("access-control")]
            assert said[1]["X-Content-Type-Options"] == "nosniff"


def test_the_own_page_is_answered(launched: Launched) -> None:
    own = {"Origin": f"http://127.0.0.1:{launched.page.server_port}", "Sec-Fetch-Site": "same-origin"}
    status, headers, _ = launched.ask("GET", "/config", own)
    assert (status, headers["Content-Security-Policy"]) == (200, POLICY)
    form = '--x\r\nContent-Disposition: form-data; name="files"; filename="cats.jsonl"\r\n\r\n{}\r\n--x--\r\n'
    status, _, said = launched.ask("POST", "/gradio_api/upload", own | {"Content-Type": "multipart/form-data; boundary=x"}, form)
    assert status == 200 and b"cats.jsonl" in said


@pytest.mark.fault("a file of this machine asked for from another")
def test_no_file_but_what_was_made_to_be_taken_away_is_handed_out(launched: Launched) -> None:
    root, exports = launched.workspace.root, launched.workspace.exports
    Password(launched.workspace).set("four plain words here")
    (root / ".env").write_text("HF_TOKEN=secret")
    exports.mkdir(exist_ok=True)
    (exports / "mine.jsonl").write_text("{}")
    (exports / "link.db").symlink_to(root / "studio.db")
    (exports / "out").symlink_to(root)
    ways = [
        "studio.db", os.path.relpath(root / "studio.db"), f"/{root}/studio.db",
        *(str(root / name) for name in ("studio.db", "password.json", ".env", "workspace.json")),
        f"{exports}/../studio.db", f"{exports}/..%2fstudio.db", f"{exports}/%2e%2e/studio.db", f"{exports}%2f..%2f.env",
        f"{exports}/link.db", f"{exports}/out/studio.db", f"{exports}/out/password.json",
    ]  # fmt: skip
    Store.of(launched.workspace)
    assert (root / "studio.db").exists() and (root / "password.json").exists()
    assert launched.ask("GET", f"/gradio_api/file={exports}/mine.jsonl")[0] == 200
    handed_out = [way for way in ways if launched.ask("GET", f"/gradio_api/file={way}")[0] not in (403, 404)]
    assert handed_out == []
    for prefix in ("/static/", "/assets/", "/gradio_api/file/", "/file=", "/theme.css/"):
        assert launched.ask("GET", f"{prefix}..%2f..%2f{root}/.env")[2].find(b"secret") == -1
