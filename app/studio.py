"""What every tab is handed: the workspace and those who work in it."""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.talk import Growing
from backend.data.drafts import Drafts
from backend.data.report import Reports
from backend.data.starter import import_starter
from backend.data.versions import Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.labelling.items import Labels
from backend.lineage import Family
from backend.models import load_tokenizer, locate
from backend.runs import Runs
from backend.store import Store
from backend.workspace import Workspace
from components.text import escape

if TYPE_CHECKING:
    from backend.inference import Playground

log = logging.getLogger(__name__)


@dataclass
class Studio:
    """The workspace, its data sets and runs, and the engine that trains in it."""

    workspace: Workspace
    engine: Engine
    datasets: Datasets
    runs: Runs
    reports: Reports = field(init=False, repr=False)  # of the data sets' quality, made in the background
    growing: Growing = field(default_factory=Growing, repr=False)  # answers in Chat
    _playground: "Playground | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.reports = Reports(self.datasets, tokenizer=self.tokenizer)

    @classmethod
    def open(cls, workspace_dir: Path, *, confined: bool = False) -> "Studio":
        """Open a workspace and start its engine; `confined` where people on other machines come in. Raises `UserError`."""
        workspace = Workspace(workspace_dir, confined=confined).prepare()
        studio = cls(workspace, Engine(workspace), Datasets(workspace), Runs(workspace))
        studio.datasets.sweep()
        studio.engine.start()
        if not studio.datasets.list():
            import_starter(studio.datasets)
        return studio

    @cached_property
    def family(self) -> Family:
        """Which run comes from which."""
        return Family(self.runs, self.datasets)

    @cached_property
    def store(self) -> Store:
        """The workspace's SQLite file."""
        return Store.of(self.workspace)

    @cached_property
    def drafts(self) -> Drafts:
        """Data sets while they are written."""
        return Drafts(self.store)

    @cached_property
    def labels(self) -> Labels:
        """What is put before people, and what they said of it."""
        return Labels(self.store)

    @property
    def playground(self) -> "Playground":
        """Answers from base models and runs; waits until the engine is ready."""
        turns = self.engine.turns
        from backend.inference import Playground

        if self._playground is None:
            self._playground = Playground(self.workspace, turns, self.engine.shelf)
        return self._playground

    def tokenizer(self, base_model: str) -> Any:  # transformers' PreTrainedTokenizerBase
        """A base model's tokenizer; waits until the engine is ready, which may be unpacking it. Raises `UserError`."""
        self.engine.wait_until_ready()
        return load_tokenizer(locate(base_model, self.workspace))

    def delete_run(self, run_id: str) -> None:
        """Delete a run that has ended, and forget its weights. Raises `UserError`."""
        self.engine.delete(run_id)
        if self.engine.ready.is_set():
            self.engine.shelf.put_away(run_id)


def on(studio: Studio, handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler `handler(studio, *values, **values)` as Gradio calls it: the border where faults become sentences."""

    def handle(*args: Any, **kwargs: Any) -> Any:
        with _in_words():
            return handler(studio, *args, **kwargs)

    return _signed_as(handler, handle)


def streaming(studio: Studio, handler: Callable[..., Any]) -> Callable[..., Any]:
    """As `on`, for a handler that yields."""

    def handle(*args: Any, **kwargs: Any) -> Any:
        with _in_words():
            yield from handler(studio, *args, **kwargs)

    return _signed_as(handler, handle)


def _signed_as(handler: Callable[..., Any], handle: Callable[..., Any]) -> Callable[..., Any]:
    """Gradio counts parameters: show it the handler's, without the studio."""
    signature = inspect.signature(handler)
    handle.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    handle.__name__ = getattr(handler, "__name__", "handle")
    return handle


class _in_words:
    """Turns faults into what a person reads: `UserError` as it is, anything else as one sentence, details to the log."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError):
            raise _toast("<br>".join(map(escape, error.problems)), "This cannot be done") from error
        if isinstance(error, Exception) and not isinstance(error, gr.Error):
            log.exception("a click met a fault", exc_info=error)
            words = f"The studio met a fault ({type(error).__name__}). The details are in the log; try again, or reload the page."
            raise _toast(words, "Something went wrong") from error


def _toast(message: str, title: str) -> gr.Error:
    """A message that stays until it is dismissed."""
    return gr.Error(message, duration=None, title=title, print_exception=False)
