"""The streams of OpenAI-compatible servers, as events.

Source: platform.openai.com/docs/api-reference/chat-streaming; html.spec.whatwg.org on server-sent events.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Literal

import msgspec

from embeddings.errors import UpstreamFailed
from generation.causal.chat import ChatEvent, ChoiceDone, TextDelta, TokenLogprob, Usage

DONE = "[DONE]"


class _Delta(msgspec.Struct):
    content: str | None = None


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_TopLogprob] | None = None


class _Logprobs(msgspec.Struct):
    """content: of a chat; the others: of a completion."""

    content: list[_TokenLogprob] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


class EventReader:
    """Turns the data of one stream into events. chat: its pieces are deltas, not texts."""

    def __init__(self, *, chat: bool) -> None:
        self._chat = chat
        self._decoder = msgspec.json.Decoder(_Chunk)
        self._usage = Usage(0, 0)
        self._finished: set[int] = set()

    def read(self, data: str) -> Iterator[ChatEvent]:
        """The events of one server-sent event. Raises UpstreamFailed when it can't be read."""
        try:
            chunk = self._decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise _malformed(f"{error} in {data[:100]!r}") from error
        if bytes(chunk.error) not in {b"", b"null"}:
            raise _malformed(f"an error: {bytes(chunk.error).decode(errors='replace')[:200]}")
        for choice in chunk.choices:
            yield from self._of_choice(choice)
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)

    def finish(self) -> Usage:
        """The last event. Raises UpstreamFailed when the stream broke off before an end was told."""
        if not self._finished:
            raise _malformed("an end in the middle of the answer")
        return self._usage

    def _of_choice(self, choice: _Choice) -> Iterator[ChatEvent]:
        text = (choice.delta.content if choice.delta else None) if self._chat else choice.text
        logprobs = () if choice.logprobs is None else tuple(_logprobs(choice.logprobs))
        if text or logprobs:
            yield TextDelta(choice.index, text or "", logprobs)
        if choice.finish_reason is not None and choice.index not in self._finished:
            self._finished.add(choice.index)
            reason: Literal["stop", "length"] = "length" if choice.finish_reason == "length" else "stop"
            yield ChoiceDone(choice.index, reason)


async def read_events(lines: AsyncIterator[str], reader: EventReader) -> AsyncIterator[ChatEvent]:
    """The events of a stream of lines, `Usage` last. Raises UpstreamFailed."""
    async for data in _payloads(lines):
        if data == DONE:
            break
        for event in reader.read(data):
            yield event
    yield reader.finish()


async def _payloads(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The data of each server-sent event; also of a last one without the blank line that ends it."""
    data: list[str] = []
    async for line in lines:
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


def _usage(usage: _Usage) -> Usage:
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    return Usage(usage.prompt_tokens, usage.completion_tokens or 0, cached or 0)


def _logprobs(found: _Logprobs) -> Iterator[TokenLogprob]:
    for token in found.content or ():
        top = tuple(TokenLogprob(t.token, t.logprob, _bytes(t)) for t in token.top_logprobs or ())
        yield TokenLogprob(token.token, token.logprob, _bytes(token), top)
    if found.tokens is None or found.token_logprobs is None:
        return
    alternatives = found.top_logprobs or [None] * len(found.tokens)
    for text, logprob, others in zip(found.tokens, found.token_logprobs, alternatives, strict=False):
        ordered = sorted((others or {}).items(), key=lambda item: -item[1])
        top = tuple(TokenLogprob(other, value, other.encode()) for other, value in ordered)
        yield TokenLogprob(text, 0.0 if logprob is None else logprob, text.encode(), top)


def _bytes(token: _TokenLogprob | _TopLogprob) -> bytes:
    return token.token.encode() if token.bytes is None else bytes(token.bytes)


def _malformed(found: str) -> UpstreamFailed:
    return UpstreamFailed(
        f"the decoder's server sent what cannot be read: {found}",
        found=found,
        expected="chat.completion.chunk objects as server-sent events, up to [DONE]",
        next_step="check that FOOTNOTE_DECODER_URL names a server that speaks OpenAI's API",
    )
