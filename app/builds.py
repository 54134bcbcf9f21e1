"""The builds of this data folder: found, checked, opened, and swept away when nothing needs them.

    indexes/<collection id>/<build id>/    sealed builds; the newest two of each origin are kept
    indexes/live/<process>/                what one process works in; swept when the process has gone

A build is a cache of SQL: a damaged one is removed, and the one before it, or SQL, takes its place.

Processes of several machines may share the folder. A machine that still has a build mapped must find its
files: some shared disks take them away from it when another machine removes them. So a build stays for some
time after others have taken its place, and every process has gone over to a newer one by then.
"""

import fcntl
import logging
import os
import re
import shutil
import socket
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import IO

from embeddings.errors import BuildDamaged
from retrieval.builds.manifest import BuildManifest, BuildOrigin, read_manifest, verify_files
from retrieval.builds.sealing import SealOptions
from retrieval.index import CollectionIndex

logger = logging.getLogger("footnote.builds")

LIVE = "live"
LOCK = "lock"
KEPT_BUILDS = 2  # the newest, and one to fall back on
# Checked before it is used: half a second. The checksums of larger builds are compared while they serve.
MAX_CHECKED_BYTES = 1 << 30
# How long a build that is not needed any more stays where several machines share the folder.
SHARED_KEPT_S = 600.0
# A process of another machine, whose locks not every shared disk shows, has ended if it gave no sign so long.
SILENT_S = 24 * 3600.0


_MACHINE = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:80]


class BuildStore:
    """root: the folder `indexes`, which need not exist yet. database_id: no build of another is read.

    kept_s: how long builds stay after two newer ones are there.
    """

    def __init__(self, root: Path, database_id: str, kept_s: float = 0.0) -> None:
        self._root = root
        self._database_id = database_id
        self._kept_s = kept_s
        self._live: Path | None = None
        self._lock: IO[str] | None = None
        self._numbers = count()

    def origin(self, collection_id: int, chunking: str, model_id: str) -> BuildOrigin:
        """What a build of this database is of."""
        return BuildOrigin(self._database_id, collection_id, chunking, model_id)

    def builds(self, origin: BuildOrigin) -> Iterator[tuple[Path, BuildManifest]]:
        """The usable builds of an origin, newest first. Damaged ones are removed on the way."""
        folder = self._folder(origin.collection_id)
        for directory in sorted(_folders(folder), reverse=True):
            try:
                manifest = read_manifest(directory)
            except BuildDamaged as error:
                self.discard(directory, error)
                continue
            if manifest.database_id != self._database_id:
                logger.warning("the build %s is of another database; it is removed", directory)
                self._remove(directory)
            elif manifest.origin == origin:
                yield directory, manifest

    def changed(self, collection_id: int) -> int:
        """A number that is another one after a build of the collection has come or gone; 0 without builds."""
        try:
            return self._folder(collection_id).stat().st_mtime_ns
        except OSError:
            return 0

    def newest(self, origin: BuildOrigin) -> BuildManifest | None:
        """The manifest of the newest build, its checksums not compared; None without one."""
        return next((manifest for _, manifest in self.builds(origin)), None)

    def open(self, origin: BuildOrigin, dimension: int, last_seq: int) -> CollectionIndex | None:
        """The index of the newest good build that is not ahead of `last_seq`; None without one."""
        for directory, manifest in self.builds(origin):
            if manifest.max_seq > last_seq or manifest.dimension != dimension:
                continue
            try:
                if manifest.size_bytes <= MAX_CHECKED_BYTES:
                    verify_files(directory, manifest)
                return self.open_build(directory)
            except BuildDamaged as error:
                self.discard(directory, error)
        return None

    def open_build(self, directory: Path) -> CollectionIndex:
        """The index that goes on from one build, its checksums not compared. Raises BuildDamaged."""
        workspace = self._workspace()
        try:
            opened = CollectionIndex.open(directory, workspace)
        except OSError as error:  # another process removed it, because there are newer ones
            shutil.rmtree(workspace, ignore_errors=True)
            raise BuildDamaged(f"the build {directory.name} went away: {error}") from error
        weakref.finalize(opened, shutil.rmtree, workspace, ignore_errors=True)
        return opened

    def new_index(self, dimension: int) -> CollectionIndex:
        """An empty index that can be sealed."""
        workspace = self._workspace()
        index = CollectionIndex(dimension, workspace)
        weakref.finalize(index, shutil.rmtree, workspace, ignore_errors=True)
        return index

    def seal(self, index: CollectionIndex, origin: BuildOrigin, options: SealOptions) -> Path:
        """Make a build of what the index holds, and remove those that are too old to be needed."""
        folder = self._folder(origin.collection_id)
        folder.mkdir(parents=True, exist_ok=True)
        scratch = self._workspace() / "build"
        try:
            directory = index.seal(scratch, folder, origin, options)
        finally:
            shutil.rmtree(scratch.parent, ignore_errors=True)
        self._remove_old(origin)
        return directory

    def verify(self, build: Path) -> None:
        """Compare all checksums of a build. Raises BuildDamaged."""
        verify_files(build, read_manifest(build))

    def discard(self, directory: Path, error: BuildDamaged) -> None:
        """Remove a damaged build, and say so."""
        logger.warning("%s; it is removed and made anew", error)
        self._remove(directory)

    def give_sign(self) -> None:
        """Show other machines that this process has not ended."""
        if self._live is not None:
            with suppress(OSError):
                os.utime(self._live / LOCK)

    def sweep(self) -> None:
        """Remove what ended processes left behind."""
        for folder in _folders(self._root / LIVE):
            if folder != self._live and is_orphan(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def reached(self) -> dict[Path, tuple[int, int]]:
        """Each readable build with the collection that it is of and the sequence number that it reached."""
        found = {}
        for folder in _folders(self._root):
            if folder.name.isdigit():
                for directory in _folders(folder):
                    with suppress(BuildDamaged):
                        found[directory] = int(folder.name), read_manifest(directory).max_seq
        return found

    def remove_foreign(self, reached: Mapping[Path, tuple[int, int]], last_seqs: Mapping[int, int]) -> None:
        """Remove builds of collections that are no more, and those that are ahead of their collection.

        reached: as told before SQL was asked for last_seqs, the last sequence number of each collection. A
        build is ahead when an older database was put back; what it holds was never written to this one.
        """
        for directory, (collection_id, max_seq) in reached.items():
            if max_seq > last_seqs.get(collection_id, -1):
                logger.warning("the build %s is not of this database's history; it is removed", directory)
                self._remove(directory)
            if collection_id not in last_seqs:
                shutil.rmtree(directory.parent, ignore_errors=True)

    def close(self) -> None:
        """Remove what this process worked in."""
        if self._live is not None and self._lock is not None:
            shutil.rmtree(self._live, ignore_errors=True)
            self._lock.close()
            self._live = self._lock = None

    def _remove(self, directory: Path) -> None:
        """Remove a build. It is moved away first, so that a kill leaves no half of it in its place."""
        doomed = self._workspace() / directory.name
        with suppress(OSError):  # another process was faster
            directory.rename(doomed)
        shutil.rmtree(doomed.parent, ignore_errors=True)

    def _remove_old(self, origin: BuildOrigin) -> None:
        found = list(self.builds(origin))
        latest = datetime.now(UTC) - timedelta(seconds=self._kept_s)
        for (directory, _), (_, newer) in zip(found[KEPT_BUILDS:], found[KEPT_BUILDS - 1 :], strict=False):
            if datetime.fromisoformat(newer.created_at) <= latest:
                self._remove(directory)

    def _folder(self, collection_id: int) -> Path:
        return self._root / str(collection_id)

    def _workspace(self) -> Path:
        """A new folder for this process alone."""
        if self._live is None:
            self._live, self._lock = _claim(self._root / LIVE)
        folder = self._live / str(next(self._numbers))
        folder.mkdir()
        return folder


def _claim(live: Path) -> tuple[Path, IO[str]]:
    """A folder whose lock this process holds until it ends, however it ends."""
    folder = live / f"{_MACHINE}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    lock = (folder / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def build_seq(directory: Path) -> int:
    """The sequence number that a build has reached, from its name."""
    return int(directory.name.partition("-")[0])


def is_orphan(folder: Path) -> bool:
    """Whether no process holds the folder's lock, and, of another machine's, none has given a sign lately."""
    machine, _, process = folder.name.rpartition(".")
    if process and machine not in ("", _MACHINE) and _age_s(folder / LOCK) < SILENT_S:
        return False
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no lock yet: a process is just making it, or died in between
        return _age_s(folder) > 60
    return True


def _age_s(folder: Path) -> float:
    with suppress(OSError):
        return time.time() - folder.stat().st_mtime
    return 0.0


def _folders(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
