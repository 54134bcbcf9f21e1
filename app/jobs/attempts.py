"""Rows of jobs and of their items, as the worker changes them.

Every change names the attempt that it belongs to, and is none when the job was cancelled or taken up again
meanwhile.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.leases import LeaseRow, database_now
from app.db.models import Collection, Job, JobItem
from app.jobs.types import ACTIVE, ItemState, JobState, Progress

# Names of leases: this and the id of the job.
JOB_LEASE = "job:"


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """One attempt of one job."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A job that an attempt works on. starts: how often this attempt began since it last got on."""

    kind: str
    collection: str | None
    input: dict[str, Any]
    starts: int


@dataclass(frozen=True, slots=True)
class PendingItem:
    """A file that waits. path: relative to the home folder; starts: how often its reading began."""

    ordinal: int
    name: str
    media_type: str | None
    path: str
    starts: int


async def unheld_jobs(connection: AsyncConnection, count: int) -> Sequence[str]:
    """Ids of at most so many jobs that wait or run and whose lease nobody holds, oldest first."""
    statement = (
        select(Job.id)
        .outerjoin(LeaseRow, LeaseRow.name == JOB_LEASE + Job.id)
        .where(Job.state.in_(ACTIVE), or_(LeaseRow.name.is_(None), LeaseRow.until <= database_now()))
        .order_by(Job.id)
        .limit(count)
    )
    return (await connection.scalars(statement)).all()


async def present_attempt(connection: AsyncConnection, job_id: str) -> AttemptRef | None:
    """The attempt that a job waits for or runs as; None when it has ended."""
    statement = select(Job.attempt).where(Job.id == job_id, Job.state.in_(ACTIVE))
    attempt = (await connection.scalars(statement)).one_or_none()
    return None if attempt is None else AttemptRef(job_id, attempt)


async def known_job_ids(connection: AsyncConnection) -> set[str]:
    """Ids of all jobs."""
    return set(await connection.scalars(select(Job.id)))


async def ids_worth_keeping(connection: AsyncConnection, failed_since: datetime) -> set[str]:
    """Ids of the jobs whose collection is there, and that are done, active, or ended since then."""
    joined = select(Job.id).join(Collection, Collection.name == Job.collection)
    recent = or_(Job.state == JobState.DONE, Job.ended_at.is_(None), Job.ended_at > failed_since)
    return set(await connection.scalars(joined.where(Collection.deleted_at.is_(None), recent)))


async def begin_attempt(connection: AsyncConnection, ref: AttemptRef) -> StartedJob | None:
    """Mark the job as running; None when the attempt is not wanted any more."""
    statement = (
        update(Job)
        .where(Job.id == ref.job_id, Job.attempt == ref.attempt, Job.state.in_(ACTIVE))
        .values(
            state=JobState.RUNNING,
            starts=Job.starts + 1,
            started_at=func.coalesce(Job.started_at, datetime.now(UTC)),
        )
        .returning(Job.kind, Job.collection, Job.input, Job.starts)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else StartedJob(row.kind, row.collection, row.input, row.starts)


async def replace_attempt(connection: AsyncConnection, ref: AttemptRef) -> None:
    """Queue the job as its next attempt."""
    values = {"attempt": ref.attempt + 1, "state": JobState.QUEUED}
    await _change(connection, ref, ACTIVE, values)


async def store_progress(connection: AsyncConnection, ref: AttemptRef, progress: Progress) -> None:
    """Note how far the work is. Work that gets on may start anew as often as it has to."""
    await _change(connection, ref, {JobState.RUNNING}, {"progress": asdict(progress), "starts": 0})


async def still_wanted(connection: AsyncConnection, ref: AttemptRef) -> bool:
    """False when the job was cancelled, taken up again or removed."""
    statement = select(Job.id).where(*_is(ref), Job.state == JobState.RUNNING)
    return (await connection.execute(statement)).first() is not None


async def end_job(connection: AsyncConnection, ref: AttemptRef, values: dict[str, Any]) -> None:
    """Note how the job ended. values: state, progress, and result or error."""
    await _change(connection, ref, {JobState.RUNNING}, values | {"ended_at": datetime.now(UTC)})


async def count_item_states(connection: AsyncConnection, job_id: str) -> dict[ItemState, int]:
    """How many items of the job are in which state."""
    statement = select(JobItem.state, func.count()).where(JobItem.job_id == job_id).group_by(JobItem.state)
    counts = {ItemState(state): count for state, count in await connection.execute(statement)}
    return dict.fromkeys(ItemState, 0) | counts


async def pending_items(
    connection: AsyncConnection, job_id: str, first: int, count: int
) -> list[PendingItem]:
    """Those of the items first to first + count - 1 that wait."""
    statement = (
        select(JobItem.__table__)
        .where(JobItem.job_id == job_id, JobItem.state == ItemState.PENDING)
        .where(JobItem.ordinal >= first, JobItem.ordinal < first + count)
        .order_by(JobItem.ordinal)
    )
    return [_pending(row) for row in await connection.execute(statement)]


async def count_start(connection: AsyncConnection, job_id: str, ordinals: Sequence[int]) -> None:
    """Note, before it is done, that the reading of these items begins."""
    statement = update(JobItem).where(JobItem.job_id == job_id, JobItem.ordinal.in_(ordinals))
    await connection.execute(statement.values(starts=JobItem.starts + 1))


async def forget_starts(connection: AsyncConnection, job_ids: Sequence[str]) -> None:
    """What ended the work on these jobs was none of their items."""
    waiting = (JobItem.state == ItemState.PENDING, JobItem.starts > 0)
    statement = update(JobItem).where(JobItem.job_id.in_(job_ids), *waiting)
    await connection.execute(statement.values(starts=0))


async def end_item(connection: AsyncConnection, job_id: str, ordinal: int, values: dict[str, Any]) -> None:
    """Note what became of an item that waited. values: state, and result or error."""
    statement = update(JobItem).where(JobItem.job_id == job_id, JobItem.ordinal == ordinal)
    await connection.execute(statement.where(JobItem.state == ItemState.PENDING).values(**values))


async def _change(
    connection: AsyncConnection, ref: AttemptRef, states: frozenset[JobState] | set[JobState], values: Any
) -> None:
    await connection.execute(update(Job).where(*_is(ref), Job.state.in_(states)).values(**values))


def _is(ref: AttemptRef) -> tuple[Any, Any]:
    return Job.id == ref.job_id, Job.attempt == ref.attempt


def _pending(row: Row[*tuple[Any, ...]]) -> PendingItem:
    return PendingItem(row.ordinal, row.name, row.media_type, row.path, row.starts)
