"""Letters damaged by reading a text in the wrong encoding: "CafÃ©", "donâ€™t", "�"."""

import re
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from backend.data.checks import Check, Finding, Gravity, Mark, Mender, OneByOne, Passing, Row, Watch, rows_are

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

LOST = "\ufffd"  # the replacement character: what stood there is gone
# what bytes of UTF-8 look like read one by one: a letter that begins a character, and one or more that go on with it
SUSPECT = re.compile("[\u0080-\u009f\ufffd]|[ÃÂ][ \u00a0]|[\u00a0-\u052f\u2000-\u22ff\u2500-\u25ff]{2,}")


class EncodingDamage(Check):
    """The rule: ftfy's table of letters that hardly ever stand side by side, or a replacement character."""

    order: ClassVar[int] = 8
    title: ClassVar[str] = "Damaged letters"
    looks_for: ClassVar[str] = "damaged letters"
    gravity: ClassVar[Gravity] = "wrong"
    mend: ClassVar[str] = "Read the letters anew"

    name: Literal["encoding"] = "encoding"

    def begin(self, passing: Passing) -> Watch:
        return OneByOne(self, lambda row: any(map(is_damaged, row.texts)), _sentence)

    def marks(self, row: Row) -> list[Mark]:
        from ftfy.badness import BADNESS_RE

        lost = row.marked(re.compile(LOST))
        return lost + row.marked(BADNESS_RE)

    def mender(self, finding: Finding) -> Mender:
        """Bytes are read again as UTF-8. What does not come out whole stays as it is, and so do replacement characters."""
        return lambda row: row.rewritten(reread)


def is_damaged(text: str) -> bool:
    """Whether a text holds letters that were read in the wrong encoding."""
    if text.isascii() or not SUSPECT.search(text):  # most texts are done with here: the table is slow
        return False
    from ftfy.badness import is_bad

    return LOST in text or is_bad(text)


def reread(text: str) -> str:
    """The text with damaged stretches decoded as they should have been, where that gives the same bytes back."""
    if not is_damaged(text):
        return text
    from ftfy import fix_encoding

    # apart at each lost letter: ftfy would take it for a byte of its own
    return LOST.join(fix_encoding(piece, _config()) for piece in text.split(LOST))


@cache
def _config() -> "TextFixerConfig":
    """Decoding alone: nothing that guesses at lost bytes."""
    from ftfy import TextFixerConfig

    return TextFixerConfig(replace_lossy_sequences=False, explain=False)


def _sentence(count: int) -> str:
    return (
        f"{rows_are(count, 'hold', 'holds')} letters that were read in the wrong encoding, such as Ã© for é, or that are lost (�). "
        "The model learns to write them so."
    )
