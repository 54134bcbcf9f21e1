"""A lease for as long as a block lasts."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from app.db.engine import Database
from app.db.leases import LEASE_S, RENEW_S, Lease, acquire, is_held, release, renew
from embeddings.errors import FootnoteError

logger = logging.getLogger("footnote.leases")


@asynccontextmanager
async def leased(database: Database, name: str, holder: str) -> AsyncIterator[bool]:
    """Hold a lease until the block ends, renewed meanwhile. False: another process holds it.

    For work that does no harm when it is done twice: a holder that cannot reach the database for LEASE_S
    goes on, though another may have begun.
    """
    lease = await _take(database, name, holder)
    if lease is None:
        yield False
        return
    renewing = asyncio.create_task(_keep(database, lease))
    try:
        yield True
    finally:
        renewing.cancel()
        with suppress(FootnoteError):  # then it ends by itself
            async with database.write() as connection:
                await release(connection, lease)


async def _take(database: Database, name: str, holder: str) -> Lease | None:
    async with database.read() as connection:  # those who wait do not hold up the writers
        if await is_held(connection, name):
            return None
    async with database.write() as connection:
        return await acquire(connection, name, holder, LEASE_S)


async def _keep(database: Database, lease: Lease) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        try:
            await renew(database, lease, LEASE_S)
        except FootnoteError as error:
            logger.warning("cannot renew the lease %s: %s", lease.name, error.message)
