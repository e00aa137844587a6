"""What many tests need: a real model small enough to train in seconds, a workspace, and data sets in it.

One thread, so that runs are the same bit for bit and leave the other cores alone; no network, whatever a library tries.
Ports of its own for each process of tests, away from the studio's: nobody takes one that another has just left.
"""

import os

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", GRADIO_SERVER_PORT=str(8100 + 100 * WORKER))

import json  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from backend.data.importing import import_file  # noqa: E402
from backend.data.readers import inspect  # noqa: E402
from backend.data.shapes import Mapping  # noqa: E402
from backend.data.starter import THREE_LINES  # noqa: E402
from backend.data.versions import Card, Datasets  # noqa: E402
from backend.workspace import Workspace  # noqa: E402
from tests.faults.survival import pytest_collection_modifyitems, pytest_terminal_summary  # noqa: E402, F401

if TYPE_CHECKING:
    from playwright.sync_api import Browser

VOCABULARY = 600
CONTEXT = 512
settings.register_profile("studio", deadline=None)  # a busy machine is no fault of what is tried
settings.load_profile("studio")


def starter_rows(count: int) -> list[dict]:
    """The first rows of the starter data, as {"messages": [...]}."""
    with THREE_LINES.open(encoding="utf-8") as lines:
        return [json.loads(line) for _, line in zip(range(count), lines, strict=False)]


def save_tokenizer(folder: Path) -> None:
    """A byte-level BPE tokenizer trained on the starter data, with ChatML's marks and template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from backend.models import CHATML

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = (message["content"] for row in starter_rows(176) for message in row["messages"])
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token="<|im_start|>")
    fast.chat_template = CHATML
    fast.save_pretrained(folder)


def save_model(folder: Path) -> None:
    """Two Llama layers, 64 wide, seeded; weights large enough for answers that differ."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    end = AutoTokenizer.from_pretrained(folder).eos_token_id
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=False, initializer_range=0.15,
        bos_token_id=None, eos_token_id=end, pad_token_id=end,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole model: config, safetensors, tokenizer, chat template. Read it, never write to it."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tokenizer(folder)
    save_model(folder)
    return folder


def make_workspace(folder: Path, tiny_model: Path) -> Workspace:
    """A workspace whose starter model is the tiny one."""
    workspace = Workspace(folder).prepare()
    shutil.copytree(tiny_model, workspace.models / "starter")
    return workspace


@pytest.fixture
def workspace(tmp_path: Path, tiny_model: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace", tiny_model)


def save_conversations(workspace: Workspace, rows: list[dict], *, name: str = "questions") -> Card:
    """Rows of {"messages": [...]} as a data set."""
    return _save(workspace, rows, Mapping(shape="messages", columns={"messages": "messages"}), name)


def save_texts(workspace: Workspace, texts: list[str], *, name: str = "texts") -> Card:
    """Plain texts as a data set."""
    return _save(workspace, [{"text": text} for text in texts], Mapping(shape="text", columns={"text": "text"}), name)


def _save(workspace: Workspace, rows: list[dict], mapping: Mapping, name: str) -> Card:
    file = workspace.root / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return import_file(Datasets(workspace), inspect(file), mapping, name=name)


@pytest.fixture
def dataset(workspace: Workspace) -> Card:
    """24 questions of the starter data, with their answers."""
    return save_conversations(workspace, starter_rows(24))


@pytest.fixture
def texts(workspace: Workspace) -> Card:
    """24 answers of the starter data as plain texts."""
    return save_texts(workspace, [row["messages"][1]["content"] for row in starter_rows(24)])


@pytest.fixture
def pairs(workspace: Workspace) -> Card:
    """24 questions of the starter data: their answers are better than the first lines of these."""
    rows = []
    for row in starter_rows(24):
        question, answer = row["messages"]
        short = {"role": "assistant", "content": answer["content"].split("\n")[0]}
        rows.append({"prompt": [question], "answers": [[answer], [short]], "ranks": [1, 2], "margin": 0.5})
    return Datasets(workspace).save(rows, name="pairs", record="preferences", source={"made": "for tests"})


def any_port() -> int:
    """A port that nobody listens on, far from those the studio looks at by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """One Chromium for all browser tests, each of which opens a context of its own."""
    if chromium_path() is None:
        if os.environ.get("STUDIO_REQUIRE_BROWSER") == "1":
            pytest.fail("STUDIO_REQUIRE_BROWSER=1, but there is no Chromium on the PATH")
        pytest.skip("no Chromium on the PATH")
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)  # milliseconds; a busy machine is no fault of the page
    with open_chromium() as browser:
        yield browser


def chromium_path() -> str | None:
    """Where Chromium lies; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def open_chromium() -> Iterator["Browser"]:
    """A Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
        yield browser
        browser.close()
