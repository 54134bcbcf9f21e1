"""The job that takes files in. Each file succeeds or fails alone."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread

from app.jobs.attempts import (
    PendingItem,
    count_item_states,
    count_start,
    end_item,
    pending_items,
)
from app.jobs.context import JobCancelled, JobContext
from app.jobs.failures import record_failure
from app.jobs.types import ItemState
from app.jobs.uploads import remove_uploads
from app.services.types import FileInput, ItemResult, ItemStatus
from embeddings.errors import FootnoteError, InvalidInput, NotFound, Overloaded, StorageFull, Unreadable

logger = logging.getLogger("footnote.jobs")

# Files that are read side by side: the encoder works on their chunks in common batches.
GROUP = 8
# A file whose reading ended the worker as often is not read again.
MAX_STARTS = 3
# 8 MiB of text are 90 s of encoding on two cores, and eight such files share them.
TIMEOUT_S = 900.0
BUSY_RETRIES = 30
BUSY_PAUSE_S = 1.0
# What is wrong with the job or the machine, not with the file: the others would fail as well.
_FATAL = (NotFound, StorageFull, Overloaded, JobCancelled)


@dataclass(slots=True)
class Tally:
    """How many of the job's files have their end. Counted here: in SQL it would be a look at all of them."""

    ended: int
    total: int


async def ingest_files(context: JobContext) -> dict[str, Any]:
    """Store the job's files; returns how many there are in each state.

    Raises NotFound when the collection is gone, StorageFull or Overloaded when nothing can be written.
    """
    counts = await _counts(context)
    total = sum(counts.values())
    tally = Tally(total - counts[ItemState.PENDING], total)
    for first in range(0, total, GROUP):
        name = f"files {first} to {first + GROUP - 1}"
        await context.step(name, partial(_store_group, context, tally, first))
    counts = await _counts(context)
    if not counts[ItemState.ERROR]:
        await to_thread.run_sync(remove_uploads, context.resources.settings.home, context.job_id)
    return {"done": counts[ItemState.DONE], "error": counts[ItemState.ERROR]}


async def _store_group(context: JobContext, tally: Tally, first: int) -> None:
    """Store those of a group of files that wait.

    Files whose reading has ended a worker before come last and one by one, so that only the guilty one is
    found guilty.
    """
    async with context.resources.database.read() as connection:
        waiting = await pending_items(connection, context.job_id, first, GROUP)
    await _store_together(context, tally, [item for item in waiting if item.starts == 0])
    for item in waiting:
        if item.starts >= MAX_STARTS:
            await _end(
                context, tally, item, {"state": ItemState.ERROR, "error": record_failure(_deadly(item))}
            )
        elif item.starts > 0:
            await _store_together(context, tally, [item])


async def _store_together(context: JobContext, tally: Tally, items: Sequence[PendingItem]) -> None:
    async with context.resources.database.write() as connection:
        await count_start(connection, context.job_id, [item.ordinal for item in items])
    async with asyncio.TaskGroup() as group:
        storing = [group.create_task(_fatal_or_none(_store(context, tally, item))) for item in items]
    for task in storing:
        if (fatal := task.result()) is not None:
            raise fatal


async def _fatal_or_none(storing: Awaitable[None]) -> FootnoteError | JobCancelled | None:
    """The error that ends the job, kept from ending the files beside it halfway."""
    try:
        await storing
    except _FATAL as error:
        return error
    return None


async def _store(context: JobContext, tally: Tally, item: PendingItem) -> None:
    try:
        results = await _within_time(_add(context, item))
        values = _outcome(results)
    except _FATAL:
        raise
    except Exception as error:
        values = {"state": ItemState.ERROR, "error": record_failure(error)}
    await _end(context, tally, item, values)
    if values["state"] is ItemState.DONE:
        await to_thread.run_sync(partial(_path(context, item).unlink, missing_ok=True))


async def _add(context: JobContext, item: PendingItem) -> tuple[ItemResult, ...]:
    data = await to_thread.run_sync(_read, _path(context, item))
    file = FileInput(item.name, data, media_type=item.media_type, metadata=context.input["metadata"])
    for _ in range(BUSY_RETRIES):
        try:
            return await context.resources.documents.add_files(context.collection or "", [file])
        except Overloaded:
            await asyncio.sleep(BUSY_PAUSE_S)
    return await context.resources.documents.add_files(context.collection or "", [file])


async def _within_time(adding: Awaitable[tuple[ItemResult, ...]]) -> tuple[ItemResult, ...]:
    """The result. Raises Unreadable when it takes too long; a thread that hangs is left behind."""
    task = asyncio.ensure_future(adding)
    try:
        await asyncio.wait({task}, timeout=TIMEOUT_S)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    raise Unreadable(
        f"the file was not read within {TIMEOUT_S:.0f} s",
        found=f"{TIMEOUT_S:.0f} s without an end",
        expected="a file that can be read",
        next_step="split the file, or correct it, and send it again",
    )


def _outcome(results: Sequence[ItemResult]) -> dict[str, Any]:
    """The item's state: an error when nothing of the file was stored, with the first of its reasons."""
    failed = [result.error for result in results if result.error is not None]
    told = {
        "documents": len(results) - len(failed),
        "unchanged": sum(result.status is ItemStatus.UNCHANGED for result in results),
        "chunks": sum(result.chunks or 0 for result in results),
        "errors": len(failed),
    }
    if failed:
        return {"state": ItemState.ERROR, "error": record_failure(failed[0]), "result": told}
    return {"state": ItemState.DONE, "result": told}


async def _end(context: JobContext, tally: Tally, item: PendingItem, values: dict[str, Any]) -> None:
    async with context.resources.database.write() as connection:
        await end_item(connection, context.job_id, item.ordinal, values)
    tally.ended += 1
    context.progress(tally.ended, tally.total, "files")


async def _counts(context: JobContext) -> dict[ItemState, int]:
    async with context.resources.database.read() as connection:
        return await count_item_states(connection, context.job_id)


def _path(context: JobContext, item: PendingItem) -> Path:
    return context.resources.settings.home / item.path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidInput(
            "the uploaded file is not in the home folder any more",
            found="nothing",
            expected="the file that was sent",
            next_step="send it again",
        ) from error


def _deadly(item: PendingItem) -> Unreadable:
    return Unreadable(
        f"the worker ended {item.starts} times while it read this file",
        found=f"{item.starts} ends",
        expected="a file that can be read",
        next_step="convert the file to another format, and send it again",
    )
