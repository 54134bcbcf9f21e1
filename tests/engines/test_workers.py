"""Many workers on one PostgreSQL database: each job is one worker's at a time, whoever is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db.leases import LeaseRow
from app.jobs.attempts import JOB_LEASE
from app.jobs.reindexing import submit_reindex
from app.jobs.types import JobInfo, JobState
from app.jobs.uploads import Upload
from app.resources import Models, Resources, open_resources
from app.services.release_types import ReindexInput, ReleaseState
from app.services.types import DocumentInput
from app.settings import Settings
from embeddings.errors import Overloaded
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer
from tests.engines.postgres_server import PostgresServer

REPOSITORY = Path(__file__).resolve().parents[2]
# Shorter than the workers' own, so that a test need not wait for it; they run beside other tests.
LEASE_S = 3.0
# Only ends a test whose workers do nothing.
PATIENCE_S = 240.0

StartWorker = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def database_url(migrated_url: str) -> str:
    return migrated_url


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(home=tmp_path / "home", threads=1, busy_timeout_s=10, database_url=database_url)


@pytest.fixture
async def resources(tmp_path: Path, settings: Settings) -> AsyncIterator[Resources]:
    models = Models(HashingEncoder(), write_word_tokenizer(tmp_path), Answerer(None, refuse_below=0.0))
    async with open_resources(settings, models) as opened:
        await opened.collections.create("notes")
        yield opened


@pytest.fixture
def start_worker(settings: Settings) -> Iterator[StartWorker]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        module = (sys.executable, "-m", "tests.app.jobs.hashing_worker", str(settings.home))
        options = ("--database", str(settings.database_url), "--lease", str(LEASE_S))
        started.append(subprocess.Popen((*module, *options), cwd=REPOSITORY, stdin=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def notes_of(first: int, count: int) -> list[Upload]:
    return [
        Upload(f"note-{number:03d}.txt", BytesIO(f"note number {number}".encode()), "text/plain")
        for number in range(first, first + count)
    ]


async def wait_until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await look():  # noqa: ASYNC110  other processes are what changes
            await asyncio.sleep(0.02)


async def ended(resources: Resources, job: JobInfo) -> JobInfo:
    async def reached() -> bool:
        return not (await resources.jobs.get(job.id)).state.active

    await wait_until(reached)
    return await resources.jobs.get(job.id)


async def wait_for_items(resources: Resources, job: JobInfo, count: int) -> None:
    async def reached() -> bool:
        return (await resources.jobs.get(job.id)).items.done >= count

    await wait_until(reached)


async def holder_of(resources: Resources, job: JobInfo) -> int:
    """The process that holds the job; 0: none."""
    statement = select(LeaseRow.holder).where(LeaseRow.name == JOB_LEASE + job.id)
    async with resources.database.read() as connection:
        holder = await connection.scalar(statement)
    return 0 if holder is None else int(holder.rsplit("-", 2)[1])


async def all_versions(resources: Resources) -> dict[str, int]:
    page = await resources.documents.list("notes", limit=1000)
    return {document.id: document.version for document in page.documents}


async def writes(resources: Resources) -> int:
    return (await resources.collections.get("notes")).last_seq


async def test_jobs_are_shared_out_and_none_is_done_twice(
    resources: Resources, start_worker: StartWorker
) -> None:
    jobs = [await resources.jobs.ingest_files("notes", notes_of(10 * n, 10)) for n in range(9)]
    workers = {start_worker().pid for _ in range(2)}
    holders: set[int] = set()
    for job in jobs:
        while (await resources.jobs.get(job.id)).state.active:
            holders |= {await holder_of(resources, each) for each in jobs}
    done = [await resources.jobs.get(job.id) for job in jobs]
    assert {(job.state, job.attempt) for job in done} == {(JobState.DONE, 1)}
    assert await all_versions(resources) == {f"note-{number:03d}.txt": 1 for number in range(90)}
    assert await writes(resources) == 90
    assert holders - {0} <= workers


async def test_job_of_a_killed_worker_goes_on_with_another(
    resources: Resources, start_worker: StartWorker
) -> None:
    job = await resources.jobs.ingest_files("notes", notes_of(0, 64))
    workers = {worker.pid: worker for worker in (start_worker(), start_worker())}
    await wait_for_items(resources, job, 1)
    lost = await holder_of(resources, job)
    workers[lost].kill()
    done = await ended(resources, job)
    assert (done.state, done.error, done.attempt) == (JobState.DONE, None, 2)
    assert done.result == {"done": 64, "error": 0}
    assert set((await all_versions(resources)).values()) == {1}
    assert await writes(resources) == 64


async def test_worker_that_was_stopped_for_a_while_writes_nothing_any_more(
    resources: Resources, start_worker: StartWorker
) -> None:
    job = await resources.jobs.ingest_files("notes", notes_of(0, 64))
    workers = {worker.pid: worker for worker in (start_worker(), start_worker())}
    await wait_for_items(resources, job, 1)
    stopped = await holder_of(resources, job)
    os.kill(stopped, signal.SIGSTOP)
    done = await ended(resources, job)
    assert (done.state, done.attempt) == (JobState.DONE, 2)
    # Where the stopped worker went on with its files, it would undo these.
    later = [DocumentInput("something else", id=f"note-{number:03d}.txt") for number in range(64)]
    await resources.documents.add("notes", later)
    before = await writes(resources)
    os.kill(stopped, signal.SIGCONT)
    other = await resources.jobs.ingest_files("notes", notes_of(200, 1))
    next(worker for pid, worker in workers.items() if pid != stopped).kill()
    assert (await ended(resources, other)).state is JobState.DONE  # by the one that was stopped
    assert await writes(resources) == before + 1
    assert await resources.jobs.get(job.id) == done


async def test_worker_that_is_told_to_end_hands_its_job_over_at_once(
    resources: Resources, start_worker: StartWorker
) -> None:
    job = await resources.jobs.ingest_files("notes", notes_of(0, 64))
    first = start_worker()
    await wait_for_items(resources, job, 1)
    first.terminate()
    assert await asyncio.to_thread(first.wait, PATIENCE_S) == 0
    assert await holder_of(resources, job) == 0
    start_worker()
    done = await ended(resources, job)
    assert (done.state, done.attempt, done.result) == (JobState.DONE, 2, {"done": 64, "error": 0})
    assert await writes(resources) == 64


async def test_cancelled_job_is_let_go_of(resources: Resources, start_worker: StartWorker) -> None:
    start_worker()
    job = await resources.jobs.ingest_files("notes", notes_of(0, 300))
    await wait_for_items(resources, job, 1)
    await resources.jobs.cancel(job.id)
    at_once = await writes(resources)  # nothing is written after the cancellation was

    async def free() -> bool:
        return await holder_of(resources, job) == 0

    await wait_until(free)
    assert await writes(resources) == at_once < 300
    assert (await resources.jobs.get(job.id)).state is JobState.CANCELLED


def start_again(server: PostgresServer) -> None:
    """On a busy machine a server recovers for longer than its starter waits."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            return server.start()
        except (subprocess.SubprocessError, AssertionError):
            if time.monotonic() > ends:
                raise
            time.sleep(1.0)


class TestServerThatIsKilled:
    """kill -9 of the database server, with all of its processes, while workers and clients write."""

    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        server = PostgresServer(durable=True)
        yield server
        server.remove()

    @pytest.fixture
    def database_url(self, server: PostgresServer) -> str:
        return server.url("postgres")

    async def test_nothing_acknowledged_is_lost_and_nothing_done_twice(
        self, resources: Resources, start_worker: StartWorker, server: PostgresServer
    ) -> None:
        for _ in range(2):
            start_worker()
        ingest = await resources.jobs.ingest_files("notes", notes_of(0, 80))
        await wait_for_items(resources, ingest, 1)
        acknowledged: set[str] = set()
        writing = asyncio.create_task(self.keep_writing(resources, acknowledged))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(start_again, server)
        release, reindex = await submit_reindex(resources, "notes", ReindexInput(chunk_max_tokens=64), True)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(start_again, server)
        done = await ended(resources, ingest), await ended(resources, reindex)
        writing.cancel()
        assert [(job.state, job.error) for job in done] == [(JobState.DONE, None)] * 2
        assert done[0].result == {"done": 80, "error": 0}
        assert (await resources.releases.get("notes", release.number)).state is ReleaseState.SERVING
        versions = await all_versions(resources)
        assert {f"note-{number:03d}.txt" for number in range(80)} | acknowledged <= versions.keys()
        assert set(versions.values()) == {1}
        assert await writes(resources) == len(versions)

    async def keep_writing(self, resources: Resources, acknowledged: set[str]) -> None:
        for number in range(1_000_000):
            try:
                await resources.documents.add("notes", [DocumentInput(f"text {number}", id=f"own-{number}")])
                acknowledged.add(f"own-{number}")
            except Overloaded:
                pass
            await asyncio.sleep(0.05)
