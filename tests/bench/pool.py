"""How fast the similarity filter is: candidates a second against a pool of 52,000 instructions.

    python -m tests.bench.pool [--pool 52000] [--candidates 500]

The instructions are made up from a seed: as long as Alpaca's (a median of 11 words, a few of more than 60), out of a
vocabulary of 30,000 words that are as unequally common as English ones (Zipf), after one of 40 usual openings. Half of
the candidates are new, half are instructions of the pool with every fifth word replaced. A part of the answers is held
to the plain computation, and the whole pool compared by the compiled LCS alone is timed beside it.
"""

import argparse
import math
import random
import resource
import time
from itertools import accumulate

from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from backend.data.similarity import Nearest, Pool, rouge_l, words

VOCABULARY = 30_000
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in ("a", "e", "i", "o", "u", "an", "er", "is")]
VERBS = ("write", "describe", "list", "explain", "give", "find", "generate", "create", "suggest", "classify")
OPENINGS = [f"{verb} {object}" for verb in VERBS for object in ("the", "a", "an example of the", "three")]


class Author:
    """Makes up instructions; the same seed makes up the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        spellings = ("".join(self.random.choices(SYLLABLES, k=1 + int(math.log10(rank + 1)))) + str(rank % 7) for rank in range(VOCABULARY))
        self.words = [spelling.rstrip("0123456789") or spelling for spelling in spellings]
        self.shares = list(accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))  # Zipf-Mandelbrot

    def instruction(self) -> str:
        """An opening, then words as often as they are common."""
        length = min(150, max(3, round(self.random.lognormvariate(math.log(11), 0.6))))
        return f"{self.random.choice(OPENINGS)} {' '.join(self._draw(max(1, length - 2)))}."

    def variation(self, instruction: str) -> str:
        """An instruction with about every fifth word replaced."""
        return " ".join(self._draw(1)[0] if self.random.random() < 0.2 else word for word in instruction.split())

    def _draw(self, count: int) -> list[str]:
        return self.random.choices(self.words, cum_weights=self.shares, k=count)


class WithoutIndex:
    """The same texts, one character a word, compared by the compiled LCS alone."""

    def __init__(self, texts: list[str]) -> None:
        self.characters: dict[str, str] = {}
        self.coded = [self.code(text) for text in texts]

    def code(self, text: str) -> str:
        return "".join(self.characters.setdefault(word, chr(len(self.characters))) for word in words(text))

    def highest(self, text: str) -> float:
        """The highest ROUGE-L, by comparing with every text on both cores."""
        coded = self.code(text)
        (common,) = cdist([coded], self.coded, scorer=LCSseq.similarity, workers=2)
        return max(2 * shared / (len(coded) + len(other)) for shared, other in zip(common, self.coded, strict=True))


def agrees_with_the_plain_computation(pool: Pool, text: str, nearest: Nearest | None) -> bool:
    scores = [rouge_l(words(text), words(other)) for other in pool.texts]
    return nearest is not None and nearest.score == max(scores) and nearest.index == scores.index(max(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", type=int, default=52_000)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--checked", type=int, default=3, help="candidates held to the plain computation, several seconds each")
    arguments = parser.parse_args()
    author = Author(seed=0)
    texts = [author.instruction() for _ in range(arguments.pool)]
    begun = time.perf_counter()
    pool = Pool(texts)
    print(f"pool of {len(pool):,} instructions, made in {time.perf_counter() - begun:.1f} s")

    candidates = [author.variation(author.random.choice(texts)) if n % 2 else author.instruction() for n in range(arguments.candidates)]
    begun = time.perf_counter()
    found = pool.nearest_many(candidates)
    seconds = time.perf_counter() - begun
    scores = sorted(nearest.score if nearest else 0.0 for nearest in found)
    print(f"{len(candidates) / seconds:,.0f} candidates/s ({1000 * seconds / len(candidates):.1f} ms each), score and neighbour of each")
    print(f"scores: lowest {scores[0]:.2f}, median {scores[len(scores) // 2]:.2f}, highest {scores[-1]:.2f}")

    without = WithoutIndex(texts)
    begun = time.perf_counter()
    alone = [without.highest(text) for text in candidates[:20]]
    print(f"{20 / (time.perf_counter() - begun):,.0f} candidates/s without the index of words, on two cores")
    assert all(nearest and nearest.score == score for nearest, score in zip(found, alone, strict=False))

    checked = list(zip(candidates, found, strict=True))[: arguments.checked]
    assert all(agrees_with_the_plain_computation(pool, text, nearest) for text, nearest in checked)
    print(f"{len(checked)} equal to the plain computation; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
