"""Events as OpenAI streams them: `data:` lines without names, and `[DONE]` at the end."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

import msgspec
from litestar.response import Stream

from app.http.event_stream import HEARTBEAT_S, EventStream
from app.http.foreign_errors import openai_reply
from app.http.problems import Problem

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"


async def open_openai_stream(
    events: AsyncGenerator[T, None],
    chunks_of: Callable[[T], Iterable[msgspec.Struct]],
    heartbeat_s: float = HEARTBEAT_S,
) -> Stream:
    """Start the work and answer with its chunks. A failure before the first event is raised here.

    heartbeat_s: longest silence, seconds.
    """
    return await EventStream(_frames(events, chunks_of), bytes, _failure, heartbeat_s).respond()


async def _frames(
    events: AsyncGenerator[T, None], chunks_of: Callable[[T], Iterable[msgspec.Struct]]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            frames = b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks_of(event))
            if frames:
                yield frames
    yield DONE


def _failure(problem: Problem) -> bytes:
    """The official client raises what stands under `error` in the middle of a stream."""
    return b"data: " + msgspec.json.encode(openai_reply(problem, {}).content) + b"\n\n"
