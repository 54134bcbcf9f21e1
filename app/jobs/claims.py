"""Which jobs this worker has: each job is one worker's at a time, by a lease that the worker renews.

A worker that is killed, or that does not reach the database any more, renews nothing: when its lease has
ended another worker takes the job, as its next attempt. What the lost worker may still write is refused by
the number of the attempt (`app.jobs.runner`).
"""

import asyncio
import logging

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.leases import LEASE_S, RENEW_S, Lease, acquire, forget_old, holds, release, release_all, renew
from app.jobs.attempts import (
    JOB_LEASE,
    AttemptRef,
    forget_starts,
    present_attempt,
    replace_attempt,
    unheld_jobs,
)
from embeddings.errors import FootnoteError

logger = logging.getLogger("footnote.jobs")


class Claims:
    """holder: of the leases, as no other process is called. most: jobs that are held at a time."""

    def __init__(self, database: Database, holder: str, most: int) -> None:
        self.holder = holder
        self._database = database
        self._most = most
        self._held: dict[str, Lease] = {}

    async def forget_others(self) -> None:
        """Free the jobs of workers that have ended. Only for one who knows that there is no other."""
        async with self._database.write() as connection:
            await release_all(connection, JOB_LEASE)

    async def forget_old(self) -> None:
        """Remove the leases of jobs that ended long ago."""
        async with self._database.write() as connection:
            await forget_old(connection)

    async def take(self) -> AttemptRef | None:
        """The present attempt of the oldest job that nobody has; None when there is none, or enough are held.

        Of a job whose worker was lost it is a new attempt. Raises StorageFull, Overloaded.
        """
        if len(self._held) >= self._most:
            return None
        async with self._database.read() as connection:
            free = await unheld_jobs(connection, self._most + 1)
        job_id = next((job_id for job_id in free if job_id not in self._held), None)
        if job_id is None:
            return None
        async with self._database.write() as connection:
            taken = await self._take(connection, job_id)
        if taken is None:
            return None
        ref, self._held[job_id] = taken
        return ref

    async def end(self, ref: AttemptRef) -> None:
        """The attempt is not worked on any more. A job that has not ended goes on with its next attempt."""
        lease = self._held.get(ref.job_id)
        try:
            async with self._database.write() as connection:
                await replace_attempt(connection, ref)
                if lease is not None:
                    await release(connection, lease)
        except FootnoteError as error:  # then the lease ends by itself
            logger.warning("cannot give the job %s back: %s", ref.job_id, error.message)
        finally:
            self._held.pop(ref.job_id, None)

    async def keep(self) -> None:
        """Renew all leases again and again, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self.renew()
            except FootnoteError as error:
                logger.warning("cannot renew the leases of jobs: %s", error.message)

    async def renew(self) -> None:
        """Renew all leases once. One that was lost stays with the attempt, which finds out by itself."""
        for lease in list(self._held.values()):
            if not await renew(self._database, lease, LEASE_S) and lease in self._held.values():
                told = "%s went to another worker, because this one did not renew it in time"
                logger.warning(told, lease.name)

    async def stop(self, give_back: bool) -> None:
        """The worker ends because it was told to: no item is to blame.

        give_back: let other workers go on at once.
        """
        async with self._database.write() as connection:
            for job_id, lease in list(self._held.items()):
                if await holds(connection, lease):  # else it is another worker's by now
                    await forget_starts(connection, [job_id])
                    if give_back:
                        await self._give_back(connection, job_id, lease)

    async def _give_back(self, connection: AsyncConnection, job_id: str, lease: Lease) -> None:
        if (ref := await present_attempt(connection, job_id)) is not None:
            await replace_attempt(connection, ref)
        await release(connection, lease)

    async def _take(self, connection: AsyncConnection, job_id: str) -> tuple[AttemptRef, Lease] | None:
        ref = await present_attempt(connection, job_id)
        lease = None if ref is None else await acquire(connection, JOB_LEASE + job_id, self.holder, LEASE_S)
        if ref is None or lease is None:
            return None
        if lease.follows is None:
            return ref, lease
        logger.warning("the job %s was left by the worker %s; it goes on here", job_id, lease.follows)
        await replace_attempt(connection, ref)
        return AttemptRef(job_id, ref.attempt + 1), lease
