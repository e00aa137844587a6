"""A chat template is a stranger's program: it reaches nothing, ends in time, and its refusals are sentences."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from backend.data import chat_template
from backend.data.chat_template import written
from backend.data.tokens import encode_messages
from backend.errors import UserError
from backend.models import CHATML, load_tokenizer

ASKED = [{"role": "user", "content": "Why?"}]
CONVERSATION = [
    {"role": "system", "content": "Be brief. \ud83d"}, {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": " It sleeps.\n"}, {"role": "user", "content": "When? \u2028 <|im_end|>"},
]  # fmt: skip
HONEST = {
    "chatml": CHATML,
    "alternating": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first, rest = messages[0]['content'], messages[1:] %}{% else %}"
        "{% set first, rest = '', messages %}{% endif %}{% for message in rest %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Roles must alternate.') }}{% endif %}{{ '[' ~ message.role|upper ~ '] ' + message.content | trim }}"
        "{{ eos_token if loop.last and not add_generation_prompt else '\\n' * 2 }}{% endfor %}"
    ),
    "with generation and json": (
        "{%- set ns = namespace(turns=[]) -%}\n{%- for message in messages %}\n"
        "    {%- set ns.turns = ns.turns + [message.role] %}\n"
        "    {%- if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}\n"
        "    {%- else %}{{ message | tojson }}{% continue %}{% endif %}\n{%- endfor %}{{ ns.turns | join(', ') }}"
        "{{ '%03d' % messages | length }}"
    ),
}  # fmt: skip
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}"


# one operation each, which no other thread of its process can interrupt: too long a number, text or list, or too deep a nest
GIANT = {
    "power": "{% set n = 9 %}{{ n ** (n ** n) }}",
    "times": "{{ 'x' * 10 ** 11 }}",
    "list": "{{ [0] * 10 ** 10 }}",
    "width": "{{ '%99999999999d' % 1 }}",
    "format": "{{ '{:99999999999}'.format(1) }}",
    "join": "{{ range(99999) | join('x' * 9999999) }}",
    "center": "{{ 'x' | center(10 ** 11) }}",
    "replace": "{{ ('x' * 10 ** 7).replace('x', 'y' * 10 ** 7) }}",
    "indent": "{{ 'x\ny' | indent(10 ** 11) }}",
    "bytes": "{{ (1).to_bytes(10 ** 11, 'big') }}",
    "doubled": "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "nested": "{% set a = [0] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}",
    "compared": "{% set a, b = [0], [0] %}" + "{% set a, b = [a, a], [b, b] %}" * 40 + "{{ a == b }}",
}


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
    assert time.monotonic() - begun < 30
    monkeypatch.undo()  # an honest one may take its time on a busy machine
    tokenizer.chat_template = good
    assert "Why?" in written([(ASKED, False)], tokenizer)[0]


@contextmanager
def nobody_waits(*, longer: float) -> Iterator[None]:
    """Whatever happens meanwhile, the other threads of this process go on."""
    over, pauses = threading.Event(), [0.0]

    def tick() -> None:
        while not over.is_set():
            begun = time.monotonic()
            time.sleep(0.05)
            pauses.append(time.monotonic() - begun)

    clock = threading.Thread(target=tick)
    clock.start()
    yield
    over.set()
    clock.join()
    assert max(pauses) < longer


@pytest.mark.fault("a hostile chat template")
@pytest.mark.parametrize("name", GIANT)
def test_one_giant_operation_is_broken_off_while_the_studio_goes_on(
    tokenizer: PreTrainedTokenizerBase, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Why?" in written([(ASKED, False)], tokenizer)[0]
    monkeypatch.setattr(chat_template, "SECONDS", 6.0)
    good, tokenizer.chat_template = tokenizer.chat_template, GIANT[name]
    begun = time.monotonic()
    with nobody_waits(longer=4), pytest.raises(UserError, match="was not done after 6 s|MemoryError|OverflowError|ValueError"):
        written([(ASKED, False)], tokenizer)
    assert time.monotonic() - begun < 30
    tokenizer.chat_template = good
    assert "Why?" in written([(ASKED, False)], tokenizer)[0]


@pytest.mark.parametrize("answer_next", [False, True])
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_template_writes_what_the_library_alone_would(tokenizer: PreTrainedTokenizerBase, name: str, answer_next: bool) -> None:
    tokenizer.chat_template = HONEST[name]
    expected = tokenizer.apply_chat_template(CONVERSATION, tokenize=False, add_generation_prompt=answer_next)
    assert written([(CONVERSATION, answer_next), (ASKED, False)], tokenizer)[0] == expected


def test_a_writer_that_is_gone_is_started_again(tokenizer: PreTrainedTokenizerBase) -> None:
    before = written([(ASKED, False)], tokenizer)
    process = chat_template._writer()._process
    process.kill()
    process.wait()
    assert written([(ASKED, False)], tokenizer) == before


@pytest.mark.fault("a hostile chat template")
def test_a_template_reaches_nothing_outside(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    mark = tmp_path / "touched"
    for way in ("cycler.__init__.__globals__.os", "''.__class__.__mro__[1].__subclasses__()[0].__init__.__globals__.os", "messages.append.__self__.__class__"):
        tokenizer.chat_template = f"{{{{ {way}.system('touch {mark}') }}}}"
        with pytest.raises(UserError, match="cannot write this conversation"):
            written([(ASKED, False)], tokenizer)
    assert not mark.exists()


@pytest.mark.fault("a hostile chat template")
@pytest.mark.parametrize(("template", "sentence"), [
    ("{{ raise_exception('Roles must alternate.') }}", "cannot write this conversation .*Roles must alternate"),
    ("{% for", "cannot write this conversation"),
    ("{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}", "made 9,999,000 characters of one conversation"),
    ({"tools": CHATML}, "cannot write this conversation .*multiple chat templates"),
], ids=["refuses", "is broken", "writes too much", "is one of several"])  # fmt: skip
def test_what_goes_wrong_in_a_template_is_told_in_a_sentence(
    tokenizer: PreTrainedTokenizerBase, template: str | dict, sentence: str
) -> None:
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=sentence):
        written([(ASKED, False)], tokenizer)
