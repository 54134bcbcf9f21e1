"""One SQLite file, many readers, one writer at a time.

WAL lets readers go on while one writes, in this process and in others. Between processes SQLite's own file
lock orders the writers: BEGIN IMMEDIATE takes it at the start of a write, so no write finds out at its end
that it has lost.
"""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.db.json_text import to_json
from app.db.pools import Pools
from embeddings.errors import FootnoteError, Overloaded, StorageFull

WRITE = "footnote_write"
# As many searches read at once as there are threads for them; connections are kept for the usual number.
KEPT_READERS = 4
MAX_READERS = 64


def open_pools(path: Path, busy_timeout_s: int) -> Pools:
    """Connections to the file at `path`. busy_timeout_s: how long a write waits for its turn."""
    engine = _make_engine(path, busy_timeout_s)
    writer = engine.execution_options(**{WRITE: True})
    return Pools(engine, writer, _make_reader(path, busy_timeout_s))


@contextmanager
def writer_connection(path: Path, busy_timeout_s: int) -> Iterator[Connection]:
    """A transaction that holds SQLite's write lock from its start, and commits at its end."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_timeout_s})
    _prepare_connections(engine)
    try:
        with engine.execution_options(**{WRITE: True}).begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def turn_to_migrate(path: Path, busy_timeout_s: int) -> Iterator[None]:
    """Hold the lock file beside the database, which is in WAL mode then.

    SQLite's busy timeout does not cover the change to WAL: without this lock 1 of 240 simultaneous first
    starts failed with "database is locked".
    """
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _enter_wal_mode(path, busy_timeout_s)
        yield


def explain(reason: str) -> FootnoteError | None:
    """What SQLite's message about the disk or its lock asks of the reader; None: nothing of that kind."""
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
    return None


def _unwritable(reason: str) -> FootnoteError:
    return StorageFull(
        f"the database cannot be written: {reason}",
        found=reason,
        expected="a folder under FOOTNOTE_HOME that this user may write, and open files to spare",
        next_step="correct the folder's permissions, or let the process open more files (ulimit -n), then "
        "send the request again; nothing of it was written",
    )


def _enter_wal_mode(path: Path, busy_timeout_s: int) -> None:
    """Switch the file to write-ahead logging. The file remembers it."""
    with closing(sqlite3.connect(path, timeout=busy_timeout_s)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _make_engine(path: Path, busy_timeout_s: int) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        connect_args={"timeout": busy_timeout_s},
        json_serializer=to_json,
        hide_parameters=True,  # an error would write them into the log: questions, whole documents
    )
    _prepare_connections(engine.sync_engine)
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


def _prepare_connections(engine: Any) -> None:
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
