"""Figures of a data folder, read from SQL and from the disk, for any process."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from anyio import to_thread
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import describe_collections
from app.db.engine import Database
from app.db.identity import database_id
from app.db.models import Collection, Job, Release
from app.db.query_log import count_queries
from app.db.sizes import database_bytes
from app.jobs.types import JobState
from app.settings import Settings
from app.telemetry.figures import CollectionFigures, JobFigures, StorageFigures, StoredFigures

INDEXES = "indexes"


class StatsService:
    """Counts what is there."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._home = settings.home

    async def stored(self) -> StoredFigures:
        """Everything; counting the documents takes a second for some millions of them."""
        async with self._database.read() as connection:
            counted = await describe_collections(connection)
            releases = await _serving(connection)
            identity, jobs = await database_id(connection), await _jobs(connection)
            logged = await count_queries(connection)
        collections = (
            CollectionFigures(each.name, each.documents, each.chunks, each.last_seq, releases[each.name])
            for each in counted
        )
        return StoredFigures(identity, tuple(collections), jobs, await self.storage(), logged)

    async def jobs(self) -> JobFigures:
        """The jobs alone."""
        async with self._database.read() as connection:
            return await _jobs(connection)

    async def storage(self) -> StorageFigures:
        """The sizes alone."""
        database = await database_bytes(self._database)
        return await to_thread.run_sync(_storage, self._home, database)


async def _serving(connection: AsyncConnection) -> Mapping[str, int]:
    """The number of the release in service, by the name of its collection."""
    statement = select(Collection.name, Release.number).join(Release, Release.id == Collection.release_id)
    return {row.name: row.number for row in await connection.execute(statement)}


async def _jobs(connection: AsyncConnection) -> JobFigures:
    counted = select(Job.state, func.count().label("jobs")).group_by(Job.state)
    found = {row.state: row.jobs for row in await connection.execute(counted)}
    queued = select(func.min(Job.created_at)).where(Job.state == JobState.QUEUED)
    oldest = await connection.scalar(queued)
    waited = 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())
    return JobFigures({state: found.get(state, 0) for state in JobState}, waited)


def _storage(home: Path, database: int) -> StorageFigures:
    indexes = (path for path in (home / INDEXES).rglob("*") if path.is_file())
    return StorageFigures(database, sum(map(_size, indexes)), shutil.disk_usage(home).free)


def _size(path: Path) -> int:
    """0 for a file that has gone, such as one of a build that was replaced."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
