"""Slow connections: a client that sends its request head, or reads its reply, more slowly than any honest
line does, is hung up on.

uvicorn has a time limit for idle kept-alive connections only. One look a second over all connections costs
the requests nothing.
"""

import resource
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

# From the connection, or the first byte of a further request, to the end of the head.
HEAD_TIMEOUT_S = 20.0
# A reader has to take so much in this time, when there is so much to take.
STALL_TIMEOUT_S = 30.0
MIN_READ_BYTES = 32 * 1024
# Of the files that the process may open; the rest are for the database, the builds and the models.
_SHARE_OF_FILES = 0.75


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a connection waits for. cycle: uvicorn's object of one request; unread: bytes of a reply, or None
    for a head; since: when it was so first.
    """

    cycle: object
    unread: int | None
    since: float


class SlowConnections:
    """Looks at the connections of a uvicorn server, and closes those that only cost.

    most: connections that may be open; above it those that have waited longest for a request are closed.
    closed: how many have been, so far.
    """

    def __init__(self, most: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = _most_connections() if most is None else most
        self._clock = clock
        self._waits: dict[Any, _Wait] = {}
        self.closed = 0

    def look(self, connections: Collection[Any]) -> None:
        """Close what is too slow. connections: uvicorn's H11Protocol objects."""
        now = self._clock()
        waits = {each: wait for each in connections if (wait := self._wait_of(each, now)) is not None}
        late = [each for each, wait in waits.items() if now - wait.since > _patience_s(wait)]
        spare = len(connections) - len(late) - self._most
        if spare > 0:
            late += self._longest_without_request(waits, late)[:spare]
        for each in late:
            del waits[each]
            # Not close: that would wait until the reply has been read.
            each.transport.abort()
        self.closed += len(late)
        self._waits = waits

    def _wait_of(self, connection: Any, now: float) -> _Wait | None:
        """What the connection waits for now; None when it is the service's turn, or uvicorn sees to it."""
        cycle, unread = connection.cycle, connection.transport.get_write_buffer_size()
        before = self._waits.get(connection)
        if before is not None and before.cycle is not cycle:
            before = None
        if unread:
            return before if _is_stuck(before, unread) else _Wait(cycle, unread, now)
        if cycle is not None and not cycle.response_complete:
            return None
        return before if before is not None and before.unread is None else _Wait(cycle, None, now)

    def _longest_without_request(self, waits: dict[Any, _Wait], late: Collection[Any]) -> list[Any]:
        idle = [each for each, wait in waits.items() if wait.unread is None and each not in late]
        return sorted(idle, key=lambda each: waits[each].since)


def _is_stuck(before: _Wait | None, unread: int) -> bool:
    return before is not None and before.unread is not None and unread > before.unread - MIN_READ_BYTES


def _patience_s(wait: _Wait) -> float:
    return HEAD_TIMEOUT_S if wait.unread is None else STALL_TIMEOUT_S


def _most_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, int(soft * _SHARE_OF_FILES)) if soft != resource.RLIM_INFINITY else 1_000_000
