"""Requests at a steady rate, whether or not earlier ones were answered: what waits is part of the latency."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import count

from tests.benchmarks.http_client import Address, Connection

CONNECTIONS = 16


async def load_steadily(
    address: Address,
    requests: Sequence[bytes],
    rate: float,
    lasts: Callable[[float], bool],
    answered: Callable[[int, bytes], None],
) -> list[float]:
    """Send the requests in turn; ms from when each was due until its answer was read.

    rate: requests a second. lasts: whether to go on after so many seconds. answered: takes status and body.
    """
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await Connection.open(address.host, address.port))
    times_ms: list[float] = []

    async def ask(request: bytes, due: float) -> None:
        connection = await idle.get()
        try:
            status, body = await connection.ask(request)
        finally:
            idle.put_nowait(connection)
        times_ms.append((time.perf_counter() - due) * 1_000)
        answered(status, body)

    started, tasks = time.perf_counter(), []
    for n in count():
        due = started + n / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if not lasts(time.perf_counter() - started):
            break
        tasks.append(asyncio.create_task(ask(requests[n % len(requests)], due)))
    await asyncio.gather(*tasks)
    while not idle.empty():
        idle.get_nowait().close()
    return times_ms
