"""What transactions are made on; app/db/sqlite.py and app/db/postgres.py open it."""

from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class Pools:
    """Connections to one database.

    reader: transactions are snapshots. writer: a transaction holds the database's one turn to write from its
    start. single: statements that are transactions of their own, for threads that may wait.
    """

    reader: AsyncEngine
    writer: AsyncEngine
    single: Engine
