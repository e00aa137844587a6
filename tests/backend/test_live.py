"""Chatting with a run while it trains: it answers with its weights as they are, and the curve stays what it is."""

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file

from backend import training
from backend.device import Turns
from backend.errors import UserError
from backend.events import ENDED
from backend.inference import Playground, Shelf, Speaker
from backend.jobs import Means
from backend.models import STARTER
from backend.runs import Run, true_events
from backend.sampling import Sampling
from backend.specs import RunSpec, parse_spec
from backend.workspace import Workspace
from tests.faults.survival import LONG

QUESTION = [{"role": "user", "content": "How do I descale a kettle?"}]


def spec_of(dataset: Any, method: str, objective: Any = "sft") -> RunSpec:
    dropout = {"dropout": 0.1} if method == "lora" else {}  # drawn from the global generator, which chatting must leave alone
    return parse_spec({
        "name": method, "data": {"id": dataset.id, "version": dataset.version}, "objective": objective, "method": {"name": method, **dropout},
        "training": {"max_steps": 8, "batch_size": 4, "evaluate_every": 4, "validation_share": 0.1, "learning_rate": 0.01},
    })


def curve(run: Run) -> list[tuple[int, float]]:
    return [(event["step"], event["loss"]) for event in true_events(run.events.read()[0]) if event["kind"] in ("step", "evaluated")]


def trained(workspace: Workspace, spec: RunSpec, *, meanwhile: Any = None, stop_after: int | None = None) -> Run:
    """A run trained as the engine does, with something going on beside it; stopped once on the way, if asked to."""
    run, shelf, turns = Run.create(workspace, spec), Shelf(workspace), Turns()
    if stop_after:
        _live(run, shelf, turns, meanwhile, lambda: len(steps_of(run)) >= stop_after)
        assert run.status == "stopped"
        run.events.append("queued")
    _live(run, shelf, turns, meanwhile, lambda: False)
    assert run.status == "done" and not shelf.is_live(run.id)
    return run


def _live(run: Run, shelf: Shelf, turns: Turns, meanwhile: Any, should_stop: Callable[[], bool]) -> None:
    beside = threading.Thread(target=meanwhile or (lambda *_: None), args=(run, Playground(run.workspace, turns, shelf)))
    beside.start()
    run.perform(Means(should_stop, turns, shelf))
    beside.join(timeout=60)


def steps_of(run: Run) -> list[Any]:
    return [event for event in true_events(run.events.read()[0]) if event["kind"] == "step"]


@pytest.mark.fault("chat while training")
@pytest.mark.parametrize(("objective", "method"), [
    *(("sft", method) for method in ("lora", "full", "qlora", "prefix", "prompt", "adapter")),
    *((objective, "lora") for objective in (("pretraining", "dpo", "kto", "ppo", "rloo", "grpo") if LONG else ("dpo", "ppo"))),
])  # fmt: skip
def test_asking_a_run_while_it_trains_changes_neither_its_curve_nor_its_randomness(
    objective: str, method: str, workspace: Workspace, dataset: Any, texts: Any, pairs: Any
) -> None:
    """Nor its weights; and it is stopped on the way, asked meanwhile, and goes on."""
    said: list[str] = []

    def ask_again_and_again(run: Run, playground: Playground) -> None:
        while run.status not in ENDED:
            if playground.shelf.is_live(run.id):
                said.append(playground.answer(Speaker("run", run.id), "How do I descale a kettle?", sampling=Sampling(temperature=1, max_tokens=8)).text)

    card = texts if objective == "pretraining" else pairs if objective in ("dpo", "kto") else dataset
    reward = {"contains": ["e"], "answer_tokens": 4} if objective in ("ppo", "rloo", "grpo") else {}
    spec = spec_of(card, method, {"name": objective, **reward})
    quiet = trained(workspace, spec)
    asked = trained(workspace, spec, meanwhile=ask_again_and_again, stop_after=3)
    assert said and curve(asked) == curve(quiet)
    ours, theirs = (load_file(next(run.result.glob("*.safetensors"))) for run in (asked, quiet))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_answer_comes_from_the_weights_of_the_moment(workspace: Workspace, dataset: Any) -> None:
    """Learnt far enough, the same question greedily answered gets another answer."""
    said: dict[int, str] = {}

    def ask_along(run: Run, playground: Playground) -> None:
        while run.status not in ENDED:
            if playground.shelf.is_live(run.id):
                said[run.progress().step] = playground.answer(Speaker("run", run.id), QUESTION[0]["content"], sampling=Sampling(temperature=0, max_tokens=8)).text

    trained(workspace, spec_of(dataset, "full"), meanwhile=ask_along)
    assert len(set(said.values())) > 1


def test_a_run_that_neither_trains_nor_has_a_result_does_not_answer(workspace: Workspace, dataset: Any) -> None:
    run = Run.create(workspace, spec_of(dataset, "lora"))
    with pytest.raises(UserError, match="no result to chat with"):
        Playground(workspace, Turns()).answer(Speaker("run", run.id), "Hello?")


def test_a_run_is_lent_until_its_result_can_be_loaded(workspace: Workspace, dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks in the moment in between would be told that it has no result."""
    hand, run = Hand(), Run.create(workspace, spec_of(dataset, "lora"))
    put_in_place = training.put_in_place
    gaps: list[bool] = []

    def watched(partial: Path, place: Path) -> None:
        put_in_place(partial, place)
        gaps.extend([not hand.lent] if place == run.result else [])

    monkeypatch.setattr(training, "put_in_place", watched)
    hand.train(run)
    assert gaps == [False] and not hand.lent


@pytest.mark.parametrize("method", ["lora", "prefix", "adapter"])
def test_between_turns_it_is_always_what_the_run_has_learnt_that_answers(workspace: Workspace, dataset: Any, method: str) -> None:
    """The base is looked at through an adapter switched off: while others may have their turn, it is on."""
    hand, seen = Hand(), []
    hand.before_a_turn = lambda: seen.extend(is_on(model) for model in hand.lent)
    hand.train(Run.create(workspace, spec_of(dataset, method)))
    assert len(seen) > 20 and all(seen)


OBJECTIVES = {"sft": "sft", "ppo": {"name": "ppo", "contains": ["e"], "answer_tokens": 4}}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_lent_is_only_switched_between_learning_and_answering_in_a_turn(
    workspace: Workspace, dataset: Any, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout that came on in the middle of an answer would draw from the dice of the run, and show in its curve."""
    hand, outside = Hand(), []
    switch = torch.nn.Module.train

    def watched(module: torch.nn.Module, mode: bool = True) -> torch.nn.Module:
        if not hand.has_a_turn and any(module is part for model in hand.lent for part in model.modules()):
            outside.append("".join(traceback.format_stack(limit=6)))
        return switch(module, mode)

    monkeypatch.setattr(torch.nn.Module, "train", watched)
    run = Run.create(workspace, spec_of(dataset, "lora", OBJECTIVES[objective]))
    hand.train(run, stop_after=4)  # an evaluation is due: the first thing the next one does
    hand.train(run)
    assert hand.turns > 20
    assert not outside, outside[0]


class Hand:
    """Has a run trained, and knows what of it is lent and when others must wait."""

    def __init__(self) -> None:
        self.lent: list[Any] = []
        self.has_a_turn, self.turns = False, 0
        self.before_a_turn: Callable[[], None] = lambda: None

    def train(self, run: Run, *, stop_after: int = 1000) -> None:
        training.train(run.spec, run, run.events.append, lambda: len(curve(run)) >= stop_after, turn=self.turn, lend=self.lend)

    @contextmanager
    def lend(self, model: Any, tokenizer: Any) -> Iterator[None]:
        self.lent.append(model)
        yield
        self.lent.clear()

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.before_a_turn()
        self.has_a_turn, self.turns = True, self.turns + 1
        yield
        self.has_a_turn = False


def is_on(model: Any) -> bool:
    parts = [part for part in model.modules() if isinstance(part, BaseTunerLayer)]
    return not getattr(model, "_adapters_disabled", False) and not any(part.disable_adapters for part in parts)


@pytest.mark.parametrize(("method", "together"), [("lora", True), ("prefix", True), ("prompt", True), ("adapter", True), ("full", False)])
def test_a_run_and_chat_stand_on_one_copy_of_the_base_and_the_base_stays_the_base(
    workspace: Workspace, dataset: Any, method: str, together: bool
) -> None:
    base, said, shared = Speaker("base", STARTER), [], []

    def ask_the_base(run: Run, playground: Playground) -> None:
        while run.status not in ENDED:
            said.append(playground.answer(base, QUESTION[0]["content"], sampling=Sampling(temperature=0, max_tokens=8)).text)
            if playground.shelf.is_live(run.id):
                one, other = (playground.shelf.get(speaker)[0] for speaker in (base, Speaker("run", run.id)))
                shared.append(one.get_input_embeddings().weight is other.get_input_embeddings().weight)

    trained(workspace, spec_of(dataset, method), meanwhile=ask_the_base)
    assert len(set(said)) == 1 and len(said) > 1
    assert set(shared) == {together}
