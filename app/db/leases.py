"""Leases: who may do what only one process may do at a time, until when.

A lease that its holder does not renew ends by itself, so the work of a process that was killed, or that lost
its machine, goes to another. All times are the database's own: the clocks of the machines may differ.
"""

import os
import socket
import uuid
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Double, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.db.column_types import Key, text
from app.db.engine import Database
from app.db.models import Model

# What its holder does not renew ends after so long; a busy machine may keep it from that for a while.
LEASE_S = 30.0
RENEW_S = 5.0
# Rows of work that nobody has done for so long are not needed to tell an old holder from a new one.
KEPT_S = 7 * 24 * 3600.0


class database_now(FunctionElement[float]):  # noqa: N801  written as SQL's functions are
    """Seconds since 1970 by the clock of the database, at the moment of the statement."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # Not now(), the start of the transaction: that may have waited for its turn since.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


class LeaseRow(Model):
    """holder: None when it was given back. token: one more with each holder. until: by `database_now`."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(text(300), primary_key=True)
    holder: Mapped[str | None] = mapped_column(text(120))
    token: Mapped[Key]
    until: Mapped[float]


@dataclass(frozen=True, slots=True)
class Lease:
    """Held by one holder. token: greater than that of every lease of this name before.

    follows: who held it before and did not give it back; None: nobody.
    """

    name: str
    holder: str
    token: int
    follows: str | None = None


def holder_name() -> str:
    """A name for a holder in this process that no other has, on any machine."""
    return f"{socket.gethostname()[:80]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


async def acquire(connection: AsyncConnection, name: str, holder: str, seconds: float) -> Lease | None:
    """The lease for so long; None while another holds it. Needs a write transaction."""
    row = (await connection.execute(_row(name))).one_or_none()
    if row is None:
        values = {"name": name, "holder": holder, "token": 1, "until": database_now() + seconds}
        await connection.execute(insert(LeaseRow).values(values))
        return Lease(name, holder, 1)
    if row.holder not in (None, holder) and row.until > row.now:
        return None
    lease = Lease(name, holder, row.token + 1, None if row.holder == holder else row.holder)
    values = {"holder": holder, "token": lease.token, "until": database_now() + seconds}
    # Unless it was renewed since: that waits for no turn to write.
    as_seen = (LeaseRow.name == name, LeaseRow.token == row.token, LeaseRow.until == row.until)
    changed = await connection.execute(update(LeaseRow).where(*as_seen).values(values))
    return lease if changed.rowcount else None


async def is_held(connection: AsyncConnection, name: str) -> bool:
    """Whether somebody holds it now."""
    row = (await connection.execute(_row(name))).one_or_none()
    return row is not None and row.holder is not None and row.until > row.now


async def renew(database: Database, lease: Lease, seconds: float) -> bool:
    """Hold it for so long from now on. False when another has taken it; one that only ended is taken again.

    It does not wait for its turn to write where the database has more than one: else those that write much
    would end the leases of all others.
    """
    renewal = update(LeaseRow).where(*_held(lease)).values(until=database_now() + seconds)
    renewal = renewal.returning(LeaseRow.token)
    if database.dialect == "sqlite":
        async with database.write() as connection:
            return (await connection.execute(renewal)).first() is not None
    return bool(await database.fetch(cast("Any", renewal), {}))


async def holds(connection: AsyncConnection, lease: Lease) -> bool:
    """Whether nobody has taken the lease. In a write transaction that stays so to its end."""
    return (await connection.execute(select(LeaseRow.token).where(*_held(lease)))).first() is not None


async def release(connection: AsyncConnection, lease: Lease) -> None:
    """Give it back, so that nobody waits for its end. Does nothing when another has taken it."""
    await connection.execute(update(LeaseRow).where(*_held(lease)).values(holder=None, until=0.0))


async def release_all(connection: AsyncConnection, prefix: str) -> None:
    """Give back, for whoever held them, the leases whose names start so. For one who knows that all of those
    processes have ended.
    """
    named = LeaseRow.name.startswith(prefix, autoescape=True)
    await connection.execute(update(LeaseRow).where(named).values(holder=None, until=0.0))


async def forget_old(connection: AsyncConnection) -> None:
    """Remove the leases that nobody has held for KEPT_S."""
    await connection.execute(delete(LeaseRow).where(LeaseRow.until < database_now() - KEPT_S))


def _row(name: str) -> Select[*tuple[Any, ...]]:
    columns = (LeaseRow.holder, LeaseRow.token, LeaseRow.until, database_now().label("now"))
    return select(*columns).where(LeaseRow.name == name)


def _held(lease: Lease) -> tuple[Any, ...]:
    same = (LeaseRow.name == lease.name, LeaseRow.holder == lease.holder)
    return (*same, LeaseRow.token == lease.token)
