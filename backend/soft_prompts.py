"""What a learnt prompt or prefix puts before every text, for passes that are not PEFT's own."""

from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel


@dataclass(frozen=True)
class Beginning:
    """What stands before each of some rows."""

    vectors: torch.Tensor  # [rows, n, width], to be read before the text; n is 0 but for a learnt prompt
    cache: Any  # keys and values of a learnt prefix, [rows, heads, n, width] a layer, or None
    prefix: int  # how many positions those take


def has_soft_prompt(model: torch.nn.Module) -> bool:
    """Whether learnt positions stand before every text now: PEFT's `disable_adapter` takes them away for a while."""
    return isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning and not model._adapters_disabled


def learnt_beginning(model: torch.nn.Module, rows: int) -> Beginning:
    """The beginning of every row; nothing where a model has learnt none."""
    embed = (model.get_base_model() if isinstance(model, PeftModel) else model).get_input_embeddings()
    nothing = embed.weight.new_zeros(rows, 0, embed.weight.shape[1])
    if not has_soft_prompt(model):
        return Beginning(nothing, None, 0)
    config, learnt = model.active_peft_config, model.get_prompt(rows)
    if str(config.peft_type.value) == "PREFIX_TUNING":
        return Beginning(nothing, learnt, config.num_virtual_tokens)
    return Beginning(learnt.to(nothing.dtype), None, 0)
