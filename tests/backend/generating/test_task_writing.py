"""The story of a generation: what is kept and what not, and that neither a stop nor a kill loses or doubles a task."""

import json
import logging
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from backend.data.exports import export, form_named, survey
from backend.data.similarity import Pool
from backend.data.versions import Datasets
from backend.errors import UserError
from backend.generating.generation import Candidate, Generation, Generations, make_generation
from backend.generating.review import Review
from backend.generating.settings import KEY_VARIABLE, parse_generation
from backend.generating.writing import write_tasks
from backend.jobs import Means
from backend.workspace import Workspace

ROOT = Path(__file__).parents[3]
REAL_SEEDS = ROOT.parent / "shared" / "data" / "seed_tasks.jsonl"
THINGS = "birds rivers bread clocks stars trains lakes songs maps gardens bridges shoes winds apples letters roads".split()
VERBS = "Describe Compare Praise Explain Rank Sort Count Forget Teach Defend Name Imagine".split()
NOBODY: Any = None  # an endpoint needs neither the device nor the models in memory


def means(should_stop: Any = lambda: False) -> Means:
    return Means(should_stop, NOBODY, NOBODY)


def body(text: str, reason: str = "stop") -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]})


def author(request: dict[str, Any]) -> tuple[int, str]:
    """Goes on with any prompt, as the request's seed draws: now a good task, now a repeat, now a blocked word."""
    asked, drawn = request["messages"][-1]["content"], random.Random(request["seed"])
    if asked.endswith("Classification:"):
        return body("Yes" if "Rank" in asked[-80:] else "No")
    if asked.endswith("Label:"):
        return body("good\nInput: It works.\nLabel: bad\nInput: It broke.")
    if asked.endswith("Input:"):
        return body("none\nOutput: left over")
    if asked.startswith("Come up with a series"):
        items = [f"{drawn.choice(VERBS)} three kinds of {' and '.join(drawn.sample(THINGS, 3))}." for _ in range(4)]
        return body("\n".join(f"{number}. {item}" for number, item in enumerate(items, 9)))
    return body(f"Here is what you asked for: {asked}")


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    file = tmp_path / "seeds.jsonl"
    tasks = ["Write a poem about the sea.", "Is this message spam?", "Translate the sentence into French.", "Give me a recipe for soup."]
    rows = [{"instruction": task, "instances": [{"input": "", "output": "Done."}], "is_classification": False} for task in tasks]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def generation_of(workspace: Workspace, endpoint: Any, seeds: Path, **settings: Any) -> Generation:
    endpoint.reply = endpoint.reply if endpoint.reply.__name__ != "<lambda>" else author
    values = {"wanted": 10, "most_attempts": 20, **settings}
    return make_generation(workspace, parse_generation({"seeds": {"path": str(seeds)}, "writer": endpoint.settings, "settings": values}))


def told(generation: Generation) -> list[Any]:
    return generation.events.read()[0]


def timeless(candidates: list[Candidate]) -> list[dict[str, Any]]:
    return [asdict(each) | {"seconds": 0} for each in candidates]


def test_it_writes_until_enough_passed_the_filter(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    generation = generation_of(workspace, endpoint, seeds)
    write_tasks(generation, means())
    candidates, standing = generation.candidates(), generation.standing()
    assert standing.status == "done" and standing.accepted >= 10 and "passed the filter" in standing.message
    assert standing.accepted + standing.rejected.total() == len(candidates)
    assert {each.fault for each in candidates if each.verdict == "rejected"} == {"too similar", "word not allowed"}
    assert len({each.id for each in candidates}) == len(candidates)
    assert standing.seconds > 0 and all(each.seconds > 0 for each in candidates)


def test_no_two_kept_are_more_alike_than_allowed_and_every_score_is_true(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    generation = generation_of(workspace, endpoint, seeds, most_similar=0.6, blocked_words=(), prompts_at_once=1)
    write_tasks(generation, means())
    pool = Pool(json.loads(line)["instruction"] for line in seeds.read_text().splitlines())
    rejected = 0
    for each in generation.candidates():
        nearest = pool.nearest(each.instruction)
        assert (each.nearest, each.score) == ((nearest.text, round(nearest.score, 4)) if nearest else ("", 0.0))
        assert (each.verdict == "rejected") == (each.score >= 0.6)
        rejected += each.verdict == "rejected"
        if each.verdict == "accepted":
            pool.add(each.instruction)
    assert rejected


def test_drafts_of_one_round_are_compared_with_each_other(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    def same(request: dict[str, Any]) -> tuple[int, str]:
        return body("Name three red birds.\n6. Name three red birds!") if "series" in request["messages"][-1]["content"] else author(request)

    endpoint.reply = same
    generation = generation_of(workspace, endpoint, seeds, prompts_at_once=3, most_attempts=3)
    write_tasks(generation, means())
    assert [each.fault for each in generation.candidates()] == ["", *["repeat"] * 5]
    assert generation.candidates()[5].nearest == "Name three red birds."
    assert sum("Input:" in each[2]["messages"][-1]["content"][-8:] for each in endpoint.asked) == 1  # no example for what is not kept


def test_a_classification_task_gets_its_label_first(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    generation = generation_of(workspace, endpoint, seeds, wanted=30)
    write_tasks(generation, means())
    kept = [each for each in generation.candidates() if each.verdict == "accepted"]
    ranked = [each for each in kept if each.is_classification]
    assert ranked and all(each.instruction.startswith("Rank") for each in ranked)
    assert {(each.input, each.output) for each in ranked} <= {("It works.", "good"), ("It broke.", "bad")}
    assert all(each.output.startswith("Here is what you asked for: ") and not each.input for each in kept if not each.is_classification)


def test_alpaca_s_form_takes_one_prompt(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    text = " Name three red birds.\n4. Input: none\n4. Output: I know none.\n###\n5. Instruction: Sort them.\n5. Input: 2 1\n5. Output: 2 1\n###\n6. Inst"
    endpoint.reply = lambda request: body(text, "length")
    endpoint.reply.__name__ = "alpaca"
    generation = generation_of(workspace, endpoint, seeds, style="alpaca", most_attempts=1, shortest_words=2)
    write_tasks(generation, means())
    assert [(each.instruction, each.reason) for each in generation.candidates()] == [
        ("Name three red birds.", ""), ("Sort them.", "has its input for an answer"),
    ]  # fmt: skip
    assert len(endpoint.asked) == 1 and endpoint.asked[0][2]["messages"][-1]["content"].count("###") == 4


def test_answers_may_be_gone_on_with_for_base_models(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    generation = generation_of(workspace, endpoint, seeds, answers="continuation")
    write_tasks(generation, means())
    assert {each.output for each in generation.candidates() if each.verdict == "accepted" and not each.is_classification} == {"left over"}


def test_prompts_show_seeds_and_some_of_what_was_kept(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    generation = generation_of(workspace, endpoint, seeds, demonstrations=5, generated_demonstrations=2)
    write_tasks(generation, means())
    lists = [re.findall(r"^\d+\. (.+)$", each[2]["messages"][-1]["content"], re.M) for each in endpoint.asked if "series" in each[2]["messages"][-1]["content"]]
    own = {json.loads(line)["instruction"] for line in seeds.read_text().splitlines()}
    assert all(set(shown) <= own and len(shown) == 4 for shown in lists[:2])  # nothing is kept yet
    assert all(len(shown) == 5 and len(set(shown) & own) == 3 for shown in lists[2:])


def test_it_gives_up_after_so_many_prompts_and_says_what_helps(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    endpoint.reply = lambda request: body("")
    endpoint.reply.__name__ = "silence"
    generation = generation_of(workspace, endpoint, seeds, most_attempts=3)
    write_tasks(generation, means())
    assert generation.standing().rejected == Counter({"no task": 3}) and generation.standing().attempts == 3
    assert generation.standing().message.startswith("0 of 10 tasks were found in 3 prompts, the most allowed. For more:")


def test_a_stopped_generation_goes_on_as_if_nothing_had_been(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    whole = generation_of(workspace, endpoint, seeds, prompts_at_once=1)
    write_tasks(whole, means())
    parts = generation_of(workspace, endpoint, seeds, prompts_at_once=1)
    for patience in (1, 7, 8, 23):  # requests until somebody stops it, in the middle of a round mostly
        enough = len(endpoint.asked) + patience
        write_tasks(parts, means(lambda enough=enough: len(endpoint.asked) >= enough))
        assert parts.status == "stopped" and "Resume goes on from here" in parts.standing().message
    write_tasks(parts, means())
    assert parts.status == "done" and timeless(parts.candidates()) == timeless(whole.candidates())


WORKER = """
import sys
from pathlib import Path
from backend.generating.generation import Generations
from backend.generating.writing import write_tasks
from backend.jobs import Means
from backend.workspace import Workspace
generation = Generations(Workspace(Path(sys.argv[1]))).get(sys.argv[2])
with generation.lock():
    write_tasks(generation, Means(lambda: False, None, None))
"""


def test_a_killed_generation_loses_nothing_and_doubles_nothing(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    whole = generation_of(workspace, endpoint, seeds, prompts_at_once=1)
    write_tasks(whole, means())
    killed = generation_of(workspace, endpoint, seeds, prompts_at_once=1)
    slow = len(endpoint.asked) + 20

    def slower(request: dict[str, Any]) -> tuple[int, str]:
        if len(endpoint.asked) > slow:
            time.sleep(60)
        return author(request)

    endpoint.reply = slower
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(workspace.root), killed.id], cwd=ROOT)
    until = time.monotonic() + 60
    while len(endpoint.asked) <= slow and time.monotonic() < until:
        time.sleep(0.02)
    assert killed.is_held() and killed.status == "running"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert not killed.is_held() and 0 < len(killed.candidates()) < len(whole.candidates())
    with (killed.folder / "candidates.jsonl").open("ab") as file:
        file.write(b'{"id": "9-9", "attempt": 9, "instr')  # as if it had been killed while writing
    endpoint.reply = author
    write_tasks(killed, means())
    assert timeless(killed.candidates()) == timeless(whole.candidates())


def test_an_endpoint_that_fails_ends_it_and_it_can_go_on(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    generation = generation_of(workspace, endpoint, seeds)
    endpoint.reply = lambda request: (401, "")
    with pytest.raises(UserError, match="wants a key"):
        write_tasks(generation, means())
    endpoint.reply = author
    write_tasks(generation, means())
    assert generation.status == "done"


def test_neither_the_key_nor_the_hub_s_token_is_kept_anywhere(
    workspace: Workspace, endpoint: Any, seeds: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the spec, the events, the candidates, the data set or its export, nor in the log, even where the endpoint repeats it."""
    key, token = "sesame-of-the-endpoint", "hf_sesame-of-the-hub"
    monkeypatch.setenv(KEY_VARIABLE, key)
    monkeypatch.setenv("HF_TOKEN", token)
    caplog.set_level(logging.DEBUG)
    failed, done = generation_of(workspace, endpoint, seeds), generation_of(workspace, endpoint, seeds)
    endpoint.reply = lambda request: (500, f"out of cheese; you sent {key}")
    with pytest.raises(UserError, match="you sent the key"):
        write_tasks(failed, means())
    endpoint.reply = author
    write_tasks(done, means())
    review, datasets, form = Review(done), Datasets(workspace), form_named("messages")
    review.accept(review.queue()[0].id)
    card = review.save(datasets, name="tasks")
    export(datasets, card, form, survey(datasets, card, form), workspace.exports)
    assert all(headers["Authorization"] == f"Bearer {key}" for _, headers, _ in endpoint.asked)
    kept = [file for folder in ("generations", "datasets", "exports") for file in (workspace.root / folder).rglob("*") if file.is_file()]
    assert len({file.parent for file in kept}) >= 4 and caplog.text
    secrets = re.compile(f"{key}|{token}".encode())
    assert [file for file in kept if secrets.search(file.read_bytes())] == []
    assert not secrets.search(caplog.text.encode())


def test_the_time_left_is_told_from_the_rate_so_far(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    generation = generation_of(workspace, endpoint, seeds, wanted=1000, most_attempts=1000)
    assert generation.standing().seconds_left is None
    write_tasks(generation, means(lambda: len(endpoint.asked) > 20))
    standing = generation.standing()
    assert standing.seconds_left == pytest.approx(
        min(standing.seconds / standing.accepted * (1000 - standing.accepted), standing.seconds / standing.attempts * (1000 - standing.attempts))
    )


def test_the_papers_seed_tasks_begin_a_generation(workspace: Workspace, endpoint: Any) -> None:
    if not REAL_SEEDS.exists():
        pytest.skip("the real seed tasks are not here")
    generation = generation_of(workspace, endpoint, REAL_SEEDS, wanted=5)
    write_tasks(generation, means())
    assert generation.status == "done" and endpoint.asked[0][2]["messages"][-1]["content"].endswith("\n9.")


def test_unreadable_generations_are_passed_over(workspace: Workspace, endpoint: Any, seeds: Path) -> None:
    good, bad = (generation_of(workspace, endpoint, seeds) for _ in range(2))
    (bad.folder / "spec.json").write_text("{")
    generations = Generations(workspace)
    assert [each.id for each in generations.readable()] == [good.id]
    with pytest.raises(UserError, match="There is no generation 'nobody-1'.*Generate in the Data tab"):
        generations.get("nobody-1")


@pytest.mark.parametrize("settings", [
    {"most_similar": 0}, {"wanted": 0}, {"temperature": "nan"}, {"shortest_words": 9, "longest_words": 8}, {"style": "guess"}, {"unknown": 1},
])  # fmt: skip
def test_settings_that_cannot_work_are_told(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="settings"):
        parse_generation({"seeds": {"id": "x"}, "settings": settings})
