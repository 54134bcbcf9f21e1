"""Words on PostgreSQL's full text search, with BM25 scores that equal those of the local word index.

The lexemes of a chunk's tsvector are the terms of `retrieval.analysis`, so every language that it knows is
searched in its own way. A lexeme that occurs n times has the positions 1 to n: all that BM25 wants to know of
them is how many there are, and `ts_rank` tells that, once its formula is turned round. With the weight 1 for
every position it is the sum of 1/j^2 for j from 1 to n, divided by pi^2/6; what lacks of 1 is nearly
1/(n + 1/2), so n is found exactly up to 255, the most that a tsvector keeps.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import looks_like_code, terms
from retrieval.bm25 import (
    K1,
    TELLING_SHARE,
    B,
    QueryTerm,
    counted,
    counted_length,
    query_terms,
)
from retrieval.engines.postgres.metadata import Sql
from retrieval.engines.postgres.pool import Connection, PostgresPool
from retrieval.engines.postgres.schema import Tables
from retrieval.engines.postgres.scoring import (
    CANDIDATES_SHARE,
    MAX_EXACT,
    SHORTLIST,
    Among,
    Bm25,
    chunks_holding,
    quoted,
    telling_of,
)
from retrieval.engines.postgres.state import WordSums
from retrieval.types import IndexedChunk

MAX_OCCURRENCES = 255
MAX_TSVECTOR_BYTES = 900_000  # PostgreSQL takes 1,048,575
_HELD = f"""
SELECT chunk_id, words, {K1} * ({1 - B} + {B} * length / %s::float8) AS norm FROM {{words}} WHERE <chosen>
"""  # noqa: S608
_RANKED = f"""
SELECT chunk_id, score FROM (SELECT chunk_id, <score> AS score FROM ({_HELD}) AS held) AS scored
ORDER BY score DESC, chunk_id LIMIT %s
"""  # noqa: S608
_SHORTLISTED = f"""
SELECT chunk_id, <score> AS score, told FROM (
    SELECT * FROM (SELECT *, <told> AS told FROM ({_HELD}) AS held) AS telling
    ORDER BY told DESC, chunk_id LIMIT %s
) AS shortlist
ORDER BY score DESC, chunk_id
"""  # noqa: S608
_REMOVE = """
WITH gone AS (
    DELETE FROM {words} WHERE chunk_id IN (
        SELECT chunk_id FROM {words} WHERE document_key = ANY(%s::bigint[])
        UNION SELECT * FROM unnest(%s::bigint[])
    )
    RETURNING chunk_id, document_key, terms, is_code, words
), fewer AS (
    SELECT term, count(*) AS chunks FROM gone, unnest(tsvector_to_array(words)) AS term GROUP BY term
), lowered AS (
    UPDATE {terms} AS kept SET chunks = kept.chunks - fewer.chunks FROM fewer WHERE kept.term = fewer.term
)
SELECT chunk_id, document_key, terms, is_code FROM gone
"""
_MORE = """
INSERT INTO {terms} AS kept (index_id, term, chunks)
SELECT %s, term, chunks FROM unnest(%s::text[], %s::bigint[]) AS more(term, chunks)
ON CONFLICT (term) DO UPDATE SET chunks = kept.chunks + excluded.chunks
"""

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
NOTHING: Found = (np.empty(0, np.int64), np.empty(0, np.float32))


class PostgresWords:
    """The words of one index. Its calls stand in the transaction of their thread, or in one of their own."""

    def __init__(self, pool: PostgresPool, tables: Tables) -> None:
        self._pool = pool
        self._tables = tables

    def add(self, connection: Connection, additions: Sequence[IndexedChunk]) -> WordSums:
        """Take in chunks that are not there."""
        analysed = [terms(chunk.text) for chunk in additions]
        code = [looks_like_code(chunk.text) for chunk in additions]
        rows = zip(additions, analysed, code, strict=True)
        copied = self._sql("COPY {words} (chunk_id, document_key, index_id, terms, length, is_code, words)")
        with connection.cursor().copy(f"{copied} FROM STDIN") as copy:
            for chunk, found, is_code in rows:
                length = counted_length(len(found))
                index_id = self._tables.index_id
                row = (chunk.chunk_id, chunk.document_key, index_id, len(found), length, is_code)
                copy.write_row((*row, _tsvector(counted(found))))
        self._add_frequencies(connection, analysed)
        return WordSums(len(additions), sum(code), sum(map(len, analysed)))

    def remove(
        self, connection: Connection, document_keys: Collection[int], chunk_ids: Collection[int]
    ) -> tuple[Mapping[int, int], WordSums]:
        """Take out the chunks of these documents, and these chunks.

        Returns the document of each chunk that went, and what they had added.
        """
        rows: list[Any] = connection.execute(
            self._sql(_REMOVE), (list(document_keys), list(chunk_ids))
        ).fetchall()
        sums = WordSums(len(rows), sum(row[3] for row in rows), sum(row[2] for row in rows))
        return {row[0]: row[1] for row in rows}, sums

    def analyse(self, query: str) -> list[QueryTerm]:
        """The distinct terms of a query that the index knows, rarest first."""
        counts = counted(terms(query))
        if not counts:
            return []
        statement = self._sql("SELECT term, chunks FROM {terms} WHERE term = ANY(%s)")
        with self._pool.reading() as connection:
            rows: list[Any] = connection.execute(statement, (list(counts),)).fetchall()
        return query_terms(counts, dict(rows))

    def search(self, query: Sequence[QueryTerm], depth: int, bm25: Bm25, among: Among) -> Found:
        """Chunk ids and BM25 scores of the best `depth` chunks that hold a word; best first, ties by id.

        Where common words stand in more than MAX_EXACT chunks, one that holds no rarer word may be missing.
        """
        if chunks_holding(query, bm25, among) <= MAX_EXACT:
            return self._ranked(query, depth, bm25, among.holding(query))
        telling = telling_of(query, bm25, among, TELLING_SHARE)
        ids, scores, _ = self._shortlist(telling, query, SHORTLIST * depth, bm25, among)
        return ids[:depth], scores[:depth]

    def candidates(self, query: Sequence[QueryTerm], depth: int, bm25: Bm25, among: Among) -> Found:
        """About what `search` returns, found sooner: by the telling words, scored by all."""
        telling = telling_of(query, bm25, among, CANDIDATES_SHARE)
        if len(telling) == len(query):
            return self._ranked(query, depth, bm25, among.holding(query))
        ids, scores, _ = self._shortlist(telling, query, SHORTLIST * depth, bm25, among)
        return ids[:depth], scores[:depth]

    def scores(self, query: Sequence[QueryTerm], chunk_ids: NDArray[np.int64], bm25: Bm25) -> Found:
        """Those of these chunks that hold a word of the query, and their BM25 scores; best first."""
        listed = Sql("chunk_id = ANY(%s::bigint[])", (chunk_ids.tolist(),))
        return self._ranked(query, len(chunk_ids), bm25, listed)

    def _shortlist(
        self,
        telling: Sequence[QueryTerm],
        query: Sequence[QueryTerm],
        length: int,
        bm25: Bm25,
        among: Among,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """The best chunks by the telling words, in the order of all: ids, scores, scores by the telling."""
        score, told, chosen = bm25.sql(query), bm25.sql(telling), among.holding(telling)
        statement = _SHORTLISTED.replace("<score>", score.text).replace("<told>", told.text)
        values = (*score.values, *told.values, bm25.average_terms, *chosen.values, length)
        ids, *both = self._columns(statement.replace("<chosen>", chosen.text), values, 3)
        return ids.astype(np.int64), both[0].astype(np.float32), both[1].astype(np.float32)

    def _ranked(self, query: Sequence[QueryTerm], depth: int, bm25: Bm25, chosen: Sql) -> Found:
        if not query or depth < 1:
            return NOTHING
        score = bm25.sql(query)
        statement = _RANKED.replace("<score>", score.text).replace("<chosen>", chosen.text)
        values = (*score.values, bm25.average_terms, *chosen.values, depth)
        ids, scores = self._columns(statement, values, 2)
        return ids[scores > 0].astype(np.int64), scores[scores > 0].astype(np.float32)

    def _columns(self, statement: str, values: Sequence[Any], count: int) -> list[NDArray[Any]]:
        with self._pool.reading() as connection:
            rows: list[Any] = connection.cursor(binary=True).execute(self._sql(statement), values).fetchall()
        return [np.array([row[i] for row in rows]) for i in range(count)]

    def _add_frequencies(self, connection: Connection, analysed: Sequence[Sequence[str]]) -> None:
        holding = Counter(term for found in analysed for term in set(found))
        # In one order, so that pages are written in the order of the key.
        connection.execute(
            self._sql(_MORE), (self._tables.index_id, sorted(holding), [holding[t] for t in sorted(holding)])
        )

    def _sql(self, statement: str) -> str:
        return self._tables.sql(statement)


def _tsvector(counts: Mapping[str, int]) -> str:
    """The text of a tsvector; of a text with too many terms the first ones."""
    lexemes, room = [], MAX_TSVECTOR_BYTES
    for term, count in counts.items():
        positions = ",".join(map(str, range(1, min(count, MAX_OCCURRENCES) + 1)))
        room -= len(term.encode()) + 8 + 2 * count
        if room < 0:
            break
        lexemes.append(f"{quoted(term)}:{positions}")
    return " ".join(lexemes)
