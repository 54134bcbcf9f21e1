"""Keeps worker processes running beside the service."""

import asyncio
import logging
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from app.settings import Settings
from embeddings.errors import InvalidInput

logger = logging.getLogger("footnote.jobs")

WORKER = (sys.executable, "-m", "app", "worker", "--child")
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# A worker that lived so long was sound: the next pause is the first one again.
SOUND_AFTER_S = 60.0
END_S = 5.0


@asynccontextmanager
async def worker_beside(
    command: Sequence[str] = WORKER, first_pause_s: float = FIRST_PAUSE_S
) -> AsyncIterator[None]:
    """Run a worker as long as the block lasts, and anew, after a pause, whenever it ends.

    The worker holds the reading end of a pipe and ends when its writing end is gone, so it does not outlive
    this process, however that ends. first_pause_s doubles with each end that comes soon.
    """
    keeping = asyncio.create_task(_keep(command, first_pause_s))
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


def check_workers(settings: Settings) -> None:
    """Raise InvalidInput for more workers than a SQLite file can be shared by."""
    if settings.workers > 1 and settings.database.is_sqlite:
        raise InvalidInput(
            f"FOOTNOTE_WORKERS is {settings.workers}, and one worker works on a SQLite database",
            field="FOOTNOTE_WORKERS",
            found=str(settings.workers),
            expected="0 or 1, or PostgreSQL in FOOTNOTE_DATABASE_URL",
            next_step="set FOOTNOTE_WORKERS to 1, or move to PostgreSQL",
        )


@asynccontextmanager
async def workers_beside(count: int, command: Sequence[str] = WORKER) -> AsyncIterator[None]:
    """Run so many workers as long as the block lasts, each as `worker_beside` does."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(worker_beside(command))
        yield


async def _keep(command: Sequence[str], first_pause_s: float) -> None:
    pause_s = first_pause_s
    while True:
        began = time.monotonic()
        code = await _run_once(command)
        if time.monotonic() - began >= SOUND_AFTER_S:
            pause_s = first_pause_s
        logger.warning("the worker ended with code %s; it is started again in %.0f s", code, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _run_once(command: Sequence[str]) -> int | None:
    # A session of its own: Ctrl-C reaches the service alone, which then lets the worker end in order.
    worker = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=DEVNULL, start_new_session=True
    )
    try:
        return await worker.wait()
    finally:
        if worker.returncode is None:
            await _end(worker)


async def _end(worker: asyncio.subprocess.Process) -> None:
    if worker.stdin is not None:
        worker.stdin.close()
    try:
        await asyncio.wait_for(worker.wait(), END_S)
    except TimeoutError:
        worker.kill()
        await worker.wait()
