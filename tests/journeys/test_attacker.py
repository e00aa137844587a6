"""A page of another port of this machine, opened in the same browser: it can neither start a run, nor read one, nor upload."""

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.journeys.conftest import Studio

ATTACK = """async ([studio, run, file]) => {
  const tries = {};
  const attempt = async (name, path, options) => {
    try {
      const answer = await fetch(studio + path, options);
      tries[name] = answer.type === 'opaque' ? 'opaque' : `read ${answer.status}`;
    } catch { tries[name] = 'refused'; }
  };
  const body = JSON.stringify({data: [{data: {id: 'three-lines'}}], fn_index: 0, session_hash: 'x'});
  const form = new FormData();
  form.append('files', new Blob(['{"a": 1}']), file);
  await attempt('config', 'config');
  await attempt('config with cookies', 'config', {credentials: 'include'});
  await attempt('start', 'gradio_api/call/start_run', {method: 'POST', body, headers: {'Content-Type': 'application/json'}});
  await attempt('start plainly', 'gradio_api/call/start_run', {method: 'POST', body, mode: 'no-cors'});
  const asked = JSON.stringify({data: [run, 0]});
  await attempt('events', 'gradio_api/call/run_events', {method: 'POST', body: asked, headers: {'Content-Type': 'application/json'}});
  await attempt('events plainly', 'gradio_api/call/run_events', {method: 'POST', body: asked, mode: 'no-cors'});
  await attempt('join', 'gradio_api/queue/join', {method: 'POST', body, headers: {'Content-Type': 'application/json'}});
  await attempt('upload', 'gradio_api/upload', {method: 'POST', body: form});
  await attempt('upload plainly', 'gradio_api/upload', {method: 'POST', body: form, mode: 'no-cors'});
  await attempt('database', 'gradio_api/file=studio.db');
  tries.script = await new Promise(done => {
    const script = document.createElement('script');
    script.src = studio + 'config';
    script.onload = () => done('ran'); script.onerror = () => done('refused');
    document.head.append(script);
  });
  tries.picture = await new Promise(done => {
    const picture = new Image();
    picture.onload = () => done('seen'); picture.onerror = () => done('refused');
    picture.src = studio + 'gradio_api/file=assets/logo.svg';
  });
  return tries;
}"""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another site of this machine: a page on a port of its own."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Elsewhere</title>")

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def uploaded(studio: Studio, name: str) -> Path:
    """A small file brought to the studio, as a script of the user's own does it."""
    form = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n{{}}\r\n--x--\r\n'
    request = urllib.request.Request(
        f"{studio.url}gradio_api/upload", form.encode(), {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return Path(json.load(answer)[0])


@pytest.mark.fault("a page of another site or port")
def test_a_page_of_another_port_comes_in_by_no_way(chromium, studio: Studio, elsewhere: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    runs = sorted(studio.workspace.glob("runs/*"))
    own, file = uploaded(studio, "own.jsonl"), f"evil-{uuid4().hex}.jsonl"
    for name in ("127.0.0.1", "localhost"):
        page.goto(elsewhere)
        attacked = studio.url.replace("127.0.0.1", name)
        statuses: list[int] = []
        failed: list[str] = []
        page.on("response", lambda answer, url=attacked, seen=statuses: seen.append(answer.status) if answer.url.startswith(url) else None)
        page.on("requestfailed", lambda request, url=attacked, seen=failed: seen.append(request.url) if request.url.startswith(url) else None)
        tries = page.evaluate(ATTACK, [attacked, runs[0].name if runs else "none", file])
        assert not [name for name, came in tries.items() if came.startswith(("read 2", "ran", "seen"))], tries
        assert set(statuses) <= {403}, "what a page may not read was not done either"
        assert len(failed) + len(statuses) >= len(tries) > 5, "each was tried"
    assert sorted(studio.workspace.glob("runs/*")) == runs
    uploads = own.parents[1]
    assert own.exists() and not list(uploads.rglob(file))
    context.close()


@pytest.mark.fault("a page of another site or port")
def test_the_studio_stands_in_no_foreign_frame(chromium, studio: Studio, elsewhere: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(elsewhere)
    page.evaluate("url => { const frame = document.createElement('iframe'); frame.src = url; document.body.append(frame); }", studio.url)
    page.wait_for_timeout(1500)
    (frame,) = page.frames[1:]
    assert frame.locator("#studio-header").count() == 0
    context.close()


def test_the_page_keeps_its_own_policy(visit, studio: Studio) -> None:
    page = visit()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if "Content Security Policy" in message.text else None)
    page.reload()
    page.locator("#data-sets").wait_for(timeout=60_000)
    for tab in ("Train", "Runs", "Label", "Chat"):
        page.locator("#tabs").get_by_role("tab", name=tab, exact=True).first.click()
        page.wait_for_timeout(500)
    assert said == []
