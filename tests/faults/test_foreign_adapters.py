"""An adapter that does not fit the model it is to be put on, or of which a part is missing: refused in a sentence."""

import pytest
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from backend.data.versions import Card
from backend.errors import UserError
from backend.inference import Shelf, Speaker, attach_adapter
from backend.runs import Run
from backend.workspace import Workspace
from tests.backend.test_training import spec_for, trained

OTHERS: dict[str, PretrainedConfig] = {
    "another width": LlamaConfig(vocab_size=600, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4),
    "no such modules": GPT2Config(vocab_size=600, n_embd=32, n_layer=2, n_head=2),
}


@pytest.fixture
def run(workspace: Workspace, dataset: Card) -> Run:
    return trained(workspace, spec_for(dataset, max_steps=1, evaluate_every=1))


@pytest.mark.fault("an adapter of another base, or without its weights")
@pytest.mark.parametrize("other", OTHERS)
def test_an_adapter_of_another_base_is_refused_naming_both(other: str, run: Run) -> None:
    base = AutoModelForCausalLM.from_config(OTHERS[other])
    base.config.name_or_path = other
    with pytest.raises(UserError) as refused:
        attach_adapter(base, run.result, "Cats")
    assert f'The adapter of "Cats" does not fit {other}' in str(refused.value)
    assert f"it was made for {run.workspace.models / 'starter'}" in str(refused.value)


@pytest.mark.fault("an adapter of another base, or without its weights")
@pytest.mark.parametrize("missing", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_of_which_a_file_is_missing_does_not_answer(missing: str, run: Run) -> None:
    (run.result / missing).unlink()
    with pytest.raises(UserError, match="no result to chat with, or it is damaged"):
        Shelf(run.workspace).get(Speaker("run", run.id))
