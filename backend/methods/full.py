"""Full fine-tuning: every weight may change."""

from typing import TYPE_CHECKING, ClassVar, Literal

from backend.methods import MethodSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from backend.models import ModelShape


class Full(MethodSettings):
    order: ClassVar[int] = 1
    title: ClassVar[str] = "Full"
    sentence: ClassVar[str] = "Changes every weight. Learns the most, forgets the most, and needs the most memory."
    paper: ClassVar[str] = "https://arxiv.org/abs/1801.06146"
    activation_share: ClassVar[float] = 0.36
    default_learning_rate: ClassVar[float] = 5e-5
    mergeable: ClassVar[bool] = False  # nothing to merge: the result is a model of its own

    name: Literal["full"] = "full"

    def trainable_parameters(self, shape: "ModelShape") -> int:
        return shape.parameters

    def weight_bytes(self, shape: "ModelShape", dtype: "torch.dtype") -> int:
        return 4 * shape.parameters  # kept in fp32: a bf16 weight cannot take a step of 1e-5

    def weight_dtype(self, dtype: "torch.dtype") -> "torch.dtype":
        import torch

        return torch.float32

    def attach(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
        """The model itself, every weight trainable."""
        model.requires_grad_(True)
        return model
