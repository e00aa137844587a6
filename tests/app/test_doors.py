"""Who may come in: asked of the real page, over its real routes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import pytest
from gradio.routes import App
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.doors import POLICY, Password, doors
from app.main import entry_for_others, serve
from backend.errors import UserError
from backend.workspace import Workspace

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1:7860"
EVERYWHERE = ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/gradio_api/file=studio.db", "/nowhere")
WRITES = ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/call/compare", "/gradio_api/component_server", "/login")


@contextmanager
def served(host: str = "127.0.0.1", **options) -> Iterator[TestClient]:
    """A page behind our doors, asked as a browser on this machine would."""
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Textbox(label="Text")
    page.queue()
    if "auth" in options:
        page.auth, page.auth_message = options["auth"], ""
    with TestClient(App.create_app(page, app_kwargs={"lifespan": doors(host)}), base_url=f"http://{HOST}") as client:
        yield client


@pytest.fixture(scope="module")
def page() -> Iterator[TestClient]:
    with served() as page:
        yield page


@pytest.mark.fault("a page of another site or port")
@pytest.mark.parametrize("path", EVERYWHERE)
def test_a_foreign_name_is_refused_on_every_route(page: TestClient, path: str) -> None:
    for name in ("evil.example", "evil.example:7860", "localhost.evil.example", "[bad", ""):
        assert page.get(path, headers={"host": name}).status_code == 400


@pytest.mark.fault("a page of another site or port")
@pytest.mark.parametrize("path", [*EVERYWHERE, *WRITES])
@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:9999", "http://127.0.0.1:9999", "null"])
def test_a_foreign_page_is_refused_on_every_route(page: TestClient, path: str, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        assert page.request(method, path, headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_that_sends_no_origin_is_refused_and_a_link_is_not(page: TestClient, site: str) -> None:
    assert page.get("/config", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}).status_code == 403
    framed = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert page.get("/config", headers=framed).status_code == 403
    assert page.get("/config", headers=framed | {"sec-fetch-dest": "document"}).status_code == 200
    assert page.post("/login", headers=framed | {"sec-fetch-dest": "document"}).status_code == 403


def test_the_own_page_comes_in_and_is_told_what_it_may_do(page: TestClient) -> None:
    answer = page.get("/config", headers={"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"})
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert "http" not in POLICY and "*" not in POLICY, "the policy names this server alone"
    assert "sandbox" in page.get("/gradio_api/file=x.html").headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_websocket_is_refused(page: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, page.websocket_connect("/gradio_api/queue/join"):
        pass
    assert refused.value.code == 1008


def test_beyond_this_machine_addresses_are_names_of_ours_and_foreign_names_are_not() -> None:
    with served("0.0.0.0") as page:
        for name, status in (("192.168.1.5:7860", 200), ("[fe80::1]:7860", 200), ("localhost", 200), ("evil.example", 400)):
            assert page.get("/config", headers={"host": name}).status_code == status


def test_nothing_is_told_before_the_password(tmp_path: Path) -> None:
    password = Password(Workspace(tmp_path).prepare())
    password.set("four plain words here")
    asked = [("GET", path) for path in EVERYWHERE[1:5]] + [("POST", path) for path in WRITES[:4]]
    with served("0.0.0.0", auth=password.admits) as page:
        for method, path in asked:
            assert page.request(method, path).status_code in (401, 404), path
        assert page.post("/login", data={"username": "ada", "password": "four plain words"}).status_code == 400
        assert page.post("/login", data={"username": "ada", "password": "four plain words here"}).status_code == 200
        assert page.get("/config").status_code == 200


def test_a_password_is_kept_as_a_hash_that_only_its_owner_reads(tmp_path: Path) -> None:
    password = Password(Workspace(tmp_path).prepare())
    password.set("four plain words here")
    file = tmp_path / "password.json"
    assert "plain" not in file.read_text() and file.stat().st_mode & 0o077 == 0
    before = json.loads(file.read_text())
    password.set("four plain words here")
    assert json.loads(file.read_text())["hash"] != before["hash"], "every hash is salted anew"
    assert Password(Workspace(tmp_path)).admits("ada", "four plain words here")
    assert not Password(Workspace(tmp_path)).admits("  ", "four plain words here"), "without a name one is nobody"
    file.write_text("{damaged")
    assert not Password(Workspace(tmp_path)).admits("ada", "four plain words here")


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="soon guessed"):
        Password(Workspace(tmp_path).prepare()).set("secret")


@pytest.mark.parametrize(("word", "code", "said"), [("four plain words here", 0, "Set. Open the studio"), ("secret", 1, "soon guessed")])
def test_a_password_is_set_at_the_command_line_and_not_shown(tmp_path: Path, word: str, code: int, said: str) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "--no-venv", "password", "--workspace", str(tmp_path)]
    done = subprocess.run(command, input=f"{word}\n", capture_output=True, text=True, timeout=60, check=False, start_new_session=True)
    assert done.returncode == code and said in done.stdout + done.stderr
    assert word not in done.stdout + done.stderr
    assert Password(Workspace(tmp_path)).admits("ada", word) == (code == 0)


def test_beyond_this_machine_nothing_is_opened_without_a_password_and_with_one_it_is_said_what_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(UserError, match=f"only come in with a password.*launch.py password --workspace {tmp_path}"):
        serve(tmp_path, host="0.0.0.0", port=1, open_browser=False)
    assert not (tmp_path / "studio.db").exists() and capsys.readouterr().out == ""
    Password(workspace).set("four plain words here")
    assert entry_for_others(workspace)["auth"]("ada", "four plain words here")
    assert "can read and change everything in this workspace, train and chat. What is sent is not encrypted" in capsys.readouterr().out


def test_guessing_gets_slower_and_slower(tmp_path: Path) -> None:
    now = [0.0]
    password = Password(Workspace(tmp_path).prepare(), clock=lambda: now[0])
    password.set("four plain words here")
    for number in range(5):
        assert not password.admits("eve", f"guess {number}")
    assert not password.admits("ada", "four plain words here"), "even the right one waits now"
    now[0] += 1.1
    assert not password.admits("eve", "guess 6")
    now[0] += 1.1
    assert not password.admits("ada", "four plain words here"), "twice as long as before"
    now[0] += 1.0
    assert password.admits("ada", "four plain words here")
    assert password.admits("ada", "four plain words here"), "and the count begins anew"
