"""Answers of a real tiny model, as the Chat tab asks for them."""

import pytest
import torch

from backend.device import Turns
from backend.errors import UserError
from backend.inference import Playground, Speaker
from backend.models import STARTER
from backend.runs import Run
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.training import train

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


def test_a_stopped_answer_ends_with_the_next_token(playground):
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=200), stopped=lambda: True)
    assert (last.end, last.tokens) == ("stopped", 1)


def test_a_conversation_longer_than_the_context_is_counted(playground):
    with pytest.raises(UserError, match=r"tokens long, and the model reads at most 512"):
        list(playground.stream(BASE, [{"role": "user", "content": "kettle " * 600}], Sampling()))


@pytest.mark.fault("out of memory")
def test_out_of_memory_in_an_answer_gives_the_memory_back_and_the_next_answer_comes(playground):
    model, _ = playground.shelf.get(BASE)

    def run_out(*_):
        raise torch.OutOfMemoryError("CUDA out of memory (made up)")

    model.register_forward_pre_hook(run_out)
    with pytest.raises(UserError, match="not enough memory to answer"):
        list(playground.stream(BASE, QUESTION, Sampling(max_tokens=4)))
    assert not playground.is_loaded(BASE)
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=4))
    assert last.end in ("finished", "cut off")


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
