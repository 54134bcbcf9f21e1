"""The tables of indexes, in a schema of their own: made with an index and dropped with it.

    states                      a row for each index: what it is of, and how far it is
    moves                       vectors that came and went since a state's moments were last summed up
    words, documents, terms     one partition for each index
    vectors                     the same, of indexes whose vectors are here

Statements name an index's partition itself, so that no index waits for the making or dropping of another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrieval.engines.postgres.metadata import COMPARES, FIELD_VALUE
from retrieval.engines.postgres.pool import Connection, PostgresPool
from retrieval.engines.types import IndexKey

# Raised whenever the tables, or the analysis of texts into terms, change: older indexes are then made anew.
FORMAT = 1
LOCK_TIMEOUT = "30s"
_LOCK = 0x466F6F74_00000001  # of the advisory locks: "Foot", and what for
# Rows stay in one piece, so that reading one reads one page: a vector of 4,000 dimensions, some 600 terms.
_INLINE = "toast_tuple_target = 8160"

_SCHEMA = (
    "CREATE SCHEMA IF NOT EXISTS footnote_index",
    """CREATE TABLE IF NOT EXISTS footnote_index.states (
        index_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        database_id text COLLATE "C" NOT NULL, collection_id bigint NOT NULL,
        chunking text COLLATE "C" NOT NULL, model_id text COLLATE "C" NOT NULL,
        engine text COLLATE "C" NOT NULL, format integer NOT NULL, dimension integer NOT NULL,
        version bigint NOT NULL DEFAULT 0, seq bigint NOT NULL DEFAULT 0,
        chunks bigint NOT NULL DEFAULT 0, code_chunks bigint NOT NULL DEFAULT 0,
        terms bigint NOT NULL DEFAULT 0, moved_rows bigint NOT NULL DEFAULT 0,
        moments_version bigint NOT NULL DEFAULT 0, moments bytea, pending bigint[] NOT NULL DEFAULT '{}',
        UNIQUE (database_id, collection_id, chunking, model_id, engine, format))""",
    """CREATE TABLE IF NOT EXISTS footnote_index.moves (
        index_id integer NOT NULL REFERENCES footnote_index.states ON DELETE CASCADE,
        version bigint NOT NULL, added bytea NOT NULL, removed bytea NOT NULL,
        PRIMARY KEY (index_id, version))""",
    """CREATE TABLE IF NOT EXISTS footnote_index.words (
        chunk_id bigint NOT NULL, document_key bigint NOT NULL, index_id integer NOT NULL,
        terms integer NOT NULL, length integer NOT NULL, is_code boolean NOT NULL, words tsvector NOT NULL)
        PARTITION BY LIST (index_id)""",
    """CREATE TABLE IF NOT EXISTS footnote_index.documents (
        document_key bigint NOT NULL, index_id integer NOT NULL, chunks integer NOT NULL,
        metadata jsonb NOT NULL) PARTITION BY LIST (index_id)""",
    """CREATE TABLE IF NOT EXISTS footnote_index.terms (
        chunks bigint NOT NULL, index_id integer NOT NULL, term text COLLATE "C" NOT NULL)
        PARTITION BY LIST (index_id)""",
    FIELD_VALUE,
    COMPARES,
)
_VECTORS = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """CREATE TABLE IF NOT EXISTS footnote_index.vectors (
        chunk_id bigint NOT NULL, document_key bigint NOT NULL, index_id integer NOT NULL,
        embedding halfvec NOT NULL) PARTITION BY LIST (index_id)""",
)
_PARTITIONS = (
    "CREATE TABLE {words} PARTITION OF footnote_index.words FOR VALUES IN ({id})",
    f"ALTER TABLE {{words}} SET ({_INLINE}), ALTER words SET STORAGE EXTERNAL, ADD PRIMARY KEY (chunk_id)",
    "CREATE INDEX ON {words} (document_key)",
    # A write appends to the list of what is pending, and a search reads all of it.
    "CREATE INDEX ON {words} USING gin (words) WITH (gin_pending_list_limit = 512)",
    "CREATE TABLE {documents} PARTITION OF footnote_index.documents FOR VALUES IN ({id})",
    "ALTER TABLE {documents} ADD PRIMARY KEY (document_key)",
    "CREATE INDEX ON {documents} USING gin (metadata) WITH (gin_pending_list_limit = 512)",
    "CREATE TABLE {terms} PARTITION OF footnote_index.terms FOR VALUES IN ({id})",
    # Frequencies change with every write: with room on its page a row is changed in place.
    "ALTER TABLE {terms} SET (fillfactor = 70), ADD PRIMARY KEY (term)",
)
_VECTOR_PARTITION = (
    "CREATE TABLE {vectors} PARTITION OF footnote_index.vectors FOR VALUES IN ({id})",
    f"ALTER TABLE {{vectors}} SET ({_INLINE}), ADD PRIMARY KEY (chunk_id)",
    "CREATE INDEX ON {vectors} (document_key)",
)
_FIND = """SELECT index_id, dimension FROM footnote_index.states WHERE database_id = %(database_id)s
    AND collection_id = %(collection_id)s AND chunking = %(chunking)s AND model_id = %(model_id)s
    AND engine = %(engine)s AND format = %(format)s"""
_ADD = """INSERT INTO footnote_index.states
    (database_id, collection_id, chunking, model_id, engine, format, dimension)
    VALUES (%(database_id)s, %(collection_id)s, %(chunking)s, %(model_id)s, %(engine)s, %(format)s,
    %(dimension)s) RETURNING index_id"""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one index."""

    index_id: int
    dimension: int

    def sql(self, statement: str) -> str:
        """A statement with the names of this index's partitions in it: {words}, {documents}, ..."""
        names = {name: f"footnote_index.{name}_{self.index_id}" for name in _NAMES}
        return statement.format(id=self.index_id, dimension=self.dimension, **names)


_NAMES = ("words", "documents", "terms", "vectors")


def open_tables(pool: PostgresPool, key: IndexKey, engine: str, dimension: int, vectors: bool) -> Tables:
    """The tables of an index, which are made where they are not there.

    vectors: whether its vectors are here too. Of another dimension than wanted they are made anew. Raises
    InvalidInput where the database has no pgvector and vectors are wanted.
    """
    values = _values(key, engine)
    found = _find(pool, values)
    if found is not None and found.dimension == dimension:
        return found
    with pool.writing() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for statement in (*_SCHEMA, *(_VECTORS if vectors else ())):
            connection.execute(statement)
        for stale in _matching(connection, values):
            if stale.dimension == dimension:
                return stale  # another process was faster
            _drop(connection, stale.index_id)
        return _make(connection, values, dimension, vectors)


def drop_tables(pool: PostgresPool, index_id: int) -> None:
    """Drop an index with its state. One that is not there is no error.

    Raises Overloaded when a writer, or the making of its graph, takes longer than LOCK_TIMEOUT.
    """
    with pool.writing() as connection:
        if _schema_exists(connection):
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            _drop(connection, index_id)


def find_tables(pool: PostgresPool, key: IndexKey, engine: str) -> Tables | None:
    """The tables of an index; None where it was never opened or is dropped."""
    return _find(pool, _values(key, engine))


def list_keys(pool: PostgresPool, database_id: str, engine: str) -> list[IndexKey]:
    """The indexes of a metadata database that an engine holds."""
    with pool.reading() as connection:
        if not _schema_exists(connection):
            return []
        rows: list[Any] = connection.execute(
            "SELECT collection_id, chunking, model_id FROM footnote_index.states"
            " WHERE database_id = %s AND engine = %s AND format = %s ORDER BY index_id",
            (database_id, engine, FORMAT),
        ).fetchall()
    return [IndexKey(collection, chunking, model, database_id) for collection, chunking, model in rows]


def try_lock(connection: Connection, index_id: int) -> bool:
    """Take the lock for building an index's graph, until the connection closes; False when it is taken."""
    row: Any = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK + 1 + index_id,)).fetchone()
    return bool(row[0])


def _values(key: IndexKey, engine: str) -> Mapping[str, Any]:
    return {
        "database_id": key.database_id,
        "collection_id": key.collection_id,
        "chunking": key.chunking,
        "model_id": key.model_id,
        "engine": engine,
        "format": FORMAT,
    }


def _find(pool: PostgresPool, values: Mapping[str, Any]) -> Tables | None:
    with pool.reading() as connection:
        if not _schema_exists(connection):
            return None
        return next(iter(_matching(connection, values)), None)


def _matching(connection: Connection, values: Mapping[str, Any]) -> list[Tables]:
    rows: list[Any] = connection.execute(_FIND, values).fetchall()
    return [Tables(*row) for row in rows]


def _schema_exists(connection: Connection) -> bool:
    row: Any = connection.execute("SELECT to_regclass('footnote_index.states') IS NOT NULL").fetchone()
    return bool(row[0])


def _make(connection: Connection, values: Mapping[str, Any], dimension: int, vectors: bool) -> Tables:
    row: Any = connection.execute(_ADD, {**values, "dimension": dimension}).fetchone()
    tables = Tables(row[0], dimension)
    for statement in (*_PARTITIONS, *(_VECTOR_PARTITION if vectors else ())):
        connection.execute(tables.sql(statement))
    return tables


def _drop(connection: Connection, index_id: int) -> None:
    # The state first: who writes holds its row.
    connection.execute("DELETE FROM footnote_index.states WHERE index_id = %s", (index_id,))
    tables = Tables(index_id, 0)
    for name in _NAMES:
        connection.execute(tables.sql(f"DROP TABLE IF EXISTS {{{name}}}"))
