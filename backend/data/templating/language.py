"""The template language: text with `{column}` in it, and nothing else.

    pattern = parse("Is this review {options}?\\n\\n{text}")
    pattern.names                                       ("options", "text")
    pattern.fill({"options": "good or bad", "text": "A joy."})

`{{` and `}}` stand for braces. A placeholder is looked up by its name, letter for letter: there are no expressions,
attributes or filters that could reach anything else. What is put in is text, and is not read as a template again.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from backend.data.readers import clip
from backend.errors import UserError

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[^{}]+|[{}]")


class Piece(NamedTuple):
    """Words as they stand, or the name of what belongs here."""

    text: str
    is_placeholder: bool = False


@dataclass(frozen=True)
class Pattern:
    """A template, read."""

    pieces: tuple[Piece, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What it asks for, each once, in order."""
        return tuple(dict.fromkeys(piece.text for piece in self.pieces if piece.is_placeholder))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with its placeholders filled in. All of `names` must be there: see `missing`."""
        return "".join(values[piece.text] if piece.is_placeholder else piece.text for piece in self.pieces)


def parse(text: str, *, where: str = "The template") -> Pattern:
    """Read a template. Raises `UserError`, beginning with `where`, for a brace that opens or closes nothing."""
    pieces = [_piece(match, where) for match in _PIECE.finditer(text)]
    return Pattern(tuple(pieces))


def missing(pattern: Pattern, there: Iterable[str], *, where: str = "The template") -> list[str]:
    """A sentence for each placeholder that has no column, with the names there are."""
    names = list(there)
    return [_no_such_column(name, names, where) for name in pattern.names if name not in names]


def _piece(match: re.Match[str], where: str) -> Piece:
    written = match.group()
    if written in ("{{", "}}"):
        return Piece(written[0])
    if written in ("{", "}"):
        around = clip(match.string[max(0, match.start() - 20) : match.start() + 20].replace("\n", " "))
        raise UserError(f'{where} has a lone {written} at "{around}". Write {written * 2} for a brace, or {{name}} for a column.')
    name = match["name"]
    if name is None:
        return Piece(written)
    if not name.strip():
        raise UserError(f"{where} has an empty {{}}. Put the name of a column between the braces.")
    return Piece(name.strip(), is_placeholder=True)


def _no_such_column(name: str, there: list[str], where: str) -> str:
    names = {known.casefold(): known for known in there}
    nearest = difflib.get_close_matches(name.casefold(), names, n=1, cutoff=0.6)
    hint = f" Did you mean {{{clip(names[nearest[0]])}}}?" if nearest else ""
    listed = ", ".join(clip(known, max_chars=60) for known in there) or "none"
    return f"{where} asks for {{{clip(name)}}}, and there is no column of that name.{hint} There are: {listed}."
