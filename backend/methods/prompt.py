"""Prompt tuning: learnt word vectors put before the text."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.data.tokens import ids_of_length
from backend.methods import MethodSettings

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from backend.models import ModelShape


INITIAL_TEXT = "Answer the question briefly and clearly, always in the same form."


class Prompt(MethodSettings):
    order: ClassVar[int] = 5
    title: ClassVar[str] = "Prompt"
    sentence: ClassVar[str] = "Learns a few word vectors that stand before every prompt. The smallest of all."
    paper: ClassVar[str] = "https://arxiv.org/abs/2104.08691"
    activation_share: ClassVar[float] = 0.34
    default_learning_rate: ClassVar[float] = 3e-2
    mergeable: ClassVar[bool] = False

    name: Literal["prompt"] = "prompt"
    virtual_tokens: int = Field(
        20, ge=1, le=512, title="Length of the soft prompt (tokens)",
        description="How many learnt vectors stand before the text. More can hold more, and slow every answer a little.",
    )
    initial_text: str = Field(
        INITIAL_TEXT, max_length=2000, title="Start from this text",
        description="The vectors begin as these words, repeated or cut to length. Empty: begin at random words, which learns slower.",
    )

    @property
    def extra_positions(self) -> int:
        return self.virtual_tokens

    def trainable_parameters(self, shape: "ModelShape") -> int:
        """One vector of the model's width per position."""
        return self.virtual_tokens * shape.hidden

    def attach(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PeftModel":
        """The model with a soft prompt before the text, made of `initial_text` or of random words."""
        import torch
        from peft import PromptTuningConfig, get_peft_model

        peft_model = get_peft_model(model, PromptTuningConfig(num_virtual_tokens=self.virtual_tokens, task_type="CAUSAL_LM"))
        ids = ids_of_length(self.initial_text, self.virtual_tokens, tokenizer)
        start = torch.tensor(ids) if ids else torch.randint(0, len(tokenizer), (self.virtual_tokens,))
        with torch.no_grad():
            words = model.get_input_embeddings()(start.to(model.device))  # [virtual_tokens, hidden]
            peft_model.prompt_encoder["default"].embedding.weight.copy_(words)
        return peft_model
