"""The next token of many answers in one pass, for models built like Llama.

A token is had by reading every weight once, whether for one row or for eight. So answers of different adapters share the
products of the base they stand on: a step takes `Group`s whose trees of modules share their tensors. The cache is written in
place, and of the libraries' many small operations, made for any model and for training, only the needed ones are left.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from backend.fast.packed import Product, pack, side_by_side
from backend.tuners.bottleneck import BottleneckLayer

KINDS = ("llama", "mistral", "qwen2")  # whose layers are what `step` computes
ROOM = 64  # tokens by which a cache grows
ATTENTION, OUT, GATES, DOWN = ("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)  # products of one input each


def decodes_quickly(causal: PreTrainedModel) -> bool:
    """Whether a model's next tokens can be found here: layers as above, and on them no adapter but LoRA and bottlenecks."""
    config = causal.config
    if config.model_type not in KINDS or getattr(config, "sliding_window", None) or config.hidden_act != "silu":
        return False
    return all(_is_known(part) for part in causal.modules() if isinstance(part, BaseTunerLayer))


def pack_for_answers(causal: PreTrainedModel) -> None:
    """Copy a frozen model's matrices so that each token takes two thirds of the time, where there is room; memory for time."""
    if decodes_quickly(causal):
        layers = [group for layer in causal.model.layers for group in _groups(layer)]
        pack([*layers, [causal.get_output_embeddings()]])


def _groups(layer: nn.Module) -> Iterator[list[nn.Module]]:
    """The frozen products of a layer, those that read the same together."""
    for whole, names in ((layer.self_attn, ATTENTION), (layer.self_attn, OUT), (layer.mlp, GATES), (layer.mlp, DOWN)):
        yield [_under(getattr(_under(whole), name)) for name in names]


class Body:
    """How one tree of modules computes: the products of its base, and what its adapters add to them."""

    @torch.no_grad()
    def __init__(self, causal: PreTrainedModel) -> None:
        self.embed, self.turning, self.head = causal.get_input_embeddings(), causal.model.rotary_emb, side_by_side([causal.get_output_embeddings()])
        self.layers = [_Layer(layer) for layer in causal.model.layers]
        self.last_norm = _norm(causal.model.norm)


@dataclass
class Group:
    """Answers that one caller asks for, all of one model: the rows of one cache."""

    body: Body
    keys: list[torch.Tensor]  # of each layer: [rows, heads, room, width]
    values: list[torch.Tensor]
    length: int  # tokens in the cache
    mask: torch.Tensor | None  # [rows, 1, 1, room], False where there is padding; None where there is none
    positions: torch.Tensor  # [rows], of the next token
    logits: torch.Tensor = field(default_factory=lambda: torch.empty(0))  # [rows, vocabulary], of the next token

    @classmethod
    def after(cls, body: Body, cache: Any, mask: torch.Tensor, positions: torch.Tensor) -> "Group":
        """Where the libraries' own pass over the prompts ends. mask: [rows, tokens], 0 where there is padding."""
        keys, values = [layer.keys for layer in cache.layers], [layer.values for layer in cache.layers]
        return cls(body, keys, values, keys[0].shape[2], None if mask.all() else mask.bool()[:, None, None], positions)

    def make_room(self) -> None:
        """For one token more."""
        if self.length == self.keys[0].shape[2]:
            self.keys, self.values = ([F.pad(kept, (0, 0, 0, ROOM)) for kept in each] for each in (self.keys, self.values))
            self.mask = None if self.mask is None else F.pad(self.mask, (0, ROOM), value=True)

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """query [rows, heads, width], key and value [rows, fewer heads, width] -> [rows, heads x width]."""
        keys, values, end = self.keys[layer], self.values[layer], self.length + 1
        keys[:, :, self.length], values[:, :, self.length] = key, value
        several = query.reshape(len(query), keys.shape[1], -1, query.shape[-1])  # heads that share a key, as if they were tokens
        mask = None if self.mask is None else self.mask[..., :end]
        said = F.scaled_dot_product_attention(several, keys[:, :, :end], values[:, :, :end], mask, scale=scale)
        return said.reshape(len(query), -1)


@torch.inference_mode()
def step(groups: Sequence[Group], tokens: Sequence[torch.Tensor]) -> None:
    """Read one more token of every row, [rows] for each group, and leave the logits of the next ones in the groups."""
    body, rows = groups[0].body, list(_rows(groups))
    x = body.embed(torch.cat(list(tokens)))  # [rows of all groups, width]
    turning = _turning(body, x, torch.cat([group.positions for group in groups]))
    for group in groups:
        group.make_room()
    for nth, own in enumerate(zip(*(group.body.layers for group in groups), strict=True)):  # the layer, with each group's adapters on it
        layer = own[0]
        heads = layer.heads(_multiply(layer.first_norm(x), [each.attention for each in own], rows), turning)
        seen = [group.attend(nth, *(each[its] for each in heads), layer.scale) for group, its in zip(groups, rows, strict=True)]
        x = x + _multiply(torch.cat(seen), [each.out for each in own], rows)
        gate, up = _multiply(layer.second_norm(x), [each.gates for each in own], rows).chunk(2, dim=-1)
        x = x + _multiply(F.silu(gate).mul_(up), [each.down for each in own], rows)
    logits = body.head(body.last_norm(x))
    for group, its in zip(groups, rows, strict=True):
        group.logits, group.length, group.positions = logits[its], group.length + 1, group.positions + 1


class _Layer:
    """One layer of a body."""

    def __init__(self, layer: nn.Module) -> None:
        attention, mlp = _under(layer.self_attn), _under(layer.mlp)
        self.first_norm, self.second_norm = _norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)
        self.attention = _Products([getattr(attention, name) for name in ATTENTION])
        self.out = _Products([attention.o_proj], whole=layer.self_attn)
        self.gates = _Products([getattr(mlp, name) for name in GATES])
        self.down = _Products([mlp.down_proj], whole=layer.mlp)
        self.width, self.scale = attention.head_dim, attention.scaling
        self.shared = attention.num_key_value_groups  # query heads to a key head

    def heads(self, product: torch.Tensor, turning: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values out of their one product, the first two turned to their place: [rows, heads, width] each."""
        heads = product.view(len(product), -1, self.width)
        fewer = heads.shape[1] // (self.shared + 2)
        to_turn, value = heads.split_with_sizes([heads.shape[1] - fewer, fewer], dim=1)
        (cos, sin), half = turning, self.width // 2
        turned = to_turn * cos + torch.cat((to_turn[..., half:], to_turn[..., :half]), -1) * sin
        return *turned.split_with_sizes([turned.shape[1] - fewer, fewer], dim=1), value


class _Products:
    """Linear modules that read the same: the products of their bases side by side, and what adapters add to some columns."""

    def __init__(self, parts: Sequence[nn.Module], whole: nn.Module | None = None) -> None:
        """`whole`: a module whose output is that of the only part, and which may have an adapter on it too."""
        bases = [_under(part) for part in parts]
        ends = itertools.accumulate(base.out_features for base in bases)
        columns = [slice(end - base.out_features, end) for base, end in zip(bases, ends, strict=True)]
        self.base = side_by_side(bases)
        self.added = _low_rank([(place, *each) for part, place in zip(parts, columns, strict=True) for each in _low_ranks(part)], columns[-1].stop)
        self.bent = [(place, block) for part, place in zip(parts, columns, strict=True) for block in _blocks(part)]
        self.bent += [(slice(None), block) for block in _blocks(whole)]


def _multiply(x: torch.Tensor, products: Sequence[_Products], rows: Sequence[slice]) -> torch.Tensor:
    """The base's product for all rows, and what each group's adapters add to its own: [rows, in] -> [rows, out]."""
    out = products[0].base(x)
    for each, its in zip(products, rows, strict=True):
        if each.added:
            out[its].add_(each.added(x[its]))
        for columns, block in each.bent:
            out[its, columns].add_(block(out[its, columns]))
    return out


def _under(part: nn.Module) -> nn.Module:
    """The module itself, without the adapter on it."""
    return part.base_layer if isinstance(part, BaseTunerLayer) else part


def _is_known(part: BaseTunerLayer) -> bool:
    if isinstance(part, BottleneckLayer):
        return True
    if not isinstance(part, LoraLayer) or part.merged or part.lora_variant or part.lora_embedding_A:
        return False
    return not any(part.lora_bias.values())


def _low_ranks(part: nn.Module) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What LoRA adds to a linear module's output, as its two factors: [rank, in], scaled, and [out, rank]."""
    if isinstance(part, LoraLayer) and not part.disable_adapters:
        for name in part.active_adapters:
            if name in part.lora_A:
                yield part.lora_A[name].weight * part.scaling[name], part.lora_B[name].weight


def _low_rank(placed: Sequence[tuple[slice, torch.Tensor, torch.Tensor]], width: int) -> Product | None:
    """All that is added to modules that read the same, as one pair of products instead of many small ones: [rows, in] -> [rows, width].

    The factors are those of the moment: an answer that has begun is finished with them, whatever is learnt meanwhile.
    """
    if not placed:
        return None
    down = torch.cat([down for _, down, _ in placed])  # [all ranks, in]
    up, begin = down.new_zeros(width, len(down)), 0  # in each module's rows, the columns of its own ranks
    for place, _, learnt in placed:
        up[place, begin : begin + learnt.shape[1]] = learnt
        begin += learnt.shape[1]
    down, up = down.t().contiguous(), up.t().contiguous()
    return lambda x: x.to(down.dtype) @ down @ up


def _blocks(part: nn.Module | None) -> Iterator[Product]:
    """What bottlenecks add to a module's output, from that output."""
    if isinstance(part, BottleneckLayer) and not part.disable_adapters:
        yield from (part.bottleneck_blocks[name] for name in part.active_adapters if name in part.bottleneck_blocks)


def _norm(module: nn.Module) -> Product:
    """A model's own RMSNorm as the layer norm of (x, -x), whose mean is 0: torch has one kernel for that, and eight for RMSNorm."""
    weight, width, epsilon = module.weight, len(module.weight), module.variance_epsilon
    return lambda x: torch.layer_norm(torch.cat((x, -x), -1), (2 * width,), eps=epsilon)[:, :width] * weight.to(x.dtype)


def _turning(body: Body, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of every row's place, [rows, 1, width], the sine's first half negative: what rotating halves does."""
    cos, sin = body.turning(x[:, None], positions[:, None])
    half = sin.shape[-1] // 2
    return cos, torch.cat((-sin[..., :half], sin[..., half:]), -1)


def _rows(groups: Sequence[Group]) -> Iterator[slice]:
    """Which rows of all are each group's."""
    start = 0
    for group in groups:
        yield slice(start, start := start + len(group.positions))
