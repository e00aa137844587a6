"""Answers: those the library would give, whoever shares the batch, and nobody's dice but our own."""

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from backend import models
from backend.data.tokens import encode_prompt
from backend.device import Turns
from backend.errors import UserError
from backend.generation import Decoder, answers, choose
from backend.inference import Playground, Speaker, nearest_tokens
from backend.methods import parse
from backend.sampling import Sampling
from backend.workspace import Workspace
from tests.conftest import starter_rows

LENGTH = 24
METHODS = ["base", "full", "lora", "adapter", "prefix", "prompt"]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return models.load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def prompts(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Five prompts, each of another length."""
    rows = [encode_prompt(row["messages"][:1], tokenizer) for row in starter_rows(30)]
    by_length = {len(ids): ids for ids in rows}
    return [by_length[length] for length in sorted(by_length)][:5]


@pytest.fixture(scope="module", params=METHODS)
def model(request: pytest.FixtureRequest, tiny_model: Path, tokenizer: PreTrainedTokenizerBase) -> torch.nn.Module:
    """The tiny model under each method, with every learnt number moved from where it began."""
    base = models.load(tiny_model, torch.float32, device=torch.device("cpu"))
    if request.param == "base":
        return base
    torch.manual_seed(0)
    model = parse(request.param).attach(base, tokenizer)
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.requires_grad:
                tensor += 0.1 * torch.randn(tensor.shape, generator=dice)
    return model.eval()


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> torch.nn.Module:
    return models.load(tiny_model, torch.float32, device=torch.device("cpu"))


def tokens_of(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]], **sampling: object) -> list[list[int]]:
    said: list[list[int]] = [[] for _ in prompts]
    for tokens in Decoder(model, tokenizer).decode(prompts, Sampling.model_validate({"max_tokens": LENGTH, **sampling})):
        for row, token in enumerate(tokens):
            if token is not None:
                said[row].append(token)
    return said


def test_greedy_answers_are_those_of_the_library(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    for prompt in prompts[:3]:
        theirs = model.generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=LENGTH, do_sample=False,
        )[0]
        expected = [token for token in theirs.tolist()[-LENGTH:] if token != tokenizer.eos_token_id]
        assert tokens_of(model, tokenizer, [prompt]) == [expected[:LENGTH]]


def test_each_prompt_of_a_batch_is_answered_as_it_would_be_alone(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    assert len({len(prompt) for prompt in prompts}) == 5
    alone = [tokens_of(model, tokenizer, [prompt])[0] for prompt in prompts]
    assert tokens_of(model, tokenizer, prompts) == alone
    assert len({tuple(answer) for answer in alone}) > 1


def test_a_row_that_has_ended_says_no_more(tokenizer: PreTrainedTokenizerBase, base: torch.nn.Module, prompts: list[list[int]]) -> None:
    long = tokens_of(base, tokenizer, prompts)
    decoder = Decoder(base, tokenizer)
    decoder.ends = torch.tensor([long[0][3]])  # what the first row says fourth ends every answer now
    said = list(decoder.decode(prompts, Sampling(max_tokens=LENGTH)))
    for row, answer in enumerate(long):
        end = answer.index(long[0][3]) if long[0][3] in answer else LENGTH
        assert [tokens[row] for tokens in said] == (answer[:end] + [None] * LENGTH)[: len(said)]
    assert list(decoder.decode(prompts[:1], Sampling(max_tokens=LENGTH)))[-1] == [None]


def test_drawing_with_a_seed_can_be_repeated(base: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]) -> None:
    first = tokens_of(base, tokenizer, prompts, temperature=1.0, seed=3)
    assert tokens_of(base, tokenizer, prompts, temperature=1.0, seed=3) == first
    assert tokens_of(base, tokenizer, prompts, temperature=1.0, seed=4) != first
    assert tokens_of(base, tokenizer, prompts) != first


def test_drawing_never_touches_the_generator_a_run_trains_with(
    base: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    tokens_of(base, tokenizer, prompts, temperature=1.3, top_p=0.8)
    assert torch.equal(torch.random.get_rng_state(), before)


LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


def drawn(**sampling: object) -> torch.Tensor:
    """Shares of each of the four tokens over 4,000 draws."""
    settings = Sampling.model_validate(sampling)
    dice = [torch.Generator().manual_seed(seed) for seed in range(4000)]
    return torch.bincount(choose(LOGITS.expand(4000, 4), settings, dice), minlength=4) / 4000


@pytest.mark.parametrize(("top_p", "shares"), [
    (0.4, [1, 0, 0, 0]), (0.7, [5 / 8, 3 / 8, 0, 0]), (0.9, [10 / 19, 6 / 19, 3 / 19, 0]), (1.0, [0.5, 0.3, 0.15, 0.05]),
])
def test_top_p_keeps_the_likeliest_that_reach_it(top_p: float, shares: list[float]) -> None:
    torch.testing.assert_close(drawn(temperature=1.0, top_p=top_p), torch.tensor(shares).float(), atol=0.025, rtol=0)


def test_temperature_flattens() -> None:
    expected = (LOGITS[0] / 2).softmax(-1)
    torch.testing.assert_close(drawn(temperature=2.0), expected, atol=0.025, rtol=0)
    assert drawn(temperature=0.0).tolist() == [1, 0, 0, 0]


def test_told_to_stop_an_answer_is_shorter(base: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]) -> None:
    asked: list[int] = []
    layers = base.config.num_hidden_layers  # before each of which it is asked while the prompt is read

    def stop_at_the_third() -> bool:
        asked.append(1)
        return len(asked) == layers + 3

    (said,) = answers(base, tokenizer, prompts[:1], Sampling(max_tokens=LENGTH), should_stop=stop_at_the_third)
    assert said == tokenizer.decode(tokens_of(base, tokenizer, prompts[:1])[0][:3], skip_special_tokens=True)


def test_no_prompts_no_answers(base: torch.nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    assert answers(base, tokenizer, [], Sampling()) == []


def test_answering_leaves_a_model_in_training_as_it_was(tiny_model: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]) -> None:
    model = models.load(tiny_model, torch.float32, device=torch.device("cpu")).train()
    answers(model, tokenizer, prompts, Sampling(max_tokens=2))
    assert model.training and torch.is_grad_enabled()


# ---- streaming


@pytest.fixture
def playground(workspace: Workspace) -> Playground:
    return Playground(workspace, Turns())


BASE = Speaker("base", "starter")
QUESTION = [{"role": "user", "content": "Why does bread rise?"}]


def test_a_stream_ends_with_the_whole_answer(playground: Playground, tokenizer: PreTrainedTokenizerBase) -> None:
    replies = list(playground.stream(BASE, QUESTION, Sampling(max_tokens=LENGTH)))
    model, _ = playground.shelf.get(BASE)
    expected = tokens_of(model, tokenizer, [encode_prompt(QUESTION, tokenizer)])[0]
    assert replies[-1].text == tokenizer.decode(expected, skip_special_tokens=True)
    assert (replies[-1].tokens, replies[-1].end) == (len(expected), "cut off" if len(expected) == LENGTH else "finished")
    assert all(reply.end == "" for reply in replies[:-1])


@pytest.mark.fault("stop mid-stream")
def test_a_stream_can_be_stopped(playground: Playground) -> None:
    model, _ = playground.shelf.get(BASE)  # before it is loaded, or has read the prompt, it would be stopped even earlier
    read: list[int] = []
    model.model.norm.register_forward_hook(lambda *_: read.append(1))  # behind the last layer
    *_, last = playground.stream(BASE, QUESTION, Sampling(max_tokens=LENGTH), stopped=lambda: bool(read))
    assert (last.tokens, last.end) == (1, "stopped")


@pytest.mark.fault("a prompt that is empty, 1 MB, or longer than the context")
def test_a_conversation_longer_than_the_model_reads_is_refused(playground: Playground) -> None:
    with pytest.raises(UserError, match=r"tokens long, and the model reads at most 512"):
        list(playground.stream(BASE, [{"role": "user", "content": "why? " * 600}], Sampling()))


def test_the_device_is_let_go_between_tokens(base: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]) -> None:
    held: list[bool] = [False]

    @contextmanager
    def turn() -> Iterator[None]:
        assert not held[0]
        held[0] = True
        yield
        held[0] = False

    for _ in Decoder(base, tokenizer).decode(prompts, Sampling(max_tokens=3), turn=turn):
        assert not held[0]


def test_the_nearest_tokens_of_a_soft_prompt_are_the_words_it_began_as(tiny_model: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    base = models.load(tiny_model, torch.float32, device=torch.device("cpu"))
    model = parse({"name": "prompt", "virtual_tokens": 6, "initial_text": "Why does bread rise?"}).attach(base, tokenizer)
    assert isinstance(model, PeftModel)
    words = (tokenizer("Why does bread rise?")["input_ids"] * 6)[:6]
    nearest = nearest_tokens(model, tokenizer)
    assert [options[0][0] for options in nearest] == [tokenizer.decode([word]) for word in words]
    assert all(options[0][1] == pytest.approx(1, abs=1e-5) and len(options) == 3 for options in nearest)


# ---- turns on the device


class Line:
    """Threads that take their turn and note it; `wait_for` sees to the order in which they came."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.took = turns, []
        self.threads: list[threading.Thread] = []

    def join_in(self, name: str, *, quick: bool) -> None:
        waiting = len(self.turns._quick) + len(self.turns._patient)
        thread = threading.Thread(target=self._take, args=(name, quick), daemon=True)
        self.threads.append(thread)
        thread.start()
        wait_for(lambda: len(self.turns._quick) + len(self.turns._patient) == waiting + 1)

    def _take(self, name: str, quick: bool) -> None:
        with self.turns.take(quick=quick):
            self.took.append(name)

    def finish(self) -> list[str]:
        for thread in self.threads:
            thread.join(timeout=10)
            assert not thread.is_alive()
        return self.took


def wait_for(condition: object, *, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.001)


def test_quick_turns_go_before_patient_ones_and_each_kind_in_its_order() -> None:
    turns = Turns(patience=60)
    line = Line(turns)
    with turns.take():
        for name, quick in (("step 1", False), ("token 1", True), ("step 2", False), ("token 2", True)):
            line.join_in(name, quick=quick)
    assert line.finish() == ["token 1", "token 2", "step 1", "step 2"]


def test_patience_has_its_bound() -> None:
    turns = Turns(patience=0.05)
    line = Line(turns)
    with turns.take():
        line.join_in("step", quick=False)
        line.join_in("token", quick=True)
        wait_for(lambda: time.monotonic() - turns._patient[0].since > 0.05)
    assert line.finish() == ["step", "token"]


def test_patience_that_runs_out_while_it_is_decided_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.repeat(0.0)  # at the clock
    monkeypatch.setattr("backend.device.time", SimpleNamespace(monotonic=lambda: next(looks)))
    turns = Turns(patience=1.0)
    line = Line(turns)
    with turns.take():
        line.join_in("step", quick=False)
        line.join_in("token", quick=True)
        looks = itertools.chain([0.9], itertools.repeat(1.1))
    assert line.finish() == ["token", "step"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer that breaks off waiting")
def test_who_is_broken_off_while_waiting_is_waited_for_no_longer() -> None:
    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    turns, let_go = Turns(), threading.Event()
    line = Line(turns)
    before = signal.signal(signal.SIGALRM, break_off)
    try:
        holder = threading.Thread(target=_hold, args=(turns, let_go))
        holder.start()
        wait_for(lambda: turns._holder)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt), turns.take():
            pass
        line.join_in("token", quick=True)
        let_go.set()
        assert line.finish() == ["token"]
    finally:
        signal.signal(signal.SIGALRM, before)


def _hold(turns: Turns, until: threading.Event) -> None:
    with turns.take():
        until.wait(timeout=10)


def test_the_device_has_one_holder_at_a_time() -> None:
    turns, inside, most = Turns(), [0], [0]

    def work(quick: bool) -> None:
        for _ in range(50):
            with turns.take(quick=quick):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)  # offer the other threads a chance to break in
                inside[0] -= 1

    threads = [threading.Thread(target=work, args=(quick,)) for quick in (True, True, False, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert most == [1]


def test_a_fault_inside_a_turn_lets_the_device_go() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError), turns.take():
        raise RuntimeError
    with turns.take():
        pass
