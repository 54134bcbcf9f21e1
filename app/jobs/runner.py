"""One attempt of a job, from its start to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.fence import fenced
from app.jobs.attempts import (
    AttemptRef,
    StartedJob,
    begin_attempt,
    end_job,
    forget_starts,
    still_wanted,
    store_progress,
)
from app.jobs.context import JobCancelled, JobContext, StepRunner
from app.jobs.failures import record_failure
from app.jobs.types import JobState, Progress
from app.telemetry.context import log_fields
from app.telemetry.tracing import Tracing
from embeddings.errors import Conflict, FootnoteError, InvalidInput, Overloaded, StorageFull
from embeddings.stages import listening

if TYPE_CHECKING:
    from app.resources import Resources

logger = logging.getLogger("footnote.jobs")

JobFunction = Callable[[JobContext], Awaitable[dict[str, Any]]]

# A cancelled job has to be let go of within two seconds: one look, and the wait for its task.
LOOK_S = 0.5
LET_GO_S = 1.0
# So often may a worker end at the same place before the job is given up.
MAX_STARTS = 10
STORAGE_RETRY_S = 1.0
# What was overloaded, or a database server that starts again, gets so long before the job goes on.
OVERLOAD_PAUSE_S = 2.0


class JobRunner:
    """Runs attempts.

    functions: by the name of the kind; open_resources: opens them once, at first need; tracing: None where
    nobody collects traces.
    """

    def __init__(
        self,
        database: Database,
        functions: Mapping[str, JobFunction],
        open_resources: "Callable[[], Awaitable[Resources]]",
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._database = database
        self._functions = functions
        self._open_resources = open_resources
        self._let_go: set[asyncio.Task[Any]] = set()

    async def run(self, ref: AttemptRef, run_step: StepRunner) -> None:
        """Do the job, and note how it ended. Does nothing for an attempt that is not wanted any more.

        The job goes on with another attempt when it has not ended on return: something was overloaded.
        """
        job: StartedJob | None = await self._insist(lambda c: begin_attempt(c, ref))
        if job is None:
            return
        span = None if self._tracing is None else self._tracing.begin_job(f"job {job.kind}")
        listener = None if span is None else span.add_stage
        with log_fields(job_id=ref.job_id, job=job.kind), listening(listener):
            ending = await self._run(ref, job, run_step)
        if span is not None:
            about: dict[str, str | int] = {"footnote.job_id": ref.job_id, "footnote.job_attempt": ref.attempt}
            about["footnote.job_state"] = ending["state"]
            span.end(f"job {job.kind}", about, failed=ending["state"] == JobState.FAILED)

    async def _run(self, ref: AttemptRef, job: StartedJob, run_step: StepRunner) -> dict[str, Any]:
        """Work, and note how it ended; returns what the log tells of the end."""
        logger.info("the job begins", extra={"fields": {"attempt": ref.attempt}})
        context: JobContext | None = None
        try:
            function = self._function(ref, job)
            resources = await self._open_resources()
            context = JobContext(resources, ref.job_id, ref.attempt, job.collection, job.input, run_step)
            outcome = await self._work(ref, context, function)
        except Overloaded as error:
            if job.starts < MAX_STARTS:
                return await self._put_off(ref, error)
            outcome = {"state": JobState.FAILED, "error": record_failure(error)}
        except Exception as error:
            outcome = {"state": JobState.FAILED, "error": record_failure(error)}
        ending = _ending(outcome)
        logger.info("the job ends", extra={"fields": ending})
        if outcome is not None:
            told = {} if context is None else _told(context.latest_progress)
            await self._insist(lambda c: end_job(c, ref, outcome | told))
        return ending

    async def _put_off(self, ref: AttemptRef, error: Overloaded) -> dict[str, Any]:
        """Leave the job for another attempt: what was overloaded will not be for ever."""
        logger.warning("the job is put off: %s", error.message)
        await asyncio.sleep(OVERLOAD_PAUSE_S)
        await self._insist(lambda c: forget_starts(c, [ref.job_id]))
        return {"state": JobState.QUEUED, "error": error.code}

    def _function(self, ref: AttemptRef, job: StartedJob) -> JobFunction:
        if job.starts > MAX_STARTS:
            raise Conflict(
                f"the worker ended {MAX_STARTS} times at the same place of this job",
                found=f"{job.starts - 1} starts without progress",
                expected="a worker that stays alive",
                next_step=f"read the log of the worker, then: footnote jobs resume {ref.job_id}",
            )
        if job.kind not in self._functions:
            raise InvalidInput(
                f"this version of Footnote has no jobs of the kind {job.kind}",
                field="kind",
                found=job.kind,
                expected="one of " + ", ".join(sorted(self._functions)),
                next_step="start the version that made the job",
            )
        return self._functions[job.kind]

    async def _work(
        self, ref: AttemptRef, context: JobContext, function: JobFunction
    ) -> dict[str, Any] | None:
        """The outcome to be noted; None when the job was cancelled meanwhile. Raises what failed."""
        with fenced(partial(_require_wanted, ref)):
            work = asyncio.ensure_future(function(context))
        watch = asyncio.ensure_future(self._watch(ref, context))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._stop(context, work)
                return None
            return {"state": JobState.DONE, "result": work.result()}
        except JobCancelled:
            return None
        finally:
            watch.cancel()

    async def _watch(self, ref: AttemptRef, context: JobContext) -> None:
        """Store the progress while the job is wanted; return when it is not."""
        stored = Progress()
        while True:
            await asyncio.sleep(LOOK_S)
            progress = context.latest_progress
            try:
                async with self._database.read() as connection:
                    if not await still_wanted(connection, ref):
                        return
                if progress != stored:
                    async with self._database.write() as connection:
                        await store_progress(connection, ref, progress)
                    stored = progress
            except FootnoteError as error:  # the disk or its lock; the next look may be luckier
                logger.warning("cannot follow the job %s: %s", ref.job_id, error.message)

    async def _stop(self, context: JobContext, work: "asyncio.Future[Any]") -> None:
        """Cancel the work. Where it stands in a thread, that thread ends by itself, and nothing follows."""
        context.cancel()
        work.cancel()
        _, running = await asyncio.wait({work}, timeout=LET_GO_S)
        for task in running:
            self._let_go.add(task)  # type: ignore[arg-type]
            task.add_done_callback(self._let_go.discard)

    async def _insist(self, change: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        """The result of a change in a transaction, tried until the disk takes it: no job may hang between
        two states.
        """
        while True:
            try:
                async with self._database.write() as connection:
                    return await change(connection)
            except (Overloaded, StorageFull) as error:
                logger.warning("cannot note the state of a job: %s", error.message)
                await asyncio.sleep(STORAGE_RETRY_S)


async def _require_wanted(ref: AttemptRef, connection: AsyncConnection) -> None:
    """Raise JobCancelled when the job was cancelled, or another worker goes on with it."""
    if not await still_wanted(connection, ref):
        raise JobCancelled


def _ending(outcome: dict[str, Any] | None) -> dict[str, Any]:
    """What the log tells of it."""
    if outcome is None:
        return {"state": JobState.CANCELLED}
    return {"state": outcome["state"], "error": outcome.get("error", {}).get("code")}


def _told(progress: Progress) -> dict[str, Any]:
    return {} if progress == Progress() else {"progress": asdict(progress) | {"eta_s": None}}
