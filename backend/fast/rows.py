"""Rows of tokens laid end to end in one long row: no padding is computed, and what several rows begin with is read once.

Rows that begin alike are answers to one prompt, or conversations behind one system prompt. What a causal model makes of a
beginning does not depend on what follows, so a row may look back at that of another. `attention.attend` is told by
`Layout.mask`, which stands in the attention mask's place.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

FEWEST = 8  # tokens that are worth being read once


@dataclass(frozen=True)
class Layout:
    """What of some rows is read, and behind what."""

    read: torch.Tensor  # [rows, tokens], whether a token is; row after row they make the long row
    lengths: torch.Tensor  # [rows], tokens of each row that are read
    shared: torch.Tensor  # [rows], tokens before those, which are read with another row
    parents: torch.Tensor  # [rows], that row; an earlier one

    @property
    def positions(self) -> torch.Tensor:
        """The place in its row of every token read: [tokens of the long row]."""
        places = torch.arange(self.read.shape[1], device=self.read.device)
        return places.expand_as(self.read)[self.read]

    @property
    def mask(self) -> torch.Tensor:
        """What the attention has to know: [1, 1, 3, rows]. A mask of four dimensions is one that libraries hand on as it is."""
        return torch.stack((self.lengths, self.shared, self.parents))[None, None]


def lay_out(input_ids: torch.Tensor, wanted: torch.Tensor, *, once: bool = True) -> Layout:
    """Rows as far as anything in them is wanted; with `once`, what they begin with alike is read with the first of them.

    input_ids: [rows, tokens], padded on the right; wanted: [rows, tokens], where the model's answer is asked for: somewhere
    in every row.
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    first, ends = wanted.int().argmax(1), ((places + 1) * wanted).amax(1)
    shared, parents = _beginnings(input_ids, first, ends) if once else (torch.zeros_like(ends), torch.zeros_like(ends))
    return Layout((places >= shared[:, None]) & (places < ends[:, None]), ends - shared, shared, parents)


def drops_out(model: nn.Module) -> bool:
    """Whether a model in training leaves parts of what it reads out by chance: then every row is to be read on its own."""
    parts = list(model.modules())
    configs = [part.config for part in parts if isinstance(part, PreTrainedModel)]
    return any(isinstance(part, nn.Dropout) and part.p > 0 for part in parts) or any(getattr(config, "attention_dropout", 0) for config in configs)


def _beginnings(input_ids: torch.Tensor, first: torch.Tensor, ends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of each row another one has too, and which: [rows] each. first: where it is asked first; ends: how far it is read."""
    shared, parents = torch.zeros_like(ends), torch.zeros_like(ends)
    for row in range(1, len(input_ids)):
        unlike = input_ids[:row] != input_ids[row]
        alike = torch.where(unlike.any(1), unlike.int().argmax(1), input_ids.shape[1])
        most, parent = torch.minimum(alike, ends[:row]).clamp(max=first[row]).max(0)
        if most >= FEWEST:
            shared[row], parents[row] = most, parent
    return shared, parents
