"""Answers of a real tiny model, as the Chat tab asks for them."""

import re
import shutil
import threading

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from backend.checkpoints import MANIFEST
from backend.device import Turns
from backend.errors import UserError
from backend.fast.batching import Batcher
from backend.inference import Playground, Speaker, attach_adapter
from backend.judging import Judge
from backend.models import STARTER, locate
from backend.runs import Run, Runs
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.training import train
from tests.backend.test_models import DANGEROUS
from tests.judges import preference_rows, save_preferences, train_judge

BASE = Speaker("base", STARTER)
QUESTION = [{"role": "user", "content": "How do I descale a kettle?"}]


@pytest.fixture
def playground(workspace):
    return Playground(workspace, Turns())


def test_weights_are_loaded_with_the_first_answer(playground):
    assert not playground.is_loaded(BASE)
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=4))
    assert playground.is_loaded(BASE) and last.end in ("finished", "cut off") and last.tokens <= 4


def test_the_same_seed_says_the_same_and_another_something_else(playground):
    def answer(seed: int) -> str:
        *_, last = playground.stream(BASE, QUESTION, Sampling(temperature=2, max_tokens=24, seed=seed))
        return last.text

    assert answer(1) == answer(1) != answer(2)


@pytest.mark.fault("stop mid-stream")
def test_a_stopped_answer_ends_with_the_next_token(playground):
    model, _ = playground.shelf.get(BASE)
    read = []
    model.model.norm.register_forward_hook(lambda *_: read.append(1))  # behind the last layer
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=200), stopped=lambda: bool(read))
    assert (last.end, last.tokens) == ("stopped", 1)


def test_an_answer_does_not_wait_for_who_reads_it(playground):
    """Not at any token: a page takes as long for what it is sent as the model does."""
    replies = playground.stream(BASE, QUESTION, Sampling(temperature=0, max_tokens=64))
    next(replies)
    for thread in threading.enumerate():
        if thread.name == "running ahead":
            thread.join(60)
    (last,) = replies  # made while nobody looked
    assert last.end in ("finished", "cut off")


@pytest.mark.fault("stop mid-stream")
def test_a_prompt_is_read_no_further_than_the_layer_in_which_the_stop_comes(playground):
    model, _ = playground.shelf.get(BASE)
    read = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda *_: read.append(1))
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=200), stopped=lambda: bool(read))
    assert (last.end, last.tokens, last.text) == ("stopped", 0, "") and len(read) == 1
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=2))
    assert last.tokens > 0, "and it can be asked again"


@pytest.mark.fault("a prompt that is empty, 1 MB, or longer than the context")
def test_a_conversation_longer_than_the_context_is_counted(playground):
    with pytest.raises(UserError, match=r"tokens long, and the model reads at most 512"):
        list(playground.stream(BASE, [{"role": "user", "content": "kettle " * 600}], Sampling()))


@pytest.mark.fault("out of memory")
def test_out_of_memory_in_an_answer_gives_the_memory_back_and_the_next_answer_comes(playground):
    model, _ = playground.shelf.get(BASE)

    def run_out(*_):
        raise torch.OutOfMemoryError("CUDA out of memory (made up)")

    model.model.register_forward_pre_hook(run_out)
    with pytest.raises(UserError, match="There was not enough memory, so what was loaded for chat is put away again. Ask something shorter"):
        list(playground.stream(BASE, QUESTION, Sampling(max_tokens=4)))
    assert not playground.is_loaded(BASE)
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=4))
    assert last.end in ("finished", "cut off")


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory (made up)")])
def test_out_of_memory_while_loading_gives_back_what_was_loaded_before(playground, workspace, monkeypatch, fault):
    another = Speaker("base", str(shutil.copytree(locate(STARTER, workspace), workspace.models / "another")))
    playground.shelf.get(BASE)

    def run_out(*_):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "to", run_out)
        with pytest.raises(UserError, match="not enough memory to load another"):
            list(playground.stream(another, QUESTION, Sampling(max_tokens=4)))
    assert not playground.is_loaded(BASE)
    *_, last = playground.stream(another, QUESTION, Sampling(max_tokens=4))
    assert last.end in ("finished", "cut off")


@pytest.fixture
def lora_run(workspace, dataset):
    """A LoRA run of one step, done."""
    spec = parse_spec({
        "name": "small", "data": {"id": dataset.id}, "method": "lora", "training": {"max_steps": 1, "batch_size": 2, "max_length": 64},
    })  # fmt: skip
    run = Run.create(workspace, spec)
    assert train(spec, run, run.events.append, lambda: False) == "done"
    return run


def only_pickles(run):
    """Its adapter becomes one that would run code."""
    (run.result / "adapter_model.safetensors").unlink()
    (run.result / "adapter_model.bin").write_bytes(DANGEROUS)
    (run.result / MANIFEST).write_text('{"bytes": {}}')


@pytest.mark.fault("a model folder that is broken, pickled, unknown or not there")
def test_an_adapter_of_pickles_is_refused_before_it_is_opened(playground, workspace, lora_run, monkeypatch):
    judge = train_judge(workspace, save_preferences(workspace, preference_rows(8)), steps=1)
    for run in (lora_run, judge):
        only_pickles(run)
    monkeypatch.chdir(workspace.root)
    sentence = r"has no adapter_model\.safetensors, and weights of other kinds can run code"
    with pytest.raises(UserError, match=sentence):
        playground.shelf.get(Speaker("run", lora_run.id))
    with pytest.raises(UserError, match=sentence):
        Judge(judge)
    spec = lora_run.spec.model_copy(update={"start_from": lora_run.id})
    further = Run.create(workspace, spec)
    assert train(spec, further, further.events.append, lambda: False) == "failed"
    assert re.search(sentence, further.events.last()[-1]["message"])
    assert not (workspace.root / "RAN").exists()


def test_an_adapter_of_another_base_is_refused_naming_both(playground, lora_run, tmp_path):
    narrow = LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=600))
    narrow.save_pretrained(tmp_path / "narrow")
    base = LlamaForCausalLM.from_pretrained(tmp_path / "narrow")
    with pytest.raises(UserError, match=r'The adapter of "small" does not fit .*narrow: it was made for .*starter'):
        attach_adapter(base, lora_run.result, "small")


def test_a_soft_prompt_that_learnt_nothing_yet_says_its_first_words(playground, workspace, dataset):
    text = "Answer the question"
    spec = parse_spec({
        "name": "soft", "data": {"id": dataset.id}, "method": {"name": "prompt", "virtual_tokens": 3, "initial_text": text},
        "training": {"max_steps": 1, "learning_rate": 1e-8, "batch_size": 2, "max_length": 64},
    })
    run = Run.create(workspace, spec)
    train(spec, run, run.events.append, lambda: False)
    vectors = playground.soft_prompt(run.id)
    _, tokenizer = playground.shelf.get(BASE)
    ids = (tokenizer(text, add_special_tokens=False)["input_ids"] * 3)[:3]
    assert [vector[0][0] for vector in vectors] == [tokenizer.decode([token]) for token in ids]
    assert all(vector[0][1] == pytest.approx(1, abs=1e-3) for vector in vectors)


@pytest.fixture
def may_grow(monkeypatch):
    """While this is cleared, answers do not grow beyond their first token."""
    allowed, step = threading.Event(), Batcher.step

    def waiting(*asked, **by_name):
        assert allowed.wait(60)
        return step(*asked, **by_name)

    monkeypatch.setattr(Batcher, "step", waiting)  # before its turn on the device, which others may have meanwhile
    allowed.set()
    return allowed


@pytest.mark.fault("a run is deleted while it answers")
def test_a_run_that_is_deleted_while_it_answers_ends_its_answer_and_gives_no_other(playground, workspace, dataset, may_grow):
    spec = parse_spec({
        "name": "short-lived", "data": {"id": dataset.id}, "training": {"max_steps": 1, "batch_size": 2, "max_length": 64, "probes": ["Why?"]},
    })
    run = Run.create(workspace, spec)
    train(spec, run, run.events.append, lambda: False)
    whole = playground.answer(Speaker("run", run.id), QUESTION[0]["content"], sampling=Sampling(temperature=0, max_tokens=24))
    replies = playground.stream(Speaker("run", run.id), QUESTION, Sampling(temperature=0, max_tokens=24))
    may_grow.clear()
    assert next(replies).tokens == 1
    playground.shelf.put_away(run.id)
    Runs(workspace).delete(run.id)
    may_grow.set()
    *_, last = replies
    assert (last.text, last.end) == (whole.text, whole.end)
    with pytest.raises(UserError, match="no run"):
        playground.answer(Speaker("run", run.id), "Still there?")


@pytest.mark.fault("an adapter is switched while it answers")
def test_a_pane_that_turns_to_another_run_mid_stream_leaves_the_other_pane_alone(playground, workspace, dataset, lora_run, may_grow):
    spec = parse_spec({
        "name": "another", "data": {"id": dataset.id}, "method": {"name": "prefix", "virtual_tokens": 4},
        "training": {"max_steps": 2, "batch_size": 2, "max_length": 64, "learning_rate": 0.1, "probes": []},
    })
    run = Run.create(workspace, spec)
    assert train(spec, run, run.events.append, lambda: False) == "done"
    greedy = Sampling(temperature=0, max_tokens=32)
    first, second = Speaker("run", lora_run.id), Speaker("run", run.id)
    alone = {speaker: playground.answer(speaker, QUESTION[0]["content"], sampling=greedy).text for speaker in (BASE, first, second)}
    other_pane, this_pane = playground.stream(BASE, QUESTION, greedy), playground.stream(first, QUESTION, greedy)
    may_grow.clear()
    assert next(other_pane).tokens == next(this_pane).tokens == 1
    this_pane.close()
    may_grow.set()
    *_, turned = playground.stream(second, QUESTION, greedy)
    *_, undisturbed = other_pane
    assert (undisturbed.text, turned.text) == (alone[BASE], alone[second]) and undisturbed.end in ("finished", "cut off")
    assert playground.answer(first, QUESTION[0]["content"], sampling=greedy).text == alone[first]
