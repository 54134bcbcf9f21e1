import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from app.db.migrations import MIGRATIONS, apply_migrations, writer_connection
from app.db.models import Model
from app.snapshots.opening import newest_revision
from embeddings.errors import Conflict


def test_migrations_make_exactly_the_tables_of_the_models(tmp_path: Path) -> None:
    apply_migrations(tmp_path / "a.db", 1)
    with create_engine(f"sqlite:///{tmp_path / 'a.db'}").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Model.metadata) == []


def test_ids_are_never_reused(tmp_path: Path) -> None:
    apply_migrations(tmp_path / "a.db", 1)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
        ).fetchall()
    assert {name for (name,) in tables} == {
        "collections",
        "documents",
        "chunks",
        "api_keys",
        "deletions",
        "releases",
        "golden_queries",
        "feedback",
        "query_log",
        "page_sessions",
        "conversations",
    }


def test_database_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    apply_migrations(tmp_path / "a.db", 1)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_second_start_changes_nothing(tmp_path: Path) -> None:
    apply_migrations(tmp_path / "a.db", 1)
    before = (tmp_path / "a.db").read_bytes()
    apply_migrations(tmp_path / "a.db", 1)
    assert (tmp_path / "a.db").read_bytes() == before


def test_processes_that_start_at_once_do_not_collide(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        for attempt in range(5):
            starts = [pool.submit(apply_migrations, tmp_path / f"{attempt}.db", 10) for _ in range(4)]
            assert [start.result() for start in starts] == [None] * 4


def test_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    apply_migrations(tmp_path / "a.db", 1)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(Conflict) as caught:
        apply_migrations(tmp_path / "a.db", 1)
    assert caught.value.found == "9999"
    assert caught.value.expected == newest_revision()


def test_what_a_collection_serves_becomes_its_first_release(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writer_connection(tmp_path / "a.db", 1) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO collections VALUES (7, 'notes', 64, 8, NULL, 0, '2026-01-01', '2026-01-01')"
        )
    apply_migrations(tmp_path / "a.db", 1)
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        joined = "FROM collections c JOIN releases r ON r.id = c.release_id"
        row = database.execute(f"SELECT c.id, r.number, r.state, r.chunking, r.encoder {joined}").fetchone()
    assert row == (7, 1, "serving", "tokens-64-8", None)
