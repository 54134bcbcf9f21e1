"""Transactions: many readers, each with a snapshot, and one writer at a time.

What holds on both databases is here; app/db/sqlite.py and app/db/postgres.py tell how each does it. Within
the process an asyncio lock queues writers, so that they wait without holding a connection each, and small
writes that wait share a transaction.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from anyio import to_thread
from sqlalchemy import Row, Select
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db import postgres, sqlite
from app.db.address import DatabaseAddress, to_address
from app.db.fence import check_fence, fenced_work
from app.db.group_commit import GroupCommit, Work
from app.db.pools import Pools
from embeddings.errors import FootnoteError

T = TypeVar("T")
# The rows of one statement with these parameters.
Fetch = Callable[[Select[*tuple[Any, ...]], Mapping[str, Any]], Awaitable[Sequence[Row[*tuple[Any, ...]]]]]


class Database:
    """Transactions on the database at `address`, which the migrations have made. A path: of a SQLite file."""

    def __init__(self, address: DatabaseAddress | Path, busy_timeout_s: int) -> None:
        self.address = to_address(address)
        self._pools = _open_pools(self.address, busy_timeout_s)
        self._writer = asyncio.Lock()
        self._group_commit = GroupCommit(self.write)

    @property
    def dialect(self) -> str:
        """As SQLAlchemy names it: "sqlite" or "postgresql"."""
        return self.address.dialect

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot: all statements on this connection see the database as it was at the first of them."""
        with storage_errors():
            async with self._pools.reader.begin() as connection:
                yield connection

    async def fetch(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows of one statement, which is a snapshot of its own.

        It takes one hop to another thread, where a block of `read` takes one for each of its steps: that is
        most of what a search costs beside its ranking.
        """
        return await to_thread.run_sync(self.fetch_now, statement, parameters)

    def fetch_now(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """The same, for a thread that may wait."""
        with storage_errors():
            try:
                return self._fetch_once(statement, parameters)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return self._fetch_once(statement, parameters)  # the server was started anew meanwhile

    def _fetch_once(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        with self._pools.single.connect() as connection:
            return connection.execute(statement, parameters).all()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed, and on the disk, when the block has ended without an exception.

        Raises StorageFull when the disk took no more, Overloaded when another process kept the turn to write
        for longer than the busy timeout; nothing is written then. Raises Unreachable (app/db/postgres.py)
        when the connection broke.
        """
        with storage_errors():
            async with self._writer, self._pools.writer.begin() as connection:
                await check_fence(connection)
                yield connection

    async def write_together(self, work: Work[T]) -> T:
        """Do `work` in a transaction that it may share with others that wait for the disk; returns when it
        is committed, and on the disk.

        Work that raises is undone alone. It may be called twice, when the first transaction was rolled back.
        Raises as `write` does.
        """
        return await self._group_commit.run(fenced_work(work))

    async def close(self) -> None:
        """Close all connections; the last process to do so merges SQLite's write-ahead log into the file."""
        await to_thread.run_sync(self._pools.single.dispose)
        await self._pools.reader.dispose()
        await self._pools.writer.dispose()


def fetch_on(connection: AsyncConnection) -> Fetch:
    """The same as Database.fetch, but of the snapshot that this connection sees."""

    async def fetch(
        statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        return (await connection.execute(statement, parameters)).all()

    return fetch


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what the database says about disks, turns and connections into errors that say what to do."""
    try:
        yield
    except (DBAPIError, NoneFree, sqlite3.OperationalError) as error:
        explained = _explained(error)
        if explained is None:
            raise
        raise explained from error


def _explained(error: Exception) -> FootnoteError | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        said = isinstance(error, (OperationalError, sqlite3.OperationalError))
        return sqlite.explain(str(cause)) if said else None
    return postgres.explain_wait(str(error)) if isinstance(error, NoneFree) else postgres.explain(cause)


def _open_pools(address: DatabaseAddress, busy_timeout_s: int) -> Pools:
    if address.path is not None:
        return sqlite.open_pools(address.path, busy_timeout_s)
    return postgres.open_pools(address, busy_timeout_s)
