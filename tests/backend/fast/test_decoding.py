"""Quick steps give the libraries' logits, whoever takes them together; and what takes them together loses nobody."""

import copy
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import GemmaConfig, LlamaConfig, MistralConfig, PreTrainedConfig, PreTrainedModel, Qwen2Config
from transformers.models.auto import AutoModelForCausalLM

from backend import models
from backend.fast import batching
from backend.fast.batching import Batcher
from backend.fast.decoding import Body, Group, decodes_quickly, pack_for_answers, step
from backend.fast.packed import packs
from backend.generation import Decoder, Prefilled
from backend.inference import share_weights
from backend.methods import parse
from backend.sampling import Sampling

SIZE = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**SIZE),
    "llama, tied, with biases": LlamaConfig(**SIZE, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "mistral": MistralConfig(**SIZE, sliding_window=None),
    "qwen2": Qwen2Config(**SIZE),
}
PROMPTS = [[5, 6, 7, 8, 9], [10, 11], [20, 21, 22]]


class NoTokenizer:
    eos_token_id = 2


def make(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def begun(model: torch.nn.Module, prompts: list[list[int]]) -> tuple[Decoder, Prefilled, Group]:
    """A decoder, where its own pass over the prompts ends, and a group that goes on from a copy of that."""
    decoder = Decoder(model, NoTokenizer())  # type: ignore[arg-type]
    with torch.no_grad():
        state = decoder._read(prompts, None)
    kept = copy.deepcopy(state)
    return decoder, state, Group.after(Body(decoder.causal), kept.cache, kept.mask, kept.positions)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_step_gives_the_logits_of_the_libraries_step(name: str) -> None:
    model = make(CONFIGS[name])
    assert decodes_quickly(model)
    decoder, state, group = begun(model, PROMPTS)
    for token in range(30, 30 + 70):  # past the room of one cache
        tokens = torch.tensor([token % 90, 40, 50])
        step([group], [tokens])
        torch.testing.assert_close(group.logits, decoder._step(state, nullcontext, tokens), atol=1e-5, rtol=1e-4)


def test_a_model_that_computes_otherwise_keeps_the_libraries_step() -> None:
    model = make(GemmaConfig(**SIZE, head_dim=8))
    assert not decodes_quickly(model)
    said = list(Decoder(model, NoTokenizer()).decode([[5, 6]], Sampling(max_tokens=4)))  # type: ignore[arg-type]
    assert said


@pytest.fixture
def voices(tiny_model: Path) -> list[torch.nn.Module]:
    """The tiny model and its adapters, moved from where they began, on one copy of its weights."""
    base = models.load(tiny_model, torch.float32, device=torch.device("cpu"))
    torch.manual_seed(0)
    adapted = [parse(method).attach(share_weights(base), models.load_tokenizer(tiny_model)) for method in ("lora", "adapter", "prefix", "prompt")]
    with torch.no_grad():
        for tensor in (tensor for model in adapted for tensor in model.parameters() if tensor.requires_grad):
            tensor += 0.1 * torch.randn(tensor.shape)
    return [base, *(model.eval() for model in adapted)]


def test_answers_of_several_adapters_in_one_step_are_those_they_give_alone(voices: list[torch.nn.Module]) -> None:
    rows = [PROMPTS[:1], PROMPTS[1:], PROMPTS[:1], PROMPTS, PROMPTS[:2]]
    alone, together = ([begun(model, prompts)[2] for model, prompts in zip(voices, rows, strict=True)] for _ in range(2))
    for token in range(40, 46):
        tokens = [torch.full((len(prompts),), token) for prompts in rows]
        step(together, tokens)
        for group, same, token_of in zip(together, alone, tokens, strict=True):
            step([same], [token_of])
            torch.testing.assert_close(group.logits, same.logits, atol=1e-5, rtol=1e-4)
    first = [group.logits[0] for group in together]
    assert all((one - other).abs().max() > 0.01 for one, other in zip(first, first[1:], strict=False))  # else nothing is told apart


# ---- taken together


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many groups each step was made for."""
    made: list[int] = []

    def noted(groups: list[Group], tokens: list[torch.Tensor]) -> None:
        made.append(len(groups))
        step(groups, tokens)

    monkeypatch.setattr(batching, "step", noted)
    monkeypatch.setattr(batching, "PATIENCE", 5.0)  # however busy the machine is
    return made


def answered(batcher: Batcher, *asked: tuple[torch.nn.Module, int]) -> list[list[int]]:
    """What each of (model, tokens) says, each asked in a thread of its own."""
    said: list[list[int]] = [[] for _ in asked]
    ready = threading.Barrier(len(asked))

    def speak(place: int, model: torch.nn.Module, count: int) -> None:
        decoder = Decoder(model, NoTokenizer(), batcher)  # type: ignore[arg-type]
        decoder.ends = torch.tensor([-1])
        ready.wait()
        said[place] += [token for (token,) in decoder.decode(PROMPTS[:1], Sampling(max_tokens=count, temperature=0)) if token is not None]

    threads = [threading.Thread(target=speak, args=(place, *what)) for place, what in enumerate(asked)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return said


def test_threads_that_share_weights_take_their_steps_together(voices: list[torch.nn.Module], sizes: list[int]) -> None:
    base, lora = voices[:2]
    alone = [answered(Batcher(), (model, 90))[0] for model in (base, lora)]
    sizes.clear()
    assert answered(Batcher(), (base, 90), (lora, 90)) == alone
    assert sum(sizes) == 2 * 89  # the first token is the prompt's own
    assert sizes.count(2) > 20


def test_whoever_led_leads_again(voices: list[torch.nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the helpers of one thread's products are in the way of the other's."""

    class Together(Batcher):
        both = threading.Barrier(2, timeout=60)

        @contextmanager
        def joined(self, group: Group) -> Iterator[None]:
            with super().joined(group):
                self.both.wait()  # else one may be far ahead while the other is still reading its prompt
                yield

    leaders: list[int] = []

    def noted(groups: list[Group], tokens: list[torch.Tensor]) -> None:
        leaders.extend([threading.get_ident()] if len(groups) == 2 else [])
        step(groups, tokens)

    monkeypatch.setattr(batching, "step", noted)
    monkeypatch.setattr(batching, "PATIENCE", 5.0)
    batcher = Together()
    answered(batcher, (voices[0], 60), (voices[1], 60))
    assert len(leaders) == 59  # the first token is the prompt's own
    assert len(set(leaders)) == 1
    assert batcher._leader is None  # and holds no cache of an answer that is over


def test_who_fell_out_of_step_falls_into_it_again(voices: list[torch.nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    class Unhurried(Batcher):
        def step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            logits = super().step(*args, **kwargs)
            time.sleep(0.01)  # until the next token is asked for
            return logits

    made: list[int] = []
    steps_alone = threading.Event()

    def slow(groups: list[Group], tokens: list[torch.Tensor]) -> None:
        made.append(len(groups))
        if len(made) == 3:
            steps_alone.set()
        time.sleep(2 * batching.PATIENCE)  # longer than anybody waits for another
        step(groups, tokens)

    monkeypatch.setattr(batching, "step", slow)
    monkeypatch.setattr(batching, "PATIENCE", 0.05)
    batcher = Unhurried()
    first = threading.Thread(target=answered, args=(batcher, (voices[0], 20)))
    first.start()
    steps_alone.wait(30)
    answered(batcher, (voices[1], 12))
    first.join(60)
    assert made.count(2) >= 8  # of eleven


def test_who_ends_first_is_not_waited_for(voices: list[torch.nn.Module], sizes: list[int]) -> None:
    short, long = answered(Batcher(), (voices[0], 3), (voices[1], 30))
    assert (len(short), len(long)) == (3, 30)


def test_other_weights_are_never_mixed_in(voices: list[torch.nn.Module], sizes: list[int]) -> None:
    other = make(LlamaConfig(**SIZE))
    said = answered(Batcher(), (voices[0], 12), (other, 12))
    assert set(sizes) == {1}
    assert said == [answered(Batcher(), (model, 12))[0] for model in (voices[0], other)]


def test_a_fault_in_a_step_is_told_to_everybody_in_it_and_holds_up_nobody(voices: list[torch.nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    batcher, faults = Batcher(), []
    groups = [begun(model, PROMPTS[:1])[2] for model in voices[:2]]

    def breaks(*_: object) -> None:
        raise MemoryError("no room")

    def ask(group: Group) -> None:
        with batcher.joined(group):
            try:
                batcher.step(group, torch.tensor([3]), turn=nullcontext)
            except MemoryError as fault:
                faults.append(fault)

    with monkeypatch.context() as patch:
        patch.setattr(batching, "step", breaks)
        threads = [threading.Thread(target=ask, args=(group,)) for group in groups]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(faults) == 2
    ask(groups[0])
    assert groups[0].logits.shape == (1, voices[0].config.vocab_size)


def test_a_turn_that_never_comes_leaves_nothing_behind(voices: list[torch.nn.Module]) -> None:
    batcher, group = Batcher(), begun(voices[0], PROMPTS[:1])[2]

    @contextmanager
    def refused() -> Iterator[None]:
        raise TimeoutError
        yield

    with pytest.raises(TimeoutError):
        batcher.step(group, torch.tensor([3]), turn=refused)
    batcher.step(group, torch.tensor([3]), turn=nullcontext)
    assert group.length == len(PROMPTS[0]) + 1


def test_a_model_in_training_answers_without_dropout_and_trains_on(voices: list[torch.nn.Module]) -> None:
    still, training = voices[1], voices[1].train()
    assert isinstance(training, PeftModel)
    group = begun(training, PROMPTS[:1])[2]
    said = Batcher().step(group, torch.tensor([3]), turn=nullcontext)
    assert training.training and not said.requires_grad
    assert torch.equal(said, Batcher().step(begun(still.eval(), PROMPTS[:1])[2], torch.tensor([3]), turn=nullcontext))


# ---- read from a copy laid out for it


@pytest.mark.skipif(not packs(torch.float32), reason="torch cannot pack matrices on this processor")
def test_answers_from_packed_matrices_are_the_same(voices: list[torch.nn.Module]) -> None:
    base: PreTrainedModel = voices[0].requires_grad_(False)  # type: ignore[assignment]
    plain = [begun(model, PROMPTS)[2] for model in voices]
    pack_for_answers(base)
    quick = [begun(model, PROMPTS)[2] for model in voices]
    assert quick[0].body.head is not plain[0].body.head
    for token in range(40, 46):
        tokens = [torch.full((len(PROMPTS),), token)] * len(voices)
        step(plain, tokens)
        step(quick, tokens)
        for one, same in zip(quick, plain, strict=True):
            torch.testing.assert_close(one.logits, same.logits, atol=1e-5, rtol=1e-4)


def test_the_prompts_own_pass_gives_the_libraries_logits(voices: list[torch.nn.Module]) -> None:
    for model in voices:
        decoder = Decoder(model, NoTokenizer())  # type: ignore[arg-type]
        with torch.no_grad():
            ours, stock = decoder._read(PROMPTS, Body(decoder.causal)), decoder._read(PROMPTS, None)
        torch.testing.assert_close(ours.logits, stock.logits, atol=1e-5, rtol=1e-4)
