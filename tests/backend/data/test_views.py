"""A row token by token, and how long rows are."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from backend.data import views
from backend.data.tokens import encode
from backend.data.versions import Datasets
from backend.data.views import row_tokens, token_lengths
from backend.models import load_tokenizer
from backend.workspace import Workspace
from tests.conftest import save_conversations, save_texts, starter_rows


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_model)


def ask(question: str, answer: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_the_pieces_are_the_row_as_the_template_writes_it(tokenizer: PreTrainedTokenizerBase) -> None:
    row = ask("Why?", "Because.")
    tokens = row_tokens(row, tokenizer).tokens
    assert "".join(token.text for token in tokens) == tokenizer.apply_chat_template(row["messages"], tokenize=False)


def test_what_is_trained_and_special_is_marked(tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = row_tokens(ask("Why?", "Because."), tokenizer).tokens
    assert "".join(token.text for token in tokens if token.trained) == "Because.<|im_end|>\n"
    assert [token.text for token in tokens if token.special] == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]


def test_a_special_token_spelt_out_by_somebody_is_not_special(tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = row_tokens(ask("a <|im_end|> b", "c"), tokenizer).tokens
    assert sum(token.special for token in tokens) == 4


@pytest.mark.parametrize("text", ["é", "日本", "👩‍👩‍👧", "a\u200bb", "שלום", "\ufffd", "x\ufffdé", "  two\n\n"])
def test_characters_of_several_tokens_are_whole(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    row = row_tokens({"text": text}, tokenizer)
    assert "".join(token.text for token in row.tokens).removesuffix("<|im_end|>").replace("\ufffd", "") == text.replace("\ufffd", "")
    assert len(row.tokens) == len(row.encoded.ids)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), min_size=1, max_size=40))
def test_any_text_comes_back_whole(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    tokens = row_tokens({"text": text}, tokenizer).tokens
    assert "".join(token.text for token in tokens) == text + "<|im_end|>"


def test_a_space_that_a_tokenizer_drops_at_the_start_is_kept() -> None:
    class Metaspace:  # decodes as SentencePiece does: no space before the first word
        def decode(self, ids: list[int], **_: object) -> str:
            return "".join([" so", " it", " is"][id] for id in ids).removeprefix(" ")

    from backend.data.views import _pieces

    assert list(_pieces([0, 1, 2], Metaspace())) == ["so", " it", " is"]


def test_a_long_row_is_counted_whole_and_put_in_words_at_its_start(tokenizer: PreTrainedTokenizerBase) -> None:
    row = row_tokens({"text": "word " * 20_000}, tokenizer, shown=50)
    assert len(row.tokens) == 50
    assert row.encoded.trained_count == len(row.encoded.ids) > 20_000
    assert row.trained_within(512) == 512


def test_every_row_of_a_small_version_is_measured(workspace: Workspace, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = starter_rows(24)
    card = save_conversations(workspace, rows)
    lengths = token_lengths(Datasets(workspace), card.id, card.version, tokenizer)
    assert [row.tokens for row in lengths.measured] == [len(encode(row, tokenizer).ids) for row in rows]
    assert not lengths.is_sample


def test_a_large_version_is_judged_by_rows_spread_over_it(workspace: Workspace, tokenizer: PreTrainedTokenizerBase) -> None:
    card = save_texts(workspace, ["a" + " b" * number for number in range(103)])
    told: list[float] = []
    lengths = token_lengths(Datasets(workspace), card.id, 1, tokenizer, limit=50, progress=told.append)
    tokens = [row.tokens for row in lengths.measured]
    assert (len(tokens), lengths.rows, lengths.is_sample) == (50, 103, True)
    assert tokens == sorted(set(tokens))  # none twice, in order
    assert tokens[0] == 2 and tokens[-1] >= 100  # from one end to the other
    assert all(0 <= part <= 1 for part in told)


def test_rows_are_measured_no_longer_than_somebody_waits(
    workspace: Workspace, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "FEWEST_MEASURED", 30)
    card = save_texts(workspace, ["a" + " b" * number for number in range(100)])
    lengths = token_lengths(Datasets(workspace), card.id, 1, tokenizer, seconds=0)
    tokens = [row.tokens for row in lengths.measured]
    assert (len(tokens), lengths.is_sample) == (30, True)
    assert tokens == sorted(set(tokens)) and tokens[0] == 2 and tokens[-1] > 90  # in order, from one end to the other
    assert max(after - before for before, after in zip(tokens, tokens[1:], strict=False)) <= 8


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 100])
def test_every_row_has_its_turn_once(count: int) -> None:
    assert sorted(views._spread(count)) == list(range(count))


def test_what_the_limit_cuts_is_counted(workspace: Workspace, tokenizer: PreTrainedTokenizerBase) -> None:
    card = save_conversations(workspace, [ask("why " * 100, "so"), ask("why", "so " * 100), ask("why", "so")])
    lengths = token_lengths(Datasets(workspace), card.id, 1, tokenizer)
    assert (lengths.cut_rows(60), lengths.lost_rows(60)) == (2, 1)
    assert lengths.cut_tokens(60) == sum(row.tokens - 60 for row in lengths.measured if row.tokens > 60)
    assert lengths.cut_tokens(10_000) == lengths.cut_rows(10_000) == 0


def test_looking_needs_no_torch_until_a_tokenizer_comes() -> None:
    check = "import sys, backend.data.views; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
