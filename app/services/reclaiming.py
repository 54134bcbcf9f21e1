"""Carrying out mass deletes in the background, a few documents at a time."""

import asyncio
import logging
import time

from app.db.deletions import carry_out_step, work_is_left
from app.db.engine import Database
from embeddings.errors import FootnoteError

IDLE_S = 2.0
# After a failure, such as a full disk, which deleting needs some space on as well.
RETRY_S = 30.0

logger = logging.getLogger("footnote.reclaiming")


class Reclaimer:
    """Removes rows that were deleted. Several processes may do so at once, and each may end at any time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Carry out what is deleted from now on, until cancelled."""
        while True:
            try:
                await self.finish()
                await asyncio.sleep(IDLE_S)
            except FootnoteError as error:
                logger.warning("cannot remove the rows of deleted documents yet: %s", error.message)
                await asyncio.sleep(RETRY_S)

    async def finish(self) -> None:
        """Carry out all that was deleted. Raises StorageFull, Overloaded; what was done till then stays."""
        while await self._something_left():
            started = time.perf_counter()
            async with self._database.write() as connection:
                await carry_out_step(connection)
            # Half of the time at most, so that writes of other processes find the lock free.
            await asyncio.sleep(time.perf_counter() - started)

    async def _something_left(self) -> bool:
        async with self._database.read() as connection:
            return await work_is_left(connection)
