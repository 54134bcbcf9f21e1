"""Files that become durable as a whole or not at all."""

import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embeddings.errors import Conflict, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """A folder beside `target` to make it in, removed at the end.

    What a killed process left of the same target goes first. Raises Conflict while another process makes it,
    StorageFull when the disk takes no more.
    """
    folder = target.parent / f".{target.name}.partial"
    with disk_errors(target.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "lock").open("a") as lock:
            _take(lock.fileno(), target)
            try:
                _clear(folder)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn what the system says about a disk without space, or without leave, into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL | _FORBIDDEN:
            raise
        raise _refused(place, error.strerror or str(error), error.errno in _FULL) from error
    except sqlite3.OperationalError as error:
        if "full" not in str(error) and "I/O" not in str(error):
            raise
        raise _refused(place, str(error), full=True) from error


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until a folder with all that is in it is on the disk."""
    for path in (folder, *folder.rglob("*")):
        sync(path)


def _take(lock: int, target: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            f"another process is making {target}",
            found=str(target),
            expected="a target that nobody else writes",
            next_step="wait for it, or choose another name",
        ) from error


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _refused(place: Path, reason: str, full: bool) -> StorageFull:
    return StorageFull(
        f"the disk took no more in {place}: {reason}" if full else f"cannot write in {place}: {reason}",
        found=reason,
        expected=f"free space in {place}" if full else f"a folder that this user may write: {place}",
        next_step="free some space or choose another folder; nothing was left behind"
        if full
        else "correct the folder's permissions, or choose another folder",
    )
