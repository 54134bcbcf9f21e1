import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from litestar import Litestar

from app.http.answer_stream import AnswerStream, open_stream
from app.http.event_stream import HEARTBEAT
from app.services.types import AnswerEvent
from embeddings.errors import NotFound, Overloaded
from generation.types import MessageDelta
from tests.app.http.span_reader import SpanReader

Message = dict[str, Any]

SHORT_S = 0.01


async def test_client_that_leaves_stops_the_decoder(
    garden: str, application: Litestar, reader: SpanReader
) -> None:
    reader.may_continue.clear()
    messages: list[Message] = [{"type": "http.request", "body": b'{"question": "When do I plant tomatoes?"}'}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.to_thread(reader.started.wait)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)

    await application(scope_of("/v1/collections/garden/answer"), receive, send)  # type: ignore[arg-type]
    assert await asyncio.to_thread(reader.cancelled.wait, 10)


def scope_of(path: str) -> dict[str, Any]:
    """A POST of JSON that asks for events, as a server hands it over."""
    named = {"host": "127.0.0.1", "content-type": "application/json", "accept": "text/event-stream"}
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "client": None,
        "server": ("127.0.0.1", 8000), "headers": headers,
    }  # fmt: skip


class Work:
    """Answer events that wait for the test. closed: whether the generator was ended."""

    def __init__(self, *steps: AnswerEvent | Exception | asyncio.Event) -> None:
        self.steps = steps
        self.closed = asyncio.Event()

    async def events(self) -> AsyncGenerator[AnswerEvent, None]:
        try:
            for step in self.steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.closed.set()


def stream_of(work: Work, heartbeat_s: float = SHORT_S) -> AnswerStream:
    return AnswerStream(work.events(), explain=False, heartbeat_s=heartbeat_s)


async def test_heartbeat_comes_while_the_work_is_silent() -> None:
    go_on = asyncio.Event()
    stream = stream_of(Work(MessageDelta("a"), go_on, MessageDelta("b")))
    frames = stream.frames()
    assert await anext(frames) == b'event: message\ndata: {"delta":"a"}\n\n'
    assert await anext(frames) == HEARTBEAT
    go_on.set()
    rest = [frame async for frame in frames if frame != HEARTBEAT]
    assert rest == [b'event: message\ndata: {"delta":"b"}\n\n']


async def test_failure_before_the_first_event_is_raised() -> None:
    work = Work(NotFound("no such collection"))
    with pytest.raises(NotFound):
        await open_stream(work.events(), explain=False)
    assert work.closed.is_set()


async def test_client_that_leaves_before_the_first_event_ends_the_work() -> None:
    work = Work(asyncio.Event())
    opening = asyncio.create_task(stream_of(work, heartbeat_s=60).respond())
    await asyncio.sleep(SHORT_S)
    opening.cancel()
    await asyncio.wait({opening})
    assert work.closed.is_set()


async def test_failure_in_the_middle_is_an_error_event() -> None:
    stream = stream_of(Work(MessageDelta("a"), Overloaded("too much")))
    frames = [frame async for frame in stream.frames()]
    assert frames[-1].startswith(b'event: error\ndata: {"type":"urn:footnote:overloaded"')


async def test_unexpected_failure_in_the_middle_leaks_nothing() -> None:
    stream = stream_of(Work(MessageDelta("a"), ZeroDivisionError("secret")))
    frames = [frame async for frame in stream.frames()]
    assert b'"status":500' in frames[-1]
    assert b"secret" not in frames[-1]


async def test_slow_first_event_starts_the_stream_with_a_heartbeat() -> None:
    never = asyncio.Event()
    stream = stream_of(Work(never))
    await stream.start()
    assert await anext(stream.frames()) == HEARTBEAT
    await stream.close()


async def test_close_ends_the_work_where_it_waits() -> None:
    work = Work(MessageDelta("a"), asyncio.Event())
    stream = stream_of(work)
    frames = stream.frames()
    await anext(frames)
    await anext(frames)
    await stream.close()
    assert work.closed.is_set()


async def test_close_ends_work_that_has_its_next_event_ready() -> None:
    work = Work(MessageDelta("a"), MessageDelta("b"), MessageDelta("c"))
    stream = stream_of(work)
    await anext(stream.frames())
    await stream.close()
    assert work.closed.is_set()
