"""A decoder on another server that speaks OpenAI's API: vLLM, llama.cpp, Ollama and their kind."""

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from embeddings.errors import FootnoteError, InvalidInput, Overloaded, UpstreamFailed
from generation.causal.chat import ChatEvent, ChatMessage, ResponseFormat
from generation.causal.remote_request import chat_body, completion_body
from generation.causal.remote_stream import EventReader, read_events
from generation.sampling import SamplingSettings

CONNECT_TIMEOUT_S = 5.0
ATTEMPTS = 3
FIRST_PAUSE_S = 0.5
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
MAX_ERROR_CHARS = 300
EVENT_STREAM = "text/event-stream"
_CHECK_URL = "correct FOOTNOTE_DECODER_URL: it names a server that speaks OpenAI's API, and ends in /v1"
# English takes about 4 bytes a token, Russian 4 to 6, Chinese 3 to 4.
BYTES_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """Where a decoder is.

    url: up to and with /v1. model: as that server names it. timeout_s: seconds that it may take to the first
    token, and from one to the next. context_tokens: its longest prompt and answer together.
    first_pause_s: before the second attempt; it doubles with each.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    context_tokens: int = 4096
    first_pause_s: float = FIRST_PAUSE_S


class RemoteChatModel:
    """Asks such a server, and nobody before the first question. Safe for several event loops and threads.

    Each request has a connection of its own, and closing its generator closes it, which is how servers notice
    that nobody waits any more. A server that is busy, or not there yet, is asked `ATTEMPTS` times.
    """

    grounds = False

    def __init__(self, address: RemoteAddress) -> None:
        """Raises InvalidInput for an address that no request can go to."""
        _check_url(address.url)
        self._address = address
        self._url = httpx.URL(address.url.rstrip("/"))
        self._shown = str(self._url.copy_with(userinfo=b""))
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else False

    @property
    def model_id(self) -> str:
        return self._address.model

    @property
    def context_tokens(self) -> int:
        return self._address.context_tokens

    def count_tokens(self, text: str) -> int:
        """An estimate, rather too high: the tokenizer is elsewhere."""
        return len(text.encode()) // BYTES_PER_TOKEN + 1

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        """Answer the last message. Raises as `ChatModel` says, and UpstreamFailed for a server that refuses
        the key or the model, or whose answer can't be read.
        """
        body = chat_body(self.model_id, messages, sampling, response)
        async for event in self._events("/chat/completions", body, EventReader(chat=True)):
            yield event

    async def complete(
        self, prompt: str, sampling: SamplingSettings, response: ResponseFormat | None = None
    ) -> AsyncGenerator[ChatEvent, None]:
        """Continue the text. Raises as `chat` does."""
        body = completion_body(self.model_id, prompt, sampling, response)
        async for event in self._events("/completions", body, EventReader(chat=False)):
            yield event

    async def _events(
        self, path: str, body: dict[str, Any], reader: EventReader
    ) -> AsyncGenerator[ChatEvent, None]:
        try:
            async with self._answered(path, body) as reply:
                kind = reply.headers.get("content-type", "nothing")
                if not kind.startswith(EVENT_STREAM):
                    raise self._failed(f"{kind[:100]}", f"a stream, {EVENT_STREAM}", _CHECK_URL)
                async for event in read_events(reply.aiter_lines(), reader):
                    yield event
        except httpx.TimeoutException as error:
            raise self._unavailable(f"it was silent for {self._address.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise self._unavailable(f"the connection broke off: {_reason(error)}") from error

    @asynccontextmanager
    async def _answered(self, path: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """The open reply to a request, after as many attempts as it takes."""
        seconds = self._address.timeout_s
        timeout = httpx.Timeout(seconds, connect=min(CONNECT_TIMEOUT_S, seconds))
        async with httpx.AsyncClient(timeout=timeout, verify=self._tls, trust_env=False) as client:
            for attempt in range(1, ATTEMPTS + 1):
                last = attempt == ATTEMPTS
                request = client.build_request(
                    "POST", f"{self._url}{path}", json=body, headers=self._headers()
                )
                try:
                    reply = await client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    if last:
                        raise self._unavailable(f"no connection: {_reason(error)}") from error
                    await asyncio.sleep(self._pause_s(attempt, None))
                    continue
                if reply.status_code == httpx.codes.OK:
                    yield reply
                    return
                await reply.aread()
                pause_s = self._pause_s(attempt, _retry_after_s(reply))
                if last or reply.status_code not in RETRIED_STATUSES or pause_s > seconds:
                    raise self._refusal(reply)
                await asyncio.sleep(pause_s)

    def _headers(self) -> dict[str, str]:
        key = self._address.key
        return {"Accept": EVENT_STREAM} | ({"Authorization": f"Bearer {key}"} if key else {})

    def _pause_s(self, attempt: int, wanted_s: float | None) -> float:
        """Twice as long after each attempt, not to the instant, so that waiting clients spread."""
        backoff = self._address.first_pause_s * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311
        return max(backoff, wanted_s or 0.0)

    def _refusal(self, reply: httpx.Response) -> FootnoteError:
        status, told = reply.status_code, _message(reply)
        found = f"status {status}: {told}"
        match status:
            case 401 | 403:
                return self._failed(found, "a key that the server accepts", "set FOOTNOTE_DECODER_KEY")
            case 404:
                next_step = "correct FOOTNOTE_DECODER_MODEL, or FOOTNOTE_DECODER_URL, which ends in /v1"
                return self._failed(found, f"the model {self.model_id!r} at that address", next_step)
            case 400 | 413 | 422:
                return InvalidInput(f"the decoder at {self._shown} refuses the request: {told}", found=found)
            case 429 | 503:
                wait_s = _retry_after_s(reply)
                return Overloaded(
                    f"the decoder at {self._shown} is busy",
                    found=found,
                    next_step="ask again later",
                    retry_after_s=None if wait_s is None else max(1, round(wait_s)),
                )
        return self._failed(found, "status 200", "see the log of that server")

    def _failed(self, found: str, expected: str, next_step: str) -> UpstreamFailed:
        return UpstreamFailed(
            f"the decoder at {self._shown} answered with {found}",
            found=found,
            expected=expected,
            next_step=next_step,
        )

    def _unavailable(self, reason: str) -> Overloaded:
        return Overloaded(
            f"the decoder at {self._shown} does not answer: {reason}",
            found=reason,
            expected="a server that speaks OpenAI's API",
            next_step="start that server, or correct FOOTNOTE_DECODER_URL; a slow one may need a higher "
            "FOOTNOTE_DECODER_TIMEOUT_S",
        )


def _check_url(address: str) -> None:
    try:
        url = httpx.URL(address)
        valid = url.scheme in {"http", "https"} and bool(url.host)
    except httpx.InvalidURL:
        valid = False
    if not valid:
        raise InvalidInput(
            "the address of the decoder is not one",
            field="FOOTNOTE_DECODER_URL",
            found=address[:200],
            expected="http://host:port/v1 or https://host/v1",
        )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _retry_after_s(reply: httpx.Response) -> float | None:
    """Seconds; a date, which servers of this kind do not send, is not read."""
    try:
        return max(0.0, float(reply.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _message(reply: httpx.Response) -> str:
    """What the server says, in OpenAI's form or in any other."""
    try:
        body = reply.json()
        error = body["error"]
        told = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        told = reply.text
    return str(told).strip()[:MAX_ERROR_CHARS] or "nothing"
