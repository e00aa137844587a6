"""How soon and how fast the studio answers: the first word, decoding beside `model.generate`, two panes at once.

Greedy answers to one question, of `TOKENS` tokens at most, as the chat asks for them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backend.data.tokens import Message, encode_prompt
from backend.device import Turns, device, dtype
from backend.generation import answers
from backend.inference import Playground, Speaker
from backend.models import STARTER, hush_libraries
from backend.sampling import Sampling
from tests.bench.findings import Finding, Place, lora_run

QUESTION: list[Message] = [{"role": "user", "content": "Tell me all you know about the rivers of Europe, one after the other."}]
TOKENS = 96
GREEDY = Sampling(temperature=0, max_tokens=TOKENS)
BASE = Speaker("base", STARTER)


def first_token(place: Place) -> Iterator[Finding]:
    """From asking to the first piece of the answer, for the base and for a LoRA run, each loaded."""
    playground, adapted = _playground(place, "first_token")
    for who, speaker in (("the base", BASE), ("a LoRA run", adapted)):
        _speak(playground, speaker)
        waits = [_seconds_to_first(playground, speaker) for _ in range(place.times)]
        yield Finding(f"chat: asked until the first token of {who}, loaded", waits, "s", 0.4)


def decoding(place: Place) -> Iterator[Finding]:
    """Tokens per second of the studio's decoding and of transformers' own on the same weights, in turns."""
    hush_libraries()
    plain = Plain(place.model)
    loaded, _ = Playground(place.workspace("decoding"), Turns()).shelf.get(BASE)
    sides = (lambda: plain.tokens(answers(loaded, plain.tokenizer, [plain.ids], GREEDY)[0]), plain.generate)
    pairs = list(in_turns(sides, place.times))
    ratios = [ours / stock for ours, stock in pairs]
    note = f"{max(ours for ours, _ in pairs):.0f} against {max(stock for _, stock in pairs):.0f} tokens/s at best"
    yield Finding("chat: decoding beside model.generate", ratios, "times", 2, at_least=True, note=note)


def side_by_side(place: Place) -> Iterator[Finding]:
    """Base and LoRA run, both streaming, against one after the other."""
    playground, adapted = _playground(place, "side_by_side")
    both = (BASE, adapted)

    def one_after_the_other() -> int:
        return sum(_speak(playground, speaker) for speaker in both)

    pairs = list(in_turns((lambda: _at_once(playground, both), one_after_the_other), place.times))
    note = f"{max(together for together, _ in pairs):.0f} against {max(alone for _, alone in pairs):.0f} tokens/s at best"
    ratios = [together / alone for together, alone in pairs]
    yield Finding("chat: both panes at once beside one after the other", ratios, "times", 1.6, at_least=True, note=note)


class Plain:
    """What a script of transformers' documentation does: load, `generate`."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype("auto")).to(device()).eval()
        self.ids = encode_prompt(QUESTION, self.tokenizer)

    def generate(self) -> int:
        """How many tokens it wrote."""
        asked = torch.tensor([self.ids], device=device())
        written = self.model.generate(asked, attention_mask=torch.ones_like(asked), do_sample=False, max_new_tokens=TOKENS)
        return written.shape[1] - len(self.ids)

    def tokens(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def in_turns(sides: tuple[Callable[[], int], Callable[[], int]], times: int) -> Iterator[tuple[float, float]]:
    """Tokens per second of two sides that each say how many tokens they made: A B, B A, ..., after one of each untimed."""
    for side in sides:
        side()
    for number in range(times):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        speeds = {at: _speed(sides[at]) for at in order}
        yield speeds[0], speeds[1]


def _playground(place: Place, name: str) -> tuple[Playground, Speaker]:
    """Chat in a workspace with one LoRA run."""
    hush_libraries()
    workspace = place.workspace(name)
    return Playground(workspace, Turns()), Speaker("run", lora_run(workspace).id)


def _speak(playground: Playground, speaker: Speaker) -> int:
    *_, last = playground.stream(speaker, QUESTION, GREEDY)
    return last.tokens


def _seconds_to_first(playground: Playground, speaker: Speaker) -> float:
    begun = time.perf_counter()
    stream = playground.stream(speaker, QUESTION, GREEDY)
    next(stream)
    seconds = time.perf_counter() - begun
    stream.close()
    return seconds


def _at_once(playground: Playground, speakers: Sequence[Speaker]) -> int:
    """Both stream, each to a reader of its own, as the page's panes do."""
    said: list[int] = []
    panes = [threading.Thread(target=lambda who=who: said.append(_speak(playground, who))) for who in speakers]
    for pane in panes:
        pane.start()
    for pane in panes:
        pane.join()
    return sum(said)


def _speed(side: Callable[[], int]) -> float:
    begun = time.perf_counter()
    return side() / (time.perf_counter() - begun)
