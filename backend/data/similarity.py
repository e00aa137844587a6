"""How alike texts are, word by word: the highest ROUGE-L of a text against everything in a pool.

    pool = Pool(instructions)
    nearest = pool.nearest("Write a poem about the sea.")     Nearest(index=14, text="Write a poem on ...", score=0.83)

The rule: a text is its words, letter case put aside. A word is a run of letters, digits and the marks on them; in
scripts written without spaces (Chinese, Japanese, Thai, ...) each character is a word. Nothing is stemmed. ROUGE-L
(Lin 2004, https://aclanthology.org/W04-1013) is the F1 of the longest common subsequence (LCS) of words,
2 * LCS / (m + n) for texts of m and n words; on ASCII it is what the package rouge_score gives.

The score of the nearest is exact, and most of the pool is never compared: two texts cannot share a longer subsequence
than they share words, and an index of words counts those for the whole pool at once. Each distinct word becomes one
character, so that a compiled, bit-parallel LCS of strings (rapidfuzz) does the rest.
"""

import functools
import re
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from backend.errors import UserError

if TYPE_CHECKING:
    import numpy as np

# Thai, Lao, Myanmar, Khmer, kana, and Han with its extensions
WITHOUT_SPACES = (
    "\u0e00-\u0e4f\u0e80-\u0eff\u1000-\u104f\u1780-\u17d3\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U000323af"
)
LIKELIEST = 64  # compared first: what they score rules out most of the others
UNKNOWN = "\0"  # a word no text of the pool has


class Nearest(NamedTuple):
    """The text of the pool that is most like another, the earliest of equals."""

    index: int
    text: str
    score: float  # ROUGE-L, 0 to 1


class Pool:
    """Texts to be compared with; it may grow at any time. Not for several threads at once."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = []
        self._coded: list[str] = []  # each text with one character a word
        self._characters: dict[str, str] = {}  # word -> its character
        self._lengths = array("q")  # in words
        self._with: dict[tuple[str, int], array[int]] = {}  # (character, n) -> texts that have it n times or more
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str) -> None:
        """Put one more text into the pool. Raises `UserError` once it holds more different words than there are characters."""
        coded = "".join(map(self._learn, words(text)))
        for occurrence in _occurrences(coded):
            self._with.setdefault(occurrence, array("q")).append(len(self.texts))
        self.texts.append(text)
        self._coded.append(coded)
        self._lengths.append(len(coded))

    def nearest(self, text: str) -> Nearest | None:
        """The text of the pool with the highest ROUGE-L; None where no text shares a word with it."""
        import numpy as np

        coded = self._code(text)
        bounds = self._bounds(coded)
        if not bounds.any():
            return None
        likeliest = np.argpartition(bounds, -LIKELIEST)[-LIKELIEST:] if len(bounds) > LIKELIEST else np.arange(len(bounds))
        lowest = self._scores(coded, likeliest).max()
        possible = np.flatnonzero(bounds >= lowest)
        scores = self._scores(coded, possible)
        best = int(scores.argmax())
        index = int(possible[best])
        return Nearest(index, self.texts[index], float(scores[best]))

    def nearest_many(self, texts: Iterable[str]) -> list[Nearest | None]:
        """`nearest` of each."""
        return [self.nearest(text) for text in texts]

    def _learn(self, word: str) -> str:
        """The word's character, a new one if need be."""
        if word not in self._characters and len(self._characters) == sys.maxunicode:
            raise UserError(f"The texts hold more than {sys.maxunicode:,} different words, more than can be compared. Use fewer texts.")
        return self._characters.setdefault(word, chr(min(len(self._characters) + 1, sys.maxunicode)))

    def _code(self, text: str) -> str:
        """A text with one character a word, as the pool has them."""
        return "".join(self._characters.get(word, UNKNOWN) for word in words(text))

    def _bounds(self, coded: str) -> "np.ndarray":
        """What ROUGE-L with each text of the pool can be at most, by the words they share. [texts]"""
        import numpy as np

        shared = np.zeros(len(self.texts), dtype=np.int64)
        for occurrence in _occurrences(coded):
            if occurrence in self._with:
                shared[np.frombuffer(self._with[occurrence], dtype=np.int64)] += 1
        return 2 * shared / np.maximum(len(coded) + np.array(self._lengths, dtype=np.int64), 1)

    def _scores(self, coded: str, indices: "np.ndarray") -> "np.ndarray":
        """ROUGE-L with the texts at `indices`, which share a word or have one themselves. [indices]"""
        import numpy as np
        from rapidfuzz.distance import LCSseq
        from rapidfuzz.process import cdist

        others = [self._coded[index] for index in indices]
        (common,) = cdist([coded], others, scorer=LCSseq.similarity, dtype=np.int64)
        return 2 * common / np.maximum([len(coded) + len(other) for other in others], 1)


def words(text: str) -> list[str]:
    """The words of a text as the rule above has them."""
    return _pattern().findall(unicodedata.normalize("NFC", text).casefold())


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """ROUGE-L of two lists of words, computed plainly: the reference the pool is held to."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0  # the value up and to the left
        for column, against in enumerate(other, 1):
            before, row[column] = row[column], before + 1 if word == against else max(row[column], row[column - 1])
    return 2 * row[-1] / (len(one) + len(other)) if row[-1] else 0.0


def _occurrences(coded: str) -> Iterator[tuple[str, int]]:
    """Every character with 1, 2, ... up to how often it stands there: texts share as many of these as words."""
    for character, count in Counter(coded).items():
        for number in range(1, count + 1):
            yield character, number


@functools.cache
def _pattern() -> re.Pattern[str]:
    """A character of a script without spaces, or a run of letters, digits and marks of the others."""
    marks = "".join(chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M")
    mark = f"[{marks}]"
    return re.compile(rf"[{WITHOUT_SPACES}]{mark}*|(?:(?![{WITHOUT_SPACES}])[^\W_]{mark}*)+")
