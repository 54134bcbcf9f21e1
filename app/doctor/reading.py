"""One instant of the metadata database, read in the same words from SQLite and from PostgreSQL."""

import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from app.db.address import DatabaseAddress
from app.snapshots.databases import connect

if TYPE_CHECKING:
    import psycopg


class Rows(Protocol):
    """The answer to a statement, read bit by bit."""

    def __iter__(self) -> Iterator[Any]: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchmany(self, size: int = ..., /) -> list[Any]: ...


class Reader(Protocol):
    """Statements that read. A parameter stands as "?"."""

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Rows: ...


class PostgresReader:
    """On a connection that is in a transaction."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        self._numbers = count(1)

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Rows:
        """As Reader has it; the rows wait on the server, where all vectors have room."""
        cursor = self._connection.cursor(f"rows_{next(self._numbers)}")
        cursor.execute(statement.replace("?", "%s").encode(), parameters or None)
        return cursor


def open_reader(database: DatabaseAddress, busy_timeout_s: int) -> AbstractContextManager[Reader]:
    """All statements see one instant, whatever is written meanwhile."""
    if database.path is None:
        return _on_postgres(database)
    return _on_sqlite(database.path, busy_timeout_s)


def expected_failures() -> tuple[type[Exception], ...]:
    """What a damaged or unreachable database raises: only a driver that is loaded can."""
    loaded = sys.modules.get("psycopg")
    return (sqlite3.DatabaseError, OSError, UnicodeDecodeError, *((loaded.Error,) if loaded else ()))


@contextmanager
def _on_sqlite(path: Path, busy_timeout_s: int) -> Iterator[Reader]:
    with connect(path, busy_timeout_s) as connection:
        connection.execute("BEGIN")
        yield connection


@contextmanager
def _on_postgres(database: DatabaseAddress) -> Iterator[Reader]:
    import psycopg  # noqa: PLC0415  only where it is used

    with psycopg.connect(database.conninfo, connect_timeout=10) as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield PostgresReader(connection)
