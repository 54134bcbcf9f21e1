"""Leases: one holder at a time, and none for ever."""

import asyncio
from pathlib import Path

import pytest

from app.db.engine import Database
from app.db.fence import check_fence, fenced, fenced_work, without_fence
from app.db.leases import Lease, acquire, forget_old, holds, release, release_all, renew
from app.db.migrations import apply_migrations

NAME = "build:1"
SHORT_S = 0.05
LONG_S = 60.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    apply_migrations(tmp_path / "a.db", 1)
    return Database(tmp_path / "a.db", 1)


async def take(database: Database, holder: str, seconds: float = LONG_S) -> Lease | None:
    async with database.write() as connection:
        return await acquire(connection, NAME, holder, seconds)


async def held(database: Database, holder: str, seconds: float = LONG_S) -> Lease:
    lease = await take(database, holder, seconds)
    assert lease is not None
    return lease


async def test_lease_is_one_holders_until_it_gives_it_back(database: Database) -> None:
    lease = await held(database, "first")
    assert await take(database, "second") is None
    async with database.write() as connection:
        await release(connection, lease)
    assert await held(database, "second") == Lease(NAME, "second", 2, follows=None)


async def test_lease_that_was_not_renewed_goes_to_another_who_learns_whose_it_was(database: Database) -> None:
    await held(database, "first", SHORT_S)
    await asyncio.sleep(2 * SHORT_S)
    assert await held(database, "second") == Lease(NAME, "second", 2, follows="first")


async def test_holder_finds_out_that_another_took_its_lease(database: Database) -> None:
    lost = await held(database, "first", SHORT_S)
    await asyncio.sleep(2 * SHORT_S)
    taken = await held(database, "second")
    assert not await renew(database, lost, LONG_S)
    async with database.write() as connection:
        await release(connection, lost)  # changes nothing
        assert not await holds(connection, lost)
        assert await holds(connection, taken)
    assert await renew(database, taken, LONG_S)
    assert await take(database, "third") is None


async def test_lease_that_ended_is_renewed_while_nobody_took_it(database: Database) -> None:
    lease = await held(database, "first", SHORT_S)
    await asyncio.sleep(2 * SHORT_S)
    assert await renew(database, lease, LONG_S)
    assert await take(database, "second") is None


async def test_tokens_of_a_name_only_grow(database: Database) -> None:
    tokens = [(await held(database, "same")).token for _ in range(3)]
    async with database.write() as connection:
        await release_all(connection, "build:")
    tokens.append((await held(database, "other")).token)
    assert tokens == [1, 2, 3, 4]


async def test_only_old_leases_are_forgotten(database: Database) -> None:
    await held(database, "first")
    async with database.write() as connection:
        await acquire(connection, "job:old", "first", -365 * 24 * 3600.0)
        await forget_old(connection)
        lease = await acquire(connection, "job:old", "second", LONG_S)
    assert lease == Lease("job:old", "second", 1)
    assert await take(database, "second") is None


class LostError(Exception):
    """Raised by the fence of these tests."""


async def refuse(_: object) -> None:
    raise LostError


async def test_fence_stops_its_own_block_and_not_the_task_that_works_for_many(database: Database) -> None:
    async def work(_: object) -> str:
        return "written"

    async with database.read() as connection:
        with fenced(refuse):
            own = fenced_work(work)
            with pytest.raises(LostError):
                await check_fence(connection)
            await asyncio.create_task(check_fence(connection), context=without_fence())
        await check_fence(connection)
        assert await fenced_work(work)(connection) == "written"
        with pytest.raises(LostError):
            await own(connection)
