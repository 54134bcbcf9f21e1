"""Writes that wait for the disk together: one transaction and one fsync for all that are ready."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.fence import without_fence
from app.db.postgres import Unreachable

# A write of one document takes about 2 ms and the fsync 4 ms: the fsync hardly counts any more at this many.
MAX_WRITES = 64
# Later writes wait for the next group, so that a large batch does not hold back those that came with it.
MAX_SECONDS = 0.05

T = TypeVar("T")
Work: TypeAlias = Callable[[AsyncConnection], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    work: Work[Any]
    answer: asyncio.Future[Any]

    def succeed(self, result: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Done:
    """A write of the open transaction: its result, or why it was undone."""

    waiting: _Waiting
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        if self.error is None:
            self.waiting.succeed(self.result)
        else:
            self.waiting.fail(self.error)


class GroupCommit:
    """begin: opens a transaction that is committed when its block ends without an exception.

    max_seconds: after which a transaction takes no further writes.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._begin = begin
        self._max_seconds = max_seconds
        self._queue: deque[_Waiting] = deque()
        self._committing: asyncio.Task[None] | None = None

    async def run(self, work: Work[T]) -> T:
        """Do `work` in a transaction with others that wait now; returns when it is committed.

        Work that fails is undone alone. It may be done a second time, after all of it was rolled back.
        A caller that is cancelled does not learn whether its write was committed.
        """
        waiting = _Waiting(work, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._empty_queue(), context=without_fence())
        result: T = await waiting.answer
        return result

    async def _empty_queue(self) -> None:
        while self._queue:
            await self._commit_group()

    async def _commit_group(self) -> None:
        done: list[_Done] = []
        try:
            async with self._begin() as connection:
                await self._fill(connection, done)
        except Exception as error:  # told to those that wait
            await self._recover([each.waiting for each in done], error)
        else:
            for each in done:
                each.settle()

    async def _fill(self, connection: AsyncConnection, done: list[_Done]) -> None:
        """Do the writes that wait, also those that come meanwhile."""
        clock = asyncio.get_running_loop().time
        ends = clock() + self._max_seconds
        while self._queue and len(done) < MAX_WRITES and (not done or clock() < ends):
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                done.append(_Done(waiting))  # known even when the transaction breaks
                done[-1] = await _attempt(connection, waiting)

    async def _recover(self, group: Sequence[_Waiting], error: Exception) -> None:
        """Nothing of the group was written; with no group, the turn to write came for nobody. When the
        connection broke, it may have been written: then nothing is tried again.
        """
        if len(group) > 1 and not isinstance(error, Unreachable):
            for waiting in group:
                await self._alone(waiting)
            return
        failed = list(group) or [self._queue.popleft() for _ in range(len(self._queue))]
        for waiting in failed:
            waiting.fail(error)

    async def _alone(self, waiting: _Waiting) -> None:
        try:
            async with self._begin() as connection:
                result = await waiting.work(connection)
        except Exception as error:  # told to the one that waits
            waiting.fail(error)
        else:
            waiting.succeed(result)


async def _attempt(connection: AsyncConnection, waiting: _Waiting) -> _Done:
    """Do one write, or none of it. Raises OperationalError when the transaction itself may be gone."""
    broken: list[OperationalError] = []
    try:
        async with connection.begin_nested():
            result = await _told(waiting.work, connection, broken)
    except OperationalError as error:  # a full disk, for one, lets SQLite roll back everything
        raise broken[0] if broken else error  # noqa: B904  the later one says only that the savepoint is gone
    except Exception as error:  # told to the one that waits
        return _Done(waiting, error=error)
    return _Done(waiting, result)


async def _told(work: Work[T], connection: AsyncConnection, broken: list[OperationalError]) -> T:
    """Do the work, and note what broke it: undoing the savepoint may fail too and hide that."""
    try:
        return await work(connection)
    except OperationalError as error:
        broken.append(error)
        raise
