"""The Chat tab: one question to two models, their answers side by side.

A conversation lives in the browser tab's session (`Talk`), not in the chat boxes: a click writes down what is asked,
and one stream a side answers it. So Stop, Clear and a closed tab only have to tell the session.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import Dependency
from pydantic import ValidationError

from app.studio import Studio, on, streaming
from backend.errors import UserError
from backend.models import STARTER, available
from backend.runs import Run
from backend.sampling import Sampling
from backend.specs import sentences
from components.dual_chat import (
    INVITATION,
    NO_RUN_YET,
    QUIET,
    DualChat,
    Side,
    Turn,
    as_chat,
    as_messages,
    dual_chat,
    hint_line,
    settings_title,
    shown_placeholder,
    stats_line,
)
from components.notices import lead
from components.settings_form import plain_values
from components.text import escape
from components.word_diff import differences

if TYPE_CHECKING:
    from backend.inference import Reply

BASE = f"base:{STARTER}"
OFFERED = 100  # newest runs in the pickers; older ones come through the Runs tab
LONGEST_PROMPT = 100_000  # characters; what is longer no model here can read, and it would freeze the page
ENDS = {"finished": "finished", "cut off": "cut off at the longest answer", "stopped": "stopped", "": "answering"}
SOFT_PROMPT = (
    "Each learnt vector with the tokens of the vocabulary that point most nearly the same way, and the cosine similarity "
    "(1 is the token itself, 0 has nothing in common with it)."
)
SIDES: tuple[Side, ...] = ("left", "right")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChatTab:
    """What others wire to: the pickers, and what `on_refresh` and `on_chat_with` fill."""

    left: gr.Dropdown
    right: gr.Dropdown
    left_chat: gr.Chatbot
    right_chat: gr.Chatbot

    @property
    def refreshed(self) -> list[gr.components.Component]:
        """The outputs of `on_refresh` and `on_chat_with`."""
        return [self.left, self.right, self.left_chat, self.right_chat]


@dataclass(frozen=True)
class Ask:
    """Who is to answer, and how."""

    speaker: str  # "base:<name>" or "run:<id>"
    system: str
    sampling: Sampling


@dataclass
class Conversation:
    """One side's conversation, and the answer it is giving."""

    turns: tuple[Turn, ...] = ()
    asked: Ask | None = None  # written down, not yet begun
    stopping: threading.Event | None = None  # of the answer being given

    @property
    def busy(self) -> bool:
        return self.asked is not None or self.stopping is not None

    def ask(self, turns: Sequence[Turn], ask: Ask) -> None:
        """Write down what is to be answered next: the last of `turns`."""
        self.turns, self.asked = tuple(turns), ask

    def stop(self) -> None:
        """End the answer being given, keeping what there is of it; harmless whenever and however often."""
        self.asked = None
        if self.stopping is not None:
            self.stopping.set()

    def clear(self) -> None:
        """Forget everything; what a running answer still brings is dropped."""
        self.stop()
        self.turns, self.stopping = (), None


@dataclass
class Talk:
    """What one browser tab has going."""

    left: Conversation = field(default_factory=Conversation)
    right: Conversation = field(default_factory=Conversation)

    @property
    def sides(self) -> tuple[Conversation, Conversation]:
        return self.left, self.right


def chat_tab(studio: Studio) -> ChatTab:
    """Lay out the tab inside the current `gr.Tab` and wire it."""
    choices = speaker_choices(studio)
    left, right = default_speakers(choices)
    lead("Ask two models the same question and read the answers side by side.")
    talk = gr.State(Talk())
    chat = dual_chat(choices=choices, left=left, right=right, placeholder=_placeholder(choices))
    with gr.Accordion("What the soft prompt says", open=False, visible=is_prompt_tuned(studio, right)) as soft_prompt:
        words = gr.HTML(_soft_prompt_invitation())
    _wire_asking(studio, chat, talk)
    _wire_looks(studio, chat, talk, soft_prompt, words)
    return ChatTab(chat.left.speaker, chat.right.speaker, chat.left.chat, chat.right.chat)


def _wire_asking(studio: Studio, chat: DualChat, talk: gr.State) -> None:
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    panes = [chat.left.chat, chat.left.stats, chat.right.chat, chat.right.stats]
    sent = gr.on(
        [chat.prompt.submit, chat.send.click], on(studio, on_send), outputs=[chat.prompt, chat.hint, *panes],
        inputs_kwargs={"talk": talk, "prompt": chat.prompt, **chat.fields}, **quick,
    )
    handlers = {"left": (on_left_again, on_left_answer), "right": (on_right_again, on_right_answer)}
    for side in SIDES:
        pane, (on_again, on_answer) = chat.side(side), handlers[side]
        again = pane.again.click(
            on(studio, on_again), outputs=[chat.hint, pane.chat, pane.stats],
            inputs_kwargs={"talk": talk, **chat.fields}, **quick,
        )
        for asked in (sent, again):
            _answers(studio, chat, talk, side, asked, on_answer)
    chat.stop.click(on(studio, on_stop), inputs=talk, outputs=chat.hint, **quick)
    chat.clear.click(on(studio, on_clear), inputs=talk, outputs=[chat.hint, *panes, chat.differences], **quick)


def _answers(studio: Studio, chat: DualChat, talk: gr.State, side: Side, asked: Dependency, on_answer: Any) -> None:
    """Let one side answer after something was asked; each side in a stream of its own, so that neither waits."""
    pane = chat.side(side)
    answered = asked.success(
        streaming(studio, on_answer), inputs=talk, outputs=[pane.chat, pane.stats], show_progress="hidden",
        concurrency_limit=None, trigger_mode="multiple", api_visibility="private",
    )
    answered.then(
        on(studio, on_differences), inputs=[talk, chat.differ, chat.left.speaker, chat.right.speaker],
        outputs=chat.differences, queue=False, show_progress="hidden", api_visibility="private",
    )


def _wire_looks(studio: Studio, chat: DualChat, talk: gr.State, soft_prompt: gr.Accordion, words: gr.HTML) -> None:
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    speakers = [chat.left.speaker, chat.right.speaker]
    chat.differ.change(on(studio, on_differences), inputs=[talk, chat.differ, *speakers], outputs=chat.differences, **quick)
    chat.same.change(on(studio, on_same), inputs=chat.same, outputs=[chat.left.title, chat.right.settings], **quick)
    gr.on([speaker.change for speaker in speakers], on(studio, on_speakers), inputs=speakers, outputs=[soft_prompt, words], **quick)
    soft_prompt.expand(on(studio, on_soft_prompt), inputs=speakers, outputs=words, api_visibility="private")


# Who can speak.


def speaker_choices(studio: Studio, *, keep: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(label, value) of every base model and the newest runs with a result; those in `keep` too, if they still exist."""
    runs = studio.runs.with_result()
    shown = [run for number, run in enumerate(runs) if number < OFFERED or f"run:{run.id}" in keep]
    bases = dict.fromkeys([*available(studio.workspace), *(run.spec.base_model for run in shown)])
    return [*((_base_label(name), f"base:{name}") for name in bases), *((_run_label(run), f"run:{run.id}") for run in shown)]


def default_speakers(choices: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The starter on the left, the newest run on the right, or the starter again while there is none."""
    return BASE, next((value for _, value in choices if value.startswith("run:")), BASE)


def is_prompt_tuned(studio: Studio, *speakers: str) -> bool:
    """Whether one of the speakers is a run that learnt a soft prompt."""
    return any(run.spec.method.name == "prompt" for run in _runs_of(studio, speakers))


def on_refresh(studio: Studio, left: str, right: str) -> list[dict[str, Any]]:
    """Updates for `ChatTab.refreshed`: who can speak now. Keeps what is chosen; where both sides are the same base, or a
    run is gone, the default steps in."""
    choices = speaker_choices(studio, keep=(left, right))
    values = {value for _, value in choices}
    first, second = default_speakers(choices)
    left = left if left in values else first
    right = right if right in values and right != left else second
    return _refreshed(choices, left, right)


def on_chat_with(studio: Studio, run_id: str) -> list[dict[str, Any]]:
    """Updates for `ChatTab.refreshed`: a run on the right, the base it was trained on on the left."""
    run = studio.runs.get(run_id)
    if not run.has_result:
        raise UserError(f"{run.label['name']} has no result to chat with yet. Let it finish, or resume it.")
    left, right = f"base:{run.spec.base_model}", f"run:{run.id}"
    return _refreshed(speaker_choices(studio, keep=(right,)), left, right)


def _refreshed(choices: list[tuple[str, str]], left: str, right: str) -> list[dict[str, Any]]:
    placeholder = gr.update(placeholder=shown_placeholder(_placeholder(choices)))
    return [gr.update(choices=choices, value=left), gr.update(choices=choices, value=right), placeholder, placeholder]


def _base_label(name: str) -> str:
    return f"Base · {name.rstrip('/').rsplit('/', 1)[-1]}"


def _run_label(run: Run) -> str:
    return f"{run.label['name']} · {run.spec.method.title} · {run.status}"


def _placeholder(choices: Sequence[tuple[str, str]]) -> str:
    return INVITATION if any(value.startswith("run:") for _, value in choices) else f"{INVITATION} {NO_RUN_YET}"


def _runs_of(studio: Studio, speakers: Sequence[str]) -> list[Run]:
    ids = [value.removeprefix("run:") for value in dict.fromkeys(speakers) if value and value.startswith("run:")]
    known = set(studio.runs.ids())
    return [studio.runs.get(run_id) for run_id in ids if run_id in known]


# Asking and answering.


def on_send(studio: Studio, *, talk: Talk, prompt: str, same: bool, **values: Any) -> list[Any]:
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
    for side, ask in zip(talk.sides, asks(values, same=same), strict=True):
        side.ask([*side.turns, Turn(prompt)], ask)
    shown = [part for side in talk.sides for part in (as_chat(side.turns), stats_line("Asking…"))]
    return ["", hint_line(""), *shown]


def on_left_again(studio: Studio, *, talk: Talk, same: bool, **values: Any) -> list[Any]:
    return _again(talk.left, asks(values, same=same)[0])


def on_right_again(studio: Studio, *, talk: Talk, same: bool, **values: Any) -> list[Any]:
    return _again(talk.right, asks(values, same=same)[1])


def on_left_answer(studio: Studio, talk: Talk) -> Iterator[list[Any]]:
    yield from _answer(studio, talk.left)


def on_right_answer(studio: Studio, talk: Talk) -> Iterator[list[Any]]:
    yield from _answer(studio, talk.right)


def on_stop(studio: Studio, talk: Talk) -> str:
    """End both answers; what there is of them stays."""
    for side in talk.sides:
        side.stop()
    return hint_line("")


def on_clear(studio: Studio, talk: Talk) -> list[Any]:
    """Stop, and forget both conversations."""
    for side in talk.sides:
        side.clear()
    return [hint_line(""), *[[], stats_line(QUIET)] * 2, nothing_to_compare()]


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
    return [gr.skip(), hint_line(hint), *[gr.skip()] * 4]


def _again(side: Conversation, ask: Ask) -> list[Any]:
    """Write down that the last question is to be answered once more, with what the form says now."""
    if not side.turns:
        return [hint_line("Nothing was asked on this side yet."), gr.skip(), gr.skip()]
    if side.busy:
        return [hint_line("This side is still answering. Wait for it or press Stop."), gr.skip(), gr.skip()]
    *before, last = side.turns
    side.ask([*before, Turn(last.question, attempt=last.attempt + 1)], ask)
    return [hint_line(""), as_chat(side.turns), stats_line("Asking again…")]


def _answer(studio: Studio, side: Conversation) -> Iterator[list[Any]]:
    """Answer what was asked, if anything was; the page sees the conversation and the line under it grow."""
    ask, side.asked = side.asked, None
    if ask is None:
        return
    stopping = side.stopping = threading.Event()
    *before, turn = side.turns
    try:
        for grown, line in _speaking(studio, ask, before, turn, stopping):
            if side.stopping is not stopping:
                return  # cleared meanwhile
            side.turns = (*before, grown)
            yield [as_chat(side.turns), line]
    finally:
        if side.stopping is stopping:
            side.stopping = None


def _speaking(
    studio: Studio, ask: Ask, before: Sequence[Turn], turn: Turn, stopping: threading.Event
) -> Iterator[tuple[Turn, str]]:
    """The turn as it grows and the line under it. A side that fails says so in its own pane; the other goes on."""
    try:
        yield from _heard(studio, ask, before, turn, stopping)
    except UserError as error:
        yield replace(turn, notice="\n".join(error.problems)), stats_line("no answer", failed=True)
    except Exception as error:
        log.exception("%s could not answer", ask.speaker)
        notice = f"This side met a fault ({type(error).__name__}) and could not answer. The details are in the log."
        yield replace(turn, notice=notice), stats_line("no answer", failed=True)


def _heard(
    studio: Studio, ask: Ask, before: Sequence[Turn], turn: Turn, stopping: threading.Event
) -> Iterator[tuple[Turn, str]]:
    if studio.engine.status().state == "getting ready":
        yield turn, stats_line("Getting the engine ready…")
    while studio.engine.status().state == "getting ready" and not stopping.wait(0.1):
        pass
    if stopping.is_set():
        yield turn, stats_line("stopped before the first word")
        return
    playground = studio.playground
    from backend.inference import Speaker

    kind, _, name = ask.speaker.partition(":")
    speaker = Speaker("run" if kind == "run" else "base", name)
    yield turn, stats_line("Reading the question…" if playground.is_loaded(speaker) else "Loading the model…")
    sampling = ask.sampling.model_copy(update={"seed": (ask.sampling.seed + turn.attempt) % 2**31})
    messages = as_messages([*before, turn], system=ask.system)
    with closing(playground.stream(speaker, messages, sampling, stopped=stopping.is_set)) as replies:
        for reply in replies:
            notice = "The model ended its answer without a word." if reply.end == "finished" and not reply.text else ""
            yield replace(turn, answer=reply.text, notice=notice), stats_line(describe(reply, turn, sampling))


def describe(reply: "Reply", turn: Turn, sampling: Sampling) -> str:
    """The line under an answer: how long, how fast, how it ended."""
    said = [f"{reply.tokens} token" if reply.tokens == 1 else f"{reply.tokens} tokens"]
    if reply.tokens > 1:
        said.append(f"{reply.tokens_per_second:.1f} tok/s")
    said += [f"first after {reply.first_token_seconds:.1f} s", ENDS[reply.end]]
    if turn.attempt:
        said.append(f"seed {sampling.seed}" if sampling.temperature else "temperature 0 repeats itself")
    return " · ".join(said)


# What is shown besides.


def on_differences(studio: Studio, talk: Talk, wanted: bool, left: str, right: str) -> dict[str, Any]:
    """The two last answers, compared word by word."""
    if not wanted:
        return gr.update(visible=False)
    if not (talk.left.turns and talk.right.turns):
        return gr.update(value=nothing_to_compare(), visible=True)
    last = talk.left.turns[-1].answer, talk.right.turns[-1].answer
    return gr.update(value=differences(*last, left=_name(studio, left), right=_name(studio, right)), visible=True)


def on_same(studio: Studio, same: bool) -> list[Any]:
    """One set of settings for both sides, or one each."""
    return [settings_title("left", same=same), gr.update(visible=not same)]


def on_speakers(studio: Studio, left: str, right: str) -> list[Any]:
    """Offer the soft prompt's words where a speaker has learnt one."""
    return [gr.update(visible=is_prompt_tuned(studio, left, right), open=False), _soft_prompt_invitation()]


def on_soft_prompt(studio: Studio, left: str, right: str) -> str:
    """The vocabulary's nearest words to each vector that the chosen runs learnt."""
    tuned = [run for run in _runs_of(studio, (left, right)) if run.spec.method.name == "prompt"]
    return "".join(soft_prompt_table(run.label["name"], studio.playground.soft_prompt(run.id)) for run in tuned)


def nothing_to_compare() -> str:
    return '<p class="quiet">Nothing to compare yet: ask both sides something.</p>'


def soft_prompt_table(name: str, vectors: Sequence[Sequence[tuple[str, float]]]) -> str:
    """HTML: each learnt vector's nearest tokens with their cosine similarity, nearest first."""
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Vector", "Nearest", "Second", "Third"))
    rows = "".join(
        f'<tr><th scope="row">{number}</th>{"".join(_token_cell(*nearest) for nearest in vector)}</tr>'
        for number, vector in enumerate(vectors, 1)
    )
    return (
        f'<div class="soft-prompt"><h3>{escape(name)}</h3><p class="quiet">{SOFT_PROMPT}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _token_cell(token: str, similarity: float) -> str:
    return f'<td><code>{escape(repr(token)[1:-1])}</code> <span class="quiet number">{similarity:.2f}</span></td>'


def _soft_prompt_invitation() -> str:
    return '<p class="quiet">Reading the learnt vectors…</p>'


def _name(studio: Studio, speaker: str) -> str:
    runs = _runs_of(studio, [speaker])
    return runs[0].label["name"] if runs else _base_label(speaker.removeprefix("base:"))
