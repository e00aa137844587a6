"""Bottleneck adapters (Houlsby et al. 2019, Pfeiffer et al. 2020) as a PEFT method, since PEFT ships none.

An adapter sits on the output h of a module and adds up(act(down(h))); `up` starts at zero, so it changes nothing
until it has learnt. Importing this file registers the kind; adapters are saved and loaded in PEFT's own format.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from peft import PeftConfig, PeftType
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import register_peft_method
from torch import nn

NAME = "BOTTLENECK"
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


def _add_peft_type(name: str) -> None:
    """Add a member to PEFT's closed enumeration; `register_peft_method` demands one and offers no way to make it."""
    member = str.__new__(PeftType, name)
    member._name_, member._value_ = name, name
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    type.__setattr__(PeftType, name, member)


if NAME not in PeftType._member_map_:
    _add_peft_type(NAME)


@dataclass
class BottleneckConfig(PeftConfig):
    """Where adapters sit and how wide they are. `hidden` is the width of the outputs they sit on."""

    target_modules: list[str] | None = field(default=None)
    placement: Literal["houlsby", "pfeiffer"] = field(default="houlsby")
    hidden: int = field(default=0)
    bottleneck: int = field(default=0)
    activation: Literal["relu", "gelu", "silu"] = field(default="relu")
    modules_to_save: list[str] | None = field(default=None)  # a head that is learnt whole

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType(NAME)


class Bottleneck(nn.Module):
    """down: hidden -> bottleneck, a bend, up: bottleneck -> hidden."""

    def __init__(self, config: BottleneckConfig) -> None:
        super().__init__()
        self.down = nn.Linear(config.hidden, config.bottleneck)
        self.act = ACTIVATIONS[config.activation]()
        self.up = nn.Linear(config.bottleneck, config.hidden)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., hidden] -> [..., hidden], in the dtype of the input whatever the adapter's own."""
        return self.up(self.act(self.down(hidden.to(self.down.weight.dtype)))).to(hidden.dtype)


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """A module with adapters on its output. What is asked of it and not its own, it asks the wrapped module."""

    adapter_layer_names = ("bottleneck_blocks",)

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: BottleneckConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_blocks = nn.ModuleDict({})
        self._disable_adapters = False
        self.merged_adapters = []
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(super().__getattr__("base_layer"), name)

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        device = next(self.base_layer.parameters()).device
        self.bottleneck_blocks[adapter_name] = Bottleneck(config).to(device)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        result = self.base_layer(*args, **kwargs)
        if self.disable_adapters:
            return result
        hidden = result[0] if isinstance(result, tuple) else result
        for name in self.active_adapters:
            if name in self.bottleneck_blocks:
                hidden = hidden + self.bottleneck_blocks[name](hidden)
        return (hidden, *result[1:]) if isinstance(result, tuple) else hidden

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError("A bottleneck adapter has a bend in it and cannot be merged into a weight matrix.")

    def unmerge(self) -> None:
        raise ValueError("A bottleneck adapter is never merged.")


class BottleneckModel(BaseTuner):
    """Wraps the target modules of a model in `BottleneckLayer`s."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: dict[str, Any] = {}

    def _create_and_replace(
        self, config: BottleneckConfig, adapter_name: str, target: nn.Module, target_name: str, parent: nn.Module,
        current_key: str,
    ) -> None:
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, config)
            return
        layer = BottleneckLayer(target, adapter_name, config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        setattr(parent, target_name, layer)  # PEFT's own replacement expects a target with a `weight`


register_peft_method(
    name=NAME.lower(), config_cls=BottleneckConfig, model_cls=BottleneckModel, prefix="bottleneck_", is_mixed_compatible=False
)
