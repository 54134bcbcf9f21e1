"""Which database this is."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import Identity


async def database_id(connection: AsyncConnection) -> str:
    """The random id that the first migration gave it; a copy keeps it."""
    return str(await connection.scalar(select(Identity.database_id)))


async def index_id(connection: AsyncConnection) -> str:
    """The random id under which engines keep this database's indexes; a restored snapshot has another."""
    return str(await connection.scalar(select(Identity.index_id)))
