"""A row as the model sees it: every token, what is learnt from, what is only read, and where the limit cuts.

    gr.HTML(token_view(tokens, max_length=512, count=1234))

Told by words, underline and borders as well as by colour. See it with `python -m components.token_view`.
"""

from collections.abc import Sequence
from typing import Protocol

from components.text import escape

TOKENS_SHOWN = 2_000


class Token(Protocol):
    """One token as it reads; `text` is "" where it only finishes the character before it."""

    @property
    def text(self) -> str: ...

    @property
    def trained(self) -> bool: ...

    @property
    def special(self) -> bool: ...


def token_view(tokens: Sequence[Token], *, max_length: int, count: int | None = None) -> str:
    """HTML of a row's tokens, of which the model sees the first `max_length`.

    `count` is how many tokens the row has, where `tokens` are only its first.
    """
    count = len(tokens) if count is None else count
    shown = tokens[:TOKENS_SHOWN]
    seen = "".join(map(_token, shown[:max_length]))
    lost = "".join(map(_token, shown[max_length:]))
    line = _cut_line(max_length, count) if max_length < count and max_length <= len(shown) else ""
    return (
        f'<div class="token-view">{_LEGEND}<div class="tokens" dir="auto" tabindex="0" role="group" aria-label="Tokens of this row">'
        f'{seen}{line}<span class="token-lost">{lost}</span></div>{_clipped_note(len(shown), count, max_length)}</div>'
    )


_LEGEND = (
    '<p class="token-legend quiet">'
    '<span><span class="token trained">underlined</span> learnt from</span>'
    '<span><span class="token">plain</span> read, not learnt from</span>'
    '<span><span class="token special">boxed</span> special token of the model</span>'
    '<span><span class="token">↵</span> new line</span>'
    "</p>"
)


def _token(token: Token) -> str:
    kinds = ["token", *(["trained"] if token.trained else []), *(["special"] if token.special else [])]
    if not token.text:
        return f'<span class="{" ".join(kinds)}" title="finishes the character before it">·</span>'
    return f'<span class="{" ".join(kinds)}">{escape(token.text).replace(chr(10), "↵" + chr(10))}</span>'


def _cut_line(max_length: int, count: int) -> str:
    return (
        f'<span class="token-cut" role="separator">cut here at {max_length:,} tokens: '
        f"the model does not see the other {count - max_length:,}</span>"
    )


def _clipped_note(shown: int, count: int, max_length: int) -> str:
    if shown >= count:
        return ""
    cut = f" The limit of {max_length:,} tokens cuts it further on." if shown < max_length < count else ""
    return f'<p class="quiet">Shown are the first {shown:,} of {count:,} tokens.{cut}</p>'


if __name__ == "__main__":
    from pathlib import Path
    from typing import NamedTuple

    import gradio as gr

    class _Word(NamedTuple):
        text: str
        trained: bool
        special: bool

    words = [_Word("<|user|>", False, True), _Word(" Why\n", False, False), *[_Word(" so", True, False)] * 20]
    with gr.Blocks() as page:
        gr.HTML(token_view(words, max_length=16))
    page.launch(css_paths=[Path(__file__).parents[1] / "assets" / "style.css"])
