"""Jobs as the service sees them: asked for, looked at, cancelled, taken up again."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import find_collection
from app.db.engine import Database
from app.db.postgres import Unreachable
from app.jobs.rows import change_job, find_job, insert_job, list_items, list_jobs, make_job_id, reset_items
from app.jobs.types import ItemPage, ItemState, JobFilter, JobInfo, JobPage, JobState, NewJob
from app.jobs.uploads import Upload, remove_uploads, store_uploads
from app.settings import Settings
from embeddings.errors import Conflict, FootnoteError, InvalidInput

INGEST_FILES = "ingest-files"
TRAIN = "train-encoder"
# What a collection has one active job of: trainings would each be compared with what the other replaces.
ONE_AT_A_TIME = frozenset({TRAIN})
MAX_PAGE = 1000
POLL_S = 0.3


class JobService:
    """Writes down what is wanted of jobs; a worker process, which follows the table, does it."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def submit(
        self,
        kind: str,
        collection: str | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002
    ) -> JobInfo:
        """Ask for a job. input: JSON values for the kind's function.

        Raises NotFound for the collection, Conflict for a second job of a kind that goes ONE_AT_A_TIME.
        """
        return await self._insert(make_job_id(), NewJob(kind, collection, input or {}))

    async def find_active(self, kind: str, collection: str | None) -> JobInfo | None:
        """The oldest job of this kind that waits or runs for the collection."""
        async with self._database.read() as connection:
            return await _oldest_active(connection, kind, collection)

    async def ingest_files(
        self, collection: str, uploads: Sequence[Upload], metadata: Mapping[str, Any] | None = None
    ) -> JobInfo:
        """Take files in for a job, each an item of it. They are on the disk when this returns.

        Raises NotFound for the collection, InvalidInput for no file, StorageFull.
        """
        if not uploads:
            raise _out_of_range("file", 0, "at least one file")
        new = NewJob(INGEST_FILES, collection, {"metadata": dict(metadata or {})})
        return await self.submit_files(make_job_id(), new, uploads)

    async def submit_files(self, job_id: str, new: NewJob, uploads: Sequence[Upload]) -> JobInfo:
        """Ask for a job with files, if there are any, each an item of it; they are on the disk when this
        returns.

        job_id: of `make_job_id`. Raises what `submit` raises, StorageFull.
        """
        if new.collection is not None:
            async with self._database.read() as connection:
                await find_collection(connection, new.collection)
        home = self._settings.home
        stored = await to_thread.run_sync(store_uploads, home, job_id, uploads) if uploads else ()
        try:
            return await self._insert(job_id, new, stored)
        except Unreachable:  # the job may be there; else the worker removes its files
            raise
        except FootnoteError:  # a cancellation may come after the commit; what it leaves, the worker removes
            await to_thread.run_sync(remove_uploads, home, job_id)
            raise

    async def get(self, job_id: str) -> JobInfo:
        """One job as it stands now. Raises NotFound."""
        async with self._database.read() as connection:
            return await find_job(connection, job_id)

    async def list(
        self, wanted: JobFilter | None = None, limit: int = 100, after: str | None = None
    ) -> JobPage:
        """A page of the jobs, newest first. Raises InvalidInput."""
        _check_limit(limit)
        async with self._database.read() as connection:
            found = await list_jobs(connection, wanted or JobFilter(), limit + 1, after)
        page = found[:limit]
        return JobPage(page, page[-1].id if len(found) > limit else None)

    async def items(
        self, job_id: str, state: ItemState | None = None, limit: int = 100, after: int | None = None
    ) -> ItemPage:
        """A page of the items of a job, in their order. Raises NotFound, InvalidInput."""
        _check_limit(limit)
        async with self._database.read() as connection:
            await find_job(connection, job_id)
            first = -1 if after is None else after
            found = await list_items(connection, job_id, state, limit + 1, first)
        page = found[:limit]
        return ItemPage(page, page[-1].ordinal if len(found) > limit else None)

    async def cancel(self, job_id: str) -> JobInfo:
        """Stop a job; what it has done stays. A worker lets go of it within two seconds.

        Cancelling a cancelled job changes nothing. Raises NotFound, and Conflict for a job that has ended.
        """
        async with self._database.write() as connection:
            job = await find_job(connection, job_id)
            if job.state.active:
                values = {"state": JobState.CANCELLED, "ended_at": datetime.now(UTC)}
                await change_job(connection, job, values)
            elif job.state is not JobState.CANCELLED:
                raise _wrong_state(job, "queued or running", "a job that has ended cannot be cancelled")
            return await find_job(connection, job_id)

    async def resume(self, job_id: str) -> JobInfo:
        """Take a cancelled or failed job up again where it stopped. Raises NotFound, Conflict."""
        async with self._database.write() as connection:
            job = await find_job(connection, job_id)
            if job.state not in {JobState.CANCELLED, JobState.FAILED}:
                next_step = "to try items that failed again, retry the job"
                raise _wrong_state(job, "cancelled or failed", next_step)
            return await _queue_again(connection, job, ItemState.PENDING)

    async def retry(self, job_id: str) -> JobInfo:
        """Try the items that failed again, and no others. Raises NotFound, Conflict."""
        async with self._database.write() as connection:
            job = await find_job(connection, job_id)
            if job.state.active:
                raise _wrong_state(job, "done, failed or cancelled", "wait until it has ended, or cancel it")
            if not job.items.error:
                raise Conflict(
                    f"no item of the job {job_id} failed",
                    field="job_id",
                    found="0 failed items",
                    expected="at least one failed item",
                    next_step="to go on with a cancelled or failed job, resume it",
                )
            return await _queue_again(connection, job, ItemState.ERROR)

    async def follow(self, job_id: str, poll_s: float = POLL_S) -> AsyncGenerator[JobInfo, None]:
        """Yield the job every poll_s seconds, for the last time when it has ended. Raises NotFound."""
        while (job := await self.get(job_id)).state.active:
            yield job
            await asyncio.sleep(poll_s)
        yield job

    async def _insert(self, job_id: str, new: NewJob, stored: Sequence[Any] = ()) -> JobInfo:
        async with self._database.write() as connection:
            if new.collection is not None:
                await find_collection(connection, new.collection)
            await _check_alone(connection, new.kind, new.collection)
            await insert_job(connection, job_id, new, stored)
            return await find_job(connection, job_id)


async def _oldest_active(connection: AsyncConnection, kind: str, collection: str | None) -> JobInfo | None:
    found: list[JobInfo] = []
    for state in (JobState.QUEUED, JobState.RUNNING):
        found += await list_jobs(connection, JobFilter(state, kind, collection), MAX_PAGE, None)
    return min(found, key=lambda job: job.id, default=None)


async def _check_alone(connection: AsyncConnection, kind: str, collection: str | None) -> None:
    """Raises Conflict. In the transaction that queues the job: of two that ask at once, one is refused."""
    if kind not in ONE_AT_A_TIME:
        return
    active = await _oldest_active(connection, kind, collection)
    if active is not None:
        raise Conflict(
            f"a job of the kind {kind} is under way for {collection!r}",
            field="collection",
            found=f"the job {active.id}",
            expected="one such job of a collection at a time",
            next_step=f"wait until it has ended, or: footnote jobs cancel {active.id}",
        )


async def _queue_again(connection: AsyncConnection, job: JobInfo, tried: ItemState) -> JobInfo:
    """tried: which of its items are to be tried again."""
    await _check_alone(connection, job.kind, job.collection)
    await reset_items(connection, job.id, tried)
    cleared = dict.fromkeys(("error", "result", "started_at", "ended_at"))
    queued = {"state": JobState.QUEUED, "attempt": job.attempt + 1, "starts": 0}
    await change_job(connection, job, cleared | queued)
    return await find_job(connection, job.id)


def _wrong_state(job: JobInfo, expected: str, next_step: str) -> Conflict:
    return Conflict(
        f"the job {job.id} is {job.state}",
        field="state",
        found=job.state,
        expected=expected,
        next_step=next_step,
    )


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise _out_of_range("limit", limit, f"1 to {MAX_PAGE}")


def _out_of_range(field: str, value: int, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{field} is {value}; expected {expected}", field=field, found=str(value), expected=expected
    )
