"""Carrying out mass deletes in the background, a few documents at a time."""

import asyncio
import logging
import time

from anyio import to_thread

from app.db.collections import all_collections
from app.db.deletions import carry_out_step, work_is_left
from app.db.engine import Database
from app.engines import IndexEngines
from embeddings.errors import FootnoteError

IDLE_S = 2.0
# After a failure, such as a full disk, which deleting needs some space on as well.
RETRY_S = 30.0

logger = logging.getLogger("footnote.reclaiming")


class Reclaimer:
    """Removes rows that were deleted, and what engines keep of deleted collections.

    Several processes may do so at once, and each may end at any time.
    """

    def __init__(self, database: Database, engines: IndexEngines) -> None:
        self._database = database
        self._engines = engines

    async def run(self) -> None:
        """Carry out what is deleted from now on, until cancelled."""
        indexes_left = True
        while True:
            try:
                indexes_left |= await self.finish()
                if indexes_left:
                    await self.drop_indexes()
                    indexes_left = False
                await asyncio.sleep(IDLE_S)
            except FootnoteError as error:
                logger.warning("cannot remove the rows of deleted documents yet: %s", error.message)
                await asyncio.sleep(RETRY_S)

    async def finish(self) -> bool:
        """Carry out all that was deleted; False when nothing was.

        Raises StorageFull, Overloaded; what was done till then stays.
        """
        worked = False
        while await self._something_left():
            worked = True
            started = time.perf_counter()
            async with self._database.write() as connection:
                await carry_out_step(connection)
            # Half of the time at most, so that writes of other processes find the lock free.
            await asyncio.sleep(time.perf_counter() - started)
        return worked

    async def drop_indexes(self) -> int:
        """Drop what engines keep of collections that are no more; returns how many indexes went.

        The log tells of an engine that fails; the next start tries again.
        """
        stored = await to_thread.run_sync(self._engines.stored)
        async with self._database.read() as connection:  # after the engines: a new collection is in both
            alive = {collection.id for collection in await all_collections(connection)}
        unneeded = [each for each in stored if each.collection_id not in alive]
        return await to_thread.run_sync(self._engines.drop_all, unneeded)

    async def _something_left(self) -> bool:
        async with self._database.read() as connection:
            return await work_is_left(connection)
