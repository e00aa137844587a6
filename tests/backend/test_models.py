"""Models that cannot be loaded, or must not be, each refused in one sentence, and nothing of theirs is run."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

from backend import models
from backend.data.tokens import encode_messages
from backend.errors import UserError
from backend.workspace import Workspace

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    """A copy of the tiny model, to break."""
    return shutil.copytree(tiny_model, tmp_path / "fragile")


def change_json(file: Path, **changes: object) -> None:
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, **changes}))


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(DANGEROUS)


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def of_parts(*names: str) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-2.safetensors")
        index = {"metadata": {}, "weight_map": {f"weight {number}": name for number, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return break_it


def weights_named_in_its_config(folder: Path) -> None:
    change_json(folder / "config.json", transformers_weights="elsewhere.safetensors.index.json")


def zeros_for_a_header(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(b"\0" * weights.stat().st_size)


def a_header_of_terabytes(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 2**42) + weights.read_bytes()[8:])


def of_its_own_code(folder: Path) -> None:
    change_json(folder / "config.json", auto_map={"AutoModelForCausalLM": "trap.Model", "AutoConfig": "trap.Config"}, model_type="trap")
    (folder / "trap.py").write_text("import pathlib; pathlib.Path(__file__).with_name('RAN').touch()\n")


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


class Trap:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (Path("RAN"),)


DANGEROUS = pickle.dumps(Trap())  # unpickling this makes a file called RAN in the folder the tests run in

REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (shutil.rmtree, "There is no model folder"),
    (lambda folder: (folder / "config.json").unlink(), "fragile has no config.json, so it is not a model folder"),
    (lambda folder: (folder / "config.json").write_text('{"model_type": "lla'), "The config.json of fragile is damaged"),
    (lambda folder: (folder / "config.json").write_text("[]"), "The config.json of fragile is damaged"),
    (only_pickles, "fragile has only pickle weights, which can run code"),
    (no_weights, "fragile has no weights"),
    (of_its_own_code, "fragile needs code of its own to run, which the studio never executes"),
    (cut_short, "model.safetensors of fragile is cut short or damaged"),
    (of_parts("model-00001-of-2.safetensors", "model-00002-of-2.safetensors"), "model-00002-of-2.safetensors of fragile is not there, though its index names it"),
    (of_parts("../secret.safetensors"), "fragile names weights outside its folder (../secret.safetensors)"),
    (of_parts("/etc/passwd"), "fragile names weights outside its folder (/etc/passwd)"),
    (weights_named_in_its_config, "fragile says in its config.json which file its weights are in"),
    (zeros_for_a_header, "model.safetensors of fragile is cut short or damaged"),
    (a_header_of_terabytes, "model.safetensors of fragile is cut short or damaged"),
    (no_tokenizer, "fragile has no tokenizer"),
]


@pytest.mark.fault("a model folder that is broken, pickled, unknown or not there")
@pytest.mark.parametrize(("break_it", "sentence"), REFUSED, ids=lambda value: value.__name__ if callable(value) else None)
def test_a_broken_folder_is_refused_in_one_sentence(
    break_it: Callable[[Path], object], sentence: str, folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    break_it(folder)
    with pytest.raises(UserError) as refusal:
        models.locate(str(folder), workspace)
    (problem,) = refusal.value.problems
    assert problem.startswith(sentence)
    assert problem.endswith(".") and ". " in problem  # what is wrong, and what to do
    assert not list(folder.parent.rglob("RAN")) and not list(workspace.root.rglob("RAN"))


def test_an_index_that_nobody_reads_stands_in_nobodys_way(folder: Path, workspace: Workspace) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00001-of-2.safetensors"}}))
    assert models.locate(str(folder), workspace) == folder


@pytest.mark.fault("a model folder that is broken, pickled, unknown or not there")
def test_all_that_is_wrong_is_said_at_once(folder: Path, workspace: Workspace) -> None:
    of_its_own_code(folder)
    cut_short(folder)
    no_tokenizer(folder)
    with pytest.raises(UserError) as refusal:
        models.locate(str(folder), workspace)
    assert len(refusal.value.problems) == 3


@pytest.mark.fault("a model folder that is broken, pickled, unknown or not there")
@pytest.mark.parametrize("what", ["the shape", "the weights"])
def test_an_architecture_nobody_knows_is_refused(what: str, folder: Path, workspace: Workspace) -> None:
    change_json(folder / "config.json", model_type="quantum", architectures=["QuantumForCausalLM"])
    assert models.locate(str(folder), workspace) == folder
    with pytest.raises(UserError, match="of fragile cannot be loaded: it is damaged, or of a kind this studio does not know") as refusal:
        models.shape(folder) if what == "the shape" else models.load(folder, torch.float32, device=CPU)
    assert len(refusal.value.problems) == 1


@pytest.mark.fault("a model with code of its own")
def test_code_beside_a_model_is_never_run_even_if_the_check_is_passed_by(folder: Path) -> None:
    of_its_own_code(folder)
    for load in (lambda: models.shape(folder), lambda: models.load(folder, torch.float32, device=CPU)):
        with pytest.raises(UserError):
            load()
    assert not list(folder.rglob("RAN"))


@pytest.mark.fault("a model with code of its own")
def test_pickles_beside_a_model_are_never_opened(folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "adapter_model.bin", "tokenizer.pkl"):
        (folder / name).write_bytes(DANGEROUS)
    assert models.locate(str(folder), workspace) == folder
    models.shape(folder)
    models.load_tokenizer(folder)
    models.load(folder, torch.float32, device=CPU)
    assert not list(folder.rglob("RAN"))
    pickle.loads(DANGEROUS)
    assert (folder / "RAN").exists(), "opened, they would have run"


@pytest.mark.fault("a model folder that is broken, pickled, unknown or not there")
def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="The tokenizer of fragile cannot be loaded"):
        models.load_tokenizer(folder)


@pytest.mark.fault("a model folder that is broken, pickled, unknown or not there")
@pytest.mark.parametrize("name", ["", "no such thing", "../..", "/", "a/b/c", "~nobody/x"])
def test_a_name_of_nothing_is_refused(name: str, workspace: Workspace) -> None:
    with pytest.raises(UserError):
        models.locate(name, workspace)


@pytest.mark.fault("a hub id while offline")
def test_a_hub_that_cannot_be_reached_costs_one_sentence(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="somebody/something could not be had from the hub") as refusal:
        models.locate("somebody/something", workspace)
    assert len(refusal.value.problems) == 1


@pytest.mark.fault("no tokenizer files; no chat template; no pad token")
def test_a_model_without_a_chat_template_gets_the_common_one(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    tokenizer = models.load_tokenizer(folder)
    assert tokenizer.chat_template == models.CHATML
    assert models.tokenizer_notes(folder) == [
        "The model brings no chat template; the common ChatML form is used and kept with the run."
    ]


@pytest.mark.fault("no tokenizer files; no chat template; no pad token")
def test_a_model_without_a_pad_token_pads_with_its_end(folder: Path) -> None:
    values = json.loads((folder / "tokenizer_config.json").read_text())
    del values["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    assert models.load_tokenizer(folder).pad_token == "<|im_end|>"
    (note,) = models.tokenizer_notes(folder)
    assert "no padding token" in note


def test_a_good_model_needs_no_notes(tiny_model: Path) -> None:
    assert models.tokenizer_notes(tiny_model) == []


def bare(folder: Path, *, eos: str | None) -> Path:
    """The tiny tokenizer as a base model brings it: no chat template, no ChatML marks, perhaps no end token."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(kinds.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([], trainers.BpeTrainer(special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False))
    for file in (*folder.glob("tokenizer*"), folder / "chat_template.jinja"):
        file.unlink()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos).save_pretrained(folder)
    return folder


def test_an_answer_ends_with_a_token_that_ends_answers_even_without_a_template_of_its_own(folder: Path) -> None:
    """Or else the model would never learn to stop."""
    tokenizer = models.load_tokenizer(bare(folder, eos="</s>"))
    encoded = encode_messages([{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}], tokenizer)
    learnt = [token for token, trained in zip(encoded.ids, encoded.trained, strict=True) if trained]
    assert tokenizer.eos_token_id in learnt


@pytest.mark.fault("no tokenizer files; no chat template; no pad token")
def test_a_tokenizer_without_an_end_token_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="end token"):
        models.load_tokenizer(bare(folder, eos=None))


def test_the_shape_is_measured_without_the_weights(tiny_model: Path) -> None:
    shape = models.shape(tiny_model)
    with safe_open(tiny_model / "model.safetensors", "pt") as weights:
        assert shape.parameters == sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118
    assert (shape.layers, shape.layers_path, shape.hidden, shape.key_value_width, shape.context) == (2, "model.layers", 64, 32, 512)
    assert [(p.path, p.inputs, p.outputs) for p in shape.targets("attention")] == [
        ("self_attn.q_proj", 64, 64), ("self_attn.k_proj", 64, 32), ("self_attn.v_proj", 64, 32), ("self_attn.o_proj", 64, 64),
    ]


def test_gpt_2_has_a_shape_too() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    shape = models.shape_of(model)
    assert (shape.layers, shape.layers_path, shape.hidden, shape.context) == (2, "transformer.h", 16, 32)
    assert [(p.path, p.inputs, p.outputs) for p in shape.targets("attention")] == [("attn.c_attn", 16, 48), ("attn.c_proj", 16, 16)]


@pytest.mark.fault("a model folder that is broken, pickled, unknown or not there")
def test_whole_safetensors_are_told_from_others(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(3), "b": torch.ones(0)}, file, metadata={"format": "pt"})
    assert models.whole_safetensors(file)
    content = file.read_bytes()
    for damaged in (b"", content[:4], content[:20], content[:-1], content + b"x", b"\xff" * 100):
        file.write_bytes(damaged)
        assert not models.whole_safetensors(file)
    assert not models.whole_safetensors(tmp_path / "not there")


def test_the_picker_offers_the_starter_and_the_workspace_s_folders(workspace: Workspace, tiny_model: Path) -> None:
    assert models.available(workspace) == ["starter"]
    shutil.copytree(tiny_model, workspace.models / "mine")
    (workspace.models / "empty").mkdir()
    assert models.available(workspace) == ["starter", str(workspace.models / "mine")]
    assert models.locate(str(workspace.models / "mine"), workspace) == workspace.models / "mine"
