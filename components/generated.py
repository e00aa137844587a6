"""A generation as pieces of page: where it stands, and what the filter rejected and why."""

from collections.abc import Sequence

from backend.events import Status
from backend.generating.generation import Candidate, Standing
from components.notices import empty
from components.text import escape, minutes

SHOWN = 100  # rejected candidates on the page, the newest first
STATUS_WORDS: dict[Status, str] = {
    "queued": "waiting for its turn", "running": "writing", "done": "done", "stopped": "stopped", "failed": "failed",
    "interrupted": "interrupted",
}


def progress_html(name: str, standing: Standing, *, stopping: bool = False) -> str:
    """Status, a bar, and the numbers of the moment."""
    share = max(min(1.0, standing.accepted / standing.wanted), standing.attempts / standing.most_attempts)
    words = "stopping" if stopping else STATUS_WORDS[standing.status]
    note = f'<p class="{_colour(standing.status)} plain-text">{escape(standing.message)}</p>' if standing.message else ""
    return (
        f'<div class="run-progress status-{standing.status}"><div class="run-line"><strong>{escape(name)}</strong>'
        f'<span class="status" role="status">{escape(words)}</span></div>'
        f'<progress max="1" value="{share:.4f}" aria-label="progress of the generation">{share:.0%}</progress>'
        f'<p class="quiet number">{escape(" · ".join(_facts(standing)))}</p>{note}</div>'
    )


def rejected_html(candidates: Sequence[Candidate]) -> str:
    """What the filter rejected, the newest first: the instruction, why, and what it is nearest to."""
    rejected = [each for each in candidates if each.verdict == "rejected"]
    if not rejected:
        return empty("Nothing is rejected yet. What the filter turns away stands here, with its reason.")
    left = len(rejected) - SHOWN
    more = f'<p class="quiet">{left:,} older ones stand in the file candidates.jsonl of the generation.</p>' if left > 0 else ""
    return f'<ul class="rejected">{"".join(map(_rejected, reversed(rejected[-SHOWN:])))}</ul>{more}'


def rejected_words(standing: Standing) -> str:
    """How many were rejected, by reason: "16 (9 repeat, 7 too similar)"."""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in standing.rejected.most_common())
    return f"{standing.rejected.total():,}" + (f" ({kinds})" if kinds else "")


def _facts(standing: Standing) -> list[str]:
    facts = [
        f"{standing.accepted:,} passed the filter, {standing.wanted:,} wanted", f"prompt {standing.attempts:,} of at most {standing.most_attempts:,}",
        f"rejected {rejected_words(standing)}",
    ]
    if standing.status == "running" and standing.seconds_left is not None:
        facts.append(f"about {minutes(standing.seconds_left)} left")
    elif standing.seconds:
        facts.append(f"{minutes(standing.seconds)} of writing")
    return facts


def _colour(status: Status) -> str:
    return "warn" if status in ("failed", "interrupted") else "quiet"


def _rejected(candidate: Candidate) -> str:
    nearest = f"nearest: “{escape(candidate.nearest)}”, ROUGE-L {candidate.score:.2f}" if candidate.nearest else "like nothing in the pool"
    instruction = escape(candidate.instruction) or "<em>(nothing)</em>"
    return (
        f'<li><p class="plain-text">{instruction}</p><p class="warn">The task {escape(candidate.reason)}.</p>'
        f'<p class="quiet plain-text">{nearest}</p></li>'
    )
