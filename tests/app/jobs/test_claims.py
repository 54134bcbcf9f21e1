"""Who works on which job, and what becomes of the work of one who lost his."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.jobs import claims, runner
from app.jobs.attempts import AttemptRef
from app.jobs.claims import Claims
from app.jobs.context import JobContext
from app.jobs.runner import JobRunner
from app.jobs.supervisor import check_workers
from app.jobs.types import JobState
from app.resources import Resources
from app.services.types import DocumentInput
from app.settings import Settings
from embeddings.errors import InvalidInput, Overloaded

KIND = "test"
SHORT_S = 0.05


def worker(resources: Resources, name: str, most: int = 4) -> Claims:
    return Claims(resources.database, name, most)


async def attempt(
    resources: Resources, ref: AttemptRef, function: Callable[[JobContext], Awaitable[dict[str, Any]]]
) -> None:
    async def opener() -> Resources:
        return resources

    async def run_step(_: str, work: Callable[[], Awaitable[Any]]) -> Any:
        return await work()

    await JobRunner(resources.database, {KIND: function}, opener).run(ref, run_step)


async def taken(worker: Claims) -> AttemptRef:
    ref = await worker.take()
    assert ref is not None
    return ref


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at whether a job is still wanted comes too late to stop a write."""
    monkeypatch.setattr(runner, "LOOK_S", 60.0)


async def lose(monkeypatch: pytest.MonkeyPatch, worker: Claims) -> AttemptRef:
    """Take a job and do not renew it in time."""
    with monkeypatch.context() as patched:
        patched.setattr(claims, "LEASE_S", SHORT_S)
        ref = await taken(worker)
    await asyncio.sleep(2 * SHORT_S)
    return ref


async def test_each_job_is_taken_once_and_the_oldest_first(resources: Resources) -> None:
    jobs = [(await resources.jobs.submit(KIND)).id for _ in range(3)]
    one, two = worker(resources, "one"), worker(resources, "two", most=1)
    refs = [await taken(one), await taken(two), await taken(one)]
    assert refs == [AttemptRef(job, 1) for job in sorted(jobs)]
    assert (await one.take(), await two.take()) == (None, None)


async def test_worker_takes_no_more_than_it_may(resources: Resources) -> None:
    for _ in range(2):
        await resources.jobs.submit(KIND)
    only = worker(resources, "only", most=1)
    first = await taken(only)
    assert await only.take() is None
    await resources.jobs.cancel(first.job_id)
    await only.end(first)
    assert (await taken(only)).job_id != first.job_id


@pytest.mark.usefixtures("nobody_looks")
async def test_lost_job_is_another_workers_and_the_first_writes_nothing_any_more(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, notes: str
) -> None:
    job = await resources.jobs.submit(KIND)
    slow, other = worker(resources, "slow"), worker(resources, "other")
    old = await lose(monkeypatch, slow)

    async def late(_: JobContext) -> dict[str, Any]:
        assert await taken(other) == AttemptRef(job.id, 2)
        await resources.documents.add(notes, [DocumentInput("too late")])
        return {"by": "the slow one"}

    async def swift(_: JobContext) -> dict[str, Any]:
        await resources.documents.add(notes, [DocumentInput("in time")])
        return {"by": "the other"}

    await attempt(resources, old, late)
    await slow.end(old)
    await slow.stop(give_back=True)
    assert (await resources.jobs.get(job.id)).attempt == 2
    await attempt(resources, AttemptRef(job.id, 2), swift)
    ended = await resources.jobs.get(job.id)
    assert (ended.state, ended.result) == (JobState.DONE, {"by": "the other"})
    assert (await resources.collections.get(notes)).last_seq == 1


async def test_worker_that_ends_gives_back_only_what_is_still_its_own(
    monkeypatch: pytest.MonkeyPatch, resources: Resources
) -> None:
    jobs = [(await resources.jobs.submit(KIND)).id for _ in range(2)]
    first, other = worker(resources, "first"), worker(resources, "other")
    await lose(monkeypatch, first)
    assert await taken(other) == AttemptRef(jobs[0], 2)
    await taken(first)
    await first.stop(give_back=True)
    assert [(await resources.jobs.get(job)).attempt for job in jobs] == [2, 2]
    assert await taken(other) == AttemptRef(jobs[1], 2)


@pytest.mark.usefixtures("nobody_looks")
async def test_cancelled_job_writes_nothing_any_more(resources: Resources, notes: str) -> None:
    job = await resources.jobs.submit(KIND)
    ref = await taken(worker(resources, "one"))
    working, cancelled = asyncio.Event(), asyncio.Event()

    async def late(_: JobContext) -> dict[str, Any]:
        working.set()
        await cancelled.wait()
        await resources.documents.add(notes, [DocumentInput("too late")])
        return {}

    running = asyncio.create_task(attempt(resources, ref, late))
    await working.wait()
    await resources.jobs.cancel(job.id)
    cancelled.set()
    await running
    assert (await resources.jobs.get(job.id)).state is JobState.CANCELLED
    assert (await resources.collections.get(notes)).last_seq == 0


async def test_job_goes_on_after_an_overload(monkeypatch: pytest.MonkeyPatch, resources: Resources) -> None:
    monkeypatch.setattr(runner, "OVERLOAD_PAUSE_S", 0.0)
    job = await resources.jobs.submit(KIND)
    only, calls = worker(resources, "only"), []

    async def flaky(context: JobContext) -> dict[str, Any]:
        calls.append(context.attempt)
        if len(calls) == 1:
            raise Overloaded("the database server does not answer")
        return {}

    for _ in range(2):
        ref = await taken(only)
        await attempt(resources, ref, flaky)
        await only.end(ref)
    assert ((await resources.jobs.get(job.id)).state, calls) == (JobState.DONE, [1, 2])


async def test_overload_without_an_end_fails_the_job(
    monkeypatch: pytest.MonkeyPatch, resources: Resources
) -> None:
    monkeypatch.setattr(runner, "OVERLOAD_PAUSE_S", 0.0)
    job = await resources.jobs.submit(KIND)
    only = worker(resources, "only")

    async def busy(_: JobContext) -> dict[str, Any]:
        raise Overloaded("always busy")

    while (ref := await only.take()) is not None:
        await attempt(resources, ref, busy)
        await only.end(ref)
    ended = await resources.jobs.get(job.id)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error.message == "always busy"
    assert ended.attempt == runner.MAX_STARTS


def test_several_workers_need_postgresql() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_workers(Settings(workers=3))
    assert caught.value.field == "FOOTNOTE_WORKERS"
    check_workers(Settings(workers=1))
    check_workers(Settings(workers=3, database_url="postgresql://somebody@host/footnote"))
