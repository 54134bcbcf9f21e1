"""A PostgreSQL database, many readers, one writer at a time.

All code counts on what SQLite promises: while one writes, no other does, so that what it has read holds until
it commits, and nothing has to be tried again. Here an advisory lock, taken first in each transaction that
writes, gives the turns, also between machines; the server frees it at the transaction's end, however that
comes. Texts are encoded outside of transactions, so a turn is short.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.db.address import VARIABLE, DatabaseAddress
from app.db.json_text import to_json
from app.db.pools import Pools
from embeddings.errors import FootnoteError, InvalidInput, Overloaded, StorageFull

# Keys of advisory locks, which hold within one database. Any numbers will do that nobody else uses there.
WRITING = 0x466F_6F74_6E6F_7465
MIGRATING = WRITING + 1
# A server takes 100 connections unless told otherwise, and several processes share it: at most 27 for each.
KEPT_CONNECTIONS = 4
MAX_SNAPSHOTS = 15
MAX_STATEMENTS = 10
# A process that hangs, or whose machine is gone, gives up its turn to write after so long.
ABANDONED_S = 20
# So that the other end's silence is noticed: after 30 s and 5 more tries, or a minute where it owes an answer
# to what was sent.
_CONNECTING = {
    "application_name": "footnote",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 5,
    "tcp_user_timeout": 60_000,
}
_DISK_FULL = "53100"
_LOCKED = frozenset({"55P03", "40001", "40P01"})
_READ_ONLY = "25006"
_TOO_MANY = "53300"
# A number, or a character, that no column takes: what is looked up by it is nowhere.
_UNHELD = frozenset({"22003", "22021"})


class Unreachable(Overloaded):
    """The database does not answer. What was being committed at that moment may or may not have been."""


def open_pools(address: DatabaseAddress, busy_timeout_s: int) -> Pools:
    """Connections to the database. busy_timeout_s: how long a write waits for its turn."""
    return Pools(_make_reader(address), _make_writer(address, busy_timeout_s), _make_single(address))


@contextmanager
def writer_connection(address: DatabaseAddress, busy_timeout_s: int) -> Iterator[Connection]:
    """A transaction that has the turn to write from its start, and commits at its end."""
    engine = create_engine(address.url, poolclass=NullPool, **_options(address))
    event.listen(engine, "begin", partial(_take_turn, seconds=busy_timeout_s))
    with engine.begin() as connection:
        yield connection


@contextmanager
def snapshot_connection(address: DatabaseAddress) -> Iterator[Connection]:
    """A transaction that only reads, and sees the database as it was at its first statement."""
    options = {"isolation_level": "REPEATABLE READ", **_options(address)}
    engine = create_engine(address.url, poolclass=NullPool, **options)
    with engine.connect().execution_options(postgresql_readonly=True) as connection:
        yield connection


@contextmanager
def turn_to_migrate(address: DatabaseAddress) -> Iterator[None]:
    """Hold the lock of those that change tables; wait for it without end, as the other does so much work."""
    engine = create_engine(address.url, poolclass=NullPool, **_options(address))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT set_config('lock_timeout', '0', true), "
            "set_config('idle_in_transaction_session_timeout', '0', true), "
            f"pg_advisory_xact_lock({MIGRATING})"
        )
        yield


def explain(error: BaseException | None) -> FootnoteError | None:
    """What an error of the driver asks of the reader; None: nothing that waiting or space could mend."""
    reason, state = str(error).strip(), getattr(error, "sqlstate", None)
    if state == _DISK_FULL:
        return StorageFull(
            f"the database server's disk took no more: {reason}",
            found=reason,
            expected="free space on the database server",
            next_step="free some space there, then send the request again; nothing of it was written",
        )
    if state in _LOCKED:
        return Overloaded(
            "another process is writing to the database",
            found=reason,
            expected="a free database within FOOTNOTE_BUSY_TIMEOUT_S seconds",
            next_step="send the request again; nothing of it was written",
        )
    if state == _TOO_MANY:
        return _too_many(reason)
    if state in _UNHELD or (type(error).__name__ == "DataError" and "NUL" in reason):
        return InvalidInput(
            f"no row can hold such a value: {reason}",
            found=reason,
            expected="text without NUL, and numbers within the bounds of their columns",
        )
    return _unreachable(reason) if _is_lost(error, state) else None


def explain_wait(reason: str) -> FootnoteError:
    """When no connection of this process came free."""
    return Overloaded(
        "all connections of this process to the database are in use",
        found=reason,
        expected="a free connection within 30 seconds",
        next_step="send the request again; nothing of it was written",
    )


def _is_lost(error: BaseException | None, state: str | None) -> bool:
    """Whether the server is away, ends, starts or takes no writes. Without a state it said nothing."""
    ending = state is not None and (state.startswith(("08", "57P")) or state in (_READ_ONLY, "25P03"))
    silent = state is None and type(error).__name__ in ("OperationalError", "InterfaceError")
    return ending or silent


def _unreachable(reason: str) -> FootnoteError:
    return Unreachable(
        f"the database server does not answer: {reason}",
        found=reason,
        expected="a PostgreSQL server that answers and takes writes",
        next_step=f"see that the server of {VARIABLE} runs, then send the request again; whether a write "
        "that was under way is in the database is not known",
    )


def _too_many(reason: str) -> FootnoteError:
    return Overloaded(
        "the database server takes no more connections",
        found=reason,
        expected=f"{MAX_SNAPSHOTS + MAX_STATEMENTS + 2} connections for each process of Footnote",
        next_step="raise max_connections of the server, or run fewer processes; then send the request again",
    )


def _make_reader(address: DatabaseAddress) -> AsyncEngine:
    engine = create_async_engine(
        address.url,
        isolation_level="REPEATABLE READ",
        pool_size=KEPT_CONNECTIONS,
        max_overflow=MAX_SNAPSHOTS - KEPT_CONNECTIONS,
        pool_pre_ping=True,  # a server that was started anew has ended them all
        **_options(address),
    )
    event.listen(engine.sync_engine, "connect", _make_read_only)
    return engine


def _make_writer(address: DatabaseAddress, busy_timeout_s: int) -> AsyncEngine:
    # One more than the one that writes: a connection whose request was cancelled is given back late.
    engine = create_async_engine(
        address.url, pool_size=1, max_overflow=1, pool_pre_ping=True, **_options(address)
    )
    event.listen(engine.sync_engine, "begin", partial(_take_turn, seconds=busy_timeout_s))
    return engine


def _make_single(address: DatabaseAddress) -> Engine:
    return create_engine(
        address.url,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT_CONNECTIONS,
        max_overflow=MAX_STATEMENTS - KEPT_CONNECTIONS,
        pool_reset_on_return=None,
        **_options(address),
    )


def _options(address: DatabaseAddress) -> dict[str, Any]:
    given = make_url(address.url).query
    return {
        "connect_args": {name: value for name, value in _CONNECTING.items() if name not in given},
        "json_serializer": to_json,
        "hide_parameters": True,  # an error would write them into the log: questions, whole documents
    }


def _make_read_only(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.set_read_only(True)


def _take_turn(connection: Connection, seconds: int) -> None:
    """Wait for the turn to write. In one statement: each costs a way to the server and back."""
    waiting = max(1, seconds * 1000)  # ms; 0 would mean for ever
    connection.exec_driver_sql(
        f"SELECT set_config('lock_timeout', '{waiting}', true), "
        f"set_config('idle_in_transaction_session_timeout', '{ABANDONED_S * 1000}', true), "
        f"pg_advisory_xact_lock({WRITING})"
    )
