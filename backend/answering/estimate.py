"""How long answering takes, roughly: by the speed it had here before, else by how fast weights can be read."""

from dataclasses import dataclass
from pathlib import Path

from backend.answering.answering import Answerings
from backend.answering.makers import base_of
from backend.answering.settings import Answerer, AnsweringSpec
from backend.errors import UserError
from backend.models import STARTER
from backend.workspace import Workspace

LOOKED_AT = 10  # earlier answerings, the newest first
READ_BYTES_PER_SECOND = 4e9  # of weights, once for every step of a batch: about what two cores of a laptop do
ROWS_FOR_FREE = 4.0  # a batch of many rows costs a CPU about as many steps as it has rows beyond so many
USUAL_BYTES = 3e8  # of a small model, where its weights are not found


@dataclass(frozen=True)
class Estimate:
    """At most so long: most answers end before their longest."""

    answers: int
    tokens: int  # at most
    seconds: float
    is_measured: bool  # by earlier answers of the same models here


def estimate(spec: AnsweringSpec, prompts: int, workspace: Workspace) -> Estimate:
    """What answering so many prompts takes."""
    speeds, seconds, tokens, measured = known_speeds(workspace), 0.0, 0, True
    for answerer in spec.answerers:
        if answerer.is_reference:
            continue
        base, longest = _base(answerer, workspace), prompts * answerer.draws * answerer.max_tokens
        measured = measured and base in speeds
        tokens += longest
        seconds += longest / (speeds.get(base) or _assumed(base, min(spec.at_once, prompts * answerer.draws), workspace))
    return Estimate(prompts * spec.answers_per_prompt, tokens, seconds, measured and tokens > 0)


def known_speeds(workspace: Workspace) -> dict[str, float]:
    """Tokens per second of each base model in earlier answerings."""
    tokens: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for answering in Answerings(workspace).readable()[:LOOKED_AT]:
        for event in answering.events.last():
            model = str(event.get("model", ""))
            if event["kind"] == "step" and model:
                tokens[model] = tokens.get(model, 0) + event["tokens"]  # type: ignore[typeddict-item]
                seconds[model] = seconds.get(model, 0.0) + event["seconds"]  # type: ignore[typeddict-item]
    return {model: tokens[model] / seconds[model] for model in tokens if tokens[model] and seconds[model]}


def _base(answerer: Answerer, workspace: Workspace) -> str:
    try:
        return base_of(answerer.speaker, workspace)
    except UserError:
        return ""  # said at the start


def _assumed(base: str, rows: int, workspace: Workspace) -> float:
    """Tokens per second of a batch of so many rows: each step reads all weights once."""
    return min(max(rows, 1), ROWS_FOR_FREE) * READ_BYTES_PER_SECOND / _weights_bytes(base, workspace)


def _weights_bytes(base: str, workspace: Workspace) -> float:
    """Nothing is unpacked or fetched for it: of a model that is not here yet the usual size is taken."""
    folder = workspace.models / base if base == STARTER else Path(base).expanduser()
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) or USUAL_BYTES
