"""The Chat tab without a page: who can speak, what is asked, how an answer streams, stops and fails, and what a vote does."""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from app import chat_tab
from app.chat_tab import (
    BASE,
    Ask,
    Dialogue,
    Talk,
    asks,
    default_speakers,
    describe,
    on_clear,
    on_send,
    on_stop,
    speaker_choices,
)
from app.chat_votes import ballot, on_vote
from app.talk import Growing
from backend.engine import EngineStatus
from backend.errors import UserError
from backend.labelling.talking import ChatVote, ChatVotes
from backend.runs import Run, Runs
from backend.sampling import Sampling
from backend.specs import parse_spec
from backend.store import Store
from backend.workspace import Workspace
from components.conversation import Turn, as_messages, shown

HOSTILE = "<script>alert(1)</script> ${1} {{x}}\n  indented  "


@dataclass
class Reply:
    text: str
    tokens: int = 2
    tokens_per_second: float = 8.0
    first_token_seconds: float = 0.25
    end: str = ""


@dataclass
class Playground:
    """Answers word by word, without a model."""

    words: tuple[str, ...] = ("one", "two", "three")
    fault: Exception | None = None
    heard: list[Any] = field(default_factory=list)

    def is_loaded(self, speaker: Any) -> bool:
        return True

    def stream(self, speaker: Any, messages: Any, sampling: Sampling, *, stopped: Any) -> Any:
        self.heard.append((speaker.name, messages, sampling))
        for number in range(1, len(self.words) + 1):
            if self.fault and number == 2:
                raise self.fault
            over = stopped()
            yield Reply(" ".join(self.words[:number]), number, end="stopped" if over else "")
            if over:
                return
        yield Reply(" ".join(self.words), len(self.words), end="finished")


@dataclass
class Engine:
    state: str = "ready"

    def status(self) -> EngineStatus:
        return EngineStatus(self.state, "", "", None, 0)

    def live(self) -> None:
        return None


@dataclass
class Studio:
    workspace: Workspace
    runs: Runs
    playground: Any
    engine: Engine
    growing: Growing = field(default_factory=Growing)

    @cached_property
    def store(self) -> Store:
        return Store.of(self.workspace)


@pytest.fixture
def studio(tmp_path):
    workspace = Workspace(tmp_path).prepare()
    return Studio(workspace, Runs(workspace), Playground(), Engine())


def finished_run(workspace: Workspace, name: str, method: str = "lora") -> Run:
    run = Run.create(workspace, parse_spec({"name": name, "data": {"id": "d"}, "method": {"name": method}}))
    run.result.mkdir()
    run.events.append("finished", status="done")
    return run


def form(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"left_speaker": BASE, "right_speaker": "run:r", "left_system": "", "right_system": "Be brief."}
    for side in ("left", "right"):
        values |= {f"{side}_{name}": value for name, value in Sampling().model_dump().items()}
    return values | changes


def question(*turns: Turn) -> Dialogue:
    return Dialogue(turns, Ask(BASE, "", Sampling()))


def test_the_starter_is_offered_first_and_runs_by_name_method_and_status(studio):
    assert speaker_choices(studio) == [("Base · starter", BASE)]
    run = finished_run(studio.workspace, "three lines")
    Run.create(studio.workspace, parse_spec({"name": "unfinished", "data": {"id": "d"}}))
    assert speaker_choices(studio) == [("Base · starter", BASE), ("three lines · LoRA · done", f"run:{run.id}")]


def test_the_base_meets_the_newest_run_or_itself(studio):
    assert default_speakers(speaker_choices(studio)) == (BASE, BASE)
    run = finished_run(studio.workspace, "three lines")
    assert default_speakers(speaker_choices(studio)) == (BASE, f"run:{run.id}")


def test_a_refresh_keeps_the_choice_and_replaces_what_is_gone(studio):
    run = finished_run(studio.workspace, "a")
    talk = Talk()
    left, right, *_ = chat_tab.on_refresh(studio, talk, f"run:{run.id}", BASE)
    assert (left["value"], right["value"]) == (f"run:{run.id}", BASE)
    left, right, *_ = chat_tab.on_refresh(studio, talk, "run:gone-123456", "run:gone-123456")
    assert (left["value"], right["value"]) == (BASE, f"run:{run.id}")


def test_the_newest_run_steps_in_only_while_nothing_was_said(studio):
    run = finished_run(studio.workspace, "a")
    assert chat_tab.on_refresh(studio, Talk(), BASE, BASE)[1]["value"] == f"run:{run.id}"
    assert chat_tab.on_refresh(studio, Talk(left=Dialogue((Turn("q", "a"),))), BASE, BASE)[1]["value"] == BASE


def test_differences_name_who_answered(studio):
    talk = Talk(left=Dialogue((Turn("q", "one two", by="<base>"),)), right=Dialogue((Turn("q", "one", by="a run"),)))
    value = chat_tab.on_differences(studio, talk, True)["value"]
    assert "Left: &lt;base&gt;" in value and "Right: a run" in value and "<del>two</del>" in value
    assert "Nothing to compare yet" in chat_tab.on_differences(studio, Talk(), True)["value"]


def test_an_empty_pane_says_where_a_run_comes_from(studio):
    talk = Talk()
    assert "Train one in the Train tab" in chat_tab.on_refresh(studio, talk, BASE, BASE)[2]["empty"]
    finished_run(studio.workspace, "a")
    assert "Train one" not in chat_tab.on_refresh(studio, talk, BASE, BASE)[2]["empty"]


def test_only_prompt_tuned_runs_have_words_to_show(studio):
    lora, prompt = finished_run(studio.workspace, "l"), finished_run(studio.workspace, "p", "prompt")
    assert not chat_tab.is_prompt_tuned(studio, BASE, f"run:{lora.id}", "run:gone-123456")
    assert chat_tab.is_prompt_tuned(studio, BASE, f"run:{prompt.id}")


def test_locked_settings_are_the_left_ones_and_unlocked_each_its_own():
    values = form(left_temperature=0.5, right_temperature=1.5)
    left, right = asks(values, same=True)
    assert (left.sampling, left.system) == (right.sampling, right.system) and left.sampling.temperature == 0.5
    assert (left.speaker, right.speaker) == (BASE, "run:r")
    left, right = asks(values, same=False)
    assert (left.sampling.temperature, right.sampling.temperature, right.system) == (0.5, 1.5, "Be brief.")


@pytest.mark.fault("temperature or length of an answer that cannot be")
def test_every_wrong_setting_of_both_sides_is_named_at_once():
    with pytest.raises(UserError) as error:
        asks(form(left_temperature=-1, left_seed=None, right_max_tokens=0, right_top_p=2), same=False)
    found = " ".join(error.value.problems)
    assert len(error.value.problems) == 4
    assert all(f"{side}.{name}" in found for side, name in
               [("left", "temperature"), ("left", "seed"), ("right", "max_tokens"), ("right", "top_p")])


def test_what_the_unused_side_holds_is_not_complained_of():
    assert len(asks(form(right_temperature=-1), same=True)) == 2


def test_a_model_reads_its_own_answers_and_no_notices():
    turns = [Turn("a", "A"), Turn("b", notice="failed"), Turn("c", "C", notice="stopped half way"), Turn("d")]
    assert as_messages(turns, system="S") == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "A"},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "C"},
        {"role": "user", "content": "d"},
    ]
    assert as_messages([Turn("a")], system="  ") == [{"role": "user", "content": "a"}]


@pytest.mark.fault("markup and scripts in what users write")
def test_text_travels_to_the_page_letter_by_letter():
    value = json.loads(json.dumps(shown([Turn(HOSTILE, HOSTILE)], empty="")))
    assert (value["turns"][0]["question"], value["turns"][0]["answer"]) == (HOSTILE, HOSTILE)


def test_a_question_goes_to_both_sides_and_empties_the_box(studio):
    talk = Talk()
    prompt, _, left, right, _ = on_send(studio, talk=talk, prompt=HOSTILE, same=True, **form())
    assert prompt == "" and left == right and left["turns"][0]["question"] == HOSTILE
    assert [side.asked.speaker for side in talk.sides] == [BASE, "run:r"]


@pytest.mark.fault("a prompt that is empty, 1 MB, or longer than the context")
@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_nothing_is_asked_with_an_empty_box(studio, prompt):
    talk = Talk()
    assert "Type a question first." in on_send(studio, talk=talk, prompt=prompt, same=True, **form())[1]
    assert talk == Talk()


def test_a_question_during_an_answer_waits_in_the_box(studio):
    talk = Talk(left=question(Turn("a")))
    box, hint, *_ = on_send(studio, talk=talk, prompt="b", same=True, **form())
    assert box == {"__type__": "update"} and "your text stays here" in hint and len(talk.left.turns) == 1


@pytest.mark.fault("a prompt that is empty, 1 MB, or longer than the context")
def test_a_megabyte_is_refused_with_its_size(studio):
    with pytest.raises(UserError, match="1,000,000 characters"):
        on_send(studio, talk=Talk(), prompt="x" * 1_000_000, same=True, **form())


class Asked:
    """An answer's stream, and what a page that looks with the key it was given is told after each of its values."""

    def __init__(self, studio: Studio, stream: Any) -> None:
        self.studio, self.stream, self.looked = studio, stream, []

    def __iter__(self) -> Any:
        for value in self.stream:
            key = value["growing"]
            self.looked += [self.studio.growing.look(key)] if key else []
            yield value


@pytest.fixture
def always_a_sign(monkeypatch):
    monkeypatch.setattr(chat_tab, "SIGN_OF_LIFE", -1)


def test_an_answer_grows_and_is_kept(studio, always_a_sign):
    talk = Talk(left=question(Turn("q", "a"), Turn("why?")))
    begun, *signs_of_life, whole = stream = Asked(studio, chat_tab.on_left_answer(studio, talk))
    assert all((sign["busy"], sign["growing"]) == (True, begun["growing"]) for sign in signs_of_life)
    assert [turn["answer"] for turn in stream.looked] == ["", "one", "one two", "one two three", "one two three"]
    assert (begun["busy"], begun["turns"][-1]["answer"]) == (True, "")
    assert (whole["busy"], whole["turns"][-1]["answer"], whole["growing"]) == (False, "one two three", "")
    assert studio.growing.look(begun["growing"]) is None, "nobody is told of an answer that is over"
    assert talk.left.turns[-1].line == "3 tokens · 8.0 tok/s · first after 0.2 s · finished"
    assert [message["content"] for message in studio.playground.heard[0][1]] == ["q", "a", "why?"]


@pytest.mark.fault("stop mid-stream")
def test_stop_keeps_what_was_said_and_leaves_the_model_alone(studio, always_a_sign):
    talk = Talk(left=question(Turn("q")))
    stream = chat_tab.on_left_answer(studio, talk)
    next(stream), next(stream)
    for _ in range(2):
        on_stop(studio, talk)
    *_, last = stream
    assert last["turns"][-1]["answer"] == "one two" and "stopped" in last["turns"][-1]["line"] and not talk.left.busy


@pytest.mark.fault("stop mid-stream")
def test_stop_before_the_answer_began_takes_the_question_back_from_the_model(studio):
    talk = Talk(left=question(Turn("q")))
    on_stop(studio, talk)
    [only] = chat_tab.on_left_answer(studio, talk)
    assert only["turns"][-1]["line"] == "stopped before the first word" and studio.playground.heard == []


def test_stop_while_the_engine_gets_ready(studio):
    studio.engine.state = "getting ready"
    talk = Talk(left=question(Turn("q")))
    stream = chat_tab.on_left_answer(studio, talk)
    assert next(stream)["turns"][-1]["line"] == "Getting the engine ready…"
    threading.Timer(0.05, lambda: on_stop(studio, talk)).start()
    assert next(stream)["turns"][-1]["line"] == "stopped before the first word"


def test_clear_during_an_answer_leaves_nothing_behind(studio, always_a_sign):
    talk = Talk(left=question(Turn("q")))
    stream = chat_tab.on_left_answer(studio, talk)
    next(stream), next(stream)
    on_clear(studio, talk)
    assert [value["turns"] for value in stream] == [[]] and not talk.left.turns


@pytest.mark.fault("stop mid-stream")
def test_a_closed_tab_ends_the_answer(studio, always_a_sign):
    talk = Talk(left=question(Turn("q")))
    stream = chat_tab.on_left_answer(studio, talk)
    next(stream), next(stream)
    stream.close()
    assert not talk.left.busy and talk.left.turns[-1].answer == "one"


@pytest.mark.fault("one side of a chat fails")
@pytest.mark.parametrize("fault, said", [
    (UserError("The run is gone.", "Choose another."), "The run is gone.\nChoose another."),
    (RuntimeError("secret path"), "This side met a fault (RuntimeError) and could not answer. The details are in the log."),
])
def test_a_side_that_fails_says_so_and_the_other_goes_on(studio, fault, said):
    talk = Talk(left=question(Turn("q")), right=question(Turn("q")))
    studio.playground.fault = fault
    *_, last = chat_tab.on_left_answer(studio, talk)
    assert (last["turns"][-1]["answer"], last["turns"][-1]["notice"], last["busy"]) == ("one", said, False)
    studio.playground.fault = None
    *_, last = chat_tab.on_right_answer(studio, talk)
    assert last["turns"][-1]["answer"] == "one two three"


def test_regenerating_asks_the_last_question_with_the_next_seed(studio):
    talk = Talk(right=Dialogue((Turn("a", "A"), Turn("b", "B"))))
    chat_tab.on_right_again(studio, talk=talk, same=True, **form(left_seed=7, left_temperature=1, right_speaker=BASE))
    *_, last = chat_tab.on_right_answer(studio, talk)
    _, messages, sampling = studio.playground.heard[0]
    assert [message["content"] for message in messages] == ["a", "A", "b"] and sampling.seed == 8
    assert last["turns"][-1]["line"].endswith("seed 8") and talk.left.turns == ()


def test_a_stop_while_the_weights_are_read_is_told():
    assert describe(Reply("", 0, 0, 0.0, "stopped"), Turn("q"), Sampling()) == "stopped before the first word"


def test_the_line_counts_in_words():
    assert describe(Reply("a", 1, 0, 0.31, "cut off"), Turn("q"), Sampling()) == "1 token · first after 0.3 s · cut off at the longest answer"


# Votes.


def ask(studio: Studio, talk: Talk, prompt: str, *, left: tuple[str, ...] = ("left",), right: tuple[str, ...] = ("right",), **changes: Any) -> None:
    """A question that both sides answer, each in its own words."""
    options = {"carry_on": changes.pop("carry_on", True), "hide": changes.pop("hide", False), "same": changes.pop("same", True)}
    on_send(studio, talk=talk, prompt=prompt, **options, **{**form(right_speaker=BASE), **changes})
    for words, answer in ((left, chat_tab.on_left_answer), (right, chat_tab.on_right_answer)):
        studio.playground.words = words
        list(answer(studio, talk))


def vote(studio: Studio, talk: Talk, do: str, *, turn: int | None = None, annotator: str = "me", carry_on: bool = True) -> dict[str, Any]:
    """Press a button of the bar; what the bar then shows."""
    bar = ballot(talk) | {"asked": {"do": do, "turn": talk.turn if turn is None else turn}}
    return on_vote(studio, talk, bar, annotator, carry_on)[0]


def kept(studio: Studio) -> list[ChatVote]:
    return ChatVotes(studio.store).votes()


def said(side: Dialogue) -> list[str]:
    return [turn.answer for turn in side.turns]


def test_one_can_vote_once_both_sides_have_answered_whole(studio):
    talk = Talk()
    assert "Ask both something" in ballot(talk)["line"] and not ballot(talk)["open"]
    on_send(studio, talk=talk, prompt="q", same=True, **form(right_speaker=BASE))
    list(chat_tab.on_left_answer(studio, talk))
    assert not ballot(talk)["open"] and "once both sides" in ballot(talk)["line"]
    assert vote(studio, talk, "left")["line"].startswith("The conversation has moved on") and kept(studio) == []
    list(chat_tab.on_right_answer(studio, talk))
    assert ballot(talk)["open"] and "Which answer is better?" in ballot(talk)["line"]


def test_an_answer_that_was_stopped_is_not_voted_on(studio, always_a_sign):
    talk = Talk()
    on_send(studio, talk=talk, prompt="q", same=True, **form(right_speaker=BASE))
    list(chat_tab.on_left_answer(studio, talk))
    stream = chat_tab.on_right_answer(studio, talk)
    next(stream), next(stream)
    on_stop(studio, talk)
    list(stream)
    assert ballot(talk)["line"] == "There is no whole answer on the right side. Regenerate it to vote."


def test_a_vote_keeps_what_was_read_and_how_each_answer_was_made(studio):
    run = finished_run(studio.workspace, "three lines")
    (run.result / "adapter_model.safetensors").write_bytes(b"weights")
    talk = Talk()
    ask(studio, talk, "q", left_system="Be brief.", left_seed=4, left_temperature=0.5, right_speaker=f"run:{run.id}")
    assert "Kept as a preference: left better." in vote(studio, talk, "left")["line"]
    [only] = kept(studio)
    assert only.prompt == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}] and only.same_history
    assert only.right.answer == [{"role": "assistant", "content": "right"}]
    sampling = {"temperature": 0.5, "top_p": 1.0, "max_tokens": 256}
    assert only.left.made == {"speaker": BASE, "name": "starter", "sampling": sampling, "seed": 4, "tokens": 1, "end": "finished"}
    adapter = only.right.made.pop("adapter")
    assert len(adapter) == 16
    assert only.right.made == {**only.left.made, "speaker": f"run:{run.id}", "name": "three lines"}
    (run.result / "adapter_model.safetensors").write_bytes(b"other weights")
    ask(studio, talk, "q", right_speaker=f"run:{run.id}")
    assert talk.right.turns[-1].made["adapter"] != adapter


@pytest.mark.parametrize(("do", "histories"), [
    ("left", (["left"], ["left"])), ("right", (["right"], ["right"])), ("tie", (["left"], ["right"])), ("both bad", (["left"], ["right"])),
])
def test_the_next_question_goes_on_from_the_winner(studio, do, histories):
    talk = Talk()
    ask(studio, talk, "one")
    vote(studio, talk, do)
    ask(studio, talk, "two")
    assert (said(talk.left)[:-1], said(talk.right)[:-1]) == histories
    assert vote(studio, talk, "left")["line"].startswith("Kept as a preference" if do in ("left", "right") else "Kept: left better. Counted for the scoreboard only")


def test_each_side_goes_on_from_its_own_answer_where_that_is_wanted(studio):
    talk = Talk()
    ask(studio, talk, "one")
    assert "goes on from" not in vote(studio, talk, "left", carry_on=False)["line"]
    ask(studio, talk, "two", carry_on=False)
    assert (said(talk.left), said(talk.right)) == (["left", "left"], ["right", "right"])
    line = vote(studio, talk, "right")["line"]
    assert "Counted for the scoreboard only: the two sides had read different things." in line
    assert [each.same_history for each in kept(studio)] == [True, False]


def test_a_system_prompt_of_one_side_only_makes_no_preference(studio):
    talk = Talk()
    ask(studio, talk, "one", same=False, left_system="", right_system="Be brief.")
    assert "had read different things" in vote(studio, talk, "left")["line"]


@pytest.mark.fault("a label: double click, key repeat, undo, two tabs")
def test_a_double_click_keeps_one_vote_and_another_button_replaces_it(studio):
    talk = Talk()
    ask(studio, talk, "one")
    for do in ("left", "left", "both bad"):
        bar = vote(studio, talk, do)
    assert bar["vote"] == "both bad" and [each.verdict for each in kept(studio)] == ["both bad"]


def test_undo_takes_votes_back_one_by_one(studio):
    talk = Talk()
    ask(studio, talk, "one")
    vote(studio, talk, "left")
    ask(studio, talk, "two")
    vote(studio, talk, "right")
    bar = vote(studio, talk, "undo")
    assert bar["vote"] == "" and bar["open"] and bar["undo"]
    bar = vote(studio, talk, "undo")
    assert "Your vote on question 1 is taken back" in bar["line"] and not bar["undo"] and kept(studio) == []
    assert "No vote of me is left" in vote(studio, talk, "undo")["line"]


def test_a_vote_for_an_older_question_is_not_taken_for_the_new_one(studio):
    talk = Talk()
    ask(studio, talk, "one")
    ask(studio, talk, "two")
    assert "moved on" in vote(studio, talk, "left", turn=0)["line"] and kept(studio) == []


def test_what_was_voted_on_stays_when_it_is_answered_anew_or_cleared(studio):
    talk = Talk()
    ask(studio, talk, "one")
    vote(studio, talk, "left")
    chat_tab.on_left_again(studio, talk=talk, same=True, **form(right_speaker=BASE))
    studio.playground.words = ("anew",)
    list(chat_tab.on_left_answer(studio, talk))
    assert talk.vote == "" and ballot(talk)["open"]
    ask(studio, talk, "two")
    assert said(talk.right)[0] == "right", "nobody won with the answer that stands now"
    first = talk.id
    on_clear(studio, talk)
    assert [each.left.answer[0]["content"] for each in kept(studio)] == ["left"]
    ask(studio, talk, "three")
    assert talk.id != first and not ballot(talk)["undo"]


def test_an_answer_of_nothing_counts_for_the_score_only(studio):
    talk = Talk()
    ask(studio, talk, "one", left=("",))
    assert "one side ended without a word" in vote(studio, talk, "right")["line"]


def test_nobody_sees_who_answered_until_the_vote(studio):
    run = finished_run(studio.workspace, "secret run")
    talk, drawn = Talk(), set()
    for number in range(24):
        ask(studio, talk, f"question {number}", hide=True, right_speaker=f"run:{run.id}", left_temperature=0.25)
        drawn.add(tuple(side.turns[-1].made["speaker"] for side in talk.sides))
        page = json.dumps([*map(talk.shown, talk.sides), ballot(talk), chat_tab.on_differences(studio, talk, True)])
        if number == 0:
            assert "starter" not in page and "secret run" not in page and "tok/s" not in page
    assert drawn == {(BASE, f"run:{run.id}"), (f"run:{run.id}", BASE)}
    line = vote(studio, talk, "left")["line"]
    names = ["secret run" if side.turns[-1].made["speaker"].startswith("run:") else "starter" for side in talk.sides]
    assert f"Left was {names[0]}; right was {names[1]}." in line
    assert [names[place] in talk.shown(side)["turns"][-1]["line"] for place, side in enumerate(talk.sides)] == [True, True]
    assert "shows after your vote" in talk.shown(talk.left)["turns"][0]["line"], "what was never voted on stays hidden"


def test_a_hidden_side_is_answered_anew_by_the_model_that_was_drawn(studio):
    run = finished_run(studio.workspace, "a")
    values = form(right_speaker=f"run:{run.id}")
    talk = Talk()
    while not talk.swapped:
        ask(studio, talk, "q", hide=True, **{"right_speaker": f"run:{run.id}"})
    chat_tab.on_left_again(studio, talk=talk, same=True, **values)
    assert talk.left.asked.speaker == f"run:{run.id}"


def test_pickers_do_not_name_a_side_while_sides_are_drawn(studio):
    assert [update["label"] for update in chat_tab.on_hide(studio, True)] == ["One model", "The other model"]
    assert [update["label"] for update in chat_tab.on_hide(studio, False)] == ["Left model", "Right model"]


def test_two_browser_tabs_talk_apart():
    import copy

    first, second = copy.deepcopy(Talk()), copy.deepcopy(Talk())  # as gr.State does
    first.left.ask([Turn("q")], Ask(BASE, "", Sampling()))
    assert second == Talk()


def test_the_tab_needs_no_torch():
    code = "import sys, app.chat_tab; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
