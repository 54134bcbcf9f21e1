import logging

import pytest

from app.jobs.attempts import AttemptRef
from app.jobs.context import JobContext
from app.jobs.runner import JobRunner
from app.jobs.types import JobState
from app.resources import Resources
from app.telemetry.context import current_fields


async def test_every_line_of_a_job_tells_which_it_is(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    async def work(context: JobContext) -> dict[str, object]:
        seen.append(dict(current_fields()))
        if context.attempt == 1:
            raise RuntimeError("broken")
        return {}

    async def opened() -> Resources:
        return resources

    async def run_step(*_: object) -> None:
        raise AssertionError

    job = await resources.jobs.submit("polish")
    runner = JobRunner(resources.database, {"polish": work}, opened)
    with caplog.at_level(logging.INFO, logger="footnote.jobs"):
        await runner.run(AttemptRef(job.id, 1), run_step)
    assert (await resources.jobs.get(job.id)).state is JobState.FAILED
    assert seen == [{"job_id": job.id, "job": "polish"}]
    assert [record.getMessage() for record in caplog.records] == [
        "the job begins",
        "unexpected failure of a job",
        "the job ends",
    ]
    assert dict(current_fields()) == {}
