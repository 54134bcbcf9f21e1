"""The indexes of this process, one for each release that was searched, which follow SQL.

Every search first compares the sequence number that its index has reached with the collection's last one,
and takes in what is between. So a write is found by the next search in every process, whichever process
wrote it, and a process that starts with nothing loads everything by the same path.

An index on an engine is one for all processes. Whichever follows first takes a write in, and the others learn
that it is there; one that was slower than another in this reads SQL anew.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.builds import BuildStore
from app.db.collections import CollectionRef, all_collections, last_seq_of
from app.db.engine import Database
from app.db.following import Wanted
from app.db.releases import all_releases, fetch_served, find_release, find_served, present_served, served_now
from app.encoders import Encoders
from app.engines import IndexEngines
from app.index_feeding import IndexFeeder, has_reached, refreshed
from app.index_opening import IndexOpener, index_ahead
from app.services.completing import Progress, wanted_of
from app.services.encoding import Encoding
from app.services.release_types import KEPT_STATES, Release, ReleaseState
from embeddings.errors import Conflict, FootnoteError, NotFound, Overloaded, UpstreamFailed
from retrieval.engines.types import IndexMoved
from retrieval.search_index import SearchIndex

logger = logging.getLogger("footnote.indexes")

# After a switch a search waits for the new release to take in so many writes: some tens of milliseconds.
MAX_WAITED_WRITES = 100


@dataclass(slots=True)
class _Held:
    """An index and the lock of its one writer in this process."""

    index: SearchIndex
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Served:
    """A collection as one release shows it. encoding: what queries to `index` have to be encoded with."""

    collection: CollectionRef
    release: Release
    encoding: Encoding
    index: SearchIndex


@dataclass(frozen=True, slots=True)
class _Known:
    """What a collection was last served by, and what its queries were encoded with."""

    release: Release
    encoding: Encoding


class Indexes:
    """One index for each chunking and model of a collection that was searched."""

    def __init__(
        self, database: Database, encoders: Encoders, builds: BuildStore, engines: IndexEngines
    ) -> None:
        self._database = database
        self._encoders = encoders
        self._opener = IndexOpener(database, builds, engines)
        self._feeder = IndexFeeder(database, encoders)
        self._held: dict[Wanted, _Held] = {}
        self._last_served: dict[str, _Known] = {}
        self._warming: dict[int, asyncio.Task[None]] = {}

    async def expected_encoding(self, name: str) -> Encoding:
        """What the collection's queries were last encoded with, so that a query can be encoded before SQL is
        asked. Whether it still holds is known from `follow`. Raises NotFound.
        """
        known = self._last_served.get(name)
        if known is not None:
            return known.encoding
        _, release = await fetch_served(self._database.fetch, name)
        return (await self._encoders.of(release)).encoding

    def current(self, name: str, encoding: Encoding) -> Served | None:
        """What `follow` returns, for a thread that may wait for SQL, when there is nothing to take in.

        None when there is, or another release or encoding is in service. Raises NotFound.
        """
        collection, release = served_now(self._database, name)
        held = self._held.get(self.wanted(release))
        if held is None or self._last_served.get(name) != _Known(release, encoding):
            return None
        served = Served(collection, release, encoding, held.index)
        return served if has_reached(served.index, collection.last_seq) else None

    async def follow(self, name: str) -> Served:
        """The collection in its release in service, whose index has taken in all that was committed before
        this call.

        A release that another process put in service is loaded in the background, and until then the one
        before goes on. Raises NotFound, and ModelDamaged for the release's encoder.
        """
        collection, release = await fetch_served(self._database.fetch, name)
        before = await self._stand_in(collection, release)
        if before is not None:
            return await self.follow_release(collection, before)
        while True:
            served, held = await self._hold(collection, release)
            if served.index.seq < collection.last_seq:
                async with held.lock:
                    served = replace(served, index=await self._standing(held, collection, release))
                    collection, release = await self._feeder.catch_up(served.index, collection, release)
            if release == served.release:
                self._last_served[name] = _Known(release, served.encoding)
                return served

    async def follow_release(
        self, collection: CollectionRef, release: Release, progress: Progress | None = None
    ) -> Served:
        """The collection in any release, completed, with an index that is up to date.

        progress: called with "writes indexed", how many are, and of how many. Raises NotFound when the
        collection was deleted.
        """
        async with self.release_standing_still(collection, release, progress) as (_, served):
            return served

    @asynccontextmanager
    async def standing_still(self, name: str) -> AsyncIterator[tuple[AsyncConnection, Served]]:
        """A snapshot of SQL and an index that have seen exactly the same writes, until the block ends.

        Other searches that need the newest writes wait meanwhile, so the block should be short. An index on
        an engine may go on by the hand of another process: `has_moved` tells. Raises NotFound.
        """
        while True:
            async with self._database.read() as connection:
                collection, release = await find_served(connection, name)
            async with self.release_standing_still(collection, release) as (connection, served):
                present, serving = await present_served(connection, collection)
                if serving == release and present.name == name:  # else it was switched while this waited
                    yield connection, served
                    return

    @asynccontextmanager
    async def release_standing_still(
        self, collection: CollectionRef, release: Release, progress: Progress | None = None
    ) -> AsyncIterator[tuple[AsyncConnection, Served]]:
        """The same for any release. Raises NotFound when the collection was deleted."""
        served, held = await self._hold(collection, release)
        wanted = wanted_of(release, await self._encoders.of(release))
        async with held.lock:
            while True:
                reached = (await self._standing(held, collection, release)).seq
                async with self._database.read() as connection:
                    present, _ = await present_served(connection, collection)
                    last_seq = present.last_seq
                    whole = await self._feeder.lacks_nothing(
                        connection, held.index, wanted, last_seq, progress
                    )
                    if held.index.seq == last_seq:
                        yield connection, Served(present, release, served.encoding, held.index)
                        return
                if reached > last_seq:  # though this snapshot began after the index had reached it
                    raise index_ahead(present, release)
                if not whole:
                    await self._feeder.complete(collection, release)

    async def has_moved(self, served: Served) -> bool:
        """Whether another process has changed the index since it was found standing still."""
        try:
            return await refreshed(served.index) != served.collection.last_seq
        except IndexMoved:  # it was dropped
            return True

    async def follow_all(self) -> None:
        """Bring the index of every collection up to date, so that no first search has to.

        A collection whose engine fails keeps no other from being served.
        """
        async with self._database.read() as connection:
            names = [collection.name for collection in await all_collections(connection)]
        for name in names:
            with suppress(NotFound), _engine_failures_told(name):  # NotFound: deleted meanwhile
                await self.follow(name)

    def held(self) -> dict[Wanted, SearchIndex]:
        """The indexes that are searched now."""
        return {wanted: held.index for wanted, held in self._held.items()}

    def index_of(self, release: Release) -> SearchIndex | None:
        """The index that this process searches a release with; None before its first search."""
        held = self._held.get(self.wanted(release))
        return None if held is None else held.index

    async def load(self, wanted: Wanted, index: SearchIndex) -> None:
        """Bring an index, which nobody searches yet, up to what SQL holds.

        Raises NotFound when the collection was deleted, and ReleaseIncompleteError.
        """
        async with self._database.read() as connection:
            last_seq = await last_seq_of(connection, wanted.collection_id)
            await self._feeder.take_in(connection, index, wanted, last_seq)

    async def replace(self, wanted: Wanted, index: SearchIndex) -> None:
        """Search another index from now on; it is brought up to date first, the last step under the lock.

        Raises as `load` does.
        """
        await self.load(wanted, index)
        if (held := self._held.get(wanted)) is not None:
            async with held.lock:
                await self.load(wanted, index)
                held.index = index

    async def reopen(self, wanted: Wanted) -> None:
        """Search the newest good build, or SQL's own rows, in place of an index whose build is damaged."""
        async with self._database.read() as connection:
            last_seq = await last_seq_of(connection, wanted.collection_id)
        if (held := self._held.get(wanted)) is not None:
            dimension = held.index.dimension
            opened = await to_thread.run_sync(self._opener.open_build, wanted, dimension, last_seq)
            await self.replace(wanted, opened)

    async def _stand_in(self, collection: CollectionRef, release: Release) -> Release | None:
        """The release that answers while the one in service is being loaded; None when that may answer."""
        known = self._last_served.get(collection.name)
        if known is None or known.release.id == release.id or known.release.collection_id != collection.id:
            return None
        if release.id not in self._warming and self._is_far_behind(collection, release):
            self._warming[release.id] = asyncio.create_task(self._warm(collection, release))
        warming = self._warming.get(release.id)
        if warming is None or warming.done():
            return None
        # Of a release that was retired meanwhile the chunks may be gone.
        async with self._database.read() as connection:
            kept = await find_release(connection, collection, known.release.number)
        return kept if kept.state == ReleaseState.PREVIOUS else None

    def _is_far_behind(self, collection: CollectionRef, release: Release) -> bool:
        held = self._held.get(self.wanted(release))
        return held is None or collection.last_seq - held.index.seq > MAX_WAITED_WRITES

    def wanted(self, release: Release) -> Wanted:
        """What the release's index holds, and where."""
        model_id = self._encoders.model_id(release) or ""
        return Wanted(release.collection_id, release.chunking, model_id, release.engine)

    async def _warm(self, collection: CollectionRef, release: Release) -> None:
        """Load a release. After a failure the searches meet it themselves, until another start."""
        try:
            await self.follow_release(collection, release)
            del self._warming[release.id]
        except FootnoteError as error:
            logger.warning("release %d of %s: %s", release.number, collection.name, error)

    async def close(self) -> None:
        """End what is being loaded, and let go of the indexes."""
        for task in self._warming.values():
            task.cancel()
        await asyncio.gather(*self._warming.values(), return_exceptions=True)
        while self._held:
            _, held = self._held.popitem()
            await to_thread.run_sync(held.index.close)

    async def hold_ready(self) -> None:
        """Load the releases that wait to be put in service, so that the switch to one finds its index there.

        Another process may have made them.
        """
        async with self._database.read() as connection:
            ready = await all_releases(connection, (ReleaseState.READY,))
            owners = {collection.id: collection for collection in await all_collections(connection)}
        for release in ready:
            wanted = wanted_of(release, await self._encoders.of(release))
            owner = owners.get(release.collection_id)
            if wanted not in self._held and owner is not None:
                with suppress(NotFound), _engine_failures_told(owner.name):  # NotFound: deleted meanwhile
                    await self.follow_release(owner, release)

    async def _hold(self, collection: CollectionRef, release: Release) -> tuple[Served, _Held]:
        encoder = await self._encoders.of(release)
        wanted = wanted_of(release, encoder)
        if wanted not in self._held:
            await self._forget_unused()
            opened = await self._opener.open(collection, release, wanted, encoder.encoder.dimension)
            if self._held.setdefault(wanted, _Held(opened)).index is not opened:  # another call was faster
                await to_thread.run_sync(opened.close)
        held = self._held[wanted]
        return Served(collection, release, encoder.encoding, held.index), held

    async def _standing(self, held: _Held, collection: CollectionRef, release: Release) -> SearchIndex:
        """The index with all that other processes put in; another one when they dropped it. The caller holds
        the lock.
        """
        try:
            await refreshed(held.index)
        except IndexMoved:
            encoder = await self._encoders.of(release)
            wanted, dimension = wanted_of(release, encoder), encoder.encoder.dimension
            held.index = await self._opener.open(collection, release, wanted, dimension)
        return held.index

    async def _forget_unused(self) -> None:
        """Let go of releases that were retired, and of collections that were deleted, perhaps by another
        process.
        """
        async with self._database.read() as connection:
            kept = await all_releases(connection, KEPT_STATES)
        alive = {self.wanted(each) for each in kept}
        for gone in self._held.keys() - alive:
            del self._held[gone]  # not closed: a search that began before may be at work with it


@contextmanager
def _engine_failures_told(name: str) -> Iterator[None]:
    """Log that the engine of a collection fails: its searches meet that themselves."""
    try:
        yield
    except (Overloaded, UpstreamFailed, Conflict) as error:
        logger.warning("the collection %s cannot be searched now: %s", name, error.message)
