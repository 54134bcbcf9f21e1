"""One SQLite file, many readers, one writer at a time.

WAL lets readers go on while one writes, in this process and in others. Between processes SQLite's own file
lock
orders the writers: BEGIN IMMEDIATE takes it at the start of a write, so no write finds out at its end that
it has lost. Within the process an asyncio lock queues writers, so that they wait without holding a thread
each, and small writes that wait share a transaction.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import to_thread
from sqlalchemy import Engine, Row, Select, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.db.group_commit import GroupCommit, Work
from embeddings.errors import FootnoteError, Overloaded, StorageFull

WRITE = "footnote_write"
# As many searches read at once as there are threads for them; connections are kept for the usual number.
KEPT_READERS = 4
MAX_READERS = 64

T = TypeVar("T")
# The rows of one statement with these parameters.
Fetch = Callable[[Select[*tuple[Any, ...]], Mapping[str, Any]], Awaitable[Sequence[Row[*tuple[Any, ...]]]]]


class Database:
    """Transactions on the file at `path`, which the migrations have made."""

    def __init__(self, path: Path, busy_timeout_s: int) -> None:
        self.path = path
        self._engine = _make_engine(path, busy_timeout_s)
        self._reader = _make_reader(path, busy_timeout_s)
        self._writer_engine = self._engine.execution_options(**{WRITE: True})
        self._writer = asyncio.Lock()
        self._group_commit = GroupCommit(self.write)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot: all statements on this connection see the database as it was at the first of them."""
        with storage_errors():
            async with self._engine.begin() as connection:
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
        with storage_errors(), self._reader.connect() as connection:
            return connection.execute(statement, parameters).all()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed, and on the disk, when the block has ended without an exception.

        Raises StorageFull when the disk took no more, Overloaded when another process kept the file locked
        for longer than the busy timeout. Nothing is written then.
        """
        with storage_errors():
            async with self._writer, self._writer_engine.begin() as connection:
                yield connection

    async def write_together(self, work: Work[T]) -> T:
        """Do `work` in a transaction that it may share with others that wait for the disk; returns when it
        is committed, and on the disk.

        Work that raises is undone alone. It may be called twice, when the first transaction was rolled back.
        Raises as `write` does.
        """
        return await self._group_commit.run(work)

    async def close(self) -> None:
        """Close all connections; the last process to do so merges the write-ahead log into the file."""
        await to_thread.run_sync(self._reader.dispose)
        await self._engine.dispose()


def fetch_on(connection: AsyncConnection) -> Fetch:
    """The same as Database.fetch, but of the snapshot that this connection sees."""

    async def fetch(
        statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        return (await connection.execute(statement, parameters)).all()

    return fetch


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what SQLite says about the disk and its lock into errors that say what to do."""
    try:
        yield
    except OperationalError as error:
        raise _explained(error, str(error.orig)) from error
    except sqlite3.OperationalError as error:
        raise _explained(error, str(error)) from error


def _explained(error: Exception, reason: str) -> Exception:
    if "disk is full" in reason or "disk I/O" in reason:
        return StorageFull(
            f"the disk took no more: {reason}",
            found=reason,
            expected="free space under FOOTNOTE_HOME",
            next_step="free some space, then send the request again; nothing of it was written",
        )
    if "readonly" in reason or "unable to open" in reason:
        return _unwritable(reason)
    if "locked" in reason or "busy" in reason:
        return Overloaded(
            "another process is writing to the database",
            found=reason,
            expected="a free database within FOOTNOTE_BUSY_TIMEOUT_S seconds",
            next_step="send the request again; nothing of it was written",
        )
    return error


def _unwritable(reason: str) -> FootnoteError:
    return StorageFull(
        f"the database cannot be written: {reason}",
        found=reason,
        expected="a folder under FOOTNOTE_HOME that this user may write, and open files to spare",
        next_step="correct the folder's permissions, or let the process open more files (ulimit -n), then "
        "send the request again; nothing of it was written",
    )


def _make_engine(path: Path, busy_timeout_s: int) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        connect_args={"timeout": busy_timeout_s},
        json_serializer=partial(json.dumps, ensure_ascii=False, allow_nan=False),
        hide_parameters=True,  # an error would write them into the log: questions, whole documents
    )
    prepare_connections(engine.sync_engine)
    return engine


def _make_reader(path: Path, busy_timeout_s: int) -> Engine:
    """For single statements, each of which is a transaction of its own in SQLite's autocommit mode."""
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": busy_timeout_s, "isolation_level": None},
        pool_size=KEPT_READERS,
        max_overflow=MAX_READERS - KEPT_READERS,
        pool_reset_on_return=None,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _make_read_only)
    return engine


def _make_read_only(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA query_only = ON")


def prepare_connections(engine: Any) -> None:
    """Give each connection of a (synchronous) SQLite engine the settings that Footnote counts on."""
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)


def _configure(connection: Any, _: ConnectionPoolEntry) -> None:
    # The driver would begin transactions by itself, and later than we say; _begin does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # FULL: an acknowledged write survives a power cut, at the price of about 4 ms a commit.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
