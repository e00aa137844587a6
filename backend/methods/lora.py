"""LoRA: a low-rank correction beside chosen weight matrices."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from backend.methods import MethodSettings
from backend.settings import advanced

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from backend.models import ModelShape


class LowRank(MethodSettings):
    """The settings LoRA and QLoRA share."""

    paper: ClassVar[str] = "https://arxiv.org/abs/2106.09685"
    activation_share: ClassVar[float] = 0.32
    default_learning_rate: ClassVar[float] = 1e-3
    mergeable: ClassVar[bool] = True

    rank: int = Field(
        8, ge=1, le=1024, title="Rank",
        description="Width of the correction. Higher can learn more, and needs more memory and more rows.",
    )
    alpha: float = Field(
        16, gt=0, le=4096, title="Alpha",
        description="Strength of the correction: it is scaled by alpha / rank. Twice the rank is a usual choice.",
    )
    dropout: float = advanced(
        0.0, ge=0, le=0.9, title="Dropout",
        description="Share of inputs left out at random while training. A little helps against memorising few rows.",
    )
    targets: Literal["attention", "all"] = Field(
        "attention", title="Which matrices",
        description="attention: the query, key, value and output projections. all: the MLP's too, about three times as many.",
    )
    rslora: bool = advanced(
        False, title="Rank-stabilised (rsLoRA)",
        description="Scale by alpha / sqrt(rank), so that high ranks learn as fast as low ones. See arXiv 2312.03732.",
    )
    dora: bool = advanced(
        False, title="Weight-decomposed (DoRA)",
        description="Learn the length of each weight column apart from its direction. Often a little better, and "
        "slower. See arXiv 2402.09353.",
    )

    def trainable_parameters(self, shape: "ModelShape") -> int:
        """rank x (inputs + outputs) for each matrix, and with DoRA one length per output."""
        each = [self.rank * (p.inputs + p.outputs) + (p.outputs if self.dora else 0) for p in shape.targets(self.targets)]
        return shape.layers * sum(each)

    def saving(self, shape: "ModelShape") -> str:
        """The arithmetic of the saving, for one real matrix of this model."""
        matrix = shape.targets(self.targets)[0]
        d, k, r = matrix.outputs, matrix.inputs, self.rank
        full, low = d * k, r * (d + k)
        return f"{matrix.path.split('.')[-1]}: {r} x ({d} + {k}) = {low:,} instead of {d} x {k} = {full:,}, {low / full:.1%}"

    def attach(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PeftModel":
        """The model with a correction of zero beside each target: the same answers until a step is made."""
        from peft import LoraConfig, get_peft_model

        from backend.models import shape_of, task_type

        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, use_rslora=self.rslora, use_dora=self.dora,
            target_modules=[p.path for p in shape_of(model).targets(self.targets)], task_type=task_type(model),
        )
        return get_peft_model(model, config)


class Lora(LowRank):
    order: ClassVar[int] = 2
    title: ClassVar[str] = "LoRA"
    sentence: ClassVar[str] = "Learns a small correction beside the attention's matrices. The usual choice."

    name: Literal["lora"] = "lora"
