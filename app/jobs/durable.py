"""DBOS carries attempts across the end of a process.

It keeps its own tables: which attempts are under way, and which of their steps are done. They are in
home/jobs.db, or in the schema `dbos` of the PostgreSQL database. Nothing in them is needed to know what a job
is: without them, active jobs begin anew, and pass over what they find done.

On SQLite the next worker goes on with the attempts of the one before. On PostgreSQL every process is an
executor of its own, and the job of a lost worker goes on as another attempt (`app.jobs.claims`).
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from app.db.engine import storage_errors
from app.jobs.attempts import AttemptRef
from app.jobs.context import StepRunner
from app.jobs.failures import record_failure, restore_failure
from embeddings.errors import FootnoteError

# Does one attempt, whose steps it lets be run by what it is given.
AttemptFunction = Callable[[AttemptRef, StepRunner], Awaitable[None]]

# DBOS goes on only with attempts of its own version: raise it when the order of a job's steps changes.
# Attempts of an older version are begun anew.
STEPS_VERSION = "2"
CONNECTIONS = 5
# Attempts that the worker's end interrupts are counted in the table `jobs`, where progress resets them.
_NEVER_GIVEN_UP = None
_ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


@dataclass(frozen=True, slots=True)
class DurableStore:
    """Where DBOS keeps its tables, and as whom it goes on with what is in them.

    url: for SQLAlchemy. executor: a name that only one process has at a time.
    """

    url: str
    executor: str


class DurableAttempts:
    """Starts attempts, and goes on with those that the end of its executor's last process has interrupted."""

    def __init__(self, store: DurableStore, run: AttemptFunction) -> None:
        """Prepare DBOS, which `open` starts."""
        _forget_cloud()
        from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer  # noqa: PLC0415  takes a second

        self._dbos = DBOS
        self._executor = store.executor
        config: DBOSConfig = {
            "name": "footnote",
            "system_database_url": store.url,
            "sys_db_pool_size": CONNECTIONS,
            "application_version": STEPS_VERSION,
            "executor_id": store.executor,
            "enable_otlp": False,
            "log_level": "ERROR",
            # Its default is pickle, which would run code out of a restored file.
            "serializer": DBOSPortableJSONSerializer(),
        }
        DBOS(config=config)

        @DBOS.workflow(name="footnote.attempt", max_recovery_attempts=_NEVER_GIVEN_UP)
        async def run_attempt(job_id: str, attempt: int) -> None:
            await run(AttemptRef(job_id, attempt), self._run_step)

        self._run_attempt = run_attempt

    def open(self) -> None:
        """Go on with what was interrupted. Makes DBOS's tables, or waits until another process has.

        Call it in the event loop that the attempts shall run in, which it holds up meanwhile.
        """
        self._dbos.launch()

    async def start(self, ref: AttemptRef) -> bool:
        """Start the attempt, unless this executor works on it. False: it has ended, or is another's.

        Raises Overloaded and StorageFull.
        """
        from dbos import SetWorkflowID  # noqa: PLC0415

        workflow_id = f"{ref.job_id}.{ref.attempt}"
        with storage_errors():
            status = await self._dbos.get_workflow_status_async(workflow_id)
            if status is None:
                with SetWorkflowID(workflow_id):
                    await self._dbos.start_workflow_async(self._run_attempt, ref.job_id, ref.attempt)
                return True
        ours = status.executor_id == self._executor and status.app_version == STEPS_VERSION
        return ours and status.status not in _ENDED

    async def _run_step(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """The step's result. Failures are noted as JSON too: DBOS would pickle them or lose their kind."""

        async def noted() -> dict[str, Any]:
            try:
                return {"value": await work()}
            except FootnoteError as error:
                return {"error": record_failure(error)}

        # DBOS writes down what the step gave. Where its database is away, the job is put off as for our own.
        with storage_errors():
            outcome = await self._dbos.run_step_async({"name": name}, noted)
        if (error := restore_failure(outcome.get("error"))) is not None:
            raise error
        return outcome["value"]


def _forget_cloud() -> None:
    """Variables of DBOS Cloud, left in the environment, would make it call home."""
    for name in [name for name in os.environ if name.startswith("DBOS_")]:
        del os.environ[name]
