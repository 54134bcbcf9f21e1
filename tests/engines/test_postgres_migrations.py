"""The same history of tables on PostgreSQL: up, check, down."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import app.db.conversations
import app.db.query_log
import app.db.sessions  # noqa: F401  # its table is one of Model.metadata once it is imported
from app.db.address import postgres_address
from app.db.migrations import alembic_config, apply_migrations, writer_connection
from app.db.models import Model
from embeddings.errors import Conflict


def test_migrations_make_exactly_the_tables_of_the_models(postgres_url: str) -> None:
    address = postgres_address(postgres_url)
    apply_migrations(address, 1)
    with writer_connection(address, 1) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Model.metadata) == []


def test_migrations_go_down_to_nothing_and_up_again(postgres_url: str) -> None:
    address = postgres_address(postgres_url)
    apply_migrations(address, 1)
    config = alembic_config()
    with writer_connection(address, 1) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert _tables(postgres_url) == {"alembic_version"}
    apply_migrations(address, 1)
    assert _tables(postgres_url) > {"collections", "documents", "turns"}


def test_keys_have_64_bits_and_texts_the_order_of_code_points(postgres_url: str) -> None:
    apply_migrations(postgres_address(postgres_url), 1)
    with psycopg.connect(postgres_url) as connection:
        keys = connection.execute(
            "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_schema = 'public' AND "
            "(column_name IN ('seq', 'last_seq', 'document_key', 'page') AND table_name <> 'chunks'"
            " OR column_name ~ '^(chunk|document|collection|release|deletion|conversation)_id$')"
        ).fetchall()
        other = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND data_type IN ('text', 'character varying') AND collation_name IS DISTINCT FROM 'C'"
            " AND table_name <> 'alembic_version'"
        ).fetchall()
    assert keys == [("bigint",)]
    assert other == []


def test_starts_at_once_take_turns(postgres_url: str) -> None:
    address = postgres_address(postgres_url)
    with ThreadPoolExecutor(4) as pool:
        starts = [pool.submit(apply_migrations, address, 10) for _ in range(4)]
        assert [start.result() for start in starts] == [None] * 4


def test_database_of_a_newer_version_is_refused(postgres_url: str) -> None:
    address = postgres_address(postgres_url)
    apply_migrations(address, 1)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict) as caught:
        apply_migrations(address, 1)
    assert caught.value.found == "9999"


def _tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        }
