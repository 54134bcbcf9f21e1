"""Connections to one PostgreSQL, the transactions on them, and what their failures mean.

A transaction belongs to its thread: whatever asks for one inside of another gets the same. So a word store
and a vector store of one database share a snapshot when they read and a commit when they write.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import BoundedSemaphore, Lock, local

import psycopg
from psycopg import errors

from embeddings.errors import FootnoteError, InvalidInput, Overloaded, StorageFull, UpstreamFailed
from retrieval.engines.types import IndexMoved

Connection = psycopg.Connection[tuple[object, ...]]

MAX_CONNECTIONS = 8  # of one process; a search holds one for some milliseconds
WAIT_S = 30.0  # for a free connection, and for the lock of the one writer
CONNECT_S = 10
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
# Compiling a query's plan takes longer than these queries run.
_SESSION = "SET jit = off"


class PostgresPool:
    """Some connections to one database, made when they are needed and kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Connection] = []
        self._lock = Lock()
        self._free = BoundedSemaphore(MAX_CONNECTIONS)
        self._thread = local()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot of the database. Raises UpstreamFailed when it cannot be reached."""
        with self._transaction(_READ) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or nothing of it."""
        with self._transaction(_WRITE) as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A connection of its own without a transaction, for statements that cannot stand in one."""
        with explained():
            connection = self._connect()
            try:
                yield connection
            finally:
                connection.close()

    def close(self) -> None:
        """Close what is idle; a connection in use is closed after its use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        if (current := getattr(self._thread, "connection", None)) is not None:
            yield current
            return
        with explained(), self._slot():
            connection = self._begun(begin)
            self._thread.connection = connection
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            finally:
                self._thread.connection = None
                self._keep(connection)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._free.acquire(timeout=WAIT_S):
            raise Overloaded(
                "every connection to the PostgreSQL of the index is in use",
                found=f"{MAX_CONNECTIONS} searches and writes at once for {WAIT_S:.0f} s",
                next_step="send the request again; if it stays so, look at the database's load",
            )
        try:
            yield
        finally:
            self._free.release()

    def _begun(self, begin: str) -> Connection:
        """A connection with a transaction; a new one where those that were idle died with their server."""
        while True:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            if idle is None:
                break
            try:
                idle.execute(begin)
            except psycopg.OperationalError:
                idle.close()
            else:
                return idle
        connection = self._connect()
        connection.execute(begin)
        return connection

    def _connect(self) -> Connection:
        # Without prepared statements: the plan of a word query depends on its words.
        connection: Connection = psycopg.connect(
            self._url, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_S
        )
        connection.execute(_SESSION)
        return connection

    def _keep(self, connection: Connection) -> None:
        if connection.closed:
            return
        with self._lock:
            self._idle.append(connection)


def _roll_back(connection: Connection) -> None:
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        with suppress(psycopg.Error):
            connection.close()


@contextmanager
def explained() -> Iterator[None]:
    """Turn what PostgreSQL says into errors of the service."""
    try:
        yield
    except psycopg.Error as error:
        raise _explained(error) from error


def _explained(error: psycopg.Error) -> FootnoteError:
    found = str(error).partition("\n")[0]
    match error:
        case errors.UndefinedTable():
            return IndexMoved("the index was dropped by another process", found=found)
        case errors.DiskFull():
            return StorageFull("the disk of the PostgreSQL of the index is full", found=found)
        case errors.LockNotAvailable() | errors.DeadlockDetected() | errors.QueryCanceled():
            return Overloaded("another process is writing into the index", found=found, retry_after_s=1)
        case errors.FeatureNotSupported() | errors.UndefinedFile() | errors.InsufficientPrivilege():
            return _unfit(found)
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return UpstreamFailed(
                "the PostgreSQL of the index cannot be reached",
                found=found,
                next_step="start it, or correct FOOTNOTE_INDEX_URL; nothing is lost",
            )
    return UpstreamFailed("the PostgreSQL of the index refused a statement", found=found)


def _unfit(found: str) -> InvalidInput:
    return InvalidInput(
        "the PostgreSQL of the index cannot hold one",
        field="index_url",
        found=found,
        expected="PostgreSQL with the extension vector (pgvector 0.8 or later), and leave to create tables",
        next_step="install pgvector there and run CREATE EXTENSION vector as its administrator",
    )


_pools: dict[str, PostgresPool] = {}
_pools_lock = Lock()


def pool_of(url: str) -> PostgresPool:
    """The pool of this process for a database: all its indexes share the connections."""
    with _pools_lock:
        return _pools.setdefault(url, PostgresPool(url))


def close_pools() -> None:
    """Close the connections of this process, at its end."""
    with _pools_lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()
