"""DBOS carries attempts across the end of a process.

It keeps its own tables in home/jobs.db: which attempts are under way, and which of their steps are done.
Nothing in it is needed to know what a job is: without the file, active jobs begin anew, and pass over what
they find done.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from app.jobs.attempts import AttemptRef
from app.jobs.failures import record_failure, restore_failure
from app.jobs.runner import JobRunner
from embeddings.errors import FootnoteError

# DBOS goes on only with attempts of its own version: raise it when the order of a job's steps changes.
# Attempts of an older version are begun anew.
STEPS_VERSION = "1"
QUEUE = "jobs"
# So many jobs run side by side: a snapshot need not wait for the end of a long ingest.
CONCURRENT_JOBS = 4
QUEUE_POLL_S = 0.3
# Attempts that the worker's end interrupts are counted in the table `jobs`, where progress resets them.
_NEVER_GIVEN_UP = None
_ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


class DurableAttempts:
    """Starts attempts, and goes on with those that the end of a process has interrupted."""

    def __init__(self, database: Path, runner: JobRunner) -> None:
        """Open DBOS on the file `database`. Call it in the event loop that the attempts shall run in, and
        then `open`.
        """
        _forget_cloud()
        from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer  # noqa: PLC0415  takes a second

        self._dbos = DBOS
        config: DBOSConfig = {
            "name": "footnote",
            "system_database_url": f"sqlite:///{database}",
            "application_version": STEPS_VERSION,
            "executor_id": "worker",
            "enable_otlp": False,
            "log_level": "ERROR",
            # Its default is pickle, which would run code out of a restored file.
            "serializer": DBOSPortableJSONSerializer(),
        }
        DBOS(config=config)

        @DBOS.workflow(name="footnote.attempt", max_recovery_attempts=_NEVER_GIVEN_UP)
        async def run_attempt(job_id: str, attempt: int) -> None:
            await runner.run(AttemptRef(job_id, attempt), self._run_step)

        self._run_attempt = run_attempt

    async def open(self) -> None:
        """Go on with what the end of the last process has interrupted."""
        self._dbos.launch()
        await self._dbos.register_queue_async(
            QUEUE,
            worker_concurrency=CONCURRENT_JOBS,
            polling_interval_sec=QUEUE_POLL_S,
            on_conflict="always_update",
        )

    async def start(self, ref: AttemptRef) -> bool:
        """Queue the attempt, if DBOS does not have it yet. False: it has ended, the job needs another."""
        from dbos import SetWorkflowID  # noqa: PLC0415

        workflow_id = f"{ref.job_id}.{ref.attempt}"
        status = await self._dbos.get_workflow_status_async(workflow_id)
        if status is None:
            with SetWorkflowID(workflow_id):
                await self._dbos.enqueue_workflow_async(QUEUE, self._run_attempt, ref.job_id, ref.attempt)
            return True
        return status.status not in _ENDED and status.app_version == STEPS_VERSION

    async def _run_step(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """The step's result. Failures are noted as JSON too: DBOS would pickle them or lose their kind."""

        async def noted() -> dict[str, Any]:
            try:
                return {"value": await work()}
            except FootnoteError as error:
                return {"error": record_failure(error)}

        outcome = await self._dbos.run_step_async({"name": name}, noted)
        if (error := restore_failure(outcome.get("error"))) is not None:
            raise error
        return outcome["value"]


def _forget_cloud() -> None:
    """Variables of DBOS Cloud, left in the environment, would make it call home."""
    for name in [name for name in os.environ if name.startswith("DBOS_")]:
        del os.environ[name]
