"""The index of each collection in this process, which follows SQL.

Every search first compares the sequence number that its index has reached with the collection's last one,
and takes in what is between. So a write is found by the next search in every process, whichever process
wrote it, and a process that starts with nothing loads everything by the same path.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from anyio import to_thread
from retrieval.index import CollectionIndex
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, all_collections, find_collection, present_state
from app.db.engine import Database
from app.db.following import ChangeReader, VectorsMissingError, unencoded_chunks, write_vectors
from app.services.encoding import Encoding

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
        """The collection and its index, up to all that was committed before this call. Raises NotFound."""
        async with self._database.read() as connection:
            collection = await find_collection(connection, name)
            held = self._held.get(collection.id) or await self._make(connection, collection.id)
        if held.index.seq < collection.last_seq:
            async with held.lock:
                await self._catch_up(held.index, collection)
        return collection, held.index

    async def follow_all(self) -> None:
        """Bring the index of every collection up to date, so that no first search has to."""
        async with self._database.read() as connection:
            names = [collection.name for collection in await all_collections(connection)]
        for name in names:
            await self.follow(name)

    async def _make(self, connection: AsyncConnection, key: int) -> _Held:
        """An empty index. The indexes of collections that were deleted, perhaps by another process, go."""
        alive = {collection.id for collection in await all_collections(connection)}
        for gone in self._held.keys() - alive:
            del self._held[gone]
        return self._held.setdefault(key, _Held(CollectionIndex(self._encoding.encoder.dimension)))

    async def _catch_up(self, index: CollectionIndex, collection: CollectionRef) -> None:
        """Take in what is between the index and the collection's present last_seq."""
        while index.seq < collection.last_seq:
            try:
                await self._take_in(index, collection)
            except VectorsMissingError:
                await self._encode_missing(collection)

    async def _take_in(self, index: CollectionIndex, wanted: CollectionRef) -> None:
        async with self._database.read() as connection:
            collection = await present_state(connection, wanted)
            reader = ChangeReader(connection, collection, self._encoding.encoder.model_id)
            for first, last in await reader.plan(index.seq):
                changes = await reader.read(first, last)
                await to_thread.run_sync(
                    index.apply, changes.additions, changes.deleted_documents, changes.seq
                )

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
