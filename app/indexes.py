"""The index of each collection in this process, which follows SQL.

Every search first compares the sequence number that its index has reached with the collection's last one,
and takes in what is between. So a write is found by the next search in every process, whichever process
wrote it, and a process that starts with nothing loads everything by the same path.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import (
    CollectionRef,
    all_collections,
    find_collection,
    present_state,
)
from app.db.engine import Database
from app.db.following import ChangeReader, VectorsMissingError, unencoded_chunks, write_vectors
from app.services.encoding import Encoding
from embeddings.errors import NotFound
from retrieval.index import CollectionIndex

logger = logging.getLogger("footnote.indexes")

# Chunks encoded between two commits when a new encoder came into service.
REENCODE_CHUNKS = 512


@dataclass(slots=True)
class _Held:
    """An index and the lock of its one writer."""

    index: CollectionIndex
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Indexes:
    """One index for each collection that was searched, by the collection's key in SQL."""

    def __init__(self, database: Database, encoding: Encoding) -> None:
        self._database = database
        self._encoding = encoding
        self._held: dict[int, _Held] = {}

    async def follow(self, name: str) -> tuple[CollectionRef, CollectionIndex]:
        """The collection and its index, which has taken in all that was committed before this call.

        Raises NotFound.
        """
        async with self._database.read() as connection:
            collection, held = await self._find(connection, name)
        if held.index.seq < collection.last_seq:
            async with held.lock:
                await self._catch_up(held.index, collection)
        return collection, held.index

    @asynccontextmanager
    async def standing_still(
        self, name: str
    ) -> AsyncIterator[tuple[AsyncConnection, CollectionRef, CollectionIndex]]:
        """A snapshot of SQL and an index that have seen exactly the same writes, until the block ends.

        Other searches that need the newest writes wait meanwhile, so the block should be short. Raises
        NotFound.
        """
        while True:
            async with self._database.read() as connection:
                _, held = await self._find(connection, name)
            async with held.lock, self._database.read() as connection:
                collection, present = await self._find(connection, name)
                if present is held:  # else the collection was made anew while this waited for the lock
                    await self._take_in(connection, held.index, collection)
                    yield connection, collection, held.index
                    return

    async def follow_all(self) -> None:
        """Bring the index of every collection up to date, so that no first search has to."""
        async with self._database.read() as connection:
            names = [collection.name for collection in await all_collections(connection)]
        for name in names:
            with suppress(NotFound):  # deleted meanwhile
                await self.follow(name)

    async def _find(self, connection: AsyncConnection, name: str) -> tuple[CollectionRef, _Held]:
        collection = await find_collection(connection, name)
        if collection.id not in self._held:
            await self._forget_deleted(connection)
            made = _Held(CollectionIndex(self._encoding.encoder.dimension))
            return collection, self._held.setdefault(collection.id, made)
        return collection, self._held[collection.id]

    async def _forget_deleted(self, connection: AsyncConnection) -> None:
        """Let go of collections that were deleted, perhaps by another process."""
        alive = {collection.id for collection in await all_collections(connection)}
        for gone in self._held.keys() - alive:
            del self._held[gone]

    async def _catch_up(self, index: CollectionIndex, collection: CollectionRef) -> None:
        """Take in at least all up to the collection's last_seq. The caller holds the lock."""
        while index.seq < collection.last_seq:
            try:
                async with self._database.read() as connection:
                    await self._take_in(connection, index, await present_state(connection, collection))
            except VectorsMissingError:
                await self._encode_missing(collection)

    async def _take_in(
        self, connection: AsyncConnection, index: CollectionIndex, collection: CollectionRef
    ) -> None:
        """Take in what this connection sees and the index has not reached. Raises VectorsMissingError."""
        reader = ChangeReader(connection, collection, self._encoding.encoder.model_id)
        for first, last in await reader.plan(index.seq):
            changes = await reader.read(first, last)
            await to_thread.run_sync(index.apply, changes.additions, changes.deleted_documents, changes.seq)

    async def _encode_missing(self, collection: CollectionRef) -> None:
        """Encode the chunks that were written under another encoder. Once for a collection; kept in SQL."""
        model_id = self._encoding.encoder.model_id
        logger.warning(
            "collection %s has chunks without vectors of %s; encoding them", collection.name, model_id
        )
        while True:
            async with self._database.read() as connection:
                chunks = await unencoded_chunks(connection, collection, model_id, REENCODE_CHUNKS)
            if not chunks:
                return
            encoded = await self._encoding.passages([chunk.text for chunk in chunks])
            async with self._database.write() as connection:
                await write_vectors(connection, model_id, chunks, encoded.vectors)
