"""Makes builds beside the service: when an index has grown, and again when many of its rows are dead.

One thread that gives way to all others writes the files; searches and writes go on, and the finished build
takes the place of what was searched before in one step. Of several processes on one data folder one makes a
build, by a lease, and the others go over to it when they find it there.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import ParamSpec, TypeVar

from app.builds import MAX_CHECKED_BYTES, BuildStore, build_seq
from app.db.engine import Database
from app.db.following import ReleaseIncompleteError, Wanted
from app.db.leased import leased
from app.db.leases import holder_name
from app.index_lag import keep_up
from app.indexes import Indexes
from embeddings.errors import BuildDamaged, FootnoteError, NotFound
from embeddings.priority import give_way
from retrieval.builds.manifest import BuildOrigin, read_manifest
from retrieval.builds.sealing import SealOptions
from retrieval.index import CollectionIndex
from retrieval.search_index import SearchIndex

logger = logging.getLogger("footnote.building")

P = ParamSpec("P")
T = TypeVar("T")

INTERVAL_S = 1.0
# After a failure such as a full disk: what is searched stays as it is, and nothing is lost by waiting.
PAUSE_S = 60.0


class BuildStoppedError(Exception):
    """The service ends; the unfinished build is dropped."""


class Builder:
    """Watches the indexes of this process. threads: that FAISS may use for a build."""

    def __init__(self, indexes: Indexes, store: BuildStore, database: Database, threads: int = 1) -> None:
        self._indexes = indexes
        self._store = store
        self._database = database
        self._threads = threads
        self._holder = holder_name()
        self._stopping = Event()
        self._verified: set[str] = set()
        self._seen: dict[Wanted, int] = {}
        self._thread = ThreadPoolExecutor(1, "footnote-build", initializer=give_way)

    async def run(self) -> None:
        """Build whatever needs it, until `close`. A failure is told and tried again later."""
        while not self._stopping.is_set():
            pause = INTERVAL_S
            try:
                await self.build_all()
                await self._indexes.hold_ready()
                await keep_up(self._database, self._indexes)
                await self._run(self._store.give_sign)
            except (
                FootnoteError,
                OSError,
                RuntimeError,
            ) as error:  # FAISS raises RuntimeError on a full disk
                logger.warning("a build could not be made: %s; trying again in %d s", error, PAUSE_S)
                pause = PAUSE_S
            except BuildStoppedError:
                return
            await asyncio.sleep(pause)

    async def build_all(self) -> int:
        """One build for each index that needs one; returns how many were made."""
        made = 0
        for wanted, index in self._indexes.held().items():
            if not isinstance(index, CollectionIndex):
                continue  # an engine keeps its own files
            await self._verify(wanted, index)
            if not await self._adopt(wanted, index) and index.needs_build:
                made += await self.build(wanted)
        return made

    async def build(self, wanted: Wanted) -> bool:
        """Seal what an index holds, and go on from there.

        False when the release is not ready for it, or another process makes or has just made one.
        """
        async with leased(self._database, lease_name(wanted), self._holder) as held:
            index = self._indexes.held().get(wanted)
            if not held or (index is not None and await self._adopt(wanted, index)):
                return False
            return await self._build(wanted)

    async def _build(self, wanted: Wanted) -> bool:
        try:
            if (index := await self._sealable(wanted)) is None:
                return False
            directory = await self._run(self._seal, index, wanted)
            await self._indexes.replace(wanted, await self._run(self._store.open_build, directory))
        except (NotFound, ReleaseIncompleteError):
            return False
        self._verified.add(directory.name)
        logger.info("collection %d: build %s is in service", wanted.collection_id, directory.name)
        return True

    async def _adopt(self, wanted: Wanted, index: SearchIndex) -> bool:
        """Go on from a newer build that another process has made. False without one."""
        seen = await self._run(self._store.changed, wanted.collection_id)
        if seen == self._seen.get(wanted):
            return False
        newest = await self._run(self._store.newest, self._origin(wanted))
        newer = newest is not None and newest.max_seq > _build_seq(index)
        if newer:
            logger.info("collection %d: going over to a build of another process", wanted.collection_id)
            await self._indexes.reopen(wanted)
        self._seen[wanted] = seen
        return newer

    def close(self) -> None:
        """Stop the build that is being made."""
        self._stopping.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _sealable(self, wanted: Wanted) -> CollectionIndex | None:
        """The index in service, or, where it lives in memory only, another one loaded from SQL.

        None when it is not searched any more.
        """
        index = self._indexes.held().get(wanted)
        if not isinstance(index, CollectionIndex):
            return None
        if not index.sealable:
            index = self._store.new_index(index.dimension)
            await self._indexes.load(wanted, index)
        return index

    async def _verify(self, wanted: Wanted, index: CollectionIndex) -> None:
        """Compare the checksums of a build that was too large for that when it was opened."""
        build = index.build
        if build is None or build.name in self._verified:
            return
        try:
            if read_manifest(build).size_bytes > MAX_CHECKED_BYTES:
                await self._run(self._store.verify, build)
            self._verified.add(build.name)
        except BuildDamaged as error:
            if build.exists():  # else another process has newer ones and removed it
                self._store.discard(build, error)
                await self._indexes.reopen(wanted)

    def _seal(self, index: CollectionIndex, wanted: Wanted) -> Path:
        return self._store.seal(index, self._origin(wanted), SealOptions(self._threads, progress=self._go_on))

    def _origin(self, wanted: Wanted) -> BuildOrigin:
        return self._store.origin(wanted.collection_id, wanted.chunking, wanted.model_id)

    def _go_on(self, _done: int, _total: int) -> None:
        if self._stopping.is_set():
            raise BuildStoppedError

    async def _run(self, function: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def lease_name(wanted: Wanted) -> str:
    """Of the one process that makes builds of this origin."""
    parts = f"{wanted.chunking}\n{wanted.model_id}".encode()
    return f"build:{wanted.collection_id}:{hashlib.sha256(parts).hexdigest()[:16]}"


def _build_seq(index: SearchIndex) -> int:
    """The sequence number that the index's build has reached; -1 without one."""
    return -1 if index.build is None else build_seq(index.build)
