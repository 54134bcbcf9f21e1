"""Which database this is."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import Identity


async def database_id(connection: AsyncConnection) -> str:
    """The random id that the first migration gave it; a copy keeps it."""
    return str(await connection.scalar(select(Identity.database_id)))
