"""How much room the metadata takes."""

from pathlib import Path

from anyio import to_thread
from sqlalchemy import func, select

from app.db.engine import Database


async def database_bytes(database: Database) -> int:
    """Of SQLite's file with its log, or of the whole PostgreSQL database, whatever else is in it."""
    if database.address.path is not None:
        return await to_thread.run_sync(_file_bytes, database.address.path)
    size = select(func.pg_database_size(func.current_database()))
    return int((await database.fetch(size, {}))[0][0])


def _file_bytes(path: Path) -> int:
    return sum(map(_size, (path, path.with_name(path.name + "-wal"))))


def _size(path: Path) -> int:
    """0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
