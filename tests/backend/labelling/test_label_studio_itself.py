"""What is taken away for Label Studio, imported by Label Studio itself and exported again. It has other pins than the studio, so
it is not among what the tests install: STUDIO_LABEL_STUDIO names the `label-studio` command of an environment that has it.

    python3 -m venv beside && beside/bin/pip install label-studio
    STUDIO_LABEL_STUDIO=beside/bin/label-studio python3 launch.py test tests/backend/labelling/test_label_studio_itself.py
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from backend.labelling.bringing import pairs_in
from backend.labelling.items import Labels
from backend.labelling.taking import TakingSettings, configuration, form_named, take, write
from backend.store import Store
from tests.backend.labelling.test_taking import MIXED, judged_batch
from tests.conftest import any_port

COMMAND, TOKEN = os.environ.get("STUDIO_LABEL_STUDIO", ""), "0123456789abcdef" * 2 + "01234567"
pytestmark = pytest.mark.skipif(not COMMAND, reason="STUDIO_LABEL_STUDIO does not name a label-studio command")
KEEP_ALL = TakingSettings(short=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Label Studio with one user and no project."""
    port, folder = any_port(), tmp_path_factory.mktemp("label-studio")
    who = ["--username", "someone@example.com", "--password", "only-for-tests", "--user-token", TOKEN]
    command = [COMMAND, "start", "--no-browser", "--port", str(port), "--data-dir", str(folder), *who]
    quiet = {"LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "LATEST_VERSION_CHECK": "0", "COLLECT_ANALYTICS": "0"}
    process = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(address := f"http://127.0.0.1:{port}/api")
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str) -> None:
    for _ in range(300):
        try:
            ask(f"{address}/projects/")
            return
        except (URLError, ConnectionError):
            time.sleep(1)
    raise TimeoutError("Label Studio did not start")


def ask(address: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
    with urlopen(Request(address, data=None if body is None else json.dumps(body).encode(), headers=headers)) as answer:
        return json.load(answer)


@pytest.mark.parametrize(("answers", "verdicts"), MIXED.values(), ids=MIXED)
def test_label_studio_takes_the_file_and_gives_it_back(answers: list[int], verdicts: list[Any], server: str, tmp_path: Path) -> None:
    judged, form = judged_batch(Labels(Store(tmp_path / "studio.db")), answers, verdicts), form_named("label-studio")
    taken = take(judged, form, KEEP_ALL)
    file = write(taken, form, tmp_path, name="round")
    project = ask(f"{server}/projects/", {"title": "Preferences", "label_config": configuration(taken.judged)})
    told = ask(f"{server}/projects/{project['id']}/import", json.loads(file.read_text()))
    assert (told["task_count"], told["annotation_count"]) == (len(answers), len(verdicts))

    exported = tmp_path / "exported.json"
    exported.write_text(json.dumps(ask(f"{server}/projects/{project['id']}/export?exportType=JSON")))
    back = pairs_in(exported)
    assert [[each.answer for each in item.candidates] for item in back.items] == [[c.answer for c in each.item.candidates] for each in judged]
    assert [(v.verdict, v.ranks, v.strength) for v in back.votes] == [(v.verdict, v.ranks, v.strength) for each in judged for v in each.votes]
    assert {vote.annotator for vote in back.votes} == {"ada (exported.json)"}
