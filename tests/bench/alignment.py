"""What aligning does: reward model, DPO and PPO on the starter model, measured and printed as a table.

    python3 launch.py alignment [--stages reward,dpo,rule,judge] [--short]

Learns from the 149 pairs of the short answers, every run with its objective's defaults but for what `STAGES` says. The habit
is the rule that PPO is rewarded by, finished within 25 words, on 24 prompts kept apart, answered greedily with up to 128
tokens. Minutes are those on the clock and, in brackets, those of the processor, all cores counted. Intervals are Wilson's, 95%.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backend.data.records import Message
from backend.data.starter import MOST_WORDS, SHORT_ANSWERS, SHORT_ANSWERS_HELD_OUT
from backend.data.tokens import encode_prompt
from backend.events import RunEvent
from backend.generation import Decoder
from backend.headless import describe_event
from backend.inference import Shelf, Speaker
from backend.labelling.scoreboard import wilson
from backend.models import STARTER
from backend.plan import with_saved_data
from backend.rewards import Answered, RewardSettings
from backend.runs import Run, true_events
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.training import train
from backend.workspace import Workspace

HABIT = RewardSettings(most_words=MOST_WORDS)
KL_TARGET = 10.0  # nats an answer


@dataclass(frozen=True)
class Stage:
    """A run of the table: what it optimises and how, where that is not the default."""

    title: str
    objective: dict[str, Any]
    training: dict[str, Any]
    asks: str | None = None  # the stage whose reward model it follows

    @property
    def tries(self) -> bool:
        """Whether it learns from its own answers, and so from prompts alone."""
        return self.objective["name"] == "ppo"


STAGES = {
    "reward": Stage("reward model", {"name": "reward"}, {}),
    "dpo": Stage("DPO, pulled towards the better answer", {"name": "dpo", "sft_weight": 1.0}, {"learning_rate": 6e-4, "max_steps": 57}),
    "rule": Stage("PPO, by the rule", {"name": "ppo", "most_words": MOST_WORDS, "kl_target": KL_TARGET}, {"max_steps": 24}),
    "judge": Stage("PPO, by the reward model", {"name": "ppo", "kl_target": KL_TARGET}, {"max_steps": 24}, asks="reward"),
}
SHORT = {"max_steps": 2, "batch_size": 2, "evaluate_every": 1, "precision": "fp32"}  # shows that it runs, not what it learns


@dataclass(frozen=True)
class Bench:
    """Where the runs are made, and what they are measured on."""

    workspace: Workspace
    shelf: Shelf
    held_out: list[dict[str, list[Message]]]
    prompts: Path  # the questions of the pairs as conversations, for what learns from prompts
    answer_tokens: int

    def habit(self, speaker: Speaker) -> int:
        """On how many held-out prompts a model answers in short."""
        return round(sum(HABIT.judge(self._answers(speaker))))

    def right(self, run: Run) -> int:
        """In how many held-out pairs a reward model prefers the better answer."""
        judge = self.shelf.judge(run.id)
        better, worse = (judge.rewards([row["prompt"] + row[side] for row in self.held_out]) for side in ("chosen", "rejected"))
        return sum(above > below for above, below in zip(better, worse, strict=True))

    def _answers(self, speaker: Speaker) -> list[Answered]:
        model, tokenizer = self.shelf.get(speaker)
        prompts = [encode_prompt(row["prompt"], tokenizer) for row in self.held_out]
        said: list[list[int | None]] = [[] for _ in prompts]
        for tokens in Decoder(model, tokenizer).decode(prompts, Sampling(max_tokens=self.answer_tokens)):
            for answer, token in zip(said, tokens, strict=True):
                answer.append(token)
        return [
            Answered(row["prompt"], tokenizer.decode([id for id in ids if id is not None], skip_special_tokens=True), None in ids)
            for row, ids in zip(self.held_out, said, strict=True)
        ]


@dataclass(frozen=True)
class Made:
    """A finished run and what it took."""

    run: Run
    minutes: float
    processor_minutes: float

    def events(self, kind: str) -> list[RunEvent]:
        return [event for event in true_events(self.run.events.read()[0]) if event["kind"] == kind]


def make(bench: Bench, stage: Stage, asked: Run | None) -> Made:
    """Train a stage from the starter model."""
    objective = stage.objective | ({"reward_run": asked.id} if asked else {})
    data = {"path": str(bench.prompts if stage.tries else SHORT_ANSWERS)}
    values = {"name": stage.title, "base_model": STARTER, "data": data, "objective": objective, "training": stage.training}
    spec = with_saved_data(parse_spec(values), bench.workspace)
    run = Run.create(bench.workspace, spec)

    def emit(kind: Any, **fields: Any) -> RunEvent:
        event = run.events.append(kind, **fields)
        if kind != "sampled":
            print("   ", describe_event(event), *_told(event), file=sys.stderr, flush=True)
        return event

    clock, processor = time.perf_counter(), time.process_time()
    train(spec, run, emit, lambda: False)
    return Made(run, (time.perf_counter() - clock) / 60, (time.process_time() - processor) / 60)


def line(bench: Bench, stage: Stage, made: Made, base_habit: int) -> str:
    """The table's line of a run."""
    count = len(bench.held_out)
    accuracy, habit = "", ""
    if made.run.spec.objective.head == "scalar":
        accuracy = share(bench.right(made.run), count)
    else:
        habit = f"{base_habit} → {share(bench.habit(Speaker('run', made.run.id)), count)}"
    reward, kl = _reward_and_kl(made) if stage.tries else ("", "")
    end = made.events("finished")[-1]
    minutes = f"{made.minutes:.1f} ({made.processor_minutes:.1f})"
    return f"| {stage.title} | {made.run.spec.learning_rate:g} | {end.get('step', 0)} | {minutes} | {reward} | {kl} | {accuracy} | {habit} |"


def share(successes: int, trials: int) -> str:
    """A count with its interval: "23 of 24 (80% to 99%)"."""
    low, high = wilson(successes, trials)
    return f"{successes} of {trials} ({low:.0%} to {high:.0%})"


def _reward_and_kl(made: Made) -> tuple[str, str]:
    """Mean reward of the held-out answers before and after, and when half of that rise was made; the last and the furthest KL
    of a round, and what was aimed at."""
    evaluated = made.events("evaluated")
    before = next(event["metrics"]["reward"] for event in evaluated if event.get("base"))
    best = max(event["metrics"]["reward"] for event in evaluated if not event.get("base"))
    half = next(event["seconds"] / 60 for event in evaluated if event["metrics"]["reward"] >= (before + best) / 2)
    kls = [event["metrics"]["KL"] for event in made.events("step")]
    risen = f"{before:.2f} → {best:.2f}, half of it in {half:.1f} ({half * made.processor_minutes / made.minutes:.1f})"
    return risen, f"{kls[-1]:.1f}, at most {max(kls):.1f} (of {KL_TARGET:g})"


def _told(event: RunEvent) -> list[str]:
    return [f"{name} {value:.3g}" for name, value in event.get("metrics", {}).items()]


def rows_of(file: Path, limit: int | None = None) -> list[dict[str, list[Message]]]:
    """The first rows of a file of pairs."""
    return [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()[:limit]]


def write_prompts(file: Path, rows: Sequence[dict[str, list[Message]]]) -> Path:
    """The questions of pairs as conversations: what learns by trying reads the prompts alone."""
    conversations = [{"messages": row["prompt"] + row["chosen"]} for row in rows]
    file.write_text("".join(json.dumps(each) + "\n" for each in conversations), encoding="utf-8")
    return file


def set_up(folder: Path, starter: Path | None, *, short: bool) -> Bench:
    """A workspace of its own, with the starter model of another where that is unpacked already."""
    workspace = Workspace(folder).prepare()
    if starter and starter.is_dir():
        (workspace.models / STARTER).symlink_to(starter)
    prompts = write_prompts(folder / "short answers.jsonl", rows_of(SHORT_ANSWERS))
    return Bench(workspace, Shelf(workspace), rows_of(SHORT_ANSWERS_HELD_OUT, 4 if short else None), prompts, 8 if short else 128)


def shortened(stage: Stage) -> Stage:
    """A few steps of a stage."""
    objective = stage.objective | ({"answer_tokens": 8} if stage.tries else {})
    return replace(stage, objective=objective, training=SHORT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", default=",".join(STAGES), help="which runs to make, in their order")
    parser.add_argument("--short", action="store_true", help="a few steps of each, to see that it runs")
    parser.add_argument("--workspace", type=Path, help="where the starter model lies unpacked; the runs go elsewhere")
    arguments = parser.parse_args()
    starter = arguments.workspace and arguments.workspace.absolute() / "models" / STARTER
    with tempfile.TemporaryDirectory() as folder:
        bench = set_up(Path(folder), starter, short=arguments.short)
        for text in table(bench, arguments.stages.split(","), short=arguments.short):
            print(text, flush=True)


def table(bench: Bench, names: Sequence[str], *, short: bool) -> list[str]:
    """Make the runs and tell what each came to."""
    base_habit = bench.habit(Speaker("base", STARTER))
    lines = ["| what | learning rate | steps | minutes | reward | KL | held-out accuracy | habit |", "|---|---|---|---|---|---|---|---|"]
    made: dict[str, Made] = {}
    for name in names:
        stage = shortened(STAGES[name]) if short else STAGES[name]
        asked = made[stage.asks].run if stage.asks else None
        made[name] = make(bench, stage, asked)
        lines.append(line(bench, stage, made[name], base_habit))
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


if __name__ == "__main__":
    main()
