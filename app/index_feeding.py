"""Feeds an index with what SQL has and it has not, and lets SQL make what its release lacks."""

import logging
from contextlib import suppress

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.engine import Database
from app.db.following import ChangeReader, ReleaseIncompleteError, Wanted
from app.db.releases import present_served
from app.encoders import Encoders
from app.services.completing import Completion, Progress, wanted_of
from app.services.release_types import Release
from retrieval.engines.types import IndexMoved
from retrieval.index import CollectionIndex
from retrieval.search_index import SearchIndex

logger = logging.getLogger("footnote.indexes")


class IndexFeeder:
    """The caller holds the lock of the index's one writer in this process."""

    def __init__(self, database: Database, encoders: Encoders) -> None:
        self._database = database
        self._encoders = encoders
        self._completion = Completion(database, encoders)

    async def catch_up(
        self, index: SearchIndex, collection: CollectionRef, release: Release
    ) -> tuple[CollectionRef, Release]:
        """Take in at least all up to the collection's last_seq.

        Returns the collection and its release in service as the last look at SQL showed them. The work ends
        when that is not the release that was in service before.
        """
        while index.seq < collection.last_seq:
            try:
                async with self._database.read() as connection:
                    present, serving = await present_served(connection, collection)
                    if serving != release:
                        return present, serving
                    wanted = wanted_of(release, await self._encoders.of(release))
                    await self.take_in(connection, index, wanted, present.last_seq)
            except ReleaseIncompleteError:
                await self.complete(collection, release)
            except IndexMoved:  # another process was faster
                await refreshed(index)
        return collection, release

    async def take_in(
        self,
        connection: AsyncConnection,
        index: SearchIndex,
        wanted: Wanted,
        last_seq: int,
        progress: Progress | None = None,
    ) -> None:
        """Take in what this connection sees and the index has not reached.

        Raises ReleaseIncompleteError, and IndexMoved when another process changed the index meanwhile.
        """
        start = index.seq
        if start >= last_seq:
            return
        reader = ChangeReader(connection, wanted, last_seq)
        for first, last in await reader.plan(start):
            changes = await reader.read(first, last)
            await to_thread.run_sync(index.apply, changes.additions, changes.deleted_documents, changes.seq)
            if progress:
                progress("writes indexed", last - start, last_seq - start)

    async def lacks_nothing(
        self,
        connection: AsyncConnection,
        index: SearchIndex,
        wanted: Wanted,
        last_seq: int,
        progress: Progress | None,
    ) -> bool:
        """Take in what there is; False when the release has to be completed before the rest can be."""
        try:
            await self.take_in(connection, index, wanted, last_seq, progress)
        except ReleaseIncompleteError:
            return False
        except IndexMoved:
            return True  # another process was faster
        return True

    async def complete(self, collection: CollectionRef, release: Release) -> None:
        """Make what was written under another release or encoder. Once; it is kept in SQL."""
        logger.warning(
            "collection %s has documents that release %d lacks chunks or vectors of; making them",
            collection.name,
            release.number,
        )
        await self._completion.complete(release)


def has_reached(index: SearchIndex, seq: int) -> bool:
    """Whether it holds all up to `seq`; only when it seems not to, is it asked what other processes put in.

    For a thread that may wait.
    """
    if index.seq < seq:
        with suppress(IndexMoved):  # it was dropped
            index.refresh()
    return index.seq >= seq


async def refreshed(index: SearchIndex) -> int:
    """The sequence number that the index has reached, by the hand of whichever process.

    Raises IndexMoved when it was dropped.
    """
    if not isinstance(index, CollectionIndex):
        await to_thread.run_sync(index.refresh)
    return index.seq
