"""Asynchronous events in a thread that has no event loop, such as one that reads for an answer."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TypeVar

# How long a thread that waits for a silent server goes on when nobody wants the answer any more.
POLL_S = 0.05

Event = TypeVar("Event")


def pull_events(
    events: AsyncGenerator[Event, None], cancelled: Callable[[], bool]
) -> Generator[Event, None, None]:
    """Yield the events one by one, and close their generator at the end, at a failure and once cancelled.

    cancelled: asked before each event and while one is waited for.
    """
    with asyncio.Runner() as runner:
        try:
            while (event := runner.run(_next(events, cancelled))) is not None:
                yield event
        finally:
            runner.run(events.aclose())


async def _next(events: AsyncGenerator[Event, None], cancelled: Callable[[], bool]) -> Event | None:
    if cancelled():
        return None
    step = asyncio.ensure_future(anext(events, None))
    while not step.done():
        await asyncio.wait({step}, timeout=POLL_S)
        if cancelled() and not step.done():
            step.cancel()
            await asyncio.wait({step})
            return None
    return step.result()
