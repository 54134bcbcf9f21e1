"""Vectors with pgvector: halfvec, searched exactly or by an HNSW graph.

Exact: an index, or what a filter leaves of it, that is small. The graph is made once a search would profit
from it, beside the searches and writes that go on; from then on PostgreSQL keeps it with every write.
`hnsw.iterative_scan` is strict_order, so a filter does not leave a search with too few chunks; where the
graph ends too early all the same, the search is exact.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.postgres.documents import allowed_sql
from retrieval.engines.postgres.graph import Graph
from retrieval.engines.postgres.metadata import Sql
from retrieval.engines.postgres.pool import PostgresPool
from retrieval.engines.postgres.rows import copy_vectors, decoded_vectors, vector_text
from retrieval.engines.postgres.schema import Tables, drop_tables
from retrieval.engines.types import Allowed, StoredChunk

# Up to so many chunks under a filter, or such a share of the index, are compared one by one.
EXACT_CHUNKS = 10_000
EXACT_SHARE = 0.02
# Vectors that the graph looks at before it answers, at the least: recall@10 of tests/benchmarks/engines.py.
MIN_SEARCH_WIDTH = 200
MAX_SEARCH_WIDTH = 1_000  # pgvector's own limit
# Products with a float16 query order chunks; those with the query itself, which are answered, may order the
# last few another way.
_MARGIN = 16

_EXACT = """
SELECT chunk_id, -(embedding::vector({dimension}) <#> %s::vector) AS score FROM {vectors} WHERE <allowed>
ORDER BY score DESC, chunk_id LIMIT %s
"""
_NEAREST = """
SELECT chunk_id, embedding FROM {vectors} WHERE <allowed>
ORDER BY embedding::halfvec({dimension}) <#> %s::halfvec LIMIT %s
"""


class PgvectorStore:
    """A `VectorStore` in PostgreSQL. Its calls stand in the transaction of their thread, or in their own."""

    def __init__(self, pool: PostgresPool, tables: Tables) -> None:
        self._pool = pool
        self._tables = tables
        self.graph = Graph(pool, tables)

    @property
    def dimension(self) -> int:
        return self._tables.dimension

    def refresh(self) -> None:
        """Every transaction sees what was committed before it."""

    def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        if not chunks:
            return
        with self._pool.writing() as connection:
            statement = self._tables.sql("DELETE FROM {vectors} WHERE chunk_id = ANY(%s::bigint[])")
            connection.execute(statement, ([chunk.chunk_id for chunk in chunks],))
            copy_vectors(connection, self._tables.sql("{vectors}"), self._tables.index_id, chunks)

    def delete_documents(self, document_keys: Collection[int]) -> None:
        if not document_keys:
            return
        with self._pool.writing() as connection:
            statement = self._tables.sql("DELETE FROM {vectors} WHERE document_key = ANY(%s::bigint[])")
            connection.execute(statement, (list(document_keys),))

    def search(
        self, vector: NDArray[np.float32], depth: int, allowed: Allowed | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if depth < 1 or (allowed is not None and not allowed.chunks):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        condition = Sql("TRUE") if allowed is None else allowed_sql(self._tables, allowed)
        with self._pool.reading():
            if self._by_graph(depth, allowed):
                found = self._search_graph(vector, depth, condition)
                if len(found[0]) >= depth:
                    return found
            return self._search_exactly(vector, depth, condition)

    def vectors(self, chunk_ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        result = np.zeros((len(chunk_ids), self.dimension), np.float32)
        statement = self._tables.sql(
            "SELECT place, embedding FROM unnest(%s::bigint[]) WITH ORDINALITY AS wanted(chunk_id, place)"
            " JOIN {vectors} USING (chunk_id)"
        )
        rows = self._fetch(statement, (chunk_ids.tolist(),))
        places = np.array([row[0] for row in rows], np.int64) - 1
        result[places] = decoded_vectors([row[1] for row in rows], self.dimension)
        found = np.zeros(len(chunk_ids), np.bool_)
        found[places] = True
        return found, result

    def count(self) -> int:
        return int(self._fetch(self._tables.sql("SELECT count(*) FROM {vectors}"), ())[0][0])

    def drop(self) -> None:
        drop_tables(self._pool, self._tables.index_id)

    def close(self) -> None:
        self.graph.close()

    def _by_graph(self, depth: int, allowed: Allowed | None) -> bool:
        if allowed is not None and allowed.chunks <= EXACT_CHUNKS:
            return False
        if depth + _MARGIN > MAX_SEARCH_WIDTH or not self.graph.ready():
            return False
        return allowed is None or allowed.chunks > EXACT_SHARE * self.graph.chunks

    def _search_graph(
        self, vector: NDArray[np.float32], depth: int, condition: Sql
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        statement = self._tables.sql(_NEAREST.replace("<allowed>", condition.text))
        width = min(MAX_SEARCH_WIDTH, max(MIN_SEARCH_WIDTH, 2 * depth))
        with self._pool.reading() as connection:
            connection.execute(
                "SELECT set_config('hnsw.iterative_scan', 'strict_order', TRUE),"
                " set_config('hnsw.ef_search', %s, TRUE)",
                (str(width),),
            )
            rows = self._fetch(statement, (*condition.values, vector_text(vector), depth + _MARGIN))
        ids = np.array([row[0] for row in rows], np.int64)
        scores = decoded_vectors([row[1] for row in rows], self.dimension) @ vector
        best = np.lexsort((ids, -scores))[:depth]
        return ids[best], scores[best]

    def _search_exactly(
        self, vector: NDArray[np.float32], depth: int, condition: Sql
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        statement = self._tables.sql(_EXACT.replace("<allowed>", condition.text))
        rows = self._fetch(statement, (vector_text(vector), *condition.values, depth))
        return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float32)

    def _fetch(self, statement: str, values: Sequence[Any]) -> list[Any]:
        with self._pool.reading() as connection:
            return connection.cursor(binary=True).execute(statement, values).fetchall()
