"""How far the indexes of this process are behind SQL, and the work that keeps them from staying behind."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, all_collections
from app.db.engine import Database
from app.db.models import Collection, Document
from app.db.releases import all_releases, fetch_served
from app.indexes import Indexes
from app.services.release_types import ReleaseState
from embeddings.errors import NotFound, Overloaded, UpstreamFailed
from retrieval.engines.types import IndexMoved
from retrieval.search_index import IndexStatistics, SearchIndex

logger = logging.getLogger("footnote.indexes")

# A process that nobody asks follows by itself, in steps of so long. A search takes in what is new first.
FOLLOW_AFTER_S = 5.0
_ENGINE_AWAY = (Overloaded, UpstreamFailed)


@dataclass(frozen=True, slots=True)
class IndexLag:
    """Of the index of a release in service. writes: that it has not taken in; seconds: since the first of
    them.
    """

    collection: CollectionRef
    index: IndexStatistics
    writes: int
    seconds: float


async def index_lags(database: Database, indexes: Indexes) -> list[IndexLag]:
    """Of the collections that were searched since the start, in the order of their making."""
    async with database.read() as connection:
        serving = await all_releases(connection, (ReleaseState.SERVING,))
        owners = {each.id: each for each in await all_collections(connection)}
    lags = []
    for release in serving:
        owner, index = owners.get(release.collection_id), indexes.index_of(release)
        if owner is not None and index is not None:
            lags.append(await _lag(database, owner, index))
    return lags


async def index_lag_of(database: Database, indexes: Indexes, name: str) -> IndexLag | None:
    """Of one collection; None when it was not searched since the start. Raises NotFound."""
    owner, release = await fetch_served(database.fetch, name)
    index = indexes.index_of(release)
    return None if index is None else await _lag(database, owner, index)


async def keep_up(database: Database, indexes: Indexes) -> None:
    """Take in what no search has taken in for a while, so that the next one need not wait for it."""
    for lag in await index_lags(database, indexes):
        if lag.seconds > FOLLOW_AFTER_S:
            try:
                await indexes.follow(lag.collection.name)
            except NotFound:  # deleted meanwhile
                continue
            except _ENGINE_AWAY as error:  # one that is lost keeps no other collection behind
                logger.warning("%s cannot be followed: %s", lag.collection.name, error.message)


async def _lag(database: Database, owner: CollectionRef, index: SearchIndex) -> IndexLag:
    statistics = await to_thread.run_sync(_statistics, index, owner.last_seq)
    writes = max(0, owner.last_seq - statistics.seq)
    seconds = await _seconds_behind(database, owner, statistics.seq) if writes else 0.0
    return IndexLag(owner, statistics, writes, seconds)


def _statistics(index: SearchIndex, last_seq: int) -> IndexStatistics:
    """How large the index is, with what other processes have put into it."""
    if index.seq < last_seq:
        # It was dropped, and is opened anew by the next search; or its engine does not answer.
        with suppress(IndexMoved, *_ENGINE_AWAY):
            index.refresh()
    return index.statistics()


async def _seconds_behind(database: Database, owner: CollectionRef, reached: int) -> float:
    async with database.read() as connection:
        written = await _first_write_after(connection, owner.id, reached)
    return 0.0 if written is None else max(0.0, (datetime.now(UTC) - written).total_seconds())


async def _first_write_after(connection: AsyncConnection, collection_id: int, seq: int) -> datetime | None:
    """When the collection was written to. Of deletions only the time of the latest write is known."""
    newer = select(Document.updated_at).where(Document.collection_id == collection_id, Document.seq > seq)
    written: Sequence[datetime] = (await connection.scalars(newer.order_by(Document.seq).limit(1))).all()
    if written:
        return written[0]
    return await connection.scalar(select(Collection.updated_at).where(Collection.id == collection_id))
