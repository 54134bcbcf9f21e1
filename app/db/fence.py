"""Keeps a worker that lost its job from writing: it may have been paused, or cut off from the database.

A fence is looked at in each write transaction that is opened within its block, before anything is written.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import TypeAlias, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
Fence: TypeAlias = Callable[[AsyncConnection], Awaitable[None]]

_fence: ContextVar[Fence | None] = ContextVar("fence", default=None)


@contextmanager
def fenced(fence: Fence | None) -> Iterator[None]:
    """Let every write of this block, and of the tasks that it starts, pass the fence first.

    fence: raises when its owner may not write any more. None: no fence.
    """
    token = _fence.set(fence)
    try:
        yield
    finally:
        _fence.reset(token)


async def check_fence(connection: AsyncConnection) -> None:
    """Raise what the fence of this block raises. Call it in the transaction that is going to write."""
    fence = _fence.get()
    if fence is not None:
        await fence(connection)


def fenced_work(work: Callable[[AsyncConnection], Awaitable[T]]) -> Callable[[AsyncConnection], Awaitable[T]]:
    """The work with the fence of its caller, for a transaction that others share and another task opens."""
    fence = _fence.get()
    if fence is None:
        return work

    async def checked(connection: AsyncConnection) -> T:
        await fence(connection)
        return await work(connection)

    return checked


def without_fence() -> Context:
    """A copy of the present context without a fence, for a task that works for many."""
    context = copy_context()
    context.run(_fence.set, None)
    return context
