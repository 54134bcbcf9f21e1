"""Files that were sent for a job, on the disk before the job is acknowledged.

They lie in home/uploads/JOB/ORDINAL. The names that clients gave stand in the database only: no file name of
theirs touches the disk.
"""

import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Protocol

from app.jobs.types import StoredUpload
from embeddings.errors import StorageFull

UPLOADS = "uploads"
# An upload that a job is about to name is younger than this.
ORPHAN_AGE_S = 24 * 3600


class Content(Protocol):
    """An open file: on the disk, in memory, or spooled by the server."""

    def read(self, size: int = -1, /) -> Any:
        """At most `size` bytes from the present position on."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in. content: read from its present position to its end."""

    name: str
    content: Content
    media_type: str | None = None


def store_uploads(home: Path, job_id: str, uploads: Sequence[Upload]) -> tuple[StoredUpload, ...]:
    """Write the files, and return when they are on the disk. Raises StorageFull; nothing is left then."""
    folder = home / UPLOADS / job_id
    try:
        folder.mkdir(mode=0o700, parents=True)
        stored = tuple(_store(home, folder / str(at), upload) for at, upload in enumerate(uploads))
        for changed in (folder, folder.parent, home):
            _sync_folder(changed)
    except OSError as error:
        remove_uploads(home, job_id)
        raise StorageFull(
            f"the disk took no more of the uploaded files: {error.strerror}",
            found=error.strerror,
            expected="free space under FOOTNOTE_HOME",
            next_step="free some space, then send the files again; nothing of them was kept",
        ) from error
    return stored


def remove_uploads(home: Path, job_id: str) -> None:
    """Remove the files of a job, if there are any."""
    shutil.rmtree(home / UPLOADS / job_id, ignore_errors=True)


def remove_orphans(home: Path, known: Collection[str]) -> None:
    """Remove the folders that no job names, which a kill between upload and acknowledgement left."""
    folders = (home / UPLOADS).glob("*")
    for folder in folders:
        if folder.name not in known and folder.stat().st_mtime < time() - ORPHAN_AGE_S:
            shutil.rmtree(folder, ignore_errors=True)


def _store(home: Path, path: Path, upload: Upload) -> StoredUpload:
    with path.open("xb") as file:
        shutil.copyfileobj(upload.content, file)
        file.flush()
        os.fsync(file.fileno())
    return StoredUpload(upload.name, path.relative_to(home).as_posix(), upload.media_type)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
