"""The log of what was asked: kept only where the operator says so, and for as long as he says.

A request does not wait for it: its notes are written in the background, many in one transaction. Of a process
that is killed the last second is lost.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from app.db.collections import find_collection
from app.db.engine import Database
from app.db.identity import database_id
from app.db.query_log import add_queries, count_queries, redact_queries, remove_queries
from app.services.types import Hit
from app.settings import Settings
from app.telemetry.notes import Asked, Notes
from embeddings.errors import FootnoteError

logger = logging.getLogger("footnote.query_log")

QueryLogMode = Literal["off", "hashed", "full"]

FLUSH_S = 1.0
PURGE_S = 3600.0
# Some minutes of questions on a disk that takes no more; later ones are counted and dropped.
MAX_PENDING = 10_000
# Of one question: as many as anybody looks at.
MAX_HITS = 20


class QueryLog:
    """Takes in what requests asked. dropped: questions that found no room since the start."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.mode: QueryLogMode = settings.query_log  # type: ignore[assignment]  # the settings check it
        self.dropped = 0
        self._database = database
        self._days = settings.query_log_days
        self._pending: list[tuple[datetime, Asked, str]] = []
        self._key: bytes | None = None

    def keep(self, notes: Notes, request_id: str) -> None:
        """Take in what a request asked. It is on the disk a second later."""
        if self.mode == "off" or not notes.asked:
            return
        now = datetime.now(UTC)
        for asked in notes.asked:
            if asked.release is None:  # it was refused before it was searched
                continue
            if len(self._pending) >= MAX_PENDING:
                self.dropped += 1
            else:
                self._pending.append((now, asked, request_id))

    async def run(self) -> None:
        """Write what comes, and remove what is too old, until cancelled."""
        loop, purged = asyncio.get_running_loop(), -PURGE_S
        while True:
            try:
                await self.flush()
                if loop.time() - purged >= PURGE_S:
                    await self.purge()
                    purged = loop.time()
            except FootnoteError as error:  # the disk or its lock; the next time may be luckier
                logger.warning("cannot write the query log: %s", error.message)
            await asyncio.sleep(FLUSH_S)

    async def close(self) -> None:
        """Write what is left; where the disk takes no more it is lost, and told."""
        try:
            await self.flush()
        except FootnoteError as error:
            logger.warning("%d questions are lost to the query log: %s", len(self._pending), error.message)

    async def flush(self) -> None:
        """Write what was taken in. Raises StorageFull, Overloaded; nothing is forgotten then."""
        taken, self._pending = self._pending, []
        if not taken:
            return
        try:
            key = await self._hash_key()
            async with self._database.write() as connection:
                await add_queries(connection, [self._row(key, *each) for each in taken])
        except BaseException:
            self._pending = taken + self._pending
            raise

    async def purge(self) -> int:
        """Remove what is older than the settings allow; returns how many questions that were."""
        if not self._days:
            return 0
        oldest = datetime.now(UTC) - timedelta(days=self._days)
        async with self._database.read() as connection:
            if not await count_queries(connection, before=oldest):
                return 0
        async with self._database.write() as connection:
            return await remove_queries(connection, before=oldest)

    async def redact(self, collection: str | None = None, containing: str | None = None) -> int:
        """Take the words out of what was asked; returns of how many questions.

        containing: only where the question or its filter holds this text, whatever its case. Hashes stay, so
        that questions can still be counted. Raises NotFound for the collection.
        """
        await self.flush()
        collection_id = await self._id_of(collection)
        async with self._database.write() as connection:
            return await redact_queries(connection, collection_id, containing)

    async def clear(self, collection: str | None = None, before: datetime | None = None) -> int:
        """Remove what was asked; returns how many questions that were. Raises NotFound."""
        await self.flush()
        collection_id = await self._id_of(collection)
        async with self._database.write() as connection:
            return await remove_queries(connection, collection_id, before)

    async def _id_of(self, collection: str | None) -> int | None:
        if collection is None:
            return None
        async with self._database.read() as connection:
            return (await find_collection(connection, collection)).id

    async def _hash_key(self) -> bytes:
        """Of this database alone: whoever has only an export cannot try out what hashes to it."""
        if self._key is None:
            async with self._database.read() as connection:
                self._key = (await database_id(connection)).encode()
        return self._key

    def _row(self, key: bytes, asked_at: datetime, asked: Asked, request_id: str) -> dict[str, Any]:
        words = self.mode == "full"
        return {
            "collection": asked.collection,
            "asked_at": asked_at,
            "kind": asked.kind,
            "question": asked.question if words else None,
            "question_hash": _hash(key, asked.question),
            "filter": asked.filter if words else None,
            "mode": asked.mode,
            "release": asked.release,
            "hits": [_hit(hit) for hit in asked.hits[:MAX_HITS]],
            "status": asked.status,
            "took_ms": round(asked.took_ms, 1),
            "request_id": request_id,
        }


def _hash(key: bytes, question: str) -> str:
    """The same for questions that differ in case and white space only."""
    folded = " ".join(question.casefold().split())
    return hmac.new(key, folded.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _hit(hit: Hit) -> Mapping[str, Any]:
    return {
        "document_id": hit.document_id,
        "version": hit.version,
        "start": hit.start,
        "end": hit.end,
        "score": round(hit.score, 6),
    }
