"""Who writes: a model in memory, or an OpenAI-compatible endpoint the user named. Both go on with texts and answer questions.

    writer = open_writer(spec.writer, means)
    writer.go_on([Prompt("Come up with ...", stops=("\\n\\n",))], sampling)     [Completion(text=" Name a fruit.", ...)]
    writer.answer(["Name a fruit."], sampling)
"""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from backend.errors import Stopped, UserError
from backend.generating.prompts import Completion, Prompt
from backend.generating.settings import KEY_VARIABLE, WriterSettings
from backend.jobs import Means
from backend.sampling import Sampling

if TYPE_CHECKING:
    from httpx import AsyncClient

    from backend.inference import Speaker

LOOK_EVERY = 8  # tokens between two looks for a stop
LOOK_SECONDS = 0.2  # between two questions whether to go on, while an endpoint is waited for
ASKED_AT_ONCE = 4  # requests an endpoint gets at a time
TRIES, PATIENCE_SECONDS = 3, 30.0  # with an endpoint that is busy; the longest wait between two
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 300.0
GO_ON = "Go on with the text you are given, from where it breaks off, in the same form. Write the continuation alone."


class Writer(ABC):
    """Writes texts. Row n of a call draws from the seed n after the call's own."""

    @abstractmethod
    def go_on(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """The texts that follow, each up to its first stop. Raises `Stopped`, `UserError`."""

    @abstractmethod
    def answer(self, questions: Sequence[str], sampling: Sampling) -> list[Completion]:
        """Answers as in a chat, each question for itself. Raises `Stopped`, `UserError`."""


def open_writer(settings: WriterSettings, means: Means) -> Writer:
    """The writer the settings name, ready to write. Raises `Stopped`, `UserError`."""
    if settings.kind == "endpoint":
        return EndpointWriter(settings, os.environ.get(KEY_VARIABLE, "").strip(), means.should_stop)
    from backend.inference import Speaker

    return LocalWriter(Speaker.parse(settings.speaker), means)


class LocalWriter(Writer):
    """A model in memory, shared with chat. Each token is a patient turn on the device, so chatting goes first."""

    def __init__(self, speaker: "Speaker", means: Means) -> None:
        self._means = means
        self._model, self._tokenizer = means.load(speaker)

    def go_on(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        ids = [self._tokenizer(prompt.text, split_special_tokens=True)["input_ids"] for prompt in prompts]
        return self._write(ids, [prompt.stops for prompt in prompts], sampling)

    def answer(self, questions: Sequence[str], sampling: Sampling) -> list[Completion]:
        from backend.data.tokens import encode_prompts

        ids = encode_prompts([[{"role": "user", "content": question}] for question in questions], self._tokenizer)
        return self._write(ids, [()] * len(ids), sampling)

    def _write(self, prompts: list[list[int]], stops: Sequence[tuple[str, ...]], sampling: Sampling) -> list[Completion]:
        """All rows at once, until each has ended, come to a stop, or used up its tokens."""
        from backend.generation import Decoder

        if not prompts:
            return []
        room = self._model.config.max_position_embeddings
        longest = min(sampling.max_tokens, room // 2)
        prompts = [ids[-(room - longest) :] for ids in prompts]  # too long for the model: the examples furthest up go
        said: list[list[int]] = [[] for _ in prompts]
        open_rows = set(range(len(prompts)))
        limited = sampling.model_copy(update={"max_tokens": longest})
        decoder, should_stop = Decoder(self._model, self._tokenizer), self._means.should_stop
        for count, tokens in enumerate(decoder.decode(prompts, limited, turn=self._means.turns.take, should_stop=should_stop), 1):
            if should_stop():
                raise Stopped
            open_rows -= {row for row in open_rows if tokens[row] is None}
            for row in open_rows:
                said[row].append(tokens[row])  # type: ignore[arg-type]
            if count % LOOK_EVERY == 0:
                open_rows -= {row for row in open_rows if _comes_to(self._text(said[row]), stops[row])}
            if not open_rows:
                break
        return [up_to_stop(self._text(ids), stops[row], is_cut_off=row in open_rows) for row, ids in enumerate(said)]

    def _text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)


def up_to_stop(text: str, stops: Sequence[str], *, is_cut_off: bool) -> Completion:
    """A text up to the first of the stops; one that came to a stop is not cut off."""
    ended = min((text.partition(stop)[0] for stop in stops), key=len, default=text)
    return Completion(ended, is_cut_off and len(ended) == len(text))


def _comes_to(text: str, stops: Sequence[str]) -> bool:
    return any(stop in text for stop in stops)


# ---- an endpoint -----------------------------------------------------------------------------------------------------


class EndpointWriter(Writer):
    """POST {url}/chat/completions, and nothing else, to the address the user named. The key stays in memory."""

    def __init__(self, settings: WriterSettings, key: str, should_stop: Callable[[], bool]) -> None:
        import httpx

        assert settings.url, "the settings see to it that an endpoint is named"
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"The key in {KEY_VARIABLE} holds letters no key has. Set it again and start the studio anew.")
        self.model, self.url, self._key = settings.endpoint_model.strip(), settings.url, key
        self._should_stop = should_stop
        self._open_client = partial(
            httpx.AsyncClient,
            headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,  # what is sent goes where the user said, nowhere else
            trust_env=urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1"),  # no proxy for this machine
        )  # fmt: skip

    def go_on(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        asked = [[{"role": "system", "content": GO_ON}, {"role": "user", "content": prompt.text}] for prompt in prompts]
        said = self._ask_all(asked, sampling)
        return [up_to_stop(each.text, prompt.stops, is_cut_off=each.is_cut_off) for each, prompt in zip(said, prompts, strict=True)]

    def answer(self, questions: Sequence[str], sampling: Sampling) -> list[Completion]:
        return self._ask_all([[{"role": "user", "content": question}] for question in questions], sampling)

    def _ask_all(self, conversations: list[list[dict[str, str]]], sampling: Sampling) -> list[Completion]:
        requests = [
            {
                "model": self.model, "messages": messages, "temperature": sampling.temperature, "top_p": sampling.top_p,
                "max_tokens": sampling.max_tokens, "seed": sampling.seed + row,
            }
            for row, messages in enumerate(conversations)
        ]  # fmt: skip
        with ThreadPoolExecutor(1) as thread:  # this one may have an event loop going already
            return thread.submit(lambda: asyncio.run(self._ask_together(requests))).result()

    async def _ask_together(self, requests: list[dict[str, Any]]) -> list[Completion]:
        """A few at a time, in their order. Requests under way are broken off where somebody asks to stop."""
        few = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(request: dict[str, Any]) -> Completion:
            async with few:
                return await self._ask(client, request)

        if self._should_stop():
            raise Stopped
        async with self._open_client() as client:
            answers = asyncio.gather(*map(ask, requests))
            while not answers.done():
                await asyncio.wait([answers], timeout=LOOK_SECONDS)
                if self._should_stop():
                    answers.cancel()
                    raise Stopped
            return answers.result()

    async def _ask(self, client: "AsyncClient", request: dict[str, Any]) -> Completion:
        for attempt in range(1, TRIES + 1):
            response = await self._send(client, request)
            if response.status_code not in (429, 502, 503, 529) or attempt == TRIES:
                break
            await asyncio.sleep(min(_number(response.headers.get("retry-after"), 2.0**attempt), PATIENCE_SECONDS))
        if response.status_code != 200:
            raise UserError(self._refusal(response.status_code, response.text))
        return self._completion(response)

    async def _send(self, client: "AsyncClient", request: dict[str, Any]) -> Any:
        import httpx

        try:
            return await client.post(f"{self.url}/chat/completions", json=request)
        except httpx.TimeoutException as error:
            raise UserError(f"{self.url} did not answer in time. Is it busy? Try again later, or ask for shorter answers.") from error
        except httpx.HTTPError as error:
            raise UserError(f"{self.url} cannot be reached ({type(error).__name__}). Check the address, and whether it is running.") from error

    def _refusal(self, status: int, body: str) -> str:
        """Why an endpoint refused, in a sentence."""
        if status in (401, 403):
            return f"{self.url} wants a key, or refuses the one it was given. Set the environment variable {KEY_VARIABLE} and start again."
        if status == 404:
            return f'{self.url} knows no model "{self.model}", or has no /chat/completions. Check the address and the name of the model.'
        if status == 429:
            return f"{self.url} takes no more requests for now. Wait, then resume."
        said = " ".join(body.replace(self._key or "\0", "the key").split())[:200]
        return f"{self.url} refused ({status}){': ' + said if said else ''}. Check the address, the model and the settings, then resume."

    def _completion(self, response: Any) -> Completion:
        try:
            choice = response.json()["choices"][0]
            text = choice["message"]["content"]
            if not isinstance(text, str):
                raise TypeError("the content is no text")
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"{self.url} answered in a form this studio does not know. Is it an OpenAI-compatible endpoint? Its address often ends in /v1."
            ) from error
        return Completion(text, choice.get("finish_reason") == "length")


def _number(text: str | None, otherwise: float) -> float:
    try:
        return max(0.0, float(text or otherwise))
    except ValueError:
        return otherwise
