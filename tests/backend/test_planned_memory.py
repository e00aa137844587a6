"""The memory named before the start, against what trainings of the starter model took (`launch.py bench --only memory`)."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from backend import device
from backend.examples import Example
from backend.models import ModelShape, shape_of
from backend.plan import Rows, memory_bytes
from backend.specs import RunSpec, parse_spec

BATCH = 8  # rows at once
TAKEN = {  # peak resident memory in MB of three steps, by method and by tokens of each row; two CPU cores, bf16
    ("full", 128): 3393, ("full", 512): 4895, ("lora", 128): 1475, ("lora", 512): 2784, ("qlora", 128): 1535, ("qlora", 512): 2808,
    ("prefix", 128): 1455, ("prefix", 512): 2598, ("prompt", 128): 1411, ("prompt", 512): 3150, ("adapter", 128): 1611, ("adapter", 512): 3234,
}  # fmt: skip


@pytest.fixture(scope="module")
def starter() -> ModelShape:
    """SmolLM2-135M's shape, without its weights."""
    config = LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=8192, tie_word_embeddings=True,
    )
    with torch.device("meta"):
        return shape_of(LlamaForCausalLM(config))


def spec_of(method: str, **training: object) -> RunSpec:
    return parse_spec({"data": {"id": "nothing-here"}, "method": {"name": method}, "training": {"precision": "bf16", **training}})


def rows_of(tokens: int) -> Rows:
    row = Example(input_ids=[1] * tokens, labels=[1] * tokens, cut=0, row=1)
    return Rows(train=[row] * 2 * BATCH, validation=[], left_out={}, augmented=0, probes=[])


@pytest.mark.skipif(device.device().type != "cpu", reason="these were measured on a CPU")
@pytest.mark.parametrize(("method", "tokens"), TAKEN)
def test_what_is_named_is_within_15_percent_of_what_was_taken(starter: ModelShape, method: str, tokens: int) -> None:
    named = memory_bytes(spec_of(method), starter, rows_of(tokens), BATCH)
    assert named / 1e6 == pytest.approx(TAKEN[method, tokens], rel=0.15)


def test_stock_parts_keep_more(starter: ModelShape) -> None:
    fast, stock = (memory_bytes(spec_of("lora", stock=on), starter, rows_of(512), BATCH) for on in (False, True))
    assert stock > 1.5 * fast
