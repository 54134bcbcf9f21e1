"""The documents of an index: their metadata, which filters ask about, and how many chunks each has."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from retrieval.changes import MAX_NAMED_FIELDS
from retrieval.engines.postgres.metadata import Sql, exists_sql, filter_sql, jsonb
from retrieval.engines.postgres.pool import Connection, PostgresPool
from retrieval.engines.postgres.schema import Tables
from retrieval.engines.types import Allowed
from retrieval.filters import Filter
from retrieval.types import IndexedChunk

MAX_LISTED_DOCUMENTS = 4_096  # of more the filter is evaluated again by whoever asks

_MORE = """
INSERT INTO {documents} AS kept (index_id, document_key, chunks, metadata)
SELECT %s, key, chunks, metadata::jsonb
FROM unnest(%s::bigint[], %s::integer[], %s::text[]) AS more(key, chunks, metadata)
ON CONFLICT (document_key)
DO UPDATE SET chunks = kept.chunks + excluded.chunks, metadata = excluded.metadata
"""
_FEWER = """
UPDATE {documents} AS kept SET chunks = kept.chunks - fewer.chunks
FROM unnest(%s::bigint[], %s::integer[]) AS fewer(key, chunks) WHERE document_key = key
"""
_GONE = "DELETE FROM {documents} WHERE document_key = ANY(%s::bigint[]) AND chunks <= 0"
_ALLOWED = f"""
WITH passing AS MATERIALIZED (SELECT document_key, chunks FROM {{documents}} WHERE <filter>)
SELECT (SELECT coalesce(sum(chunks), 0)::bigint FROM passing),
    CASE WHEN (SELECT count(*) FROM passing) <= {MAX_LISTED_DOCUMENTS}
    THEN ARRAY(SELECT document_key FROM passing ORDER BY document_key) END
"""  # noqa: S608
_LACKS = """
SELECT EXISTS (SELECT FROM {documents}) AND NOT EXISTS (SELECT FROM {documents} WHERE <present>)
"""
_FIELDS = """
SELECT DISTINCT field COLLATE "C" AS field FROM {documents}, jsonb_object_keys(metadata) AS field
ORDER BY field LIMIT %s
"""


class PostgresDocuments:
    """The documents of one index. Its calls stand in the transaction of their thread, or in their own."""

    def __init__(self, pool: PostgresPool, tables: Tables) -> None:
        self._pool = pool
        self._tables = tables

    def add(self, connection: Connection, additions: Sequence[IndexedChunk]) -> None:
        """Take in the documents of chunks."""
        chunks = Counter(chunk.document_key for chunk in additions)
        metadata: Mapping[int, Any] = {chunk.document_key: chunk.metadata for chunk in additions}
        values = (list(chunks), list(chunks.values()), [jsonb(metadata[key]) for key in chunks])
        connection.execute(self._tables.sql(_MORE), (self._tables.index_id, *values))

    def remove(self, connection: Connection, fewer: Mapping[int, int]) -> None:
        """Take so many chunks from these documents; one without chunks goes."""
        keys = list(fewer)
        connection.execute(self._tables.sql(_FEWER), (keys, list(fewer.values())))
        connection.execute(self._tables.sql(_GONE), (keys,))

    def allowed(self, filter_: Filter) -> Allowed:
        """What a filter lets through."""
        passing = filter_sql(filter_)
        statement = self._tables.sql(_ALLOWED.replace("<filter>", passing.text))
        with self._pool.reading() as connection:
            row: Any = connection.execute(statement, passing.values).fetchone()
        return Allowed(filter_, row[0], None if row[1] is None else tuple(row[1]))

    def lacks(self, path: str) -> bool:
        """Whether no document has a field, though there are documents."""
        present = exists_sql(path)
        statement = self._tables.sql(_LACKS.replace("<present>", present.text))
        with self._pool.reading() as connection:
            row: Any = connection.execute(statement, present.values).fetchone()
        return bool(row[0])

    def fields(self) -> list[str]:
        """The first names of fields that documents have, at most MAX_NAMED_FIELDS."""
        with self._pool.reading() as connection:
            cursor: Any = connection.execute(self._tables.sql(_FIELDS), (MAX_NAMED_FIELDS,))
            return [row[0] for row in cursor.fetchall()]


def allowed_sql(tables: Tables, allowed: Allowed) -> Sql:
    """The same as a condition on the column document_key of any table of the index."""
    if allowed.document_keys is not None:
        return Sql("document_key = ANY(%s::bigint[])", (list(allowed.document_keys),))
    passing = filter_sql(allowed.filter)
    listed = tables.sql("document_key IN (SELECT document_key FROM {documents} WHERE ")
    return Sql(f"{listed}{passing.text})", passing.values)
