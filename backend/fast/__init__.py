"""The same numbers in less time: parts of a model whose computation is replaced while it trains, one file each.

    quicken(model)          after the method is attached; the weights, their names and what is saved stay as they are

Each part looks for what it knows in a model and leaves everything else as it was; each has a test of equality with the
stock computation. `TrainingSettings.stock` trains without them, so that anybody can see that they change speed alone.
"""

from torch import nn


def quicken(model: nn.Module) -> nn.Module:
    """The model with every part in it that can be computed faster so computed. Works in place."""
    from backend.fast.attention import quicken_attention
    from backend.fast.embedding import quicken_embedding
    from backend.fast.lora import quicken_lora
    from backend.fast.norm import quicken_norms
    from backend.fast.swiglu import quicken_swiglu

    for part in (quicken_embedding, quicken_lora, quicken_swiglu, quicken_norms, quicken_attention):
        part(model)
    return model
