"""Bring the database to the newest schema, in this process and without a network."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.db import postgres, sqlite
from app.db.address import DatabaseAddress, to_address
from app.db.engine import storage_errors
from embeddings.errors import Conflict

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def apply_migrations(database: DatabaseAddress | Path, busy_timeout_s: int) -> None:
    """Make the tables, or bring them up to the newest revision. A path: of a SQLite file.

    Processes that start at once take turns, so the second one finds nothing left to do.
    Raises Conflict when the database is newer than this program.
    """
    address = to_address(database)
    config = alembic_config()
    scripts = ScriptDirectory.from_config(config)
    with storage_errors():
        if not address.is_sqlite and _is_current(address, scripts):
            return  # a turn to write may be a while in coming where many machines write
        opened = writer_connection(address, busy_timeout_s)
        with _turn(address, busy_timeout_s), opened as connection:
            _refuse_newer(connection, scripts, address)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def alembic_config() -> Config:
    """Of this folder of migrations. `attributes["connection"]`: what they shall run on."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@contextmanager
def writer_connection(database: DatabaseAddress | Path, busy_timeout_s: int) -> Iterator[Connection]:
    """A transaction that has the turn to write from its start, and commits at its end."""
    address = to_address(database)
    with _opened(address, busy_timeout_s) as connection:
        yield connection


def _opened(address: DatabaseAddress, busy_timeout_s: int) -> AbstractContextManager[Connection]:
    if address.path is not None:
        return sqlite.writer_connection(address.path, busy_timeout_s)
    return postgres.writer_connection(address, busy_timeout_s)


def _turn(address: DatabaseAddress, busy_timeout_s: int) -> AbstractContextManager[None]:
    if address.path is not None:
        return sqlite.turn_to_migrate(address.path, busy_timeout_s)
    return postgres.turn_to_migrate(address)


def _is_current(address: DatabaseAddress, scripts: ScriptDirectory) -> bool:
    with postgres.snapshot_connection(address) as connection:
        return set(MigrationContext.configure(connection).get_current_heads()) == set(scripts.get_heads())


def _refuse_newer(connection: Connection, scripts: ScriptDirectory, address: DatabaseAddress) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = sorted(set(MigrationContext.configure(connection).get_current_heads()) - known)
    if unknown:
        raise Conflict(
            f"the database {address} has revision {unknown[0]}, which this version of Footnote does not know",
            found=unknown[0],
            expected=scripts.get_current_head(),
            next_step="start the newer version that made it, or set FOOTNOTE_HOME to another folder",
        )
