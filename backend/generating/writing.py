"""Writing tasks, as a story: show some tasks, get new ones, throw out what cannot be kept, until there are enough.

The prompts of one round do not show each other's tasks; the filter compares them. What a round wrote is put on the disk
at once, so a generation that was stopped, or killed, goes on with the round it was in: the same pool, no task twice.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from backend.data.similarity import Nearest, Pool
from backend.errors import Stopped
from backend.generating.drafting import Draft, Drafter
from backend.generating.filters import fault_of_answer, fault_of_instruction, fault_of_similarity
from backend.generating.generation import Candidate, Generation, attempts_of
from backend.generating.tasks import read_seeds
from backend.generating.writers import open_writer
from backend.jobs import Means


def write_tasks(generation: Generation, means: Means) -> None:
    """Write until there are enough, the prompts are used up, or somebody stops it; tell the events. Raises `UserError`."""
    try:
        rounds = Rounds(generation, means)
        generation.events.append("started", resumed_from=rounds.attempts, device="", precision="")
        while not rounds.is_over() and not means.should_stop():
            rounds.write_one()
    except Stopped:
        pass  # in the middle of a round, which is written anew when resumed
    status, message = rounds.end()
    generation.events.append("finished", status=status, message=message, step=rounds.attempts, seconds=round(rounds.seconds, 2))


class Rounds:
    """What has been written so far, and the next round of it."""

    def __init__(self, generation: Generation, means: Means) -> None:
        spec, standing, written = generation.spec, generation.standing(), generation.candidates()
        seeds = read_seeds(spec.seeds, generation.workspace)
        self.generation, self.settings = generation, spec.settings
        self.kept = [each.task for each in written if each.verdict == "accepted"]
        self.rejected, self.attempts, self.seconds = len(written) - len(self.kept), attempts_of(written), standing.seconds
        self.pool = Pool(task.instruction for task in (*seeds, *self.kept))
        self.drafter = Drafter(open_writer(spec.writer, means), spec.settings, seeds, self.kept, self._say)

    def is_over(self) -> bool:
        return len(self.kept) >= self.settings.wanted or self.attempts >= self.settings.most_attempts

    def write_one(self) -> None:
        """One round: its prompts are written, judged, and put on the disk. Raises `Stopped`, `UserError`."""
        begun = time.perf_counter()
        attempts = range(self.attempts, min(self.attempts + self.settings.prompts_at_once, self.settings.most_attempts))
        drafts = self.drafter.draft(attempts, self._looked_at)
        seconds = time.perf_counter() - begun
        candidates = self._judged(drafts, seconds / len(drafts))
        self.generation.keep(candidates)
        self._take_up(candidates, attempts.stop, self.seconds + seconds)

    def end(self) -> tuple[Literal["done", "stopped"], str]:
        """How it ended, in words."""
        wanted, found = self.settings.wanted, len(self.kept)
        if found >= wanted:
            return "done", f"{found:,} tasks passed the filter. Review them, then save them as a data set."
        if self.is_over():
            remedy = "For more: raise the similarity limit, give other seeds, or choose a stronger writer."
            return "done", f"{found:,} of {wanted:,} tasks were found in {self.attempts:,} prompts, the most allowed. {remedy}"
        return "stopped", f"Stopped after {self.attempts:,} prompts, with {found:,} of {wanted:,} tasks. Resume goes on from here."

    def _say(self, doing: str) -> None:
        self.generation.events.append("doing", message=doing)

    def _looked_at(self, drafts: Sequence[Draft]) -> list[Draft]:
        """The drafts, each with what its instruction is nearest to and what is wrong with it."""
        looked, of_round = [], Pool()
        for draft in drafts:
            looked.append(draft if draft.fault else self._compared(draft, of_round))
            if not looked[-1].fault:
                of_round.add(draft.task.instruction)
        return looked

    def _compared(self, draft: Draft, of_round: Pool) -> Draft:
        instruction = draft.task.instruction
        nearest = _nearer(self.pool.nearest(instruction), of_round.nearest(instruction))
        fault = fault_of_instruction(instruction, self.settings) or fault_of_similarity(nearest, self.settings)
        return draft._replace(fault=fault, nearest=nearest)

    def _judged(self, drafts: Sequence[Draft], seconds: float) -> list[Candidate]:
        """The drafts with their verdicts, each named by its prompt and its place there; what is kept joins the pool for the next."""
        placed: Counter[int] = Counter()
        candidates = []
        for draft in drafts:
            candidates.append(self._judge(draft, f"{draft.attempt}-{placed[draft.attempt]}", seconds))
            placed[draft.attempt] += 1
        return candidates

    def _judge(self, draft: Draft, id: str, seconds: float) -> Candidate:
        fault, nearest = draft.fault or fault_of_answer(draft.task, is_cut_off=draft.is_cut_off), draft.nearest
        if fault is None:
            nearest = self.pool.nearest(draft.task.instruction)  # without those of its round that were rejected meanwhile
            self.pool.add(draft.task.instruction)
        return Candidate(
            id=id, attempt=draft.attempt, **draft.task._asdict(), verdict="rejected" if fault else "accepted",
            fault=fault.kind if fault else "", reason=fault.reason if fault else "",
            nearest=nearest.text if nearest else "", score=round(nearest.score, 4) if nearest else 0.0,
            seconds=round(seconds, 3), seed=self.drafter.seed(draft.attempt),
        )  # fmt: skip

    def _take_up(self, candidates: Sequence[Candidate], attempts: int, seconds: float) -> None:
        """What is on the disk counts, and is told."""
        kept = [each.task for each in candidates if each.verdict == "accepted"]
        self.kept += kept
        self.rejected += len(candidates) - len(kept)
        self.attempts, self.seconds = attempts, seconds
        self.generation.events.append(
            "step", step=attempts, accepted=len(self.kept), rejected=self.rejected, seconds=round(seconds, 2)
        )


def _nearer(one: Nearest | None, other: Nearest | None) -> Nearest | None:
    return max((each for each in (one, other) if each), key=lambda each: each.score, default=None)
