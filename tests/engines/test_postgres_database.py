"""What the service counts on, kept on PostgreSQL: snapshots, turns to write, errors that say what to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import insert, literal, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db import postgres
from app.db.address import postgres_address
from app.db.engine import Database
from app.db.migrations import apply_migrations
from app.db.models import Collection, Document, GoldenQuery
from app.db.postgres import Unreachable
from embeddings.errors import InvalidInput, Overloaded, StorageFull
from tests.engines.postgres_server import PostgresServer, named_server

NUMBERS = text("SELECT number FROM numbers ORDER BY number")


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """With one table of its own."""
    opened = Database(postgres_address(postgres_url), busy_timeout_s=1)
    async with opened.write() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER UNIQUE)"))
    yield opened
    await opened.close()


async def add(database: Database, number: int) -> None:
    async with database.write() as connection:
        await _insert(connection, number)


async def stored(database: Database) -> list[int]:
    async with database.read() as connection:
        return list((await connection.execute(NUMBERS)).scalars())


async def test_a_read_block_sees_one_instant(database: Database) -> None:
    await add(database, 1)
    async with database.read() as connection:
        before = list((await connection.execute(NUMBERS)).scalars())
        await add(database, 2)
        assert list((await connection.execute(NUMBERS)).scalars()) == before == [1]
    assert await stored(database) == [1, 2]


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(Unreachable, match="read-only"):
        async with database.read() as connection:
            await connection.execute(text("INSERT INTO numbers VALUES (1)"))


async def test_writers_of_several_processes_take_turns_and_none_loses(database: Database) -> None:
    others = [Database(database.address, busy_timeout_s=20) for _ in range(3)]

    async def count_up(writer: Database) -> None:
        for _ in range(5):
            async with writer.write() as connection:
                latest = await connection.scalar(text("SELECT coalesce(max(number), 0) FROM numbers"))
                await asyncio.sleep(0.002)  # another writer would read the same number now
                await _insert(connection, latest + 1)

    await asyncio.gather(*map(count_up, others))
    assert await stored(database) == list(range(1, 16))
    await asyncio.gather(*(other.close() for other in others))


@pytest.mark.parametrize("seconds", [0, 1])
async def test_turn_that_does_not_come_in_time_is_overload(database: Database, seconds: int) -> None:
    other = Database(database.address, busy_timeout_s=seconds)
    async with database.write():
        started = time.monotonic()
        with pytest.raises(Overloaded, match="another process is writing") as caught:
            await add(other, 1)
        assert seconds <= time.monotonic() - started
    assert "nothing of it was written" in str(caught.value.next_step)
    await add(other, 2)
    assert await stored(other) == [2]
    await other.close()


async def test_failed_write_of_a_group_is_undone_alone(database: Database) -> None:
    await add(database, 2)
    answers = await asyncio.gather(
        *(database.write_together(partial(_insert, number=number)) for number in (1, 2, 3)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [type(None), IntegrityError, type(None)]
    assert await stored(database) == [1, 2, 3]


async def test_id_of_a_deleted_row_never_comes_back(migrated_url: str) -> None:
    database = Database(postgres_address(migrated_url), 1)
    async with database.write() as connection:
        now = datetime.now(UTC)
        collection = {"name": "notes", "chunk_max_tokens": 64, "chunk_overlap_tokens": 8}
        await connection.execute(insert(Collection).values(**collection, created_at=now, updated_at=now))
        row = {"collection_id": 1, "query": "why?", "document_ids": []}
        made = [
            await connection.scalar(insert(GoldenQuery).values(row).returning(GoldenQuery.id))
            for _ in range(3)
        ]
        await connection.execute(text("DELETE FROM golden_queries"))
        again = await connection.scalar(insert(GoldenQuery).values(row).returning(GoldenQuery.id))
    assert made == [1, 2, 3]
    assert again == 4
    await database.close()


async def test_errors_do_not_tell_what_was_asked(database: Database) -> None:
    with pytest.raises(Exception, match="no_such_table") as caught:
        await database.fetch(select(literal("my secret question")).select_from(text("no_such_table")), {})
    assert "my secret question" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StorageFull),
        ("55P03", Overloaded),
        ("40P01", Overloaded),
        ("53300", Overloaded),
        ("57P01", Unreachable),
        ("57P03", Unreachable),
        ("08006", Unreachable),
        ("25006", Unreachable),
        ("22003", InvalidInput),
    ],
)
def test_what_the_server_says_becomes_an_error_with_a_next_step(state: str, kind: type[Exception]) -> None:
    said = Exception("no more")
    said.sqlstate = state  # type: ignore[attr-defined]  # as the driver's errors have it
    explained = postgres.explain(said)
    assert type(explained) is kind
    assert explained.expected


@pytest.mark.parametrize("value", ["a\0b", 2**40])
async def test_value_that_no_column_takes_is_bad_input(migrated_url: str, value: str | int) -> None:
    database = Database(postgres_address(migrated_url), 1)
    column = Document.external_id if isinstance(value, str) else Document.version
    with pytest.raises(InvalidInput):
        await database.fetch(select(Document.id).where(column == value), {})
    await database.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that may be killed."""
    if named_server():
        pytest.skip("the server of FOOTNOTE_POSTGRES_URL is not ours to kill")
    server = PostgresServer()
    yield server
    server.remove()


async def test_killed_server_is_told_and_nothing_acknowledged_is_lost(own_server: PostgresServer) -> None:
    address = postgres_address(own_server.url("postgres"))
    apply_migrations(address, 5)
    database = Database(address, 1)
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER UNIQUE)"))
    await add(database, 1)
    assert await stored(database) == [1]
    assert (await database.fetch(select(literal(1)), {}))[0][0] == 1
    own_server.kill()
    for work in (add(database, 2), stored(database), database.fetch(select(literal(1)), {})):
        with pytest.raises(Unreachable):
            await work
    own_server.start()
    assert (await database.fetch(select(literal(1)), {}))[0][0] == 1
    assert await stored(database) == [1]
    await add(database, 3)
    assert await stored(database) == [1, 3]
    await database.close()


async def test_restart_between_two_requests_fails_none_of_them(own_server: PostgresServer) -> None:
    database = Database(postgres_address(own_server.url("postgres")), 1)
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE restarted (number INTEGER)"))
    assert (await database.fetch(select(literal(1)), {}))[0][0] == 1
    async with database.read() as connection:
        await connection.execute(select(literal(1)))
    own_server.stop()
    own_server.start()
    assert (await database.fetch(select(literal(1)), {}))[0][0] == 1
    async with database.read() as connection:
        assert await connection.scalar(select(literal(1))) == 1
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO restarted VALUES (1)"))
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/name",
        "postgresql://me:secret@host",
        "postgresql://me:secret@/name",
        "not a url: secret",
        "postgresql://me:secret@host:notaport/name",
    ],
)
def test_wrong_address_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        postgres_address(url)
    assert caught.value.field == "FOOTNOTE_DATABASE_URL"
    assert "secret" not in f"{caught.value!r} {caught.value.found} {caught.value.__cause__}"


def test_address_is_shown_without_its_password() -> None:
    address = postgres_address("postgres://me:s%40cret@host:5433/name?sslmode=require&password=secret")
    assert address.shown == str(address) == "postgresql://me:***@host:5433/name?sslmode=require"
    assert "cret" not in repr(address)
    assert address.conninfo.startswith("postgresql://me:s%40cret@host:5433/name?")


async def _insert(connection: AsyncConnection, number: int) -> None:
    await connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})
