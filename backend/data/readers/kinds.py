"""What kind of file something is, by its first bytes: archives, pickles, programs and pictures are told from text."""

import codecs
import re
import stat
from os import stat_result
from pathlib import Path

from backend.data.readers.encodings import wide_encoding
from backend.data.readers.source import ACCEPTED, HEAD


class Unreadable(Exception):
    """Why a file cannot be read as text. `reason` goes on after its name, `remedy` is a sentence."""

    def __init__(self, reason: str, remedy: str = ACCEPTED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def beginning(path: Path) -> tuple[stat_result, bytes]:
    """What the disk says of a file, and its first bytes. Raises `Unreadable` for links, folders and what is gone."""
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise Unreadable("is a link to another file", "Choose that file itself.")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is not a file")
        with path.open("rb") as file:
            return status, file.read(HEAD)
    except (OSError, ValueError) as error:
        raise Unreadable("cannot be opened", "Check that it is there and readable, or choose another.") from error


def is_blank(content: bytes) -> bool:
    return not content.strip(codecs.BOM_UTF8 + b"\0 \t\r\n")


def require_text(head: bytes) -> None:
    """Raise `Unreadable` for a file that is no text, by its first bytes."""
    for magic, kind in _MAGIC:
        if re.match(magic, head, re.DOTALL):
            raise Unreadable(f"is {kind}, not text")
    if wide_encoding(head) is None and len(head.translate(None, _CONTROL)) < 0.95 * len(head):
        raise Unreadable("is binary, not text")


def require_no_program(head: str, *, name: str) -> None:
    """Raise `Unreadable` for a Python program: no data, even where its commas would make a table of it."""
    if _is_python(head, name=name):
        raise Unreadable("is a Python program, not text to learn from")


def is_column_name(text: str) -> bool:
    """Whether a text may well name a column; a sentence is no name."""
    return len(text) <= LONGEST_COLUMN_NAME and _COLUMN_NAME.fullmatch(text) is not None


LONGEST_COLUMN_NAME = 64


def _is_python(head: str, *, name: str) -> bool:
    first = next((line for line in head.splitlines() if line.strip() and not line.startswith("#")), "")
    if not name.lower().endswith((".py", ".pyw")):
        return _PYTHON.match(first) is not None and len(_PYTHON.findall(head)) > 1
    names = [cell.strip(' "') for cell in re.split(r"[\t,;|]", first)]
    return _PYTHON.search(head) is not None or len(names) < 2 or not all(map(is_column_name, names))


_COLUMN_NAME = re.compile(r"[^\W\d][\w.\-/()]*( [\w.\-/()]+){0,3}(?<!\.)")
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive (or an Office or PyTorch file)"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (rb"Rar!\x1a\x07", "a rar archive"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 archive"),
    (rb"\xfd7zXZ\x00", "an xz archive"),
    (rb"\x28\xb5\x2f\xfd", "a zstd archive"),
    (rb".{257}ustar", "a tar archive"),
    (rb"\x80[\x02-\x05]|[\](})]q\x00", "a pickle, which can run programs"),
    # Pickle's oldest protocol is text: a list, a dict, or the name of a function to call.
    (rb"\([dl]p\d+\r?\n|c(\w+\.[\w.]+|__builtin__|builtins|copy_?reg|os|posix|nt|sys|subprocess)\r?\n\w+\r?\n(\(|p\d)",
     "a pickle, which can run programs"),
    (rb"\x7fELF|MZ.\x00|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|\x00asm|#!", "a program"),
    (rb"%PDF-", "a PDF"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|II\*\x00|MM\x00\*", "a picture"),
    (rb"RIFF.{4}(WAVE|AVI )|ID3[\x02-\x04]|OggS\x00|fLaC\x00|\x00.{3}ftyp", "sound or film"),
    (rb"SQLite format 3\x00", "an SQLite database"),
    (rb"\x89HDF|ARROW1\x00|\xd0\xcf\x11\xe0", "in a binary format the studio does not read"),
    (rb"PARE..[\x00-\x1f]\x00", "encrypted Parquet"),
    (rb"(?i:\s*<(!doctype|html|\?xml))", "a web page or XML"),
)  # fmt: skip
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_PYTHON = re.compile(r"(?m)^(from [\w.]+ import |import \w[\w., ]*$|(async )?def \w+\(|class \w+[:(]|if __name__)")
