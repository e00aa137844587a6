"""The contract every method keeps, on a real tiny model, trained by the real `train()`."""

import gc
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

import backend.tuners.bottleneck  # noqa: F401  registers the adapter, as whoever loads one does
from backend import models, training
from backend.device import device, dtype
from backend.fast import quicken
from backend.inference import Shelf, Speaker
from backend.methods import MethodSettings, all_methods, parse
from backend.runs import Run
from backend.specs import parse_spec
from backend.trainer import StudioTrainer
from backend.workspace import Workspace
from tests.conftest import make_workspace, save_conversations, starter_rows

LAYERS = r"model\.layers\.[01]\."
ATTENTION = rf"{LAYERS}self_attn\.[qkvo]_proj\."
ALL = rf"{LAYERS}(self_attn\.[qkvo]|mlp\.(gate|up|down))_proj\."
BLOCK = r"bottleneck_blocks\.default\.(down|up)\.(weight|bias)"


@dataclass(frozen=True)
class Case:
    """A method's settings; which tensors are to learn, and how many; whether it starts as the base."""

    settings: dict[str, Any]
    learns: str  # what each learning tensor's name must match, PEFT's own prefix taken off
    tensors: int
    start: Literal["the base", "the base, rounded", "finite"] = "the base"

    @property
    def method(self) -> MethodSettings:
        return parse(self.settings)


CASES = {
    "full": Case({"name": "full"}, r".*", 21),
    "lora": Case({"name": "lora"}, ATTENTION + r"lora_[AB]\.default\.weight", 16),
    "rslora": Case({"name": "lora", "rank": 4, "rslora": True}, ATTENTION + r"lora_[AB]\.default\.weight", 16),
    "dora": Case({"name": "lora", "rank": 4, "dora": True}, ATTENTION + r"lora_([AB]|magnitude_vector)\.default\.weight", 24, "the base, rounded"),
    "lora on all": Case({"name": "lora", "targets": "all"}, ALL + r"lora_[AB]\.default\.weight", 28),
    "qlora": Case({"name": "qlora"}, ATTENTION + r"lora_[AB]\.default\.weight", 16),
    "prefix": Case({"name": "prefix", "virtual_tokens": 5}, r"prompt_encoder\.default\.embedding\.weight", 1, "finite"),
    "prompt": Case({"name": "prompt", "virtual_tokens": 5}, r"prompt_encoder\.default\.embedding\.weight", 1, "finite"),
    "prompt from random words": Case(
        {"name": "prompt", "virtual_tokens": 5, "initial_text": ""}, r"prompt_encoder\.default\.embedding\.weight", 1,
        "finite",
    ),
    "adapter": Case({"name": "adapter"}, LAYERS + r"(self_attn\.o_proj|mlp\.down_proj)\." + BLOCK, 16),
    "pfeiffer": Case({"name": "adapter", "placement": "pfeiffer", "activation": "gelu"}, LAYERS + BLOCK, 8),
    "upper layer": Case({"name": "adapter", "upper_layers": 1}, r"model\.layers\.1\.\w+\.(o_proj|down_proj)\." + BLOCK, 8),
}
ADAPTERS = [name for name, case in CASES.items() if case.settings["name"] != "full"]


def test_every_method_has_its_case() -> None:
    assert {case.settings["name"] for case in CASES.values()} == set(all_methods())


@dataclass
class Trained:
    """A method after two real steps, with an evaluation between them."""

    case: Case
    workspace: Workspace
    run: Run
    model: torch.nn.Module = field(repr=False)
    before: dict[str, torch.Tensor] = field(repr=False)  # every tensor as it was before the first step
    learning: set[str]
    steps: list[Any]

    @property
    def base(self) -> Path:
        return self.workspace.models / "starter"


@pytest.fixture(scope="module")
def train_case(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Trains each case once, whoever asks first."""
    done: dict[str, Trained] = {}

    def train(name: str) -> Trained:
        if name not in done:
            workspace = make_workspace(tmp_path_factory.mktemp("methods") / "workspace", tiny_model)
            done[name] = _train(CASES[name], workspace)
        return done[name]

    return train


@pytest.fixture(params=CASES)
def trained(request: pytest.FixtureRequest, train_case: Callable[[str], Trained]) -> Trained:
    return train_case(request.param)


@pytest.fixture(params=ADAPTERS)
def trained_adapter(request: pytest.FixtureRequest, train_case: Callable[[str], Trained]) -> Trained:
    return train_case(request.param)


def _train(case: Case, workspace: Workspace) -> Trained:
    card = save_conversations(workspace, starter_rows(12))
    spec = parse_spec({
        "data": {"id": card.id}, "method": case.settings,
        "training": {"max_steps": 2, "batch_size": 4, "evaluate_every": 1, "early_stopping": False, "probes": ["Why?"]},
    })
    run = Run.create(workspace, spec)
    seen: dict[str, Any] = {}

    class Watched(StudioTrainer):
        """Remembers the model and what its tensors were before training."""

        def __init__(self, model: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
            seen["model"], seen["before"] = model, {name: p.detach().clone() for name, p in model.named_parameters()}
            seen["learning"] = {name for name, p in model.named_parameters() if p.requires_grad}
            super().__init__(model, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "StudioTrainer", Watched)
        assert training.train(spec, run, run.events.append, lambda: False) == "done", run.events.read()[0][-1]
    steps = [event for event in run.events.read()[0] if event["kind"] == "step"]
    return Trained(case, workspace, run, seen["model"].eval(), seen["before"], seen["learning"], steps)


@pytest.fixture
def ids(tiny_model: Path) -> torch.Tensor:
    """[rows, tokens]: some text of the starter data."""
    tokenizer = models.load_tokenizer(tiny_model)
    rows = [tokenizer(row["messages"][1]["content"])["input_ids"][:24] for row in starter_rows(3)]
    return torch.tensor(rows)


def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids).logits


def load_base(folder: Path, method: MethodSettings, *, precision: torch.dtype | None = None) -> torch.nn.Module:
    """The base as a run with this method loads it."""
    products = precision or dtype("auto")
    return models.load(folder, method.weight_dtype(products), device=device(), quantization=method.quantization(products))


def attached(folder: Path, method: MethodSettings, *, precision: torch.dtype | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    return method.attach(load_base(folder, method, precision=precision), models.load_tokenizer(folder)).eval()


@pytest.mark.skipif(sys.platform != "linux", reason="which files are in memory is asked by Linux's means")
def test_a_packed_base_does_not_keep_the_file_it_was_packed_from_in_memory(tiny_model: Path) -> None:
    file = str(tiny_model / "model.safetensors")
    plain = load_base(tiny_model, parse({"name": "lora"}), precision=torch.float32)
    assert file in Path("/proc/self/maps").read_text()  # as it is where nothing is packed
    del plain
    packed = load_base(tiny_model, parse({"name": "qlora"}), precision=torch.float32)
    gc.collect()
    assert any(hasattr(parameter, "quant_state") for parameter in packed.parameters())
    assert file not in Path("/proc/self/maps").read_text()


def plain_name(name: str) -> str:
    return name.removeprefix("base_model.model.")


@pytest.mark.parametrize("name", CASES)
def test_it_starts_as_the_base_or_at_least_finite(name: str, tiny_model: Path, ids: torch.Tensor) -> None:
    case = CASES[name]
    precision = torch.float32 if case.start == "the base, rounded" else dtype("auto")
    base = logits(load_base(tiny_model, case.method, precision=precision), ids)
    start = logits(attached(tiny_model, case.method, precision=precision), ids)
    assert start.isfinite().all()
    if case.start == "the base":
        assert torch.equal(start, base)
    if case.start == "the base, rounded":
        torch.testing.assert_close(start, base, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_it_makes_trainable_exactly_what_it_announces(name: str, tiny_model: Path) -> None:
    case = CASES[name]
    learning = {plain_name(n): p for n, p in attached(tiny_model, case.method).named_parameters() if p.requires_grad}
    assert [n for n in learning if not re.fullmatch(case.learns, n)] == []
    assert len(learning) == case.tensors
    assert {p.dtype for p in learning.values()} == {torch.float32}  # bf16 cannot take small steps
    assert sum(p.numel() for p in learning.values()) == case.method.trainable_parameters(models.shape(tiny_model))


def test_every_learning_tensor_changes_in_two_steps(trained: Trained) -> None:
    now = dict(trained.model.named_parameters())
    assert {n for n in trained.learning if torch.equal(now[n], trained.before[n])} == set()
    assert all(event["grad_norm"] > 0 for event in trained.steps)


def test_no_frozen_tensor_changes(trained: Trained) -> None:
    now = dict(trained.model.named_parameters())
    frozen = set(now) - trained.learning
    assert {n for n in frozen if not torch.equal(now[n], trained.before[n])} == set()
    assert bool(frozen) == (trained.case.settings["name"] != "full")


def test_its_result_holds_what_was_learnt_and_no_more(trained: Trained) -> None:
    weights = load_file(next(trained.run.result.glob("*.safetensors")))
    numbers = sum(tensor.numel() for tensor in weights.values())
    assert numbers == trained.case.method.trainable_parameters(models.shape(trained.base))


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "qlora"])  # it is chatted with on the plain base
def test_reloading_an_adapter_gives_the_same_logits(name: str, train_case: Callable[[str], Trained], ids: torch.Tensor) -> None:
    trained = train_case(name)
    model, _ = Shelf(trained.workspace).get(Speaker("run", trained.run.id))
    assert torch.allclose(logits(model, ids).float(), logits(trained.model, ids).float(), atol=0.1, rtol=0.05)  # as far as bf16 goes
    assert torch.equal(logits(quicken(model), ids), logits(trained.model, ids))


def test_reloading_a_full_result_gives_the_same_logits(train_case: Callable[[str], Trained], ids: torch.Tensor) -> None:
    trained = train_case("full")
    exact = models.load(trained.run.result, torch.float32, device=device())
    assert torch.allclose(logits(exact, ids), logits(trained.model, ids), atol=1e-4)
    assert torch.equal(logits(quicken(exact), ids), logits(trained.model, ids))
    model, _ = Shelf(trained.workspace).get(Speaker("run", trained.run.id))
    assert torch.allclose(logits(model, ids).float(), logits(trained.model, ids), atol=0.1, rtol=0.05)  # bf16 where fast


@pytest.mark.parametrize("name", [n for n in ADAPTERS if CASES[n].settings["name"] != "adapter"])
def test_anybody_with_peft_alone_can_load_it(name: str, train_case: Callable[[str], Trained], ids: torch.Tensor) -> None:
    trained = train_case(name)
    fresh = load_base(trained.base, trained.case.method)
    model = PeftModel.from_pretrained(fresh, str(trained.run.result)).eval()
    assert torch.allclose(logits(model, ids).float(), logits(trained.model, ids).float(), atol=0.1, rtol=0.05)  # as far as bf16 goes
    assert torch.equal(logits(quicken(model), ids), logits(trained.model, ids))


def test_a_qlora_result_answers_from_the_plain_base(train_case: Callable[[str], Trained], ids: torch.Tensor) -> None:
    trained = train_case("qlora")
    plain = models.load(trained.base, dtype("auto"), device=device())
    expected = logits(PeftModel.from_pretrained(plain, str(trained.run.result)).eval(), ids)
    model, _ = Shelf(trained.workspace).get(Speaker("run", trained.run.id))
    assert torch.equal(logits(model, ids), expected)


def test_training_changes_the_answers(trained: Trained, ids: torch.Tensor) -> None:
    base = load_base(trained.base, trained.case.method)
    assert not torch.equal(logits(trained.model, ids), logits(base, ids))


def test_the_base_pane_stays_the_base(trained: Trained, ids: torch.Tensor) -> None:
    untouched = logits(models.load(trained.base, dtype("auto"), device=device()), ids)
    shelf = Shelf(trained.workspace)
    adapted, _ = shelf.get(Speaker("run", trained.run.id))
    different = logits(adapted, ids)
    base, _ = shelf.get(Speaker("base", "starter"))
    assert torch.equal(logits(base, ids), untouched)
    assert torch.equal(logits(adapted, ids), different)
    assert not torch.equal(different, untouched)


def test_one_copy_of_the_base_serves_its_adapters(train_case: Callable[[str], Trained]) -> None:
    trained = train_case("lora")
    shelf = Shelf(trained.workspace)
    base, _ = shelf.get(Speaker("base", "starter"))
    adapted, _ = shelf.get(Speaker("run", trained.run.id))
    own = {p.data_ptr() for p in base.parameters()}
    foreign = [n for n, p in adapted.named_parameters() if p.data_ptr() not in own]
    assert foreign and all("lora_" in name for name in foreign)


def test_it_merges_exactly_where_it_says_so(trained_adapter: Trained, ids: torch.Tensor) -> None:
    method = trained_adapter.case.method
    base = models.load(trained_adapter.base, torch.float32, device=device())
    model = PeftModel.from_pretrained(base, str(trained_adapter.run.result)).eval()
    apart = logits(model, ids)
    if not method.mergeable:
        with pytest.raises((ValueError, AttributeError)):
            model.merge_and_unload()
        return
    merged = model.merge_and_unload()
    assert not any("lora_" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(logits(merged, ids), apart, atol=1e-4, rtol=1e-4)


def test_a_bottleneck_adapter_says_why_it_cannot_be_merged(train_case: Callable[[str], Trained]) -> None:
    model, _ = Shelf((trained := train_case("adapter")).workspace).get(Speaker("run", trained.run.id))
    with pytest.raises(ValueError, match="cannot be merged"):
        model.merge_adapter()


def test_a_bottleneck_adapter_can_be_switched_off(train_case: Callable[[str], Trained], ids: torch.Tensor) -> None:
    for name in ("adapter", "pfeiffer"):
        trained = train_case(name)
        base = logits(quicken(load_base(trained.base, trained.case.method)), ids)
        with trained.model.disable_adapter():
            assert torch.equal(logits(trained.model, ids), base)


def test_qlora_learns_on_after_an_evaluation(tiny_model: Path, ids: torch.Tensor) -> None:
    """bitsandbytes repacks 4-bit weights for the CPU in evaluation, after which gradients are silently lost."""
    method = parse({"name": "qlora"})
    base = load_base(tiny_model, method)
    logits(base, ids)  # as a run looks at the base before it attaches anything
    model = method.attach(base, models.load_tokenizer(tiny_model))
    logits(model.eval(), ids)
    model.train()(input_ids=ids, labels=ids).loss.backward()
    grads = [p.grad.norm().item() for n, p in model.named_parameters() if "lora_B" in n]
    assert len(grads) == 8 and min(grads) > 0


def test_a_soft_prompt_begins_as_its_words(tiny_model: Path) -> None:
    tokenizer = models.load_tokenizer(tiny_model)
    model = attached(tiny_model, parse({"name": "prompt", "virtual_tokens": 7, "initial_text": "Why does bread rise?"}))
    words = tokenizer("Why does bread rise?")["input_ids"]
    expected = model.get_base_model().get_input_embeddings().weight[(words * 7)[:7]]
    assert torch.equal(model.get_prompt(1)[0], expected.float())


def test_the_saving_of_lora_is_counted_on_a_real_matrix(tiny_model: Path) -> None:
    assert parse({"name": "lora", "rank": 8}).saving(models.shape(tiny_model)) == (
        "q_proj: 8 x (64 + 64) = 1,024 instead of 64 x 64 = 4,096, 25.0%"
    )


def test_an_unknown_method_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"no method 'dpo'; there are full, lora, qlora, prefix, prompt, adapter"):
        parse("dpo")


@pytest.fixture(autouse=True)
def _leave_the_generator_as_it_was() -> Iterator[None]:
    state = torch.random.get_rng_state()
    yield
    torch.random.set_rng_state(state)
