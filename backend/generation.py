"""Answers, one token at a time, for several prompts at once.

Works through every method: soft prompts and prefixes are laid before each prompt by ourselves, so that prompts of
different length can share a batch and each answers as it would alone, but for rounding. Sampling draws from generators of its
own, never from torch's global one: chatting must not change the curve of a run in training.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from backend.device import dismiss_helpers
from backend.errors import Stopped
from backend.fast.batching import Batcher, Turn
from backend.fast.decoding import Body, Group, decodes_quickly
from backend.sampling import Sampling
from backend.soft_prompts import learnt_beginning


@dataclass
class Prefilled:
    """A batch as it has been read so far: the logits after the prompts, and what later steps need."""

    logits: torch.Tensor  # [rows, vocabulary]
    cache: Any
    mask: torch.Tensor  # [rows, everything before], 1 where there is something to look at
    positions: torch.Tensor  # [rows], of the next token


class Decoder:
    """Decodes with one model: base or adapted. `prompts` are token ids, one list per row."""

    def __init__(self, model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, batcher: Batcher | None = None) -> None:
        """`batcher`: whom to take steps together with. Models it cannot step go the libraries' way."""
        self.model, self.batcher = model, batcher or Batcher()
        self.causal: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
        self.ends = torch.tensor(sorted(_end_tokens(self.causal, tokenizer)), device=self.causal.device)

    def decode(
        self, prompts: Sequence[list[int]], sampling: Sampling, *, turn: Turn = nullcontext, should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[list[int | None]]:
        """Yields the next token of every row, None where a row has ended; stops when all have.

        `turn` makes a context that is held while the device works and let go between tokens. Whoever takes the tokens stops by
        taking no more; before the first one, which is long in coming after a long prompt, `should_stop` is asked, and `Stopped`
        raised.
        """
        generators = [torch.Generator(self.causal.device).manual_seed(sampling.seed + row) for row in range(len(prompts))]
        ended = torch.zeros(len(prompts), dtype=torch.bool, device=self.causal.device)
        with turn(), evaluating(self.model), stopping_between_layers(self.causal, should_stop):
            body = Body(self.causal) if decodes_quickly(self.causal) else None  # as the model is in this turn
            state = self._read(prompts, body)
        with self._reader(state, body, turn) as read:
            logits = state.logits
            for left in reversed(range(sampling.max_tokens)):
                tokens = choose(logits, sampling, generators)
                dismiss_helpers()  # out of turn, and so in the way of whoever has it
                ended = ended | torch.isin(tokens, self.ends)
                yield [None if done else token for token, done in zip(tokens.tolist(), ended.tolist(), strict=True)]
                if ended.all() or not left:
                    return
                logits = read(tokens)

    @contextmanager
    def _reader(self, state: Prefilled, body: Body | None, turn: Turn) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """What reads one more token of every row, [rows], and gives the logits of the next ones, [rows, vocabulary]."""
        if body is None:
            yield partial(self._step, state, turn)
            return
        group = Group.after(body, state.cache, state.mask, state.positions)
        with self.batcher.joined(group):
            yield partial(self.batcher.step, group, turn=turn)

    def _read(self, prompts: Sequence[list[int]], body: Body | None) -> Prefilled:
        """One pass over the prompts, padded on the left, behind whatever the method puts before them."""
        causal, embed = self.causal, self.causal.get_input_embeddings()
        begun = learnt_beginning(self.model, len(prompts))
        width = max(map(len, prompts)) + begun.vectors.shape[1]
        rows = [torch.cat((head, embed(torch.tensor(ids, device=causal.device)))) for head, ids in zip(begun.vectors, prompts, strict=True)]
        embeds = torch.stack([torch.nn.functional.pad(row, (0, 0, width - len(row), 0)) for row in rows])
        mask = torch.stack([(torch.arange(width, device=causal.device) >= width - len(row)).long() for row in rows])
        positions = (mask.cumsum(1) - 1).clamp(min=0) + begun.prefix
        mask = torch.cat((mask.new_ones(len(rows), begun.prefix), mask), 1)
        asked = {"inputs_embeds": embeds, "attention_mask": mask, "position_ids": positions, "past_key_values": begun.cache, "use_cache": True}
        if body:  # the libraries' own head copies its matrix for one token of a long row: half of the time a short prompt takes
            outputs = causal.model(**asked)
            logits = body.head(outputs.last_hidden_state[:, -1])
        else:
            outputs = causal(**asked, logits_to_keep=1)
            logits = outputs.logits[:, -1]
        return Prefilled(logits, outputs.past_key_values, mask, positions[:, -1] + 1)

    def _step(self, state: Prefilled, turn: Turn, tokens: torch.Tensor) -> torch.Tensor:
        """The libraries' own step: tokens [rows] -> logits [rows, vocabulary]."""
        state.mask = torch.cat((state.mask, state.mask.new_ones(len(tokens), 1)), 1)
        with turn(), evaluating(self.model):
            outputs = self.causal(
                input_ids=tokens[:, None], attention_mask=state.mask, position_ids=state.positions[:, None],
                past_key_values=state.cache, use_cache=True,
            )
        state.positions = state.positions + 1
        return outputs.logits[:, -1]


@contextmanager
def stopping_between_layers(causal: PreTrainedModel, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Within this block a pass through the model can be broken off: before each layer it is asked whether to stop, and `Stopped` raised."""

    def ask(*_: Any) -> None:
        if should_stop():
            raise Stopped

    lists = [part for part in causal.modules() if isinstance(part, torch.nn.ModuleList)]
    layers = max(lists, key=len, default=())
    hooks = [layer.register_forward_pre_hook(ask) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class evaluating(AbstractContextManager[None]):
    """No gradients and no dropout inside; the model is put back as it was."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.no_grad = model, torch.no_grad()

    def __enter__(self) -> None:
        self.was_training = self.model.training
        if self.was_training:
            self.model.eval()
        self.no_grad.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.no_grad.__exit__(*error)
        if self.was_training:
            self.model.train()


def choose(logits: torch.Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """The next token of each row. logits: [rows, vocabulary] -> [rows]."""
    if sampling.temperature == 0:
        return logits.max(-1).indices  # the first of those alike, as argmax, which takes six times as long in bf16
    probabilities = (logits.float() / sampling.temperature).softmax(-1)
    if sampling.top_p == 1:
        return _drawn(probabilities, generators)
    ranked, order = probabilities.sort(-1, descending=True)
    before = ranked.cumsum(-1) - ranked  # what the likelier ones hold; the likeliest is always kept
    ranked[before >= sampling.top_p] = 0
    drawn = [torch.multinomial(row, 1, generator=generator) for row, generator in zip(ranked, generators, strict=True)]
    return order.gather(-1, torch.stack(drawn))[:, 0]


def _drawn(probabilities: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """A token of each row's whole distribution, with no need to rank the vocabulary: [rows, vocabulary] -> [rows]."""
    reached = probabilities.cumsum(-1)
    dice = torch.stack([torch.rand(1, generator=generator, device=generator.device) for generator in generators])
    return torch.searchsorted(reached, dice * reached[:, -1:], right=True)[:, 0].clamp(max=reached.shape[1] - 1)


def answers(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]], sampling: Sampling,
    *, turn: Turn = nullcontext, should_stop: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Whole answers to a batch of prompts, shorter if told to stop."""
    if not prompts:
        return []
    said: list[list[int]] = [[] for _ in prompts]
    with suppress(Stopped):
        for tokens in Decoder(model, tokenizer).decode(prompts, sampling, turn=turn, should_stop=should_stop):
            for row, token in enumerate(tokens):
                if token is not None:
                    said[row].append(token)
            if should_stop():
                break
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in said]


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    configured = model.generation_config.eos_token_id if model.generation_config else None
    configured = configured if isinstance(configured, list) else [configured]
    return {token for token in [*configured, tokenizer.eos_token_id] if token is not None}
