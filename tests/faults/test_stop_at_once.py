"""Stop, pressed in any phase of a run, is over within two seconds; pressed again, too early or too late, it harms nothing."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from backend import policy_trainer, trainer, training
from backend.checkpoints import is_proven
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.runs import Run
from backend.sampling import Sampling
from backend.workspace import Workspace
from tests.backend.test_alignment import spec_of
from tests.backend.test_engine import idle, wait_for
from tests.backend.test_training import curve, evaluations, go, same_weights, spec_for, told, trained
from tests.conftest import make_workspace, save_conversations, starter_rows

AT_ONCE = 2.0  # seconds

PHASES = {
    "loading": (training.models, "load"), "tokenising": (training, "make_rows"), "a step": (trainer.StudioTrainer, "training_step"),
    "evaluation": (trainer, "measure"), "generation": (training, "answers"), "saving": (trainer.StudioTrainer, "_save_checkpoint"),
    "reference": (training, "refer"), "answering": (policy_trainer.PolicyTrainer, "_answers"), "rewarding": (policy_trainer.PolicyTrainer, "_rewards"),
    "learning": (policy_trainer.PolicyTrainer, "_update"),
}  # fmt: skip


class Slowness:
    """How many times longer than alone this process took until looked at, where other tests work on the same cores."""

    def __init__(self) -> None:
        self.begun, self.factor = (time.perf_counter(), time.process_time()), 1.0

    def look(self) -> None:
        if "PYTEST_XDIST_WORKER" in os.environ:
            self.factor = max(1.0, (time.perf_counter() - self.begun[0]) / (time.process_time() - self.begun[1]))

    @property
    def allowed(self) -> float:
        """Seconds a stop may take."""
        return AT_ONCE * self.factor


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Workspace, Card, Card]:
    """A few rows; and enough for a phase to last longer than a stop may take: the starter's, many times over."""
    workspace = make_workspace(tmp_path_factory.mktemp("many") / "workspace", tiny_model)
    rows = [
        {"messages": [{"role": "user", "content": f"{number}. {row['messages'][0]['content']}"}, row["messages"][1]]}
        for number in range(40) for row in starter_rows(176)
    ]  # fmt: skip
    return workspace, save_conversations(workspace, starter_rows(24)), save_conversations(workspace, rows, name="many")


@pytest.fixture(autouse=True)
def _long_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=400))


@pytest.fixture
def engine(many: tuple[Workspace, Card, Card]) -> Iterator[Engine]:
    engine = Engine(many[0])
    engine.start()
    engine.wait_until_ready()
    yield engine
    for run_id in engine.runs.ids():
        engine.stop(run_id)
    idle(engine)
    engine._studio_lock.release()


@pytest.fixture
def when(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Does something when a phase has been entered for the so-manieth time; the phase itself is the real one."""

    def install(phase: str, then: Callable[[], object], *, times: int) -> None:
        place, name = PHASES[phase]
        real, entered = getattr(place, name), 0

        def entering(*args: Any, **kwargs: Any) -> Any:
            nonlocal entered
            entered += 1
            if entered == times:
                then()
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, entering)

    return install


@pytest.mark.fault("stop, in any phase")
@pytest.mark.parametrize(("phase", "settings"), [
    ("loading", {}), ("tokenising", {}), ("a step", {"accumulation": 300}), ("evaluation", {"validation_share": 0.5}),
    ("generation", {"probes": ["Why?"] * 8}), ("saving", {"evaluate_every": 1}),
])  # fmt: skip
def test_a_stop_in_any_phase_is_over_within_two_seconds(
    phase: str, settings: dict[str, Any], engine: Engine, many: tuple[Workspace, Card, Card], when: Callable[..., None], tell: Callable[..., None]
) -> None:
    pressed: list[float] = []
    slowness = Slowness()

    def press_twice() -> None:
        slowness.look()
        pressed.append(time.perf_counter())
        for _ in range(2):
            engine.stop(engine.status().run_id or "")

    when(phase, press_twice, times=3 if phase == "a step" else 1)
    _, few, enough = many
    card = enough if phase in ("tokenising", "a step", "evaluation") else few
    run = engine.runs.get(engine.submit(spec_for(card, method="full", **{"accumulation": 1, "batch_size": 16, **settings})))
    wait_for(lambda: pressed, seconds=120)
    idle(engine)
    seconds = time.perf_counter() - pressed[0]
    engine.stop(run.id)
    assert run.status == "stopped" and len(told(run, "finished")) == 1
    assert seconds < slowness.allowed, f"it took {seconds:.1f} s"
    tell(tried=3, seconds=[seconds])


@pytest.fixture(scope="module")
def many_pairs(many: tuple[Workspace, Card, Card]) -> Card:
    """Pairs whose answers take longer to weigh than a stop may."""
    rows = [
        {"prompt": [{"role": "user", "content": f"{number}. {ask['content']}"}], "answers": [[answer], [{**answer, "content": "No."}]], "ranks": [1, 2]}
        for number in range(8) for ask, answer in (row["messages"] for row in starter_rows(176))
    ]  # fmt: skip
    return Datasets(many[0]).save(rows, name="pairs", record="preferences", source={"made": "for tests"})


@pytest.mark.fault("stop, in any phase")
@pytest.mark.parametrize("phase", ["reference", "answering", "rewarding", "learning"])
def test_a_stop_in_any_phase_of_alignment_is_over_within_two_seconds(
    phase: str, engine: Engine, many: tuple[Workspace, Card, Card], many_pairs: Card, when: Callable[..., None], tell: Callable[..., None]
) -> None:
    """What an answer was worth before, and rounds of 64 long answers that are rewarded and learnt from."""
    pressed: list[float] = []
    slowness = Slowness()

    def press() -> None:
        slowness.look()
        pressed.append(time.perf_counter())
        engine.stop(engine.status().run_id or "")

    when(phase, press, times=2 if phase == "learning" else 1)
    grpo = {"name": "grpo", "contains": ["e"], "answer_tokens": 400, "samples": 4, "passes": 4, "minibatch": 4}
    card, objective = (many_pairs, {"name": "dpo"}) if phase == "reference" else (many[1], grpo)
    run = engine.runs.get(engine.submit(spec_of(card, objective, method="full", batch_size=16, early_stopping=True)))
    wait_for(lambda: pressed, seconds=120)
    idle(engine)
    seconds = time.perf_counter() - pressed[0]
    assert run.status == "stopped" and len(told(run, "finished")) == 1
    assert seconds < slowness.allowed, f"it took {seconds:.1f} s"
    tell(tried=1, seconds=[seconds])


@pytest.fixture(scope="module")
def starter_sized(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Workspace, Card]:
    """A model as large as the starter, of random weights."""
    workspace = make_workspace(tmp_path_factory.mktemp("large") / "workspace", tiny_model)
    config = LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=None,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(workspace.models / "starter")
    return workspace, save_conversations(workspace, starter_rows(6))


@pytest.mark.fault("stop, in any phase")
def test_all_weights_of_a_model_as_large_as_the_starter_are_kept_within_two_seconds(
    starter_sized: tuple[Workspace, Card], when: Callable[..., None], tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.6 GB to save, and the result; stopped as the saving begins."""
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=1))
    workspace, card = starter_sized
    pressed: list[float] = []
    slowness = Slowness()

    def press() -> None:
        slowness.look()
        pressed.append(time.perf_counter())

    when("saving", press, times=1)
    gc.freeze()  # as the engine does once the libraries are loaded
    settings = {"method": "full", "batch_size": 2, "accumulation": 1, "evaluate_every": 1, "early_stopping": False, "max_steps": 3}
    run = Run.create(workspace, spec_for(card, **settings))
    ended: list[float] = []

    def emit(kind: Any, **fields: Any) -> Any:
        event = run.events.append(kind, **fields)
        if kind == "finished":
            ended.append(time.perf_counter())
        return event

    assert training.train(run.spec, run, emit, lambda: bool(pressed)) == "stopped"
    gc.unfreeze()
    seconds = ended[0] - pressed[0]
    shared = 2 if "PYTEST_XDIST_WORKER" in os.environ else 1  # both cores are used, which another worker's tests use too
    assert seconds < slowness.allowed * shared, f"it took {seconds:.1f} s"
    (checkpoint,) = run.checkpoints.glob("step-*")
    assert is_proven(checkpoint) and is_proven(run.result)
    assert sum(file.stat().st_size for file in checkpoint.iterdir()) > 1_600_000_000
    assert (checkpoint / "model.safetensors").samefile(run.result / "model.safetensors")
    tell(tried=1, seconds=[seconds])


@pytest.mark.fault("stop, in any phase")
def test_a_step_broken_off_between_its_micro_batches_is_made_anew_on_the_same_curve(
    workspace: Workspace, dataset: Card, tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps an epoch of two micro-batches each, with dropout: stopped in the first step, within one, and as an epoch begins."""
    monkeypatch.setattr(training, "PROBE", Sampling(max_tokens=8))
    untouched = trained(workspace, spec_for(dataset))
    run = Run.create(workspace, untouched.spec)
    begun: list[int] = []  # micro-batches of this life
    real = trainer.StudioTrainer.training_step

    def counting(*args: Any, **kwargs: Any) -> Any:
        begun.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(trainer.StudioTrainer, "training_step", counting)
    reached = []
    for micro_batch in (1, 2, 5, 7, 4, 3, 5):
        begun.clear()
        assert training.train(run.spec, run, run.events.append, lambda at=micro_batch: len(begun) >= at) == "stopped"
        reached.append(len(curve(run)))
    assert reached == [0, 0, 2, 5, 6, 7, 9]
    assert go(run) == "done"
    assert curve(run) == curve(untouched) and evaluations(run) == evaluations(untouched) and same_weights(run, untouched)
    tell(tried=len(reached))
