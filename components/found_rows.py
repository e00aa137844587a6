"""Rows with what was found in them marked; a row beside the one it repeats; and a row before and after a mend.

    gr.HTML(found_rows([marked_row(14, [("user", "Write to a@b.org")], [(0, 9, 16)])]))
"""

from collections.abc import Iterable, Sequence
from os.path import commonprefix

from components.text import escape
from components.word_diff import differences

SHOWN = 600  # characters of a text
BEFORE_A_MARK = 120  # characters shown before the first mark of a long text
COMPARED = 4_000  # characters of two texts side by side

Said = Sequence[tuple[str, str]]  # (who speaks, what)
Mark = tuple[int, int, int]  # which of them, and characters begin to end


def found_rows(cards: Iterable[str], *, label: str = "Rows that were found") -> str:
    """Cards below each other."""
    return f'<div class="data-rows found-rows" tabindex="0" role="group" aria-label="{escape(label)}">{"".join(cards)}</div>'


def marked_row(number: int, said: Said, marks: Sequence[Mark], *, note: str = "") -> str:
    """A row as a card, what was found in it marked. Long texts are cut around their first mark."""
    turns = "".join(
        f'<dt class="data-role">{escape(who)}</dt><dd class="plain-text" dir="auto">'
        f"{_marked(text, sorted((begin, end) for turn, begin, end in marks if turn == place)) or _nothing()}</dd>"
        for place, (who, text) in enumerate(said)
    )
    return _card(f"{number:,}", f"{_note(note)}<dl>{turns}</dl>")


def row_beside(number: int, said: Said, other: int, other_said: Said) -> str:
    """A row beside an earlier one that it repeats or contradicts, word by word."""
    left, right = _around_the_difference(_as_text(other_said), _as_text(said))
    return _card(f"{number:,}", differences(left, right, left=f"row {other:,}", right=f"row {number:,}"))


def row_mended(number: int, before: Said, after: Said | None, *, note: str = "") -> str:
    """A row before a mend and after it; None: it goes."""
    if after is None:
        return marked_row(number, before, [], note="goes")
    if list(before) == list(after):
        return marked_row(number, before, [], note=note)
    left, right = _around_the_difference(_as_text(before), _as_text(after))
    return _card(f"{number:,}", differences(left, right, left="before", right="after"))


def _card(label: str, body: str) -> str:
    return f'<div class="data-row"><span class="data-number number">{label}</span><div>{body}</div></div>'


def _note(note: str) -> str:
    return f'<p class="found-note">{escape(note)}</p>' if note else ""


def _nothing() -> str:
    return '<mark class="found">nothing</mark>'


def _marked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text around its marks; where spans overlap the first counts."""
    begin = max(0, spans[0][0] - BEFORE_A_MARK) if spans and spans[0][0] > SHOWN - BEFORE_A_MARK else 0
    end, pieces, at = min(len(text), begin + SHOWN), [], begin
    if not text.strip():
        return ""
    for start, stop in spans:
        if at <= start < end:
            stop = min(stop, end)
            pieces.append(f'{escape(text[at:start])}<mark class="found">{escape(text[start:stop])}</mark>')
            at = stop
    return ("…" if begin else "") + "".join(pieces) + escape(text[at:end]) + ("…" if end < len(text) else "")


def _around_the_difference(left: str, right: str) -> tuple[str, str]:
    """Both texts, cut to be compared and shown where they are long: from shortly before they part."""
    if max(len(left), len(right)) <= COMPARED:
        return left, right
    begin = max(0, len(commonprefix([left, right])) - BEFORE_A_MARK)
    return _from(left, begin), _from(right, begin)


def _from(text: str, begin: int) -> str:
    return ("…" if begin else "") + text[begin : begin + COMPARED] + ("…" if begin + COMPARED < len(text) else "")


def _as_text(said: Said) -> str:
    return "\n".join(f"{who}: {text}" for who, text in said)
