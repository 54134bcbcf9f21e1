"""The worker process: one for a home folder, or, where the database is PostgreSQL, any number of them."""

import asyncio
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from anyio import to_thread

from app.db.engine import Database
from app.db.leases import holder_name
from app.db.migrations import apply_migrations
from app.jobs.attempts import AttemptRef, ids_worth_keeping, known_job_ids
from app.jobs.claims import Claims
from app.jobs.context import StepRunner
from app.jobs.durable import DurableAttempts, DurableStore
from app.jobs.kinds import FUNCTIONS
from app.jobs.runner import JobRunner
from app.jobs.training_folder import remove_orphans as remove_trainings
from app.jobs.training_folder import training_folders
from app.jobs.uploads import remove_orphans
from app.settings import Settings
from app.telemetry.tracing import open_tracing
from app.version import installed_version
from embeddings.errors import Conflict, FootnoteError

if TYPE_CHECKING:
    from app.resources import Resources

logger = logging.getLogger("footnote.jobs")

ResourcesOpener = Callable[[], AbstractAsyncContextManager["Resources"]]

DISPATCH_S = 0.3
# So many jobs run side by side: a snapshot need not wait for the end of a long ingest.
CONCURRENT_JOBS = 4
# On SQLite a worker goes on with what the one before it was doing.
SOLE_EXECUTOR = "worker"
# Queries come first wherever the scheduler has a choice.
NICENESS = 10
FAREWELL_S = 2.0
RETRY_S = 1.0
# What a training that failed or was cancelled has done; resumed later, it begins anew.
KEPT_AFTER_FAILURE = timedelta(days=7)


class WorkerLock:
    """Held by the one worker of a home folder. The kernel frees it at the worker's end, however it comes."""

    def __init__(self, home: Path) -> None:
        self._path = home / "worker.lock"

    @contextmanager
    def held(self, wait: bool) -> Iterator[None]:
        """Hold it. Raises Conflict while another process does, or waits until it ends."""
        with self._path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    f"another worker works on {self._path.parent}",
                    found="a held lock",
                    expected="one worker for a home folder",
                    next_step="stop the other one; `footnote serve` starts one unless FOOTNOTE_WORKERS is 0",
                ) from error
            yield


class Worker:
    """Follows the table of jobs and runs what it asks for.

    opener: opens the resources at the first job; None: with the encoder that the settings name.
    """

    def __init__(self, settings: Settings, opener: ResourcesOpener | None = None) -> None:
        self._settings = settings
        self._opener = opener or (lambda: _open_for_writing(settings))
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._resources: Resources | None = None
        self._database = Database(settings.database, settings.busy_timeout_s)
        self._sole = settings.database.is_sqlite
        self._claims = Claims(self._database, holder_name(), CONCURRENT_JOBS)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what is under way then goes on with another worker."""
        await self._insist(self._prepare)
        tracing = open_tracing(os.environ, installed_version())
        runner = JobRunner(self._database, FUNCTIONS, self._open, tracing)
        attempts = DurableAttempts(self._store(), partial(self._attempt, runner))
        attempts.open()
        keeping = asyncio.create_task(self._claims.keep())
        while not stop.is_set():
            await self._look(attempts)
            await _wait(stop, DISPATCH_S)
        keeping.cancel()
        with suppress(FootnoteError):  # then its leases end by themselves
            await self._claims.stop(give_back=not self._sole)
        if tracing is not None:
            await to_thread.run_sync(tracing.close)

    async def _prepare(self) -> None:
        if self._sole:
            await self._claims.forget_others()
        await self._claims.forget_old()
        await self._remove_orphans()

    def _store(self) -> DurableStore:
        if self._sole:
            return DurableStore(f"sqlite:///{self._settings.home / 'jobs.db'}", SOLE_EXECUTOR)
        return DurableStore(self._settings.database.url, self._claims.holder)

    async def _attempt(self, runner: JobRunner, ref: AttemptRef, run_step: StepRunner) -> None:
        try:
            await runner.run(ref, run_step)
        finally:
            await self._claims.end(ref)

    async def _look(self, attempts: DurableAttempts) -> None:
        """Start what nobody works on. Several workers take one job each at a look, so that all get some."""
        try:
            for _ in range(CONCURRENT_JOBS if self._sole else 1):
                taken = await self._claims.take()
                if taken is None:
                    return
                await self._start(attempts, taken)
        except FootnoteError as error:  # the disk or its lock, or a server that is away
            logger.warning("cannot look for jobs: %s", error.message)
            await asyncio.sleep(RETRY_S)

    async def _start(self, attempts: DurableAttempts, ref: AttemptRef) -> None:
        started = False
        try:
            started = await attempts.start(ref)
        finally:
            if not started:
                await self._claims.end(ref)

    async def _open(self) -> "Resources":
        async with self._opening:
            if self._resources is None:
                self._resources = await self._stack.enter_async_context(self._opener())
            return self._resources

    async def _remove_orphans(self) -> None:
        trainings = await to_thread.run_sync(training_folders, self._settings.home)
        async with self._database.read() as connection:
            known = await known_job_ids(connection)
            standing = await ids_worth_keeping(connection, datetime.now(UTC) - KEPT_AFTER_FAILURE)
        await to_thread.run_sync(remove_orphans, self._settings.home, known)
        await to_thread.run_sync(remove_trainings, trainings, standing)

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it until the database takes it."""
        while True:
            try:
                return await work()
            except FootnoteError as error:
                logger.warning("the worker cannot begin yet: %s", error.message)
                await asyncio.sleep(RETRY_S)


def run_worker(settings: Settings, opener: ResourcesOpener | None = None, child: bool = False) -> NoReturn:
    """Work until SIGTERM or SIGINT comes, or, as a child, until standard input ends; then end the process.

    On SQLite a child waits while another worker works; otherwise that raises Conflict. The process ends
    without unwinding: what is under way may be killed at any instant, and a thread that hangs in a broken
    file must not keep it alive.
    """
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    apply_migrations(settings.database, settings.busy_timeout_s)
    if child:
        threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    sole = settings.database.is_sqlite
    with WorkerLock(settings.home).held(wait=child) if sole else nullcontext():
        os.nice(NICENESS)
        asyncio.run(_work(settings, opener))
    raise AssertionError  # _work has ended the process


async def _work(settings: Settings, opener: ResourcesOpener | None) -> NoReturn:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop_soon, stop)
    code = 1
    try:
        await Worker(settings, opener).run(stop)
        code = 0
    except Exception:
        logger.exception("the worker cannot go on")
    finally:
        logging.shutdown()
        os._exit(code)


def _stop_soon(stop: asyncio.Event) -> None:
    stop.set()
    farewell = threading.Timer(FAREWELL_S, os._exit, (0,))
    farewell.daemon = True
    farewell.start()


def _end_with(parent: IO[bytes]) -> None:
    """End when the other end of the pipe is gone: its holder has ended, perhaps killed."""
    while parent.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * FAREWELL_S)
    os._exit(0)


@asynccontextmanager
async def _open_for_writing(settings: Settings) -> AsyncIterator["Resources"]:
    """Open the service without a decoder: nothing is answered here."""
    # Imported at the first job: a worker that waits takes half the memory.
    from app.encoders import RayUse, load_encoder  # noqa: PLC0415
    from app.resources import Models, open_resources  # noqa: PLC0415
    from generation.answering import Answerer  # noqa: PLC0415

    loaded = await to_thread.run_sync(load_encoder, settings.encoder)
    models = Models(loaded.encoder, loaded.tokenizer, Answerer(None, refuse_below=0.0))
    async with open_resources(settings, models) as resources:
        if settings.ray_address is not None:
            resources.encoders.ray = RayUse(settings.ray_address)
        yield resources


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
