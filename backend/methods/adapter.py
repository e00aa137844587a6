"""Bottleneck adapters: small new layers between the old ones."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.methods import MethodSettings

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from backend.models import ModelShape


class Adapter(MethodSettings):
    order: ClassVar[int] = 6
    title: ClassVar[str] = "Adapter"
    sentence: ClassVar[str] = "Adds small layers between the old ones. Cannot be merged: it stays a part of its own."
    paper: ClassVar[str] = "https://arxiv.org/abs/1902.00751"
    activation_share: ClassVar[float] = 0.43
    default_learning_rate: ClassVar[float] = 1e-3
    mergeable: ClassVar[bool] = False

    name: Literal["adapter"] = "adapter"
    placement: Literal["houlsby", "pfeiffer"] = Field(
        "houlsby", title="Placement",
        description="houlsby: after the attention and after the MLP. pfeiffer: once, at the end of the layer; half the size "
        "(arXiv 2005.00247).",
    )
    reduction: int = Field(
        16, ge=1, le=1024, title="Reduction",
        description="How much narrower the small layer is than the model. Lower learns more and is larger.",
    )
    activation: Literal["relu", "gelu", "silu"] = Field(
        "relu", title="Activation", description="The bend between the two small matrices. Rarely matters much.",
    )
    upper_layers: int | None = Field(
        None, ge=1, le=1000, title="Only the upper layers",
        description="Adapters in so many of the last layers only: faster and smaller. Empty: in all.",
    )

    def trainable_parameters(self, shape: "ModelShape") -> int:
        """Per place: down to the bottleneck and up again, with biases."""
        width = self.bottleneck(shape)
        places = self._layers(shape) * (2 if self.placement == "houlsby" else 1)
        return places * (shape.hidden * width + width + width * shape.hidden + shape.hidden)

    def bottleneck(self, shape: "ModelShape") -> int:
        """Width of the small layer."""
        return max(1, shape.hidden // self.reduction)

    def attach(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PeftModel":
        """The model with adapters that add nothing until a step is made."""
        from peft import get_peft_model

        from backend.models import shape_of, task_type
        from backend.tuners.bottleneck import BottleneckConfig

        shape = shape_of(model)
        config = BottleneckConfig(
            target_modules=self._places(shape), placement=self.placement, hidden=shape.hidden,
            bottleneck=self.bottleneck(shape), activation=self.activation, task_type=task_type(model),
        )
        return get_peft_model(model, config)

    def _layers(self, shape: "ModelShape") -> int:
        return min(self.upper_layers or shape.layers, shape.layers)

    def _places(self, shape: "ModelShape") -> list[str]:
        """Full module names: whole layers for Pfeiffer, the last projection of each sub-layer for Houlsby."""
        layers = [f"{shape.layers_path}.{n}" for n in range(shape.layers - self._layers(shape), shape.layers)]
        if self.placement == "pfeiffer":
            return layers
        last = {p.part: p.path for p in shape.projections}  # later projections overwrite earlier ones
        return [f"{layer}.{path}" for layer in layers for path in last.values()]
