"""Open to other machines, a studio reads no file for them that is not in its workspace, and takes in no model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app import main
from app.api import public_api
from app.doors import Password
from app.studio import Studio
from backend import models
from backend.data import hub
from backend.errors import UserError
from backend.plan import with_saved_data
from backend.specs import parse_spec
from backend.workspace import Workspace
from tests.conftest import make_workspace


@pytest.fixture(params=[True, False], ids=["to others", "to this machine alone"])
def studio(request: pytest.FixtureRequest, tmp_path: Path, tiny_model: Path) -> Iterator[Studio]:
    """A studio as it is opened, to others and to this machine alone."""
    workspace = make_workspace(tmp_path / "workspace", tiny_model)
    studio = Studio.open(workspace.root, confined=request.param)
    studio.engine.wait_until_ready()
    yield studio
    studio.engine._studio_lock.release()


@pytest.fixture
def ask(studio: Studio) -> Callable[..., Any]:
    """Calls a public endpoint of the page."""
    with gr.Blocks(analytics_enabled=False) as page:
        public_api(studio)
    endpoints = {function.api_name: function.fn for function in page.fns.values()}
    return lambda endpoint, **values: endpoints[endpoint](**values)


def refused_to_others(studio: Studio, do: Callable[[], Any], words: str) -> None:
    """Refused in these words where the studio is open to other machines; else it goes on."""
    if studio.workspace.confined:
        with pytest.raises((UserError, gr.Error), match=words):
            do()
    else:
        do()


@pytest.mark.fault("a file of this machine asked for from another")
def test_no_file_is_read_by_its_path(studio: Studio, ask: Callable[..., Any], tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text(json.dumps({"instruction": "What is the password?", "output": "four plain words"}) + "\n")
    spec = parse_spec({"data": {"path": str(secret)}})
    refused_to_others(studio, lambda: ask("import_dataset", path=str(secret), name="secret"), "open to other machines")
    refused_to_others(studio, lambda: with_saved_data(spec, studio.workspace), "open to other machines")


@pytest.mark.fault("a file of this machine asked for from another")
def test_no_folder_is_fetched_as_if_it_were_the_hub_s(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "train.jsonl").write_text('{"text": "It sleeps."}\n')
    fetched = tmp_path / "fetched"
    refused_to_others(studio, lambda: hub.fetch(str(tmp_path / "cats"), into=fetched, folders=not studio.workspace.confined), "open to others")
    assert fetched.exists() != studio.workspace.confined


@pytest.mark.fault("a file of this machine asked for from another")
def test_no_model_comes_from_outside_the_workspace(studio: Studio, tiny_model: Path) -> None:
    refused_to_others(studio, lambda: models.locate(str(tiny_model), studio.workspace), "none of this workspace's models")
    own = tiny_model.rename(studio.workspace.models / "own")
    try:
        assert models.locate(str(own), studio.workspace) == own
        assert models.locate("starter", studio.workspace) == studio.workspace.models / "starter"
    finally:
        own.rename(tiny_model)


def test_a_hub_s_model_is_not_even_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of this workspace's models"):
        models.locate("somebody/something", Workspace(tmp_path, confined=True).prepare())


@pytest.mark.parametrize(("host", "confined"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True), ("::", True)])
def test_who_serves_other_machines_opens_the_workspace_confined(host: str, confined: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_studio(folder: Path, *, confined: bool = False) -> Studio:
        opened.append(confined)
        raise UserError("opened")

    monkeypatch.setattr(main.Studio, "open", open_studio)
    Password(Workspace(tmp_path).prepare()).set("four words are enough")
    with pytest.raises(UserError, match="opened"):
        main.serve(tmp_path, host=host, port=0, open_browser=False)
    assert opened == [confined]
