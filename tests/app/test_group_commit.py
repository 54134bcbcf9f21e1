import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.group_commit import MAX_WRITES, GroupCommit
from embeddings.errors import InvalidInput, Overloaded


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    with closing(connect(tmp_path / "test.db")) as made:
        made.execute("PRAGMA journal_mode = WAL")  # as the migrations do; else a reader can hold up a commit
    opened = Database(tmp_path / "test.db", busy_timeout_s=0)
    async with opened.write() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER UNIQUE)"))
    yield opened
    await opened.close()


class Insert:
    """Work that writes a number; it remembers the connections that it was given."""

    def __init__(self, number: int, error: Exception | None = None) -> None:
        self.number = number
        self.error = error
        self.connections: list[AsyncConnection] = []

    async def __call__(self, connection: AsyncConnection) -> int:
        self.connections.append(connection)
        await connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": self.number})
        if self.error is not None:
            raise self.error
        return self.number


async def stored(database: Database) -> list[int]:
    async with database.read() as connection:
        return list((await connection.execute(text("SELECT number FROM numbers ORDER BY 1"))).scalars())


async def test_writes_that_wait_together_share_a_transaction(database: Database) -> None:
    works = [Insert(number) for number in range(10)]
    group = GroupCommit(database.write, max_seconds=60)
    assert await asyncio.gather(*map(group.run, works)) == list(range(10))
    assert len({id(work.connections[0]) for work in works}) == 1
    assert await stored(database) == list(range(10))


async def test_no_transaction_takes_more_writes_than_the_limit(database: Database) -> None:
    works = [Insert(number) for number in range(MAX_WRITES + 1)]
    await asyncio.gather(*map(database.write_together, works))
    assert works[0].connections[0] is not works[-1].connections[0]
    assert len(await stored(database)) == MAX_WRITES + 1


async def test_work_that_fails_is_undone_alone(database: Database) -> None:
    works = [Insert(1), Insert(2, InvalidInput("no")), Insert(3)]
    answers = await asyncio.gather(*map(database.write_together, works), return_exceptions=True)
    assert [answers[0], answers[2]] == [1, 3]
    assert isinstance(answers[1], InvalidInput)
    assert await stored(database) == [1, 3]


async def test_broken_transaction_fails_only_the_work_that_broke_it(database: Database) -> None:
    broken = OperationalError("INSERT", {}, Exception("database or disk is full"))
    works = [Insert(1), Insert(2, broken), Insert(3)]
    answers = await asyncio.gather(*map(database.write_together, works), return_exceptions=True)
    assert [answers[0], answers[2]] == [1, 3]
    assert isinstance(answers[1], Exception)
    assert await stored(database) == [1, 3]


async def test_database_locked_by_another_process_fails_all_and_later_writes_go_on(
    database: Database,
) -> None:
    other = Database(database.address, busy_timeout_s=0)
    async with other.write():
        waiting = (database.write_together(Insert(number)) for number in range(3))
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Overloaded] * 3
    await other.close()
    assert await database.write_together(Insert(7)) == 7
    assert await stored(database) == [7]


async def test_caller_that_goes_away_does_not_stop_the_others(database: Database) -> None:
    first, gone, last = (asyncio.create_task(database.write_together(Insert(i))) for i in (1, 2, 3))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await first, await last) == (1, 3)
    assert {1, 3} <= set(await stored(database))


async def test_committed_write_is_seen_when_it_is_acknowledged(database: Database) -> None:
    async def write_and_look(number: int) -> bool:
        await database.write_together(Insert(number))
        return number in await stored(database)

    assert all(await asyncio.gather(*map(write_and_look, range(20))))
