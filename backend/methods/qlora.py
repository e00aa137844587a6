"""QLoRA: LoRA beside a base whose weights are kept in 4 bits."""

from typing import TYPE_CHECKING, ClassVar, Literal

from backend.methods.lora import LowRank
from backend.settings import advanced

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig

    from backend.models import ModelShape


class QLora(LowRank):
    order: ClassVar[int] = 3
    title: ClassVar[str] = "QLoRA"
    sentence: ClassVar[str] = "LoRA beside a base packed into 4 bits. For models that would not fit otherwise."
    paper: ClassVar[str] = "https://arxiv.org/abs/2305.14314"

    name: Literal["qlora"] = "qlora"
    double_quantization: bool = advanced(
        True, title="Double quantisation",
        description="Pack the scales of the 4-bit blocks too. Saves about 0.4 bits a weight, costs next to nothing.",
    )

    def quantization(self, dtype: "torch.dtype") -> "BitsAndBytesConfig":
        """How the base is packed while loading; products run in `dtype` (the library's own default is fp32)."""
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=self.double_quantization,
        )

    def weight_bytes(self, shape: "ModelShape", dtype: "torch.dtype") -> int:
        """Linear layers at 4 bits and their scales (0.13 bits doubly quantised, else 0.5); the rest as it is."""
        packed = shape.layers * sum(p.inputs * p.outputs for p in shape.projections)
        bits = 4.13 if self.double_quantization else 4.5
        return int(packed * bits / 8) + (shape.parameters - packed) * dtype.itemsize
