"""Prefix tuning: learnt keys and values that every layer can look at, before the text."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.tokens import ids_of_length
from backend.methods import MethodSettings
from backend.methods.prompt import INITIAL_TEXT

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from backend.models import ModelShape


class Prefix(MethodSettings):
    order: ClassVar[int] = 4
    title: ClassVar[str] = "Prefix"
    sentence: ClassVar[str] = "Puts learnt memories before the text in every layer. Small, and the weights stay as they are."
    paper: ClassVar[str] = "https://arxiv.org/abs/2101.00190"
    activation_share: ClassVar[float] = 0.29
    default_learning_rate: ClassVar[float] = 1e-2
    mergeable: ClassVar[bool] = False

    name: Literal["prefix"] = "prefix"
    virtual_tokens: int = Field(
        20, ge=1, le=512, title="Length of the prefix (tokens)",
        description="How many learnt positions stand before the text. More can hold more, and slow every answer a little.",
    )
    initial_text: str = Field(
        INITIAL_TEXT, max_length=2000, title="Start from this text",
        description="The prefix begins as what the model makes of these words, repeated or cut to length. Empty: begin at "
        "random, which disturbs the model until training has settled it.",
    )

    @property
    def extra_positions(self) -> int:
        return self.virtual_tokens

    def trainable_parameters(self, shape: "ModelShape") -> int:
        """A key and a value per position and layer."""
        return self.virtual_tokens * shape.layers * 2 * shape.key_value_width

    def attach(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PeftModel":
        """The model with a prefix before every layer's keys and values: those of `initial_text`, or random ones."""
        import torch
        from peft import PrefixTuningConfig, get_peft_model

        ids = ids_of_length(self.initial_text, self.virtual_tokens, tokenizer)
        with torch.no_grad():
            read = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True).past_key_values if ids else None
        peft_model = get_peft_model(model, PrefixTuningConfig(num_virtual_tokens=self.virtual_tokens, task_type="CAUSAL_LM"))
        if read is not None:
            # each layer's keys and values are [1, heads, tokens, size]; PEFT keeps one row per token, layer by layer
            pairs = [half[0].transpose(0, 1).flatten(1) for layer in read.layers for half in (layer.keys, layer.values)]
            with torch.no_grad():
                peft_model.prompt_encoder["default"].embedding.weight.copy_(torch.cat(pairs, dim=1))
        return peft_model
