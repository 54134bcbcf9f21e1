"""Fixtures of databases on a PostgreSQL server. A conftest that imports them offers them to its tests."""

from collections.abc import Iterator

import pytest

from app.db.address import postgres_address
from app.db.migrations import apply_migrations
from tests.engines.postgres_server import Databases, PostgresServer, empty, named_server


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[Databases]:
    """Makes databases on a server of this test session. FOOTNOTE_POSTGRES_URL names another server."""
    if named := named_server():
        yield Databases(named)
        return
    server = PostgresServer()
    try:
        yield Databases(server.url("postgres"))
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """The URL of a new, empty database."""
    url = postgres_databases.make()
    yield url
    postgres_databases.drop(url)


@pytest.fixture(scope="session")
def migrated_database(postgres_databases: Databases) -> Iterator[str]:
    """The URL of a database with all tables, which the tests that want no new one share."""
    url = postgres_databases.make()
    apply_migrations(postgres_address(url), 10)
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def migrated_url(migrated_database: str) -> str:
    """The URL of a database with all tables and no rows but its identity's."""
    empty(migrated_database)
    return migrated_database
