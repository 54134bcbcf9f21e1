"""The job that writes a snapshot into the data folder's own `snapshots`."""

import re
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread

from app.jobs.context import JobContext
from app.jobs.service import JobService
from app.jobs.types import JobInfo
from app.settings import Settings
from embeddings.errors import Conflict, InvalidInput

SNAPSHOT = "snapshot"
FOLDER = "snapshots"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


async def submit_snapshot(jobs: JobService, settings: Settings, name: str) -> JobInfo:
    """Ask for the snapshot `name`. Raises InvalidInput for a bad name, Conflict for one that is taken."""
    if not _NAME.fullmatch(name):
        expected = "1 to 100 of A-Z a-z 0-9 . _ - that start with a letter or digit"
        raise InvalidInput(
            f"the name of a snapshot has {expected}", field="name", found=repr(name[:120]), expected=expected
        )
    target = _target(settings, name)
    if await to_thread.run_sync(target.exists):
        raise Conflict(
            f"there is a snapshot {name} already",
            field="name",
            found=name,
            expected="a new name",
            next_step="choose another name, or remove the file first",
        )
    return await jobs.submit(SNAPSHOT, None, {"name": name})


async def snapshot(context: JobContext) -> dict[str, Any]:
    """Write the snapshot; returns its path and its size in bytes. Raises as `create_snapshot` does."""
    return dict(await context.step("snapshot", partial(_write, context)))


async def _write(context: JobContext) -> dict[str, Any]:
    target = _target(context.resources.settings, str(context.input["name"]))
    # The name was free when the job was made: what stands there was written before the worker was killed.
    if not await to_thread.run_sync(target.exists):
        await to_thread.run_sync(_create, context, target)
    return {"path": str(target), "size_bytes": (await to_thread.run_sync(target.stat)).st_size}


def _create(context: JobContext, target: Path) -> None:
    from app.snapshots.writing import create_snapshot  # noqa: PLC0415  the service asks, and never writes

    def show(what: str, done: int, total: int) -> None:
        context.check_cancelled()
        context.progress(done, total, what)

    target.parent.mkdir(mode=0o700, exist_ok=True)
    create_snapshot(context.resources.settings, target, show)


def _target(settings: Settings, name: str) -> Path:
    return settings.home / FOLDER / name
