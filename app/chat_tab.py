"""The Chat tab: one question to two models, their answers side by side.

A conversation lives in the browser tab's session (`app.talk.Talk`), not in the chat boxes: a click writes down what is
asked, and one stream a side answers it. So Stop, Clear and a closed tab only have to tell the session. Votes on the
answers are in `app.chat_votes`.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import Dependency
from pydantic import ValidationError

from app.chat_votes import ballot, wire_chat_votes
from app.one_value import OneValue
from app.studio import Studio, on, streaming
from app.talk import ENDS, UNSAID, Ask, Dialogue, Talk
from app.train_tab import continue_button
from backend.answering.makers import maker
from backend.data.readers import clip
from backend.errors import UserError
from backend.events import ENDED
from backend.labelling.items import Made
from backend.models import STARTER, available
from backend.runs import Run
from backend.sampling import Sampling
from backend.settings import sentences
from backend.workspace import Workspace
from components.conversation import Turn, as_messages
from components.dual_chat import (
    INVITATION,
    NO_RUN_YET,
    DualChat,
    Side,
    dual_chat,
    hint_line,
    picker_words,
    settings_title,
)
from components.notices import lead
from components.settings_form import plain_values
from components.soft_prompt import soft_prompt_table
from components.word_diff import differences

if TYPE_CHECKING:
    from backend.inference import Reply

BASE = f"base:{STARTER}"
OFFERED = 100  # newest runs in the pickers; older ones come through the Runs tab
LONGEST_PROMPT = 100_000  # characters; what is longer no model here can read, and it would freeze the page
SIDES: tuple[Side, ...] = ("left", "right")
SIGN_OF_LIFE = 1.0  # seconds between what is yielded while an answer grows
# Queued, though quick: a fault in an unqueued event reaches the page without its sentence.
QUICK: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChatTab:
    """What others wire to: the pickers, and what `on_refresh` reads and fills."""

    left: gr.Dropdown
    right: gr.Dropdown
    talk: gr.State
    left_said: gr.HTML
    right_said: gr.HTML
    continue_from: gr.Button
    run_id: gr.State  # of the run on the right; None where a base model is

    @property
    def pickers(self) -> list[gr.Dropdown]:
        """The outputs of `on_chat_with`."""
        return [self.left, self.right]

    @property
    def refresh_inputs(self) -> list[gr.components.Component]:
        return [self.talk, self.left, self.right]

    @property
    def refresh_outputs(self) -> list[gr.components.Component]:
        return [self.left, self.right, self.left_said, self.right_said, self.continue_from, self.run_id]


def chat_tab(studio: Studio) -> ChatTab:
    """Lay out the tab inside the current `gr.Tab` and wire it."""
    choices = speaker_choices(studio, live=True)
    left, right = default_speakers(choices)
    lead("Ask two models the same question and read the answers side by side.")
    talk = gr.State(Talk(empty=_placeholder(choices)))
    chat = dual_chat(choices=choices, left=left, right=right, placeholder=_placeholder(choices), look=studio.growing.look)
    with gr.Accordion("What the soft prompt says", open=False, visible=is_prompt_tuned(studio, right)) as soft_prompt:
        words = gr.HTML(_soft_prompt_invitation())
    with gr.Row(elem_classes="actions"):
        continue_from = gr.Button(visible=False, elem_id="chat-continue", scale=0)
    run_id = gr.State(None)
    _wire_asking(studio, chat, talk)
    wire_chat_votes(studio, chat, talk).then(
        on(studio, on_differences), inputs=[talk, chat.differ], outputs=chat.differences, **QUICK  # with names that may be known now
    )
    _wire_looks(studio, chat, talk, soft_prompt, words)
    chat.right.speaker.change(on(studio, on_right), chat.right.speaker, [continue_from, run_id], **QUICK)
    return ChatTab(chat.left.speaker, chat.right.speaker, talk, chat.left.said, chat.right.said, continue_from, run_id)


def _wire_asking(studio: Studio, chat: DualChat, talk: gr.State) -> None:
    both = [chat.left.said, chat.right.said]
    filled = OneValue({"prompt": chat.prompt, "carry_on": chat.carry_on, "hide": chat.hide, **chat.fields})
    sent = filled.gather(partial(gr.on, [chat.prompt.submit, chat.send.click])).then(
        on(studio, filled.to(on_send, "talk")), [talk, filled.value], [chat.prompt, chat.hint, *both, chat.votes], **QUICK
    )
    handlers = {"left": (on_left_again, on_left_answer), "right": (on_right_again, on_right_answer)}
    for side in SIDES:
        pane, (on_again, on_answer) = chat.side(side), handlers[side]
        again = filled.gather(pane.again.click).then(
            on(studio, filled.to(on_again, "talk")), [talk, filled.value], [chat.hint, pane.said, chat.votes], **QUICK
        )
        for asked in (sent, again):
            _answers(studio, chat, talk, side, asked, on_answer)
    chat.stop.click(on(studio, on_stop), inputs=talk, outputs=chat.hint, **QUICK)
    chat.clear.click(on(studio, on_clear), inputs=talk, outputs=[chat.hint, *both, chat.differences, chat.votes], **QUICK)


def _answers(studio: Studio, chat: DualChat, talk: gr.State, side: Side, asked: Dependency, on_answer: Any) -> None:
    """Let one side answer after something was asked; each side in a stream of its own, so that neither waits."""
    pane = chat.side(side)
    answered = asked.success(
        streaming(studio, on_answer), inputs=talk, outputs=pane.said, trigger_mode="multiple", **QUICK,
    )
    answered.then(
        on(studio, on_answered), inputs=[talk, chat.differ], outputs=[chat.votes, chat.differences], **QUICK,
    )


def _wire_looks(studio: Studio, chat: DualChat, talk: gr.State, soft_prompt: gr.Accordion, words: gr.HTML) -> None:
    speakers = [chat.left.speaker, chat.right.speaker]
    chat.differ.change(on(studio, on_differences), inputs=[talk, chat.differ], outputs=chat.differences, **QUICK)
    chat.same.change(on(studio, on_same), inputs=chat.same, outputs=[chat.left.title, chat.right.settings], **QUICK)
    chat.hide.change(on(studio, on_hide), inputs=chat.hide, outputs=speakers, **QUICK)
    gr.on([speaker.change for speaker in speakers], on(studio, on_speakers), inputs=speakers, outputs=[soft_prompt, words], **QUICK)
    soft_prompt.expand(on(studio, on_soft_prompt), inputs=speakers, outputs=words, api_visibility="private")


# Who can speak.


def speaker_choices(studio: Studio, *, keep: Sequence[str] = (), live: bool = False) -> list[tuple[str, str]]:
    """(label, value) of every base model and the newest runs with a result; those in `keep` too, if they still exist.

    With `live`, the run that trains now as well: it answers with its weights as they are at the moment.
    """
    training = studio.engine.live() if live else None
    runs = [run for run in studio.runs.with_result() if not training or run.id != training.id]
    shown = [run for number, run in enumerate(runs) if number < OFFERED or f"run:{run.id}" in keep]
    shown = [training, *shown] if training else shown
    bases = dict.fromkeys([*available(studio.workspace), *(run.spec.base_model for run in shown)])
    return [*((_base_label(name), f"base:{name}") for name in bases), *((_run_label(run), f"run:{run.id}") for run in shown)]


def default_speakers(choices: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The starter on the left, the newest run on the right, or the starter again while there is none."""
    return BASE, next((value for _, value in choices if value.startswith("run:")), BASE)


def is_prompt_tuned(studio: Studio, *speakers: str) -> bool:
    """Whether one of the speakers is a run that learnt a soft prompt."""
    return any(run.spec.method.name == "prompt" for run in _runs_of(studio, speakers))


def on_refresh(studio: Studio, talk: Talk, left: str, right: str) -> list[Any]:
    """From `ChatTab.refresh_inputs` to `refresh_outputs`: who can speak now.

    Keeps what is chosen; where a run is gone, or nothing was chosen or said yet, the default steps in.
    """
    choices = speaker_choices(studio, keep=(left, right), live=True)
    values = {value for _, value in choices}
    first, second = default_speakers(choices)
    left = left if left in values else first
    fresh = left == right == BASE and not any(side.turns for side in talk.sides)
    right = right if right in values and not fresh else second
    talk.empty = _placeholder(choices)
    pickers = [gr.update(choices=choices, value=left), gr.update(choices=choices, value=right)]
    return [*pickers, *map(talk.shown, talk.sides), *on_right(studio, right)]


def on_chat_with(studio: Studio, run_id: str) -> list[Any]:
    """Updates for `ChatTab.pickers`: a run on the right, the base it was trained on on the left."""
    run = studio.runs.get(run_id)
    choices = speaker_choices(studio, keep=(f"run:{run.id}",), live=True)
    if f"run:{run.id}" not in {value for _, value in choices}:
        raise UserError(f"{run.label['name']} has no result to chat with yet. Let it finish, or resume it.")
    return [gr.update(choices=choices, value=f"base:{run.spec.base_model}"), gr.update(choices=choices, value=f"run:{run.id}")]


def _base_label(name: str) -> str:
    return f"Base · {name.rstrip('/').rsplit('/', 1)[-1]}"


def _run_label(run: Run) -> str:
    status = "live, as it trains" if run.status == "training" else run.status
    return f"{run.label['name']} · {run.spec.method.title} · {status}"


def _placeholder(choices: Sequence[tuple[str, str]]) -> str:
    return INVITATION if any(value.startswith("run:") for _, value in choices) else f"{INVITATION} {NO_RUN_YET}"


def _runs_of(studio: Studio, speakers: Sequence[str]) -> list[Run]:
    ids = [value.removeprefix("run:") for value in dict.fromkeys(speakers) if value and value.startswith("run:")]
    known = set(studio.runs.ids())
    return [studio.runs.get(run_id) for run_id in ids if run_id in known]


# Asking and answering.


def on_send(
    studio: Studio, *, talk: Talk, prompt: str, same: bool, carry_on: bool = True, hide: bool = False, **values: Any
) -> list[Any]:
    """Put the question into both conversations; the streams answer it."""
    if not prompt.strip():
        return _unsent("Type a question first.")
    if any(side.busy for side in talk.sides):
        return _unsent("The last question is still being answered. Wait for it or press Stop; your text stays here.")
    if len(prompt) > LONGEST_PROMPT:
        raise UserError(
            f"The question is {len(prompt):,} characters long, and at most {LONGEST_PROMPT:,} can be asked at once. "
            "Shorten it, or make a data set of it in the Data tab."
        )
    talk.ask(prompt, asks(values, same=same), carry_on=carry_on, hide=hide)
    return ["", hint_line(""), *map(talk.shown, talk.sides), ballot(talk)]


def on_left_again(studio: Studio, *, talk: Talk, same: bool, **values: Any) -> list[Any]:
    return _again(talk, talk.left, asks(values, same=same))


def on_right_again(studio: Studio, *, talk: Talk, same: bool, **values: Any) -> list[Any]:
    return _again(talk, talk.right, asks(values, same=same))


def on_left_answer(studio: Studio, talk: Talk) -> Iterator[list[Any]]:
    yield from _answer(studio, talk, talk.left)


def on_right_answer(studio: Studio, talk: Talk) -> Iterator[list[Any]]:
    yield from _answer(studio, talk, talk.right)


def on_stop(studio: Studio, talk: Talk) -> str:
    """End both answers; what there is of them stays."""
    for side in talk.sides:
        side.stop()
    return hint_line("")


def on_clear(studio: Studio, talk: Talk) -> list[Any]:
    """Stop, and forget both conversations."""
    talk.clear()
    return [hint_line(""), *map(talk.shown, talk.sides), nothing_to_compare(), ballot(talk)]


def asks(values: dict[str, Any], *, same: bool) -> list[Ask]:
    """What each side is to do, left and right, from the form's values. Raises `UserError` with every problem of both."""
    made: list[Ask] = []
    problems: list[str] = []
    for side in SIDES:
        source: Side = "left" if same else side
        try:
            sampling = Sampling(**plain_values(Sampling, {name: values[f"{source}_{name}"] for name in Sampling.model_fields}))
            made.append(Ask(values[f"{side}_speaker"], values[f"{source}_system"], sampling))
        except ValidationError as error:
            problems += sentences(error, within="" if same else side)
    if problems:
        raise UserError(*dict.fromkeys(problems))
    return made


def _unsent(hint: str) -> list[Any]:
    return [gr.skip(), hint_line(hint), gr.skip(), gr.skip(), gr.skip()]


def _again(talk: Talk, side: Dialogue, asks: Sequence[Ask]) -> list[Any]:
    """Write down that the last question is to be answered once more, with what the form says now."""
    if not side.turns:
        return [hint_line("Nothing was asked on this side yet."), gr.skip(), gr.skip()]
    if side.busy:
        return [hint_line("This side is still answering. Wait for it or press Stop."), gr.skip(), gr.skip()]
    talk.ask_again(side, asks)
    return [hint_line(""), talk.shown(side), ballot(talk)]


def _answer(studio: Studio, talk: Talk, side: Dialogue) -> Iterator[Any]:
    """Answer what was asked, if it still is. How it grows the page asks for itself (`Growing`); what is yielded meanwhile is there
    for Gradio to notice that a page is gone, and end this."""
    ask, side.asked = side.asked, None
    if ask is None:
        yield talk.shown(side)
        return
    stopping = side.stopping = threading.Event()
    *before, turn = side.turns
    shown = 0.0
    try:
        with studio.growing.under_a_key(lambda: talk.shown(side)) as side.growing:
            for grown in _speaking(studio, ask, before, turn, stopping):
                if side.stopping is not stopping:
                    break  # cleared meanwhile
                side.turns = (*before, grown)
                if not grown.answer or time.monotonic() - shown > SIGN_OF_LIFE:
                    shown = time.monotonic()
                    yield talk.shown(side)
    finally:
        if side.stopping is stopping:
            side.stopping, side.growing = None, ""
    yield talk.shown(side)  # no longer busy; Gradio sends a stream's last value twice, so it must be what holds now


def _speaking(studio: Studio, ask: Ask, before: Sequence[Turn], turn: Turn, stopping: threading.Event) -> Iterator[Turn]:
    """The turn as it grows. A side that fails says so in its own pane, and the other goes on: a border of its own."""
    heard = turn
    try:
        for heard in _heard(studio, ask, before, turn, stopping):
            yield heard
    except UserError as error:
        yield replace(heard, notice="\n".join(error.problems), line="no answer")
    except Exception as error:
        log.exception("%s could not answer", ask.speaker)
        notice = f"This side met a fault ({type(error).__name__}) and could not answer. The details are in the log."
        yield replace(heard, notice=notice, line="no answer")


def _heard(studio: Studio, ask: Ask, before: Sequence[Turn], turn: Turn, stopping: threading.Event) -> Iterator[Turn]:
    turn = replace(turn, by=_name(studio, ask.speaker))
    if studio.engine.status().state == "getting ready":
        yield replace(turn, line="Getting the engine ready…")
    while studio.engine.status().state == "getting ready" and not stopping.wait(0.1):
        pass
    if stopping.is_set():
        yield replace(turn, line=UNSAID)
        return
    playground = studio.playground
    from backend.inference import Speaker

    kind, _, name = ask.speaker.partition(":")
    speaker = Speaker("run" if kind == "run" else "base", name)
    yield replace(turn, line="Reading the question…" if playground.is_loaded(speaker) else "Loading the model…")
    sampling = ask.sampling.model_copy(update={"seed": (ask.sampling.seed + turn.attempt) % 2**31})
    made = made_by(studio, ask.speaker, sampling)
    messages = as_messages([*before, turn], system=ask.system)
    with closing(playground.stream(speaker, messages, sampling, stopped=stopping.is_set)) as replies:
        for reply in replies:
            wordless = reply.end == "finished" and not reply.text.strip()
            notice = "The model ended its answer without a word." if wordless else ""
            grown = replace(turn, answer=reply.text, notice=notice, line=describe(reply, turn, sampling))
            is_whole = reply.end in ("finished", "cut off")
            yield replace(grown, read=tuple(messages), made={**made, "tokens": reply.tokens, "end": reply.end}) if is_whole else grown


def made_by(studio: Studio, speaker: str, sampling: Sampling) -> Made:
    """How an answer is about to come about, to be kept with a vote on it. Raises `UserError` where the run is gone."""
    settings = {name: getattr(sampling, name) for name in ("temperature", "top_p", "max_tokens")}
    weights = [file for run in _runs_of(studio, [speaker]) for file in run.result.glob("*.safetensors")]
    stamp = max((file.stat().st_mtime_ns for file in weights), default=0)
    return {**_maker(speaker, _name(studio, speaker), studio.workspace, stamp), "sampling": settings, "seed": sampling.seed}


@cache
def _maker(speaker: str, name: str, workspace: Workspace, stamp: int) -> Made:
    """Weights are hashed once: a run by another name or with another result (`stamp`) is asked for anew."""
    return maker(speaker, workspace)  # type: ignore[return-value]


def describe(reply: "Reply", turn: Turn, sampling: Sampling) -> str:
    """The line under an answer: how long, how fast, how it ended."""
    if reply.end == "stopped" and not reply.tokens:
        return UNSAID
    said = ["1 token" if reply.tokens == 1 else f"{reply.tokens} tokens"]
    if reply.tokens > 1:
        said.append(f"{reply.tokens_per_second:.1f} tok/s")
    said += [f"first after {reply.first_token_seconds:.1f} s", ENDS[reply.end]]
    if turn.attempt:
        said.append(f"seed {sampling.seed}" if sampling.temperature else "temperature 0 repeats itself")
    return " · ".join(said)


# What is shown besides.


def on_answered(studio: Studio, talk: Talk, wanted: bool) -> list[Any]:
    """A side has answered: what can be voted on now, and how the answers differ."""
    return [ballot(talk), on_differences(studio, talk, wanted)]


def on_hide(studio: Studio, hide: bool) -> list[Any]:
    """The pickers say which side their model answers on, or that this is drawn."""
    return [gr.update(**picker_words(side, hide=hide)) for side in SIDES]


def on_differences(studio: Studio, talk: Talk, wanted: bool) -> dict[str, Any]:
    """The two last answers, compared word by word."""
    if not wanted:
        return gr.update(visible=False)
    if not (talk.left.turns and talk.right.turns):
        return gr.update(value=nothing_to_compare(), visible=True)
    left, right = (side.turns[-1] for side in talk.sides)
    names = ("?", "?") if talk.is_veiled else (left.by, right.by)
    return gr.update(value=differences(left.answer, right.answer, left=names[0], right=names[1]), visible=True)


def on_same(studio: Studio, same: bool) -> list[Any]:
    """One set of settings for both sides, or one each."""
    return [settings_title("left", same=same), gr.update(visible=not same)]


def on_speakers(studio: Studio, left: str, right: str) -> list[Any]:
    """Offer the soft prompt's words where a speaker has learnt one."""
    return [gr.update(visible=is_prompt_tuned(studio, left, right), open=False), _soft_prompt_invitation()]


def on_right(studio: Studio, speaker: str) -> list[Any]:
    """(continue_from, run_id): one may go on from the run on the right, once it has ended."""
    for run in _runs_of(studio, [speaker]):
        name = clip(run.label["name"], max_chars=40)
        return [continue_button(run, ended=run.status in ENDED) | {"value": f"Continue from {name}"}, run.id]
    return [gr.update(visible=False), None]


def on_soft_prompt(studio: Studio, left: str, right: str) -> str:
    """The vocabulary's nearest words to each vector that the chosen runs learnt."""
    tuned = [run for run in _runs_of(studio, (left, right)) if run.spec.method.name == "prompt"]
    return "".join(soft_prompt_table(run.label["name"], studio.playground.soft_prompt(run.id)) for run in tuned)


def nothing_to_compare() -> str:
    return '<p class="quiet">Nothing to compare yet: ask both sides something.</p>'


def _soft_prompt_invitation() -> str:
    return '<p class="quiet">Reading the learnt vectors…</p>'


def _name(studio: Studio, speaker: str) -> str:
    runs = _runs_of(studio, [speaker])
    if not runs:
        return _base_label(speaker.removeprefix("base:"))
    live = studio.engine.live()
    step = f" at step {studio.runs.progress(live).step}" if live and live.id == runs[0].id else ""
    return runs[0].label["name"] + step
