"""Prefix tuning: learnt keys and values that every layer can look at, before the text."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.specs import MethodSettings

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from backend.models import ModelShape


class Prefix(MethodSettings):
    order: ClassVar[int] = 4
    title: ClassVar[str] = "Prefix"
    sentence: ClassVar[str] = "Puts learnt memories before the text in every layer. Small, and the weights stay as they are."
    paper: ClassVar[str] = "https://arxiv.org/abs/2101.00190"
    default_learning_rate: ClassVar[float] = 1e-2
    mergeable: ClassVar[bool] = False

    name: Literal["prefix"] = "prefix"
    virtual_tokens: int = Field(
        20, ge=1, le=512, title="Length of the prefix (tokens)",
        description="How many learnt positions stand before the text. More can hold more, and slow every answer a little.",
    )

    def trainable_parameters(self, shape: "ModelShape") -> int:
        """A key and a value per position and layer."""
        return self.virtual_tokens * shape.layers * 2 * shape.key_value_width

    def attach(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PeftModel":
        """The model with a random prefix: its answers are disturbed until training has settled it."""
        from peft import PrefixTuningConfig, get_peft_model

        return get_peft_model(model, PrefixTuningConfig(num_virtual_tokens=self.virtual_tokens, task_type="CAUSAL_LM"))
