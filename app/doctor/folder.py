"""The data folder itself."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from app.builds import is_orphan
from app.doctor.findings import Finding, ok, problem, some_of, warning
from app.jobs.uploads import ORPHAN_AGE_S, UPLOADS
from app.settings import MIB
from app.snapshots.manifest import INDEXES

MIN_FREE_BYTES = 64 * MIB  # less than one large request
MAX_LOG_BYTES = 1024 * MIB
# A process that has made its folder has locked it by then.
STARTING_S = 60


def check_permissions(home: Path) -> Finding:
    """Whether this user may work in the folder, and others may not read it."""
    files = [path for path in (home, *home.glob("*.db*")) if not os.access(path, os.R_OK | os.W_OK)]
    if files:
        return problem(
            "permissions",
            f"this user may not read and write {some_of(files)}",
            f"sudo chown -R $USER {home}, or set FOOTNOTE_HOME to another folder",
        )
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        return warning("permissions", f"others may enter {home} (mode {mode:o})", f"chmod 700 {home}")
    return ok("permissions", f"only this user may enter {home}")


def check_free_disk(home: Path, database: Path | None) -> Finding:
    """Whether there is room for the next writes, and for a build or a snapshot.

    database: its file; None where it is on a server.
    """
    free, needed = shutil.disk_usage(home).free, 0 if database is None else database.stat().st_size
    shown = f"{free / 1e9:,.1f} GB free"
    if free < MIN_FREE_BYTES:
        return problem("disk", shown, "free some space: writes are about to be refused")
    if free < needed:
        return warning(
            "disk",
            f"{shown}, less than the database of {needed / 1e9:,.1f} GB",
            "free some space: a build or a snapshot may not find room",
        )
    return ok("disk", shown)


def check_log(database: Path) -> Finding:
    """Whether the write-ahead log is merged into the database now and then."""
    log = database.with_name(database.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > MAX_LOG_BYTES:
        return warning(
            "write-ahead log",
            f"{size / 1e9:,.1f} GB: a process has been reading for long, or was killed",
            "stop every process of Footnote and start it again, which merges the log",
        )
    return ok("write-ahead log", f"{size / 1e6:,.1f} MB")


def check_temporary_files(home: Path, jobs: frozenset[str]) -> Finding:
    """What killed processes left. jobs: the ids of all jobs."""
    left = [*_workshops(home), *_workspaces(home), *_uploads(home, jobs)]
    if left:
        return warning(
            "temporary files",
            f"ended processes left {some_of(sorted(left))}",
            "stop Footnote and remove them; workspaces and uploads go by themselves at the next start",
        )
    return ok("temporary files", "none is left over")


def _workshops(home: Path) -> Iterator[Path]:
    """Where snapshots are made and restored."""
    for place in (*home.glob(".*.partial"), home.resolve().parent / f".{home.resolve().name}.partial"):
        if place.is_dir() and _is_left(place):
            yield place


def _is_left(workshop: Path) -> bool:
    """Whether no process of this machine holds the lock in it."""
    try:
        with (workshop / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no lock yet: a process is just making it, or died in between
        return workshop.stat().st_mtime < time.time() - STARTING_S
    return True


def _workspaces(home: Path) -> Iterator[Path]:
    """Where processes work on indexes."""
    return (place for place in (home / INDEXES / "live").glob("*") if is_orphan(place))


def _uploads(home: Path, jobs: frozenset[str]) -> Iterator[Path]:
    for folder in (home / UPLOADS).glob("*"):
        if folder.name not in jobs and folder.stat().st_mtime < time.time() - ORPHAN_AGE_S:
            yield folder
