"""Answering, as a story: one answerer after the other, some prompts at a time, until everything is answered.

What a few prompts got is put on the disk at once, and every answer draws from a seed of its own place. So an answering
that was stopped, or killed, goes on with what it had not answered: nothing is lost, nothing is made twice, and the
answers are those it would have given without a break.
"""

import random
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from backend.answering.answering import Answer, Answering, Place
from backend.answering.makers import base_of, maker
from backend.answering.prompts import Asked
from backend.answering.settings import Answerer
from backend.data.tokens import encode_prompt
from backend.errors import Stopped, UserError
from backend.generation import Decoder
from backend.inference import Speaker
from backend.jobs import Means
from backend.labelling.items import Made
from backend.sampling import Sampling

HIGHEST_FIRST_SEED = 2**30  # leaves room for as many answers again below the highest seed there is


class Question(NamedTuple):
    """A place to be filled with an answer."""

    place: Place
    number: int  # among all places of its answerer, from 0: what its seed is counted from
    ids: list[int]  # the prompt as tokens
    room: int  # tokens the answer may have


def answer_the_rest(answering: Answering, means: Means) -> None:
    """Answer until everything is answered or somebody stops it; tell the events. Raises `UserError`."""
    try:
        rest = Rest(answering, means)
        answering.events.append("started", resumed_from=len(rest.done), device="", precision="")
        for number, answerer in enumerate(answering.spec.answerers):
            rest.answer(number, answerer)
    except Stopped:
        pass
    _tell_the_end(answering)


class Rest:
    """What is not answered yet."""

    def __init__(self, answering: Answering, means: Means) -> None:
        self.answering, self.means, self.prompts = answering, means, answering.prompts()
        if not self.prompts:
            raise UserError("The prompts of these answers are missing. Remove them, and begin anew.")
        self.done = {answer.place for answer in answering.answers()}

    def answer(self, number: int, answerer: Answerer) -> None:
        """Everything one answerer has left. Raises `Stopped`, `UserError`."""
        places = [(prompt, number, draw) for prompt in range(len(self.prompts)) for draw in range(answerer.draws)]
        left = [(nth, place) for nth, place in enumerate(places) if place not in self.done]
        if not left:
            return
        if answerer.is_reference:
            return self._keep([_reference(place, self.prompts[place[0]]) for _, place in left], "", 0.0)
        voice = Voice(answerer, self.answering, self.means)
        for part in _in_parts(left, self.answering.spec.at_once):
            begun = time.perf_counter()
            answers = list(voice.answers([(nth, place, self.prompts[place[0]]) for nth, place in part]))
            self._keep(answers, voice.base, time.perf_counter() - begun)

    def _keep(self, answers: Sequence[Answer], base: str, seconds: float) -> None:
        self.answering.keep(answers)
        self.done.update(answer.place for answer in answers)
        tokens = sum(answer.made.get("tokens", 0) for answer in answers)
        self.answering.events.append("step", step=len(self.done), model=base, tokens=tokens, seconds=round(seconds, 3))


class Voice:
    """One answerer, loaded and ready."""

    def __init__(self, answerer: Answerer, answering: Answering, means: Means) -> None:
        """Raises `UserError` where its model is gone or damaged, and `Stopped`."""
        self.answerer, self.means = answerer, means
        self.base = base_of(answerer.speaker, answering.workspace)
        self.model, self.tokenizer = means.load(Speaker.parse(answerer.speaker))
        self.made: Made = {**maker(answerer.speaker, answering.workspace), "sampling": answerer.sampling}  # type: ignore[typeddict-item]
        self.first_seed = random.Random(answerer.seed).randrange(HIGHEST_FIRST_SEED)  # answerers of neighbouring seeds share none

    def answers(self, asked: Sequence[tuple[int, Place, Asked]]) -> Iterator[Answer]:
        """Answers to some prompts. Raises `Stopped`."""
        questions = [self._question(*each) for each in asked]
        for _, alike in groupby(enumerate(questions), key=lambda each: (each[1].room, each[1].number - each[0])):
            together = [question for _, question in alike]  # their seeds follow each other, and so does the decoder's
            yield from self._written(together) if together[0].room > 0 else map(self._too_long, together)

    def _question(self, number: int, place: Place, asked: Asked) -> Question:
        ids = encode_prompt(asked.messages, self.tokenizer)
        left = self.model.config.max_position_embeddings - len(ids)
        return Question(place, number, ids, min(self.answerer.max_tokens, left))

    def _written(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """All at once, a token of each at a time, until every one has ended or used up its tokens."""
        seed = self.first_seed + questions[0].number
        sampling = Sampling(temperature=self.answerer.temperature, top_p=self.answerer.top_p, max_tokens=questions[0].room, seed=seed)
        said: list[list[int]] = [[] for _ in questions]
        ended: set[int] = set()
        decoder = Decoder(self.model, self.tokenizer)
        for tokens in decoder.decode(
            [question.ids for question in questions], sampling, turn=self.means.turns.take, should_stop=self.means.should_stop
        ):
            if self.means.should_stop():
                raise Stopped
            for row, token in enumerate(tokens):
                ended.add(row) if token is None else said[row].append(token)
        for row, question in enumerate(questions):
            text = self.tokenizer.decode(said[row], skip_special_tokens=True)
            end = "finished" if row in ended else "cut off"
            yield Answer(*question.place, text, {**self.made, "seed": seed + row, "tokens": len(said[row]), "end": end})  # type: ignore[typeddict-item]

    def _too_long(self, question: Question) -> Answer:
        reads = self.model.config.max_position_embeddings
        fault = f"is {len(question.ids):,} tokens long, and {self.made['name']} reads at most {reads:,}"
        return Answer(*question.place, "", self.made, fault)


def _reference(place: Place, asked: Asked) -> Answer:
    text = "\n\n".join(turn["content"] for turn in asked.reference if turn["role"] == "assistant")
    return Answer(*place, text, {"speaker": "column:reference", "name": "the answer in the data"})


def _in_parts(left: list[tuple[int, Place]], size: int) -> Iterator[list[tuple[int, Place]]]:
    for begin in range(0, len(left), size):
        yield left[begin : begin + size]


def _tell_the_end(answering: Answering) -> None:
    standing = answering.standing()
    if standing.answers < standing.wanted:
        message = f"Stopped after {standing.answers:,} of {standing.wanted:,} answers. Resume goes on from here; what is there can be compared."
        answering.events.append("finished", status="stopped", message=message, step=standing.answers)
        return
    failed = f" {standing.faults:,} prompts could not be answered." if standing.faults else ""
    answering.events.append("finished", status="done", message=f"{standing.answers - standing.faults:,} answers are there.{failed}", step=standing.answers)
