"""Server-sent events of one piece of work: true status codes, a heartbeat, and an end to the work when the
client leaves.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from litestar.background_tasks import BackgroundTask
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.response import Stream

from app.http.deadlines import current_deadline
from app.http.problems import Problem, describe_failure

T = TypeVar("T")

EVENT_STREAM = "text/event-stream"
# Proxies cut connections that are silent for 30 s or more; clients may rely on 10 s.
HEARTBEAT_S = 8.0
HEARTBEAT = b": still working\n\n"


@dataclass
class StreamedOperation(Operation):
    """A route's description, with the event stream as a second form of the reply."""

    def __post_init__(self) -> None:
        """Add what Litestar's description of a reply has no place for: a second media type."""
        reply = (self.responses or {})["200"]
        if isinstance(reply, OpenAPIResponse) and reply.content is not None:
            stream = Schema(type=OpenAPIType.STRING, description="Server-sent events, as described above")
            reply.content[EVENT_STREAM] = OpenAPIMediaType(schema=stream)


class EventStream(Generic[T]):
    """The events of one piece of work on their way to one client.

    encode: an event as it is sent. encode_failure: a failure that comes too late for the status line.
    heartbeat_s: longest silence, seconds. When the deadline of the request is over, its reason is the last
    event.
    """

    def __init__(
        self,
        events: AsyncGenerator[T, None],
        encode: Callable[[T], bytes],
        encode_failure: Callable[[Problem], bytes],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._events = events
        self._encode = encode
        self._encode_failure = encode_failure
        self._heartbeat_s = heartbeat_s
        self._deadline = current_deadline()
        self._next = asyncio.ensure_future(anext(events))

    async def respond(self) -> Stream:
        """Wait for the first event, then answer with all of them.

        A failure before the first event is raised here, so that an unknown collection is a 404 and not a
        stream. Cancelling this ends the work.
        """
        try:
            await self.start()
        except asyncio.CancelledError:
            await self.close()
            raise
        # Without the task the generator would stay suspended after a disconnect until it is
        # garbage-collected.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        closing = BackgroundTask(self.close)
        return Stream(self.frames(), media_type=EVENT_STREAM, headers=headers, background=closing)

    async def start(self) -> None:
        """Wait for the first event, at most a heartbeat long; raise when it fails."""
        done, _ = await asyncio.wait({self._next}, timeout=self._heartbeat_s)
        error = self._next.exception() if done else None
        if error is not None and not isinstance(error, StopAsyncIteration):
            await self.close()
            raise error

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield each event as it comes, heartbeats between them, and the failure when the work fails."""
        try:
            while True:
                while not await self._look():
                    yield HEARTBEAT
                yield self._encode(self._next.result())
                self._next = asyncio.ensure_future(anext(self._events))
        except StopAsyncIteration:
            return
        except Exception as error:  # the status line is out: only the stream can tell
            yield self._encode_failure(describe_failure(error))

    async def _look(self) -> bool:
        """Wait for the next event, at most a heartbeat long; whether it is there.

        Raises the error of the deadline when that is over.
        """
        deadline, awaited = self._deadline, set[asyncio.Future[Any]]({self._next})
        if deadline is not None:
            awaited.add(deadline.over)
        if not self._next.done():
            await asyncio.wait(awaited, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
        if self._next.done():
            return True
        if deadline is not None and deadline.error is not None:
            raise deadline.error
        return False

    async def close(self) -> None:
        """Stop the work, if it still runs."""
        self._next.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._next
        await self._events.aclose()
