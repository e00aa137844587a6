"""Two texts word by word: what only the left says, what only the right says, and what both say.

    gr.HTML(differences("Fill the kettle.", "Boil the kettle.", left="base", right="three lines"))
"""

import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from components.text import escape

# Chinese, Japanese and Korean write without spaces: there a letter counts as a word.
_LETTER = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"^\s+|(?:[{_LETTER}]|[^\s{_LETTER}]+)\s*")
COMPARED = 2000  # words of each text: comparing takes time with their product


@dataclass(frozen=True)
class Piece:
    """A run of words, with the white space behind them. What both say may be spaced differently on each side."""

    kind: Literal["same", "left", "right"]
    left: str = ""
    right: str = ""


def word_diff(left: str, right: str) -> list[Piece]:
    """The pieces that make up both texts, in reading order: joined, their `left` is the left text, `right` the right."""
    lefts, rights = _WORD.findall(left), _WORD.findall(right)
    matcher = SequenceMatcher(None, [word.strip() for word in lefts], [word.strip() for word in rights], autojunk=False)
    pieces = []
    for kind, begin, end, start, stop in matcher.get_opcodes():
        only_left, only_right = "".join(lefts[begin:end]), "".join(rights[start:stop])
        if kind == "equal":
            pieces.append(Piece("same", only_left, only_right))
            continue
        if only_left:
            pieces.append(Piece("left", left=only_left))
        if only_right:
            pieces.append(Piece("right", right=only_right))
    return pieces


def differences(left_text: str, right_text: str, *, left: str, right: str) -> str:
    """HTML of two texts side by side, what only one says marked in it; `left` and `right` are their headings."""
    left_text, left_rest = _clipped(left_text)
    right_text, right_rest = _clipped(right_text)
    pieces = word_diff(left_text, right_text)
    return (
        f'<div class="differences">{_legend(pieces, cut=bool(left_rest or right_rest))}'
        f"<section><h3>Left: {escape(left)}</h3><p class='plain-text'>"
        f"{_marked(pieces, 'left')}{escape(left_rest)}</p></section>"
        f"<section><h3>Right: {escape(right)}</h3><p class='plain-text'>"
        f"{_marked(pieces, 'right')}{escape(right_rest)}</p></section></div>"
    )


def _marked(pieces: list[Piece], side: Literal["left", "right"]) -> str:
    tag = "del" if side == "left" else "ins"
    said = [(piece.kind, piece.left if side == "left" else piece.right) for piece in pieces if piece.kind in ("same", side)]
    return "".join(escape(text) if kind == "same" else _tagged(tag, text) for kind, text in said)


def _tagged(tag: str, text: str) -> str:
    """The words inside the tag, the white space behind them outside, so that no underline hangs over."""
    words = text.rstrip()
    marked = f"<{tag}>{escape(words)}</{tag}>" if words else ""
    return marked + escape(text[len(words):])


def _legend(pieces: list[Piece], *, cut: bool) -> str:
    words: Counter[str] = Counter()
    for piece in pieces:
        words[piece.kind] += len(_WORD.findall((piece.left or piece.right).strip()))
    if not words["left"] and not words["right"]:
        summary = "Word for word the same." if words["same"] else "Both are empty."
    else:
        summary = (
            f"<del>only left</del> {_words(words['left'])} · <ins>only right</ins> {_words(words['right'])} · "
            f"both {_words(words['same'])}"
        )
    note = f" The first {COMPARED:,} words of each are compared." if cut else ""
    return f'<p class="differences-legend number">{summary}{note}</p>'


def _words(number: int) -> str:
    return f"{number:,} word" if number == 1 else f"{number:,} words"


def _clipped(text: str) -> tuple[str, str]:
    """The part that is compared, and the rest."""
    words = _WORD.findall(text)
    return "".join(words[:COMPARED]), "".join(words[COMPARED:])
