"""Answers from base models and from runs. One copy of a base's weights serves every adapter and the base itself.

An adapter is attached to a second tree of modules whose tensors are the base's own. So the base pane is the untouched
base model by construction, and loading one more adapter costs its own few megabytes.
"""

import copy
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from peft import PeftConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import backend.tuners.bottleneck  # noqa: F401  registers the adapter kind, so that PEFT can load it
from backend import models
from backend.checkpoints import MANIFEST, is_whole
from backend.data.tokens import Message, encode_prompt
from backend.device import Turns, device, dtype
from backend.errors import OutOfMemory, Stopped, UserError
from backend.fast.batching import Batcher
from backend.fast.decoding import pack_for_answers
from backend.generation import Decoder
from backend.judging import Judge
from backend.loading import asking
from backend.running_ahead import newest
from backend.runs import Run, Runs
from backend.sampling import Sampling
from backend.workspace import Workspace

LOADED_AT_ONCE = 4  # whole models and adapters kept in memory
UPDATE_SECONDS = 0.1  # a page cannot read faster than ten updates a second


@dataclass(frozen=True)
class Speaker:
    """Who answers: a base model by name, or a run by id."""

    kind: Literal["base", "run"]
    name: str

    @classmethod
    def parse(cls, text: str) -> "Speaker":
        """From "base:<model>" or "run:<id>". Raises `UserError`."""
        kind, _, name = text.partition(":")
        if kind not in ("base", "run") or not name:
            raise UserError(f'"{text}" names nobody who could answer. Write "base:starter", or "run:" and a run\'s id.')
        return cls(kind, name)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reply:
    """An answer so far."""

    text: str
    tokens: int
    tokens_per_second: float
    first_token_seconds: float
    end: Literal["", "finished", "cut off", "stopped"]  # empty while it goes on


Key = tuple[str, str, int]  # kind, name, and which result of a run it is
Answerer = tuple[torch.nn.Module, PreTrainedTokenizerBase]
Kept = TypeVar("Kept", Answerer, Judge)


def _key(run: Run, kind: Literal["run", "judge"] = "run") -> Key:
    """A run that was resumed has another result, and its old weights must not answer for it."""
    manifest = run.result / MANIFEST
    return kind, run.id, manifest.stat().st_mtime_ns if manifest.exists() else 0


class Shelf:
    """Models in memory, the least recently used put away first."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.runs = workspace, Runs(workspace)
        self._loaded: OrderedDict[Key, Any] = OrderedDict()  # an answerer, or a judge
        self._lent: dict[str, Answerer] = {}  # by runs that train now
        self._lock = threading.RLock()

    def get(self, speaker: Speaker) -> Answerer:
        """The model and tokenizer of a speaker, loaded if need be. Raises `UserError`."""
        with self._lock:
            answerer = model, _ = self._answerer(speaker)
            pack_for_answers(model.get_base_model() if isinstance(model, PeftModel) else model)
            return answerer

    def _answerer(self, speaker: Speaker) -> Answerer:
        if speaker.kind == "base":
            return self._base(models.locate(speaker.name, self.workspace))
        return self._lent.get(speaker.name) or self._adapted(self.runs.get(speaker.name))

    def base(self, folder: Path) -> PreTrainedModel:
        """A folder's model as it is, loaded if need be; what is attached goes on `share_weights` of it. Raises `UserError`."""
        with self._lock:
            return self._base(folder)[0]

    def judge(self, run_id: str) -> Judge:
        """The reward model of a run, loaded if need be. Raises `UserError`."""
        with self._lock:
            run = self.runs.get(run_id)
            return self._kept(_key(run, "judge"), partial(Judge, run))

    def holds(self, speaker: Speaker) -> bool:
        """Whether a speaker's weights are in memory, so that it can answer at once."""
        if speaker.kind == "base":
            return ("base", str(models.locate(speaker.name, self.workspace)), 0) in self._loaded
        return self.is_live(speaker.name) or _key(self.runs.get(speaker.name)) in self._loaded

    @contextmanager
    def lend(self, run_id: str, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
        """Let a run that trains answer with its weights as they are at the moment, for the length of a `with` block."""
        self._lent[run_id] = model, tokenizer
        try:
            yield
        finally:
            del self._lent[run_id]

    def is_live(self, run_id: str) -> bool:
        """Whether a run answers with the weights it is training."""
        return run_id in self._lent

    def clear(self) -> None:
        """Forget everything that is not lent, to give its memory back."""
        with self._lock:
            self._loaded.clear()

    @contextmanager
    def giving_way(self, remedy: str) -> Iterator[None]:
        """Where memory runs out in a `with` block, forget what is kept, and raise `OutOfMemory`, which says so and what to do."""
        try:
            yield
        except OutOfMemory:  # while loading, and told in words already
            self.clear()
            raise
        except (MemoryError, RuntimeError) as error:
            if not models.is_out_of_memory(error):
                raise
            self.clear()
            raise OutOfMemory(f"There was not enough memory, so what was loaded for chat is put away again. {remedy}") from error

    def put_away(self, run_id: str) -> None:
        """Forget a run's weights, before it is deleted."""
        with self._lock:
            for key in [key for key in self._loaded if key[:2] in (("run", run_id), ("judge", run_id))]:
                del self._loaded[key]

    def _base(self, folder: Path) -> Answerer:
        def load() -> Answerer:
            return _load(folder), models.load_tokenizer(folder)

        return self._kept(("base", str(folder), 0), load)

    def _adapted(self, run: Run) -> Answerer:
        return self._kept(_key(run), partial(self._load_adapted, run))

    def _load_adapted(self, run: Run) -> Answerer:
        if not run.has_result or not is_whole(run.result):
            raise UserError(f"{run.label['name']} has no result to chat with, or it is damaged. Train or resume it first.")
        tokenizer = models.load_tokenizer(run.result)
        if run.spec.method.name == "full":
            return _load(run.result), tokenizer
        base, _ = self._base(models.locate(run.spec.base_model, self.workspace))
        return attach_adapter(base, run.result, run.label["name"]), tokenizer

    def _kept(self, key: Key, load: Callable[[], Kept]) -> Kept:
        if key not in self._loaded:
            self._loaded[key] = load()
        self._loaded.move_to_end(key)
        while len(self._loaded) > LOADED_AT_ONCE:
            self._loaded.popitem(last=False)
        return self._loaded[key]


def _load(folder: Path) -> PreTrainedModel:
    """A model that is only asked."""
    return models.load(folder, dtype("auto"), device=device()).requires_grad_(False)


def share_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A second tree of modules over the same tensors: what is attached to it leaves the first one as it was."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def attach_adapter(base: torch.nn.Module, folder: Path, name: str) -> PeftModel:
    """An adapter on a base, sharing its weights. Raises `UserError` where they do not fit together."""
    models.check_adapter(folder)
    shared = share_weights(base)  # type: ignore[arg-type]
    try:
        config = PeftConfig.from_pretrained(str(folder))
        adapted = PeftModel.from_pretrained(shared, str(folder), config=config)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f'The adapter of "{name}" does not fit {base.config.name_or_path or "this model"}: it was made for '
            f"{config.base_model_name_or_path or 'another'}, or it is damaged. Choose the model it was trained on."
        ) from error
    return adapted.eval()


class Playground:
    """Streams answers. Each token is one quick turn on the device, so two panes and a training run go on together; panes
    whose models share their weights take the same turn."""

    def __init__(self, workspace: Workspace, turns: Turns, shelf: Shelf | None = None) -> None:
        self.shelf, self.turns, self.batcher = shelf or Shelf(workspace), turns, Batcher()

    def stream(
        self, speaker: Speaker, messages: Sequence[Message], sampling: Sampling, *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Reply]:
        """An answer as it grows, at most ten times a second; the last one says how it ended. It grows no slower where the reader
        is slow. Raises `UserError`."""
        return newest(self._guarded(speaker, messages, sampling, stopped))

    def _guarded(
        self, speaker: Speaker, messages: Sequence[Message], sampling: Sampling, stopped: Callable[[], bool]
    ) -> Generator[Reply, None, None]:
        try:
            with self.shelf.giving_way("Ask something shorter, choose a smaller model, or wait until the run that trains is done."):
                yield from self._stream(speaker, messages, sampling, stopped)
        except Stopped:  # while loading, or while the prompt was read
            yield Reply("", 0, 0.0, 0.0, "stopped")

    def _stream(
        self, speaker: Speaker, messages: Sequence[Message], sampling: Sampling, stopped: Callable[[], bool]
    ) -> Iterator[Reply]:
        with self.turns.take(quick=True), asking(stopped):
            model, tokenizer = self.shelf.get(speaker)
        ids = encode_prompt(messages, tokenizer)
        room = model.config.max_position_embeddings - len(ids)
        if room < 1:
            raise UserError(
                f"The conversation is {len(ids):,} tokens long, and the model reads at most "
                f"{model.config.max_position_embeddings:,}. Clear it, or ask something shorter."
            )
        limited = sampling.model_copy(update={"max_tokens": min(sampling.max_tokens, room)})
        yield from self._speak(Decoder(model, tokenizer, self.batcher), tokenizer, ids, limited, stopped)

    def is_loaded(self, speaker: Speaker) -> bool:
        """Whether an answer can begin at once, or weights must be loaded first."""
        return self.shelf.holds(speaker)

    def soft_prompt(self, run_id: str) -> list[list[tuple[str, float]]]:
        """What each learnt vector of a prompt tuning run is nearest to: tokens and cosine similarities. Raises `UserError`."""
        with self.turns.take(quick=True):
            model, tokenizer = self.shelf.get(Speaker("run", run_id))
            return nearest_tokens(model, tokenizer)  # type: ignore[arg-type]

    def answer(self, speaker: Speaker, prompt: str, *, system: str = "", sampling: Sampling | None = None) -> Reply:
        """One whole answer. Raises `UserError`."""
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": prompt})
        *_, last = self.stream(speaker, messages, sampling or Sampling())
        return last

    def _speak(
        self, decoder: Decoder, tokenizer: PreTrainedTokenizerBase, ids: list[int], sampling: Sampling,
        stopped: Callable[[], bool],
    ) -> Iterator[Reply]:
        said: list[int] = []
        begun, first, shown = time.perf_counter(), 0.0, 0.0
        end: Literal["finished", "cut off", "stopped"] = "cut off"
        for (token,) in decoder.decode([ids], sampling, turn=partial(self.turns.take, quick=True), should_stop=stopped):
            now = time.perf_counter()
            first = first or now - begun
            if token is None:
                end = "finished"
                break
            said.append(token)
            if stopped():
                end = "stopped"
                break
            if now - shown > UPDATE_SECONDS:
                shown = now
                yield _reply(tokenizer, said, begun, first, "")
        yield _reply(tokenizer, said, begun, first, end)


def _reply(tokenizer: PreTrainedTokenizerBase, said: list[int], begun: float, first: float, end: str) -> Reply:
    text = tokenizer.decode(said, skip_special_tokens=True)
    if not end:
        text = text.rstrip("\ufffd")  # half of a character whose other bytes are still to come
    seconds = max(time.perf_counter() - begun - first, 1e-6)
    return Reply(text, len(said), max(len(said) - 1, 0) / seconds, first, end)  # type: ignore[arg-type]


@torch.no_grad()
def nearest_tokens(model: PeftModel, tokenizer: PreTrainedTokenizerBase, *, count: int = 3) -> list[list[tuple[str, float]]]:
    """For each learnt vector of a soft prompt, the vocabulary's nearest tokens and their cosine similarity."""
    learnt = model.get_prompt(1)[0].float()  # [virtual_tokens, width]
    words = model.get_base_model().get_input_embeddings().weight.float()  # [vocabulary, width]
    similarity = torch.nn.functional.normalize(learnt, dim=1) @ torch.nn.functional.normalize(words, dim=1).t()
    best = similarity.topk(count, dim=1)
    return [
        [(tokenizer.decode([token]), score) for token, score in zip(ids, scores, strict=True)]
        for ids, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
