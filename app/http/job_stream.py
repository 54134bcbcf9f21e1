"""A job's changes as server-sent events."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from litestar.response import Stream

from app.http.answer_stream import encode_event
from app.http.event_stream import EVENT_STREAM, HEARTBEAT, HEARTBEAT_S
from app.http.job_schemas import JobReply
from app.http.opening import stopping
from app.http.problems import describe_failure
from app.jobs.types import JobInfo


def open_job_stream(looks: AsyncGenerator[JobInfo, None], leaving: asyncio.Event) -> Stream:
    """Answer with what is new in each look at a job.

    leaving: set when the service stops; the job goes on.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(job_frames(looks, leaving), media_type=EVENT_STREAM, headers=headers)


async def job_frames(
    looks: AsyncGenerator[JobInfo, None], leaving: asyncio.Event, heartbeat_s: float = HEARTBEAT_S
) -> AsyncGenerator[bytes, None]:
    """Yield `progress` for each change, `end` for the last, heartbeats between them, `error` on a failure and
    when the service leaves.

    heartbeat_s: longest silence, seconds, but for the time between two looks.
    """
    shown: JobReply | None = None
    spoke = time.monotonic()
    try:
        async with aclosing(looks):
            async for job in looks:
                if leaving.is_set():
                    raise stopping()
                reply = JobReply.of(job)
                if reply != shown:
                    yield encode_event("progress" if job.state.active else "end", reply)
                elif time.monotonic() - spoke >= heartbeat_s:
                    yield HEARTBEAT
                else:
                    continue
                shown, spoke = reply, time.monotonic()
    except Exception as error:  # the status line is out: only the stream can tell
        yield encode_event("error", describe_failure(error))
