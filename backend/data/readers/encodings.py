"""How text is encoded: UTF-16 and UTF-32 by their marks or zeros, UTF-8 by proof, else the likeliest older encoding."""

import codecs
import io
import re
from pathlib import Path
from typing import BinaryIO

from backend.data.readers.source import HEAD, clip
from backend.errors import UserError

ENCODINGS = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "iso8859-15", "cp1250", "iso8859-2",
    "cp1251", "koi8-r", "cp1253", "cp1254", "cp1255", "cp1256", "mac-roman", "cp932", "euc-jp", "gb18030", "big5",
    "cp949",
)  # fmt: skip


def known_encoding(encoding: str) -> str:
    """Our name for an encoding, whatever it is called. Raises `UserError` for one we do not know."""
    try:
        wanted = codecs.lookup(encoding).name.removesuffix("-sig")
    except (LookupError, ValueError):
        wanted = None
    for known in ENCODINGS:
        if codecs.lookup(known).name == wanted:
            return known
    raise UserError(f'There is no text encoding "{clip(encoding)}" here. Choose one of: {", ".join(ENCODINGS)}.')


def find_encoding(path: Path) -> str:
    """The encoding of a file, from all of its bytes."""
    with path.open("rb") as file:
        wide = wide_encoding(file.read(HEAD))
    if wide:
        return wide
    stretch = _around_first_fault(path)
    return "utf-8" if _is_mostly_utf8(stretch) else _likeliest_legacy(stretch)


def wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by the first bytes; None for the others."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    low, high = head[0:4096:2], head[1:4096:2]
    if len(high) > 1 and high.count(0) > 0.4 * len(high) and low.count(0) < 0.05 * len(low):
        return "utf-16-le"
    if len(high) > 1 and low.count(0) > 0.4 * len(low) and high.count(0) < 0.05 * len(high):
        return "utf-16-be"
    return None


def open_text(file: BinaryIO, encoding: str | None) -> io.TextIOWrapper:
    """The file as text, line ends as they are. Bytes that do not decode become lone surrogates, found row by row."""
    return io.TextIOWrapper(file, encoding=codec(encoding), errors="surrogateescape", newline="")


def codec(encoding: str | None) -> str:
    """The codec to read an encoding with: a byte order mark is no part of the text."""
    return "utf-8-sig" if encoding in (None, "utf-8") else encoding


_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _around_first_fault(path: Path) -> bytes:
    """Up to 64 KiB around the first bytes that are not UTF-8; nothing if the whole file is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        while True:
            chunk = file.read(HEAD)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return error.object[max(0, error.start - 2**15) : error.start + 2**15]
            if not chunk:
                return b""


def _is_mostly_utf8(stretch: bytes) -> bool:
    """Whether it is UTF-8 with a few damaged bytes (which `read_rows` reports by row), and not another encoding."""
    beyond_ascii = [character for character in stretch.decode("utf-8", "surrogateescape") if character > "\x7f"]
    damaged = sum("\udc80" <= character <= "\udcff" for character in beyond_ascii)
    return damaged <= len(beyond_ascii) / 2


def _likeliest_legacy(stretch: bytes) -> str:
    from charset_normalizer import from_bytes

    try:
        western = stretch.decode("cp1252")
    except UnicodeDecodeError:
        western = ""
    # Western accents stand among plain letters; other scripts, misread as Western, come out as runs of accents.
    in_runs = sum(map(len, re.findall(r"[À-ÿ]{3,}", western)))
    if western and in_runs <= 0.2 * len(re.findall(r"[À-ÿ]", western)):
        return "cp1252"
    best = from_bytes(stretch, cp_isolation=[known for known in ENCODINGS if not known.startswith("utf")]).best()
    return known_encoding(best.encoding) if best else "latin-1"
