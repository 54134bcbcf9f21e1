"""The HNSW graph of an index: made in a thread of its own, once a search wants it and there are many chunks.

It is made CONCURRENTLY, beside searches and writes, by one process. One that ends in between leaves a graph
that PostgreSQL marks as not valid; the next search of any process has it made anew.
"""

import logging
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic
from typing import Any

import psycopg

from embeddings.errors import FootnoteError
from retrieval.engines.postgres.pool import Connection, PostgresPool
from retrieval.engines.postgres.schema import Tables, try_lock

logger = logging.getLogger("footnote.index")

# Fewer chunks are compared one by one in about the time that the graph takes.
MIN_CHUNKS = 10_000
MAX_DIMENSION = 4_000  # that a graph of halfvecs takes; more are compared one by one
LOOK_AGAIN_S = 10.0
# For the making, where the server allows less: 250,000 vectors of 384 dimensions fit. The graph of more than
# fit is made more slowly, so an operator of many chunks allows more.
MIN_MEMORY_KB = 512 * 1024

_STATE = """
SELECT i.indisvalid, greatest(c.reltuples, 0)::bigint
FROM pg_class c LEFT JOIN pg_index i
    ON i.indrelid = c.oid AND i.indexrelid = to_regclass('footnote_index.graph_{id}')
WHERE c.oid = to_regclass('{vectors}')
"""
_RAISE_MEMORY = f"""
SELECT set_config('maintenance_work_mem',
    greatest(pg_size_bytes(current_setting('maintenance_work_mem')) / 1024, {MIN_MEMORY_KB}) || 'kB', FALSE)
"""
_COUNT = "SELECT count(*) FROM {vectors}"
_MAKE = (
    "CREATE INDEX CONCURRENTLY graph_{id} ON {vectors}"
    " USING hnsw ((embedding::halfvec({dimension})) halfvec_ip_ops) WITH (m = 16, ef_construction = 100)"
)


class Graph:
    """Whether there is a graph to search, and its making."""

    def __init__(self, pool: PostgresPool, tables: Tables) -> None:
        self._pool = pool
        self._tables = tables
        self._lock = Lock()
        self._looked_at = -LOOK_AGAIN_S
        self._ready = False
        self._making: Thread | None = None
        self._connection: Connection | None = None
        self._closed = False
        self.chunks = 0  # of the index, as counted last

    def ready(self) -> bool:
        """Whether a search can use it. Where there should be one and is none it is being made afterwards."""
        with self._lock:
            if self._looked_at + LOOK_AGAIN_S <= monotonic():
                self._looked_at = monotonic()
                self._look()
            return self._ready

    def wait(self, seconds: float) -> bool:
        """Wait for a graph that is being made; whether it is ready then."""
        making = self._making
        if making is not None:
            making.join(seconds)
        with self._lock:
            self._looked_at = -LOOK_AGAIN_S
        return self.ready()

    def close(self) -> None:
        """Break off the making."""
        self._closed = True
        making, connection = self._making, self._connection
        if making is not None and making.is_alive():
            if connection is not None:
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=5)
            making.join(10)

    def _look(self) -> None:
        with self._pool.reading() as connection:
            row: Any = connection.execute(self._tables.sql(_STATE)).fetchone()
            valid, self.chunks = (None, 0) if row is None else row
            self._ready = bool(valid)
            if not self._ready:
                counted: Any = connection.execute(self._tables.sql(_COUNT)).fetchone()
                self.chunks = counted[0]
        idle = self._making is None or not self._making.is_alive()
        wanted = self.chunks >= MIN_CHUNKS and self._tables.dimension <= MAX_DIMENSION
        if wanted and not self._ready and idle and not self._closed:
            self._making = Thread(target=self._make, name=f"graph-{self._tables.index_id}", daemon=True)
            self._making.start()

    def _make(self) -> None:
        try:
            with self._pool.alone() as connection:
                self._connection = connection
                if try_lock(connection, self._tables.index_id):  # else another process makes it
                    self._make_with(connection)
        except FootnoteError as error:
            if not self._closed:
                logger.warning("the vector graph of index %d: %s", self._tables.index_id, error)
        finally:
            self._connection = None

    def _make_with(self, connection: Connection) -> None:
        row: Any = connection.execute(self._tables.sql(_STATE)).fetchone()
        if row is None or row[0]:
            return
        started = monotonic()
        connection.execute(_RAISE_MEMORY)
        connection.execute(self._tables.sql("DROP INDEX CONCURRENTLY IF EXISTS footnote_index.graph_{id}"))
        connection.execute(self._tables.sql(_MAKE))
        connection.execute(self._tables.sql("ANALYZE {vectors}"))
        seconds = monotonic() - started
        logger.info("made the vector graph of index %d in %.1f s", self._tables.index_id, seconds)
