"""Bring the database to the newest schema, in this process and without a network."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from app.db.engine import WRITE, prepare_connections, storage_errors
from embeddings.errors import Conflict

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def apply_migrations(path: Path, busy_timeout_s: int) -> None:
    """Make the database at `path`, or bring it up to the newest revision.

    Processes that start at once take turns, so the second one finds nothing left to do.
    Raises Conflict when the database is newer than this program.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with storage_errors(), _turn(path):
        _enter_wal_mode(path, busy_timeout_s)
        with writer_connection(path, busy_timeout_s) as connection:
            _refuse_newer(connection, ScriptDirectory.from_config(config), path)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def writer_connection(path: Path, busy_timeout_s: int) -> Iterator[Connection]:
    """A transaction that holds SQLite's write lock from its start, and commits at its end."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_timeout_s})
    prepare_connections(engine)
    try:
        with engine.execution_options(**{WRITE: True}).begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Hold the lock file beside the database.

    SQLite's busy timeout does not cover the change to WAL: without this lock 1 of 240 simultaneous first
    starts failed with "database is locked".
    """
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _enter_wal_mode(path: Path, busy_timeout_s: int) -> None:
    """Switch the file to write-ahead logging. The file remembers it."""
    with closing(sqlite3.connect(path, timeout=busy_timeout_s)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _refuse_newer(connection: Connection, scripts: ScriptDirectory, path: Path) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = sorted(set(MigrationContext.configure(connection).get_current_heads()) - known)
    if unknown:
        raise Conflict(
            f"the database {path} has revision {unknown[0]}, which this version of Footnote does not know",
            found=unknown[0],
            expected=scripts.get_current_head(),
            next_step="start the newer version that made it, or set FOOTNOTE_HOME to another folder",
        )
