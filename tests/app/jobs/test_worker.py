"""Jobs done by worker processes, which are killed."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import pytest

from app.jobs.snapshot import submit_snapshot
from app.jobs.supervisor import worker_beside
from app.jobs.types import ItemState, JobInfo, JobState
from app.jobs.uploads import Upload
from app.resources import Resources
from app.settings import Settings
from app.snapshots.checking import verify_snapshot
from embeddings.errors import Conflict, InvalidInput
from tests.app.jobs.conftest import StartWorker


def notes_of(count: int) -> list[Upload]:
    return [
        Upload(
            f"note-{number:03d}.txt", BytesIO(f"note number {number} about tomatoes".encode()), "text/plain"
        )
        for number in range(count)
    ]


async def wait_until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what a worker does. The limit only ends a test whose worker does nothing."""
    async with asyncio.timeout(240):
        while not await look():  # noqa: ASYNC110  another process is what changes
            await asyncio.sleep(0.02)


async def wait_for_state(resources: Resources, job: JobInfo, *states: JobState) -> JobInfo:
    async def reached() -> bool:
        return (await resources.jobs.get(job.id)).state in states

    await wait_until(reached)
    return await resources.jobs.get(job.id)


async def wait_for_items(resources: Resources, job: JobInfo, count: int) -> None:
    async def reached() -> bool:
        return (await resources.jobs.get(job.id)).items.done >= count

    await wait_until(reached)


async def test_job_whose_worker_is_killed_again_and_again_loses_and_repeats_nothing(
    resources: Resources, notes: str, start_worker: StartWorker
) -> None:
    job = await resources.jobs.ingest_files(notes, notes_of(48), {"language": "en"})
    for done in (1, 16):
        worker = start_worker()
        await wait_for_items(resources, job, done)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert (await resources.jobs.get(job.id)).state is JobState.RUNNING
    start_worker()
    ended = await wait_for_state(resources, job, JobState.DONE, JobState.FAILED)
    assert (ended.state, ended.error, ended.attempt) == (JobState.DONE, None, 1)
    assert ended.result == {"done": 48, "error": 0}
    assert (ended.progress.done, ended.progress.total) == (48, 48)
    page = await resources.documents.list(notes, limit=1000)
    assert [document.id for document in page.documents] == [f"note-{number:03d}.txt" for number in range(48)]
    assert {document.version for document in page.documents} == {1}


async def test_cancelled_job_stops_and_goes_on_where_it_stopped(
    resources: Resources, notes: str, start_worker: StartWorker
) -> None:
    start_worker()
    job = await resources.jobs.ingest_files(notes, notes_of(80))
    await wait_for_items(resources, job, 1)
    cancelled = await resources.jobs.cancel(job.id)
    other = await resources.jobs.ingest_files(notes, [Upload("other.txt", BytesIO(b"another note"))])
    await wait_for_state(resources, other, JobState.DONE)
    after = await resources.jobs.get(job.id)
    assert after.state is cancelled.state is JobState.CANCELLED
    assert 0 < after.items.done < 80
    resumed = await resources.jobs.resume(job.id)
    assert resumed.attempt == 2
    done = await wait_for_state(resources, job, JobState.DONE, JobState.FAILED)
    assert (done.state, done.items.done) == (JobState.DONE, 80)


async def test_worker_ends_when_its_parent_is_gone(start_worker: StartWorker, resources: Resources) -> None:
    worker = start_worker("--child")
    assert worker.stdin is not None
    worker.stdin.close()
    assert await asyncio.to_thread(worker.wait, 240) in {0, -signal.SIGTERM}


async def test_second_worker_of_a_folder_is_refused(
    resources: Resources, notes: str, start_worker: StartWorker
) -> None:
    start_worker()
    job = await resources.jobs.ingest_files(notes, notes_of(1))
    await wait_for_state(resources, job, JobState.DONE)
    assert await asyncio.to_thread(start_worker().wait, 240) == 1


async def test_job_of_an_unknown_kind_fails_with_its_reason(
    resources: Resources, start_worker: StartWorker
) -> None:
    start_worker()
    failed = await wait_for_state(resources, await resources.jobs.submit("unheard-of"), JobState.FAILED)
    assert failed.error is not None
    assert "unheard-of" in failed.error.message
    assert failed.error.expected is not None
    assert "ingest-files" in failed.error.expected


async def test_bad_file_fails_alone_and_is_tried_again_alone(
    resources: Resources, notes: str, start_worker: StartWorker
) -> None:
    start_worker()
    files = [Upload("broken.pdf", BytesIO(b"%PDF-1.7 broken")), *notes_of(3)]
    job = await resources.jobs.ingest_files(notes, files)
    first = await wait_for_state(resources, job, JobState.DONE, JobState.FAILED)
    assert (first.state, first.items.done, first.items.error) == (JobState.DONE, 3, 1)
    (bad,) = (await resources.jobs.items(job.id, ItemState.ERROR)).items
    assert bad.name == "broken.pdf"
    assert bad.error is not None
    await resources.jobs.retry(job.id)
    again = await wait_for_state(resources, job, JobState.DONE, JobState.FAILED)
    assert (again.state, again.items.done, again.items.error) == (JobState.DONE, 3, 1)


async def test_file_that_kills_the_worker_fails_alone_and_the_worker_comes_back(
    resources: Resources, notes: str, settings: Settings
) -> None:
    files = [*notes_of(3), Upload("deadly.txt", BytesIO(b"this is poison")), *notes_of(5)[3:]]
    job = await resources.jobs.ingest_files(notes, files)
    command = (sys.executable, "-m", "tests.app.jobs.hashing_worker", str(settings.home), "--child")
    async with worker_beside(command, first_pause_s=0.01):
        ended = await wait_for_state(resources, job, JobState.DONE, JobState.FAILED)
    assert (ended.state, ended.items.done, ended.items.error) == (JobState.DONE, 5, 1)
    (bad,) = (await resources.jobs.items(job.id, ItemState.ERROR)).items
    assert bad.name == "deadly.txt"
    assert bad.error is not None
    assert bad.error.message == "the worker ended 3 times while it read this file"


async def test_worker_beside_ends_with_its_block(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    script = f"import os, sys, pathlib; pathlib.Path({str(told)!r}).write_text(str(os.getpid()))"

    async def started() -> bool:
        return told.exists() and told.read_text() != ""

    async with worker_beside((sys.executable, "-c", script + "; sys.stdin.read()")):
        await wait_until(started)
        os.kill(int(told.read_text()), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


async def test_snapshot_is_written_by_a_job(
    resources: Resources, notes: str, settings: Settings, start_worker: StartWorker
) -> None:
    job = await submit_snapshot(resources.jobs, settings, "monday")
    start_worker()
    ended = await wait_for_state(resources, job, JobState.DONE, JobState.FAILED)
    assert (ended.state, ended.error) == (JobState.DONE, None)
    written = settings.home / "snapshots" / "monday"
    assert ended.result == {"path": str(written), "size_bytes": written.stat().st_size}
    verify_snapshot(written)
    with pytest.raises(Conflict):
        await submit_snapshot(resources.jobs, settings, "monday")
    with pytest.raises(InvalidInput):
        await submit_snapshot(resources.jobs, settings, "../monday")
