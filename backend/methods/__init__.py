"""How weights may change: one file per method, each a settings model that can attach itself to a model."""

from typing import TYPE_CHECKING, Any, ClassVar

from backend import registry
from backend.settings import Settings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

    from backend.models import ModelShape


class MethodSettings(Settings):
    """How weights may change. One file per method in this folder, found by listing it."""

    order: ClassVar[int]  # of the cards
    title: ClassVar[str]
    sentence: ClassVar[str]  # what it does, for the card
    paper: ClassVar[str]  # where it comes from
    default_learning_rate: ClassVar[float]  # proven on the starter model and data, see README
    mergeable: ClassVar[bool]  # whether its result can be folded into the base weights
    activation_share: ClassVar[float] = 1.0  # kept for the way back, of what stock parts keep; measured by `launch.py bench --only memory`

    name: str

    def trainable_parameters(self, shape: "ModelShape") -> int:
        """How many numbers this method learns in a model of this shape; exactly what `attach` makes trainable."""
        raise NotImplementedError

    @property
    def extra_positions(self) -> int:
        """Positions of the model's context that are taken up before the text begins."""
        return 0

    def saving(self, shape: "ModelShape") -> str:
        """The arithmetic of what is saved, for one real matrix; empty where there is none to show."""
        return ""

    def weight_bytes(self, shape: "ModelShape", dtype: "torch.dtype") -> int:
        """Memory of the base weights under this method."""
        return shape.parameters * dtype.itemsize

    def weight_dtype(self, dtype: "torch.dtype") -> "torch.dtype":
        """The type the base weights are loaded in, where matrix products run in `dtype`."""
        return dtype

    def quantization(self, dtype: "torch.dtype") -> "BitsAndBytesConfig | None":
        """How the base is packed while loading, if it is."""
        return None

    def attach(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel | PeftModel":
        """The model with what this method learns added, and only that trainable. Draws from torch's generator."""
        raise NotImplementedError


def all_methods() -> dict[str, type[MethodSettings]]:
    """Every method by name, in the order of the cards."""
    return registry.found_in(__name__, MethodSettings)  # type: ignore[return-value]


def parse(value: Any) -> MethodSettings:
    """A method's settings from plain values."""
    return registry.parse(value, all_methods(), "method")  # type: ignore[arg-type,return-value]
