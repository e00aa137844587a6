"""What a model thinks of a text: the cross-entropy of its tokens, the log probability of an answer, or one number.

A vocabulary has tens of thousands of entries, so logits are most of the work and of the memory of a small model's
step. Prompts and padding are never scored here, and logits exist for some tokens at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from backend.examples import IGNORED
from backend.fast.attention import keeps_rows_apart, takes_rows_end_to_end
from backend.fast.embedding import head_matrix
from backend.fast.head import HeadLogprobs, HeadLoss, Through
from backend.fast.rows import Layout, drops_out, lay_out
from backend.soft_prompts import has_soft_prompt, learnt_beginning

Places = tuple[torch.Tensor, torch.Tensor]  # (row, place) of tokens: [rows] each
LARGE = 1024  # a power of two: exact in every float type


class Scorer:
    """Scores a model's trained tokens. Made once per model; works through the wrappers of PEFT and of Accelerate.

    The head is taken off for the body's pass and applied to trained positions only. Architectures that do more than
    one matrix product there (scaling, soft caps) are found out by a trial and scored through their own logits.
    """

    def __init__(self, model: nn.Module, unwrapped: nn.Module) -> None:
        """`model` is called; `unwrapped` is the same without what Accelerate may have put around it."""
        self.model, self.unwrapped = model, unwrapped
        self.causal: PreTrainedModel = unwrapped.get_base_model() if isinstance(unwrapped, PeftModel) else unwrapped
        self.head: nn.Linear = self.causal.get_output_embeddings()
        self.plain_head = self._head_is_one_product()
        is_ours_to_call = model is unwrapped or not has_soft_prompt(unwrapped)
        self.rows_lie_end_to_end = is_ours_to_call and takes_rows_end_to_end(self.causal) and keeps_rows_apart(self.causal)
        self.reads_once = not drops_out(unwrapped)

    def loss(self, input_ids: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sum of -log p(label | before) over positions with a label.

        input_ids, labels: [rows, tokens], padded on the right; labels are IGNORED where nothing is learnt.
        weights: [rows, tokens], the weight of each label. Returns a scalar in fp32.
        """
        wanted = labels[:, 1:] != IGNORED  # the token at t is predicted from those before it
        targets, weights = labels[:, 1:][wanted], weights[:, 1:][wanted]
        if not self.plain_head:
            logits = self._predicting(input_ids, labels)
            return (F.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()
        with _taken_off(self.head):
            hidden = self._predicting(input_ids, labels)
        weight, bias = head_matrix(self.causal), self.head.bias
        if not torch.is_grad_enabled():  # of which the function itself is not told, and would make gradients for nobody
            weight, bias = weight.detach(), None if bias is None else bias.detach()
        return HeadLoss.apply(hidden, weight, bias, targets, weights)

    def logprobs(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """log p of each row's labelled tokens, given what came before them, summed: [rows], in fp32.

        input_ids, labels: [rows, tokens], padded on the right; labels are IGNORED elsewhere.
        """
        each, _ = self.tokens(input_ids, labels)
        rows = (labels[:, 1:] != IGNORED).nonzero()[:, 0]
        return torch.zeros(len(input_ids), device=each.device).index_add(0, rows, each)

    def tokens(self, input_ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log p of every labelled token, row after row: [labelled], in fp32; and the state each was predicted from:
        [labelled, width], what goes into the head."""
        wanted = labels[:, 1:] != IGNORED
        targets = labels[:, 1:][wanted]
        if self.plain_head:
            with _taken_off(self.head):
                hidden = self._predicting(input_ids, labels)
            return HeadLogprobs.apply(hidden, head_matrix(self.causal), self.head.bias, targets), hidden
        with _listening_to(self.head) as seen:
            logits = self._outputs(input_ids)[:, :-1][wanted]
        hidden = seen[0][:, seen[0].shape[1] - input_ids.shape[1] :][:, :-1][wanted]
        return -F.cross_entropy(logits.float(), targets, reduction="none"), hidden

    @torch.no_grad()
    def entropy(self, hidden: torch.Tensor) -> torch.Tensor:
        """How undecided the model is in each state, in nats: [states, width] -> [states]. Scaling and caps of odd heads aside."""
        each = []
        for _, logits in Through(hidden, self.head.weight, self.head.bias).tiles():
            logprobs = logits.log_softmax(-1)
            each.append(-(logprobs.exp() * logprobs).sum(-1))
        return torch.cat(each)

    def _predicting(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What the model puts out where the next token has a label: [labelled, width]."""
        wanted = labels[:, 1:] != IGNORED
        if not self.rows_lie_end_to_end or not wanted.any():
            return self._outputs(input_ids)[:, :-1][wanted]
        asked = wanted.any(1)  # a row of which nothing is asked is not read
        ids, wanted = input_ids[asked, :-1], wanted[asked]
        layout = lay_out(ids, wanted, once=self.reads_once)
        if has_soft_prompt(self.unwrapped):
            return self._behind_beginnings(ids[layout.read], layout)[wanted[layout.read]]
        return _read(self.model, ids, layout).logits[0][wanted[layout.read]]

    def _behind_beginnings(self, ids: torch.Tensor, layout: Layout) -> torch.Tensor:
        """What the model puts out for rows end to end, each behind what has been learnt to stand before it: [tokens, width].

        ids: [tokens]. PEFT's own pass knows of no rows end to end.
        """
        begun = learnt_beginning(self.unwrapped, 1)
        vectors = begun.vectors.shape[1]
        more = torch.where(layout.shared > 0, 0, vectors)  # a row that another has begun has them from there
        rows = self.causal.get_input_embeddings()(ids).split(layout.lengths.tolist())
        whole = [torch.cat((begun.vectors[0, :new], row)) for row, new in zip(rows, more.tolist(), strict=True)]
        shared = torch.where(layout.shared > 0, layout.shared + vectors, 0)
        positions = torch.cat([torch.arange(len(row), device=ids.device) + start for row, start in zip(whole, shared.tolist(), strict=True)])
        mask = replace(layout, lengths=layout.lengths + more, shared=shared).mask
        outputs = self.causal(
            inputs_embeds=torch.cat(whole)[None], position_ids=positions[None] + begun.prefix, attention_mask=mask,
            past_key_values=begun.cache, use_cache=False,
        ).logits[0]
        return torch.cat([row[new:] for row, new in zip(outputs.split([len(row) for row in whole]), more.tolist(), strict=True)])

    def _outputs(self, input_ids: torch.Tensor) -> torch.Tensor:
        """What the model puts out for the text itself: a soft prompt's own positions are dropped.

        No attention mask: causal attention never looks right, where the padding is.
        """
        outputs = self.model(input_ids=input_ids, use_cache=False).logits
        return outputs[:, outputs.shape[1] - input_ids.shape[1] :]

    @torch.no_grad()
    def _head_is_one_product(self) -> bool:
        trial = torch.arange(4, device=self.causal.device)[None]
        was_training = self.causal.training
        self.causal.eval()  # dropout would make the two passes differ
        logits = self.causal(input_ids=trial, use_cache=False).logits
        with _taken_off(self.head):
            hidden = self.causal(input_ids=trial, use_cache=False).logits
        with _taken_off(self.head, times=LARGE):  # a soft cap bends large logits alone
            large = self.causal(input_ids=trial, use_cache=False).logits
        self.causal.train(was_training)
        if hidden.shape[-1] != self.head.weight.shape[1] or not torch.allclose(large, LARGE * hidden, rtol=1e-3):
            return False
        return torch.allclose(F.linear(hidden, self.head.weight, self.head.bias).float(), logits.float(), rtol=1e-3, atol=1e-3)


class RewardScorer:
    """Scores whole texts with a model whose head puts out one number (AutoModelForSequenceClassification, one label)."""

    def __init__(self, model: nn.Module, unwrapped: nn.Module) -> None:
        self.model = model
        causal = unwrapped.get_base_model() if isinstance(unwrapped, PeftModel) else unwrapped
        self.head: nn.Module = causal.score
        self.rows_lie_end_to_end = not has_soft_prompt(unwrapped) and takes_rows_end_to_end(causal) and keeps_rows_apart(causal)
        self.reads_once = not drops_out(unwrapped)

    def rewards(self, input_ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The number at each row's last token: [rows], in fp32.

        input_ids: [rows, tokens], padded on the right; lengths: [rows]. The model's own pooling looks for the padding
        token, which some models also end their turns with; we know where each row ends.
        """
        with _looking_into(self.head) as seen:
            if self.rows_lie_end_to_end:
                last = self._read_end_to_end(input_ids, lengths)
            else:
                last = self._read_padded(input_ids, lengths)
        with torch.autocast(input_ids.device.type, enabled=False):
            return self.head(seen[0][last].float())[:, 0]

    def _read_padded(self, input_ids: torch.Tensor, lengths: torch.Tensor) -> Places:
        """Let the model read; gives where each row's last token was in that: (row, place)."""
        self.model(input_ids=input_ids, use_cache=False)
        return torch.arange(len(lengths), device=lengths.device), lengths - 1 - input_ids.shape[1]  # from the right: a prompt may stand before

    def _read_end_to_end(self, input_ids: torch.Tensor, lengths: torch.Tensor) -> Places:
        last = torch.arange(input_ids.shape[1], device=lengths.device) == lengths[:, None] - 1
        layout = lay_out(input_ids, last, once=self.reads_once)
        _read(self.model, input_ids, layout)
        return torch.zeros_like(lengths), layout.lengths.cumsum(0) - 1


def _read(model: nn.Module, input_ids: torch.Tensor, layout: Layout) -> Any:
    """What a model puts out for rows end to end."""
    ids, positions = input_ids[layout.read], layout.positions
    return model(input_ids=ids[None], position_ids=positions[None], attention_mask=layout.mask, use_cache=False)


def scorer_of(model: nn.Module, unwrapped: nn.Module, head: str) -> "Scorer | RewardScorer":
    """The scorer for a head that puts out the next token ("language") or one number ("scalar")."""
    return RewardScorer(model, unwrapped) if head == "scalar" else Scorer(model, unwrapped)


@contextmanager
def _looking_into(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What goes into a module while a model runs; the module itself is spared the work."""
    seen: list[torch.Tensor] = []

    def take_note(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(hidden)
        return hidden[..., :1]

    module.forward = take_note  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del module.forward


@contextmanager
def _listening_to(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What goes into a module while a model runs."""
    seen: list[torch.Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def _taken_off(head: nn.Module, *, times: int = 1) -> Iterator[None]:
    """The model without its head: what goes into it comes out, enlarged if asked to. Library hooks are put back after."""
    hooked = head.__dict__.get("forward")
    head.forward = lambda hidden: hidden if times == 1 else hidden * times  # type: ignore[method-assign]
    try:
        yield
    finally:
        del head.forward
        if hooked is not None:
            head.forward = hooked  # type: ignore[method-assign]
