"""Which rows of a set are alike: the same by key, or nearly the same by their words. Bounded memory, one pass.

    keys = Keys(rows)                       index = NearIndex(rows)
    keys.add(digest(content))               index.see(text)
    keys.firsts()                           index.pairs(0.8, read=texts_of)

The rule of nearness: a text is its set of shingles, runs of three words in a row, letter case and punctuation put aside
(words as in `similarity`). Two texts are as near as their Jaccard similarity, shared shingles / all shingles. Pairs are
found by MinHash (Broder 1997): 64 hash functions in 16 bands of 4, so that a pair at 0.8 is missed once in 4,500 times;
every pair found is then verified by its true Jaccard similarity. No pair is taken on the sketch's word alone.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import normalize
from zlib import crc32

from backend.data.similarity import words

if TYPE_CHECKING:
    import numpy as np

SHINGLE = 3  # words
BANDS, ROWS_PER_BAND = 16, 4
HASHES = BANDS * ROWS_PER_BAND
AT_ONCE = 256  # texts sketched together: numpy's overhead is shared, and the numbers stay in the processor's cache
NEIGHBOURS = 16  # each text is compared with so many of those before it in its bucket, and with the bucket's first
MOST_PAIRS = 4_000_000
MOST_SHINGLES = 20_000_000  # held at once to verify pairs: 160 MB
CHARACTERS_COMPARED = 200_000  # of one text
ASCII_WORD = re.compile(rb"[a-z0-9]+")
LETTERS = re.compile(r"[^\W_]+")
# where words are more than runs of letters: combining marks, and scripts beyond Latin, Greek, Cyrillic and Armenian
INTRICATE = re.compile("[\u0300-\u036f\u0483-\u0489\u0591-\u1fff\u20d0-\u20ff\u2c80-\uffff\U00010000-\U0010ffff]")


class Keys:
    """16 bytes for each row, to find out which rows have the same."""

    def __init__(self) -> None:
        self._keys = bytearray()

    def add(self, key: bytes | None) -> None:
        """The next row's key; None for a row that is like no other."""
        number = len(self._keys) // 16
        self._keys += key if key is not None else b"\xff" * 8 + number.to_bytes(8, "big")

    def firsts(self) -> "np.ndarray":
        """For each row the first one with its key: itself, where no earlier row has it. [rows], int64"""
        import numpy as np

        keys = np.frombuffer(self._keys, dtype=np.uint64).reshape(-1, 2)
        order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: among equals the earlier row stands first
        ordered = keys[order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        firsts = np.empty(len(order), dtype=np.int64)
        firsts[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
        return firsts


@dataclass(frozen=True)
class Pairs:
    """Rows that are nearly the same, counted from 0. `earlier` < `later`, element by element."""

    earlier: "np.ndarray"
    later: "np.ndarray"
    jaccard: "np.ndarray"
    all_found: bool  # whether there was room to compare everything that looked alike

    def numbers(self) -> list[tuple[int, int]]:
        """(earlier, later) of each pair."""
        return list(zip(self.earlier.tolist(), self.later.tolist(), strict=True))

    def among(self, rows: "np.ndarray") -> "Pairs":
        """The pairs of which both are marked in `rows`."""
        both = rows[self.earlier] & rows[self.later]
        return Pairs(self.earlier[both], self.later[both], self.jaccard[both], self.all_found)

    def copies(self) -> "tuple[np.ndarray, np.ndarray]":
        """Rows that are near an earlier row which is no copy itself, and the nearest such row of each."""
        import numpy as np

        original: dict[int, int] = {}
        order = np.lexsort((self.earlier, -self.jaccard, self.later))  # row by row, the nearest first
        for earlier, later in zip(self.earlier[order].tolist(), self.later[order].tolist(), strict=True):
            if earlier not in original:
                original.setdefault(later, earlier)
        return np.array(list(original), dtype=np.int64), np.array(list(original.values()), dtype=np.int64)


class NearIndex:
    """Sketches of the rows' texts: 192 bytes each, whatever their length."""

    def __init__(self, rows: int) -> None:
        import numpy as np

        self._bands = np.empty((rows, BANDS), dtype=np.uint64)
        self._marks = np.zeros((rows, HASHES), dtype=np.uint8)  # a byte of each hash: to judge a pair before it is verified
        self._has_words = np.zeros(rows, dtype=bool)
        self._seen = 0
        self._waiting: list[str] = []

    def see(self, text: str) -> None:
        """The next row's text."""
        self._waiting.append(text)
        if len(self._waiting) == AT_ONCE:
            self._sketch()

    def pairs(self, threshold: float, *, read: Callable[[Sequence[int]], Iterable[str]], without: "np.ndarray | None" = None) -> Pairs:
        """Every pair at `threshold` or nearer, but for rows marked in `without`. `read` gives texts by row number again."""
        import numpy as np

        self._sketch()
        rows = self._has_words if without is None else self._has_words & ~without
        codes, room = self._likely(np.flatnonzero(rows), threshold)
        earlier, later = np.divmod(codes, len(rows))
        verified = _Verified(np.unique(np.concatenate([earlier, later])), read)
        jaccard = np.array([verified.jaccard(a, b) for a, b in zip(earlier.tolist(), later.tolist(), strict=True)])
        near = jaccard >= threshold if len(jaccard) else np.zeros(0, dtype=bool)
        return Pairs(earlier[near], later[near], jaccard[near], room and verified.has_all)

    def _sketch(self) -> None:
        """Work off the texts that wait."""
        import numpy as np

        if not self._waiting:
            return
        hashes, begins, with_words = shingles(self._waiting)
        rows = slice(self._seen, self._seen + len(self._waiting))
        lowest = np.empty((len(begins), HASHES), dtype=np.uint64)
        for number, (factor, term) in enumerate(_hash_functions()):
            lowest[:, number] = np.minimum.reduceat(hashes * factor + term, begins)
        self._bands[rows] = _in_bands(lowest)
        self._marks[rows] = (lowest >> np.uint64(40)).astype(np.uint8)
        self._has_words[rows] = with_words
        self._seen += len(self._waiting)
        self._waiting = []

    def _likely(self, rows: "np.ndarray", threshold: float) -> "tuple[np.ndarray, bool]":
        """Pairs that share a band and look alike, as earlier * (all rows) + later; and whether there was room for all."""
        import numpy as np

        total, found = len(self._has_words), np.empty(0, dtype=np.int64)
        for band in range(BANDS):
            kept = [found]
            for earlier, later in _in_one_bucket(self._bands[rows, band]):
                kept.append(self._alike(rows[earlier], rows[later], threshold, total))
            found = np.unique(np.concatenate(kept))
            if len(found) > MOST_PAIRS:
                return found[:MOST_PAIRS], False
        return found, True

    def _alike(self, earlier: "np.ndarray", later: "np.ndarray", threshold: float, total: int) -> "np.ndarray":
        """Those pairs whose sketches do not rule the threshold out: 4.5 standard deviations are allowed for."""
        import numpy as np

        least = HASHES * threshold - 4.5 * (HASHES * threshold * (1 - threshold)) ** 0.5
        kept = []
        for begin in range(0, len(earlier), 100_000):  # in parts: a million pairs of sketches at once would take 64 MB
            a, b = earlier[begin : begin + 100_000], later[begin : begin + 100_000]
            alike = (self._marks[a] == self._marks[b]).sum(axis=1) >= least
            kept.append(a[alike] * total + b[alike])
        return np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)


def shingles(texts: Sequence[str]) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Texts as shingle hashes: all of them in a row [shingles], where each text's begin [texts], which have words [texts].

    A text of fewer words than a shingle has one shingle: all its words.
    """
    import numpy as np

    codes, lengths, with_words = array("Q"), [], []
    for text in texts:
        found = _word_codes(text[:CHARACTERS_COMPARED])
        with_words.append(bool(found))
        found += [0] * (SHINGLE - len(found))
        lengths.append(len(found))
        codes.extend(found)
    hashes = _mixed(np.frombuffer(codes, dtype=np.uint64))
    counts = np.array(lengths) - (SHINGLE - 1)
    starts = np.cumsum(lengths) - np.array(lengths)
    begins = np.cumsum(counts) - counts
    inside = np.arange(counts.sum()) + np.repeat(starts - begins, counts)  # no shingle reaches into the next text
    return hashes[inside], begins, np.array(with_words)


class _Verified:
    """The shingles of some rows, read again, for the true similarity of any two of them."""

    def __init__(self, rows: "np.ndarray", read: Callable[[Sequence[int]], Iterable[str]]) -> None:
        self._shingles: dict[int, np.ndarray] = {}
        self.has_all = True
        numbers, room = rows.tolist(), MOST_SHINGLES
        for row, own in zip(numbers, _sets_of(read(numbers)), strict=False):
            room -= len(own)
            if room < 0:
                self.has_all = False
                break
            self._shingles[row] = own

    def jaccard(self, one: int, other: int) -> float:
        """Shared shingles / all shingles; 0 where one of them was not read for want of room."""
        import numpy as np

        if one not in self._shingles or other not in self._shingles:
            return 0.0
        a, b = self._shingles[one], self._shingles[other]
        shared = len(np.intersect1d(a, b, assume_unique=True))
        return shared / (len(a) + len(b) - shared)


def _sets_of(texts: Iterable[str]) -> Iterator["np.ndarray"]:
    """Each text's shingles, each once."""
    import numpy as np

    for text in texts:
        yield np.unique(shingles([text])[0])


def _in_one_bucket(keys: "np.ndarray") -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Places of equal keys, (earlier, later): each with its neighbours before it, and with the first of its bucket."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    for gap in range(1, NEIGHBOURS + 1):
        same = ordered[gap:] == ordered[:-gap]
        if not same.any():
            return
        yield order[:-gap][same], order[gap:][same]
    places = np.arange(len(order))
    firsts = np.maximum.accumulate(np.where(np.r_[True, ordered[1:] != ordered[:-1]], places, 0))
    far = places - firsts > NEIGHBOURS
    yield order[firsts[far]], order[far]


def _word_codes(text: str) -> list[int]:
    """A number of 32 bits for each word: the words of `similarity.words`, found faster where the text is plain."""
    if text.isascii():
        return list(map(crc32, ASCII_WORD.findall(text.lower().encode())))
    if not INTRICATE.search(text):
        return [crc32(word.encode()) for word in LETTERS.findall(normalize("NFC", text).casefold())]
    return [crc32(word.encode()) for word in words(text)]


def _mixed(codes: "np.ndarray") -> "np.ndarray":
    """A hash of every three words in a row, spread over 64 bits (the finish of splitmix64)."""
    import numpy as np

    a, b, c = codes[:-2], codes[1:-1], codes[2:]
    mixed = (a * np.uint64(0x9E3779B97F4A7C15) + b) * np.uint64(0xBF58476D1CE4E5B9) + c
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hash_functions() -> "Iterator[tuple[np.uint64, np.uint64]]":
    """Odd factors and terms of the 64 hash functions, the same each time."""
    import numpy as np

    random = np.random.default_rng(20250101)
    factors = random.integers(0, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    yield from zip(factors, random.integers(0, 2**63, HASHES, dtype=np.uint64), strict=True)


def _in_bands(lowest: "np.ndarray") -> "np.ndarray":
    """[texts, HASHES] as [texts, BANDS]: one number for each four hashes."""
    import numpy as np

    bands = np.zeros((len(lowest), BANDS), dtype=np.uint64)
    for number in range(ROWS_PER_BAND):
        bands = (bands ^ lowest[:, number::ROWS_PER_BAND]) * np.uint64(0x9E3779B97F4A7C15)
    return bands ^ (bands >> np.uint64(29))
