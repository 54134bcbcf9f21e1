"""Rows of jobs and of their items, as the service sees them."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import time_ns
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import Job, JobItem
from app.jobs.failures import restore_failure
from app.jobs.types import (
    ItemCounts,
    ItemInfo,
    ItemState,
    JobFilter,
    JobInfo,
    JobState,
    NewJob,
    Progress,
    StoredUpload,
)
from embeddings.errors import NotFound

_ITEM_BATCH = 1000


def make_job_id() -> str:
    """A new id, 20 hexadecimal digits; ids of later milliseconds are greater, so they order by time."""
    return f"{time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"


async def insert_job(
    connection: AsyncConnection, job_id: str, new: NewJob, uploads: Sequence[StoredUpload] = ()
) -> None:
    """Write a queued job with its items."""
    row = {
        "id": job_id,
        "kind": new.kind,
        "collection": new.collection,
        "input": dict(new.input),
        "state": JobState.QUEUED,
        "attempt": 1,
        "starts": 0,
        "progress": {"total": len(uploads), "what": "files"} if uploads else {},
        "created_at": datetime.now(UTC),
    }
    await connection.execute(insert(Job).values(row))
    items = [_item_row(job_id, ordinal, upload) for ordinal, upload in enumerate(uploads)]
    for first in range(0, len(items), _ITEM_BATCH):
        await connection.execute(insert(JobItem), items[first : first + _ITEM_BATCH])


def _item_row(job_id: str, ordinal: int, upload: StoredUpload) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "ordinal": ordinal,
        "name": upload.name,
        "media_type": upload.media_type,
        "path": upload.path,
        "state": ItemState.PENDING,
        "starts": 0,
    }


async def find_job(connection: AsyncConnection, job_id: str) -> JobInfo:
    """One job. Raises NotFound."""
    row = (await connection.execute(select(Job.__table__).where(Job.id == job_id))).one_or_none()
    if row is None:
        raise no_such_job(job_id)
    return _info(row, (await _count_items(connection, [job_id])).get(job_id, ItemCounts()))


def no_such_job(job_id: str) -> NotFound:
    """The error for an id that no job has, or none that the caller may see."""
    return NotFound(
        f"there is no job {job_id!r}",
        field="job_id",
        found=job_id,
        expected="the id of a job",
        next_step="list the jobs with GET /v1/jobs or `footnote jobs list`",
    )


async def list_jobs(
    connection: AsyncConnection, wanted: JobFilter, limit: int, after: str | None
) -> tuple[JobInfo, ...]:
    """At most `limit` jobs, newest first, older than the job `after`."""
    statement = _filtered(wanted).order_by(Job.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(Job.id < after)
    rows = (await connection.execute(statement)).all()
    counts = await _count_items(connection, [row.id for row in rows])
    return tuple(_info(row, counts.get(row.id, ItemCounts())) for row in rows)


async def list_items(
    connection: AsyncConnection, job_id: str, state: ItemState | None, limit: int, after: int
) -> tuple[ItemInfo, ...]:
    """At most `limit` items of a job in their order, those behind the ordinal `after`."""
    statement = (
        select(JobItem.__table__)
        .where(JobItem.job_id == job_id, JobItem.ordinal > after)
        .order_by(JobItem.ordinal)
        .limit(limit)
    )
    if state is not None:
        statement = statement.where(JobItem.state == state)
    return tuple(_item(row) for row in await connection.execute(statement))


async def change_job(connection: AsyncConnection, job: JobInfo, values: Mapping[str, Any]) -> None:
    """Set columns of a job that was read in this transaction."""
    await connection.execute(update(Job).where(Job.id == job.id).values(**values))


async def reset_items(connection: AsyncConnection, job_id: str, state: ItemState) -> None:
    """Let items of this state be tried again, with a clean record."""
    statement = update(JobItem).where(JobItem.job_id == job_id, JobItem.state == state)
    await connection.execute(statement.values(state=ItemState.PENDING, starts=0, error=None, result=None))


def _filtered(wanted: JobFilter) -> Select[*tuple[Any, ...]]:
    statement = select(Job.__table__)
    if wanted.state is not None:
        statement = statement.where(Job.state == wanted.state)
    if wanted.kind is not None:
        statement = statement.where(Job.kind == wanted.kind)
    if wanted.collection is not None:
        statement = statement.where(Job.collection == wanted.collection)
    if wanted.among is not None:
        statement = statement.where(Job.collection.in_(wanted.among))
    return statement


async def _count_items(connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, ItemCounts]:
    statement = (
        select(JobItem.job_id, JobItem.state, func.count().label("count"))
        .where(JobItem.job_id.in_(job_ids))
        .group_by(JobItem.job_id, JobItem.state)
    )
    found: dict[str, dict[str, int]] = {}
    for job_id, state, count in await connection.execute(statement):
        found.setdefault(job_id, {})[state] = count
    return {job_id: ItemCounts(**counts) for job_id, counts in found.items()}


def _info(row: Row[*tuple[Any, ...]], counts: ItemCounts) -> JobInfo:
    return JobInfo(
        id=row.id,
        kind=row.kind,
        collection=row.collection,
        input=row.input,
        state=JobState(row.state),
        attempt=row.attempt,
        progress=Progress(**row.progress),
        items=counts,
        result=row.result,
        error=restore_failure(row.error),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _item(row: Row[*tuple[Any, ...]]) -> ItemInfo:
    return ItemInfo(row.ordinal, row.name, ItemState(row.state), row.result, restore_failure(row.error))
