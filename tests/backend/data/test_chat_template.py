"""A chat template is a stranger's program: it reaches nothing, ends in time, and its refusals are sentences."""

import time
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from backend.data import chat_template
from backend.data.chat_template import written
from backend.data.tokens import encode_messages
from backend.errors import UserError
from backend.models import load_tokenizer

ASKED = [{"role": "user", "content": "Why?"}]
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}"


@pytest.fixture
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_model)


@pytest.mark.fault("a hostile chat template")
def test_a_template_without_an_end_is_broken_off_and_the_next_one_is_written(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 0.5)
    good, tokenizer.chat_template = tokenizer.chat_template, LOOPS
    begun = time.monotonic()
    for _ in range(2):
        with pytest.raises(UserError, match="was not done after 0.5 s"):
            encode_messages(ASKED, tokenizer)
    assert time.monotonic() - begun < 10
    tokenizer.chat_template = good
    assert "Why?" in written(ASKED, tokenizer)
    time.sleep(2 * chat_template.LOOK_SECONDS)  # nothing is left that would hit somebody else


@pytest.mark.fault("a hostile chat template")
def test_a_template_reaches_nothing_outside(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    mark = tmp_path / "touched"
    for way in ("cycler.__init__.__globals__.os", "''.__class__.__mro__[1].__subclasses__()[0].__init__.__globals__.os", "messages.append.__self__.__class__"):
        tokenizer.chat_template = f"{{{{ {way}.system('touch {mark}') }}}}"
        with pytest.raises(UserError, match="cannot write this conversation"):
            written(ASKED, tokenizer)
    assert not mark.exists()


@pytest.mark.fault("a hostile chat template")
@pytest.mark.parametrize(("template", "sentence"), [
    ("{{ raise_exception('Roles must alternate.') }}", "cannot write this conversation .*Roles must alternate"),
    ("{% for", "cannot write this conversation"),
    ("{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}", "made 9,999,000 characters of one conversation"),
], ids=["refuses", "is broken", "writes too much"])  # fmt: skip
def test_what_goes_wrong_in_a_template_is_told_in_a_sentence(tokenizer: PreTrainedTokenizerBase, template: str, sentence: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=sentence):
        written(ASKED, tokenizer)
