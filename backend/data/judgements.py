"""Which answer is better than which, as preferences say it pair by pair, and where one says the opposite of another."""

from itertools import permutations

from backend.data.records import Preference, canonical, digest


class Judgements:
    """What has been judged so far: 16 bytes for each pair of answers, and no text."""

    def __init__(self) -> None:
        self._judged: set[bytes] = set()

    def contradict(self, record: Preference) -> bool:
        """Whether one of its answers is better than another that stood above it, behind the same prompt, in an earlier row.

        What contradicts is not remembered: the first judgement of a pair counts.
        """
        prompt = canonical(record["prompt"])
        ranked = zip(record["ranks"], map(canonical, record["answers"]), strict=True)
        pairs = [(better, worse) for (place, better), (behind, worse) in permutations(ranked, 2) if place < behind]
        if any(digest(prompt + worse + better) in self._judged for better, worse in pairs):
            return True
        self._judged.update(digest(prompt + better + worse) for better, worse in pairs)
        return False
