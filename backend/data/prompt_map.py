"""A map of what a data set asks about: like prompts close together, in groups named by their words. For looking at.

Prompts are TF-IDF vectors over the commonest words of the sample, of length one; their first ten principal components
(truncated SVD by subspace iteration) are grouped by k-means, and the first two are the map. Every step begins from a
fixed seed: the same prompts give the same map. A few hundred rows take a tenth of a second, 2,000 about one.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from backend.data.readers import clip
from backend.data.similarity import words

if TYPE_CHECKING:
    import numpy as np

PROMPTS = 2_000  # a larger set is shown by a sample: more points hide each other
LEAST_PROMPTS = 20
WORDS = 3_000
COMPONENTS, ROUNDS = 10, 8
GROUPS, ROWS_PER_GROUP = 8, 20
WORDS_IN_A_NAME = 3
CHARACTERS_READ, CHARACTERS_SHOWN = 2_000, 90


class PromptMap(BaseModel):
    """Points of the map, each a prompt. Lists of one length."""

    model_config = ConfigDict(frozen=True)

    x: list[float]
    y: list[float]
    group: list[int]
    prompts: list[str]  # how each begins
    names: list[str]  # of the groups: their most typical words


def prompt_map(prompts: Sequence[str]) -> PromptMap | None:
    """The map of up to `PROMPTS` prompts; None for so few, or so like each other, that there is nothing to see."""
    import numpy as np

    spoken = [words(prompt[:CHARACTERS_READ]) for prompt in prompts[:PROMPTS]]
    vocabulary = _vocabulary(spoken)
    if len(spoken) < LEAST_PROMPTS or len(vocabulary) < COMPONENTS:
        return None
    vectors = _tf_idf(spoken, vocabulary)
    places = _principal(vectors)
    groups = _k_means(places, min(GROUPS, max(2, len(spoken) // ROWS_PER_GROUP)))
    shown = places[:, :2] / (np.abs(places[:, :2]).max() or 1)
    return PromptMap(
        x=shown[:, 0].round(4).tolist(), y=shown[:, 1].round(4).tolist(), group=groups.tolist(),
        prompts=[clip(" ".join(prompt.split()), max_chars=CHARACTERS_SHOWN) for prompt in prompts[:PROMPTS]],
        names=_names(vectors, groups, list(vocabulary)),
    )  # fmt: skip


def _vocabulary(spoken: Sequence[Sequence[str]]) -> dict[str, int]:
    """{word: its place}: words of several prompts, the commonest first, but for those that most prompts have."""
    counts = Counter(word for prompt in spoken for word in set(prompt))
    telling = [(word, count) for word, count in counts.items() if 2 <= count <= max(2, len(spoken) // 2)]
    commonest = sorted(telling, key=lambda pair: (-pair[1], pair[0]))[:WORDS]
    return {word: place for place, (word, _) in enumerate(commonest)}


def _tf_idf(spoken: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> "np.ndarray":
    """(1 + ln count) * ln(prompts / prompts with the word), each row of length one. [prompts, words]"""
    import numpy as np

    vectors = np.zeros((len(spoken), len(vocabulary)), dtype=np.float32)
    for row, prompt in enumerate(spoken):
        for word, count in Counter(prompt).items():
            if word in vocabulary:
                vectors[row, vocabulary[word]] = 1 + np.log(count)
    vectors *= np.log(len(spoken) / (vectors > 0).sum(axis=0))
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _principal(vectors: "np.ndarray") -> "np.ndarray":
    """The first principal components of each row, by subspace iteration (Halko et al. 2011, arXiv:0909.4061). [rows, COMPONENTS]"""
    import numpy as np

    centred = vectors - vectors.mean(axis=0)
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], COMPONENTS)).astype(np.float32)
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    left, sizes, _ = np.linalg.svd(centred @ basis, full_matrices=False)
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])  # an SVD leaves the signs open
    return left * signs * sizes


def _k_means(places: "np.ndarray", count: int) -> "np.ndarray":
    """The group of each row, the largest first; begun from rows far from each other (k-means++, Arthur 2007). [rows]"""
    import numpy as np

    random = np.random.default_rng(0)
    centres = places[[random.integers(len(places))]]
    while len(centres) < count:
        far = ((places[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        if not far.sum() > 1e-9:
            break
        centres = np.vstack([centres, places[random.choice(len(places), p=far / far.sum())]])
    for _ in range(50):
        groups = ((places[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        moved = np.array([places[groups == group].mean(axis=0) if (groups == group).any() else centres[group] for group in range(len(centres))])
        if np.allclose(moved, centres):
            break
        centres = moved
    by_size = np.argsort(-np.bincount(groups, minlength=len(centres)), kind="stable")
    return np.argsort(by_size, kind="stable")[groups]


def _names(vectors: "np.ndarray", groups: "np.ndarray", vocabulary: Sequence[str]) -> list[str]:
    """The words that stand out most in each group against the others; short ones ("for", "it") tell nothing."""
    import numpy as np

    telling = np.array([len(word) > 3 or not word.isascii() for word in vocabulary])
    names = []
    for group in range(int(groups.max()) + 1):
        inside = groups == group
        others = vectors[~inside].mean(axis=0) if (~inside).any() else 0
        standing_out = np.argsort(-(vectors[inside].mean(axis=0) - others) * telling, kind="stable")[:WORDS_IN_A_NAME]
        names.append(", ".join(vocabulary[word] for word in standing_out))
    return names
