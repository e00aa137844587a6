"""The studio as it is launched, over its real port: who is refused at every route of it, and which files it hands out."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path

import gradio as gr
import pytest
from gradio.blocks import Block
from starlette.routing import BaseRoute, Route

from app.doors import POLICY, Password
from app.main import build, entry_for_others, launch_options
from app.studio import Studio
from backend.store import Store
from backend.workspace import Workspace
from tests.conftest import any_port, make_workspace

FOREIGN = ({"Host": "evil.example"}, 400), ({"Origin": "http://evil.example"}, 403), ({"Origin": "http://127.0.0.1:9"}, 403)
SHOWN_TO_ALL = {  # of Gradio's own page: its looks, and who one is, which is nobody
    "", "/favicon.ico", "/theme.css", "/robots.txt", "/pwa_icon", "/manifest.json", "/gradio_api/user", "/gradio_api/token",
    "/gradio_api/app_id", "/gradio_api/heartbeat/x", "/gradio_api/startup-events", "/gradio_api/theme.css",
}  # fmt: skip
FORGED = {
    "/gradio_api/cancel": {"session_hash": "x", "fn_index": 0, "event_id": "x"}, "/gradio_api/reset": {"event_id": "x"},
    "/gradio_api/vibe-edit": {"prompt": "x"}, "/gradio_api/vibe-code": {"code": "x"}, "/gradio_api/queue/join": {"data": [], "fn_index": 0},
}  # fmt: skip
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
        return answer.status, answer.headers, answer.read(2000)


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


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Launched]:
    """The studio as it is opened to other machines."""
    workspace = make_workspace(tmp_path_factory.mktemp("locked") / "workspace", tiny_model)
    password = Password(workspace)
    password.set("four plain words here")
    studio = Studio.open(workspace.root, confined=True)
    page = build(studio)
    entry = entry_for_others(workspace)
    page.launch(**launch_options(page, "127.0.0.1", any_port(), False), **entry, allowed_paths=[str(workspace.exports)], prevent_thread_lock=True)
    yield Launched(page, workspace)
    page.close()
    studio.engine._studio_lock.release()


@pytest.mark.fault("the studio opened to other machines")
def test_before_the_password_no_route_tells_or_does_anything_but_show_the_door(locked: Launched) -> None:
    ways = [way for way in ways_in(locked.page.app.routes) if way[0] != "OPTIONS"]
    assert len(ways) > 50 and ("POST", "/gradio_api/queue/join") in ways
    said = {way: locked.ask(*way, {"Content-Type": "application/json"}, "{}" if way[0] == "POST" else None) for way in ways}
    assert {path.rstrip("/") for (_, path), (status, _, _) in said.items() if status < 300} == SHOWN_TO_ALL
    assert {status for status, _, _ in said.values() if status >= 300} <= {302, 401, 403, 404, 422}  # 422: nothing was asked for
    told = b"".join(words for _, _, words in said.values())
    assert locked.workspace.root.name.encode() not in told and b"starter" not in told
    for path, body in FORGED.items():
        status, _, words = locked.ask("POST", path, {"Content-Type": "application/json"}, json.dumps(body))
        assert status in (401, 403, 404) or words == b'{"success":true}', path  # of something nobody has begun


@pytest.mark.fault("a file of this machine asked for from another")
def test_a_file_of_the_workspace_is_not_taken_for_one_that_was_sent(launched: Launched, capfd: pytest.CaptureFixture[str]) -> None:
    """A script names it where a page would name what it has just uploaded."""
    Password(launched.workspace).set("four plain words here")
    forged = {"path": str(launched.workspace.root / "password.json"), "orig_name": "cats.jsonl", "meta": {"_type": "gradio.FileData"}}
    takers = list(takers_of_files(launched.page))
    assert len(takers) >= 3
    for number, inputs in takers:
        sent = [([forged] if block.file_count != "single" else forged) if isinstance(block, gr.File) else None for block in inputs]
        ask = json.dumps({"data": sent, "fn_index": number, "session_hash": f"forged{number}"})
        status, _, _ = launched.ask("POST", "/gradio_api/queue/join", {"Content-Type": "application/json"}, ask)
        assert status == 200
        _, _, said = launched.ask("GET", f"/gradio_api/queue/data?session_hash=forged{number}")
        assert b'"success":false' in said and b"scrypt" not in said, number
        assert "because it was not uploaded by a user" in capfd.readouterr().err, number


def takers_of_files(page: gr.Blocks) -> Iterator[tuple[int, list[Block]]]:
    """Number and inputs of everything on a page that is given a file."""
    for number, function in page.fns.items():
        if any(isinstance(block, gr.File) for block in function.inputs):
            yield number, function.inputs
