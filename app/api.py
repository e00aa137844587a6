"""What users may script, through `gradio_client` or any HTTP client: named endpoints, documented by their docstrings.

    client = gradio_client.Client("http://127.0.0.1:7860")
    run_id = client.predict(spec={"data": {"id": ...}, "method": {"name": "lora"}}, api_name="/start_run")
"""

import functools
from dataclasses import asdict
from typing import Any

import gradio as gr
from pydantic import ValidationError

from app.studio import Studio
from backend.data.importing import import_file
from backend.data.readers import inspect, sample_rows
from backend.data.shapes import guess_mapping, parse_mapping
from backend.errors import UserError
from backend.models import available
from backend.runs import true_events
from backend.sampling import Sampling
from backend.settings import sentences
from backend.specs import parse_spec


def public_api(studio: Studio) -> None:
    """Add the public endpoints to the page being built."""

    def list_models() -> list[str]:
        """The models one can train without typing: "starter" and the folders in the workspace."""
        return available(studio.workspace)

    def list_datasets() -> list[dict[str, Any]]:
        """The card of every data set's newest version: id, name, version, rows, record, sha256, created and more."""
        return [card.model_dump() for card in studio.datasets.list()]

    def import_dataset(path: str, name: str, shape: str | None = None, columns: dict[str, str] | None = None) -> dict[str, Any]:
        """Import a file of this machine as a data set version, and return its card.

        `shape` (alpaca, prompt_completion, messages, sharegpt, preferences, unpaired, text) and `columns` (role to column) are found out if left
        out. Rows that cannot be used refuse the import.
        """
        source = inspect(studio.workspace.typed_path(path))
        mapping = parse_mapping(shape, columns or {}) if shape else guess_mapping(sample_rows(source))
        if mapping is None:
            raise UserError(f"What the columns of {source.name} mean is not clear. Name the shape and the columns.")
        return import_file(studio.datasets, source, mapping, name=name).model_dump()

    def list_runs(offset: int = 0, limit: int = 50) -> list[dict[str, Any]]:
        """A page of the runs, newest first: id, name, note, status, step, total_steps, best_loss, spec."""
        return [
            {
                "id": one.id, "name": one.name, "note": one.note, "status": one.progress.status, "step": one.progress.step,
                "total_steps": one.progress.total_steps, "best_loss": one.progress.best_loss,
                "base_loss": one.progress.base_loss, "spec": one.spec.model_dump(mode="json"),
            }
            for one in studio.runs.summaries(offset=offset, limit=limit)
        ]

    def start_run(spec: dict[str, Any]) -> str:
        """Check a run's spec and put it on the queue; returns the run's id. What the spec leaves out has defaults."""
        return studio.engine.submit(parse_spec(spec))

    def run_events(run: str, after: int = 0) -> dict[str, Any]:
        """Events of a run behind a cursor: {"events": [...], "cursor": n, "whole": bool}. Ask again with that cursor for what is new.

        Where `whole` is true they are all there are: put them in place of what you had. A run that is resumed makes some of its
        steps anew, and those it made before no longer count.
        """
        log = studio.runs.get(run).events
        events, cursor = log.read(after)
        if whole := not after or any(event["kind"] == "started" for event in events):
            events, cursor = log.read()
        return {"events": true_events(events), "cursor": cursor, "whole": whole}

    def stop_run(run: str) -> str:
        """Ask a run to stop and keep what it has; harmless at any time. Returns its status at this moment."""
        studio.engine.stop(run)
        return studio.runs.get(run).status

    def compare(prompt: str, left: str, right: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """One prompt, two answers: {"left": {...}, "right": {...}} with text, tokens, tokens_per_second and how it ended.

        `left` and `right` are "base:<model>" or "run:<id>". `settings`: temperature, top_p, max_tokens, seed, and system
        (a system prompt).
        """
        from backend.inference import Speaker

        settings = dict(settings or {})
        system = str(settings.pop("system", ""))
        try:
            sampling = Sampling.model_validate(settings)
        except ValidationError as error:
            raise UserError(*sentences(error)) from error
        return {
            side: asdict(studio.playground.answer(Speaker.parse(who), prompt, system=system, sampling=sampling))
            for side, who in (("left", left), ("right", right))
        }

    for endpoint in (
        list_models, list_datasets, import_dataset, list_runs, start_run, run_events, stop_run, compare,
    ):
        gr.api(_caught(endpoint), api_name=endpoint.__name__, concurrency_limit=4)


def _caught(endpoint: Any) -> Any:
    """The endpoint with a person's problems as the error message a client sees."""
    @functools.wraps(endpoint)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(*args, **kwargs)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return call
