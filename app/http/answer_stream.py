"""Answers as server-sent events: true status codes, a heartbeat, and an end to the work when the client
leaves.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import msgspec
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from app.http.answer_schemas import event_name_and_data
from app.http.problems import describe_failure
from app.services.types import AnswerEvent

EVENT_STREAM = "text/event-stream"
# Proxies cut connections that are silent for 30 s or more; clients may rely on 10 s.
HEARTBEAT_S = 8.0
HEARTBEAT = b": still working\n\n"


async def open_stream(
    events: AsyncGenerator[AnswerEvent, None], explain: bool, heartbeat_s: float = HEARTBEAT_S
) -> Stream:
    """Start the work and answer with its events.

    A failure before the first event is raised here, so that an unknown collection is a 404 and not a stream.
    explain: give the scores of each hit. heartbeat_s: longest silence, seconds.
    """
    stream = AnswerStream(events, explain, heartbeat_s)
    await stream.start()
    # Without the task the generator would stay suspended after a disconnect until it is garbage-collected.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(
        stream.frames(), media_type=EVENT_STREAM, headers=headers, background=BackgroundTask(stream.close)
    )


class AnswerStream:
    """The events of one answer on their way to one client."""

    def __init__(self, events: AsyncGenerator[AnswerEvent, None], explain: bool, heartbeat_s: float) -> None:
        self._events = events
        self._explain = explain
        self._heartbeat_s = heartbeat_s
        self._next = asyncio.ensure_future(anext(events))

    async def start(self) -> None:
        """Wait for the first event, at most a heartbeat long; raise when it fails."""
        done, _ = await asyncio.wait({self._next}, timeout=self._heartbeat_s)
        error = self._next.exception() if done else None
        if error is not None and not isinstance(error, StopAsyncIteration):
            await self.close()
            raise error

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield each event as it comes, heartbeats between them, and an `error` event when the work fails."""
        try:
            while True:
                while not self._next.done():
                    done, _ = await asyncio.wait({self._next}, timeout=self._heartbeat_s)
                    if not done:
                        yield HEARTBEAT
                event = self._next.result()
                yield encode_event(*event_name_and_data(event, self._explain))
                self._next = asyncio.ensure_future(anext(self._events))
        except StopAsyncIteration:
            return
        except Exception as error:  # the status line is out: only the stream can tell
            yield encode_event("error", describe_failure(error))

    async def close(self) -> None:
        """Stop the work, if it still runs."""
        self._next.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._next
        await self._events.aclose()


def encode_event(name: str, data: object) -> bytes:
    """One server-sent event. JSON has no line breaks of its own, so one data line holds it."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
