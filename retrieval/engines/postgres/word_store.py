"""Words, documents and state of one index in PostgreSQL, joined: what an index needs beside its vectors.

A change is one transaction here, so a search sees all of it or nothing. A vector store in the same database
takes part in it; another one is written before the commit, and again after a crash in between.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.bm25 import QueryTerm
from retrieval.engines.postgres.documents import PostgresDocuments, allowed_sql
from retrieval.engines.postgres.pool import Connection, PostgresPool
from retrieval.engines.postgres.schema import Tables
from retrieval.engines.postgres.scoring import Among, Bm25
from retrieval.engines.postgres.state import (
    EngineState,
    Move,
    WordSums,
    lock_state,
    note_pending,
    read_state,
    write_state,
)
from retrieval.engines.postgres.words import Found, PostgresWords
from retrieval.engines.types import Allowed
from retrieval.filters import Filter
from retrieval.types import IndexedChunk


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is being made: all of it, or nothing."""

    connection: Connection
    index_id: int
    words: PostgresWords
    documents: PostgresDocuments

    def remove(
        self, document_keys: Collection[int], chunk_ids: Collection[int]
    ) -> tuple[Mapping[int, int], WordSums]:
        """Take out the words of these documents, and of these chunks; the document of each that went."""
        gone, sums = self.words.remove(self.connection, document_keys, chunk_ids)
        if gone:
            self.documents.remove(self.connection, Counter(gone.values()))
        return gone, sums

    def add(self, additions: Sequence[IndexedChunk]) -> WordSums:
        """Take in the words of chunks that are not there."""
        if not additions:
            return WordSums(0, 0, 0)
        self.documents.add(self.connection, additions)
        return self.words.add(self.connection, additions)

    def finish(self, before: EngineState, move: Move, seq: int) -> EngineState:
        """The state that the index has once this is committed."""
        return write_state(self.connection, self.index_id, move.applied(before, seq), move)


class WordStore:
    """The words of one index. Calls block and may come from several threads at once."""

    def __init__(self, pool: PostgresPool, tables: Tables) -> None:
        self._pool = pool
        self._tables = tables
        self._words = PostgresWords(pool, tables)
        self._documents = PostgresDocuments(pool, tables)

    @property
    def dimension(self) -> int:
        return self._tables.dimension

    def reading(self) -> AbstractContextManager[object]:
        """One snapshot for all that this thread asks in the block."""
        return self._pool.reading()

    def state(self, known: EngineState) -> EngineState:
        """The state now; `known` where it is the same. Raises IndexMoved when the index was dropped."""
        with self._pool.reading() as connection:
            return read_state(connection, self._tables.index_id, known)

    def announce(self, known: EngineState, document_keys: Collection[int]) -> Sequence[int]:
        """Note, for a vector store elsewhere, of which documents a change is about to write.

        Returns what was noted before and not finished: a process ended in between, and the vector store may
        hold more of these documents than the words tell. Raises IndexMoved as `changing` does.
        """
        with self._pool.writing() as connection:
            lock_state(connection, self._tables.index_id, known)
            return note_pending(connection, self._tables.index_id, document_keys)

    @contextmanager
    def changing(self, known: EngineState) -> Iterator[Change]:
        """Become the one writer of all processes until the block ends, and commit.

        Raises IndexMoved when the state is not `known` any more.
        """
        with self._pool.writing() as connection:
            lock_state(connection, self._tables.index_id, known)
            yield Change(connection, self._tables.index_id, self._words, self._documents)

    def allowed(self, filter_: Filter) -> Allowed:
        """What a filter lets through."""
        return self._documents.allowed(filter_)

    def lacks(self, path: str) -> bool:
        """Whether no document has a field, though there are documents."""
        return self._documents.lacks(path)

    def fields(self) -> list[str]:
        """Names of fields that documents have, for a message."""
        return self._documents.fields()

    def analyse(self, query: str) -> list[QueryTerm]:
        """The distinct terms of a query that the index knows, rarest first."""
        return self._words.analyse(query)

    def search(self, query: Sequence[QueryTerm], depth: int, bm25: Bm25, allowed: Allowed | None) -> Found:
        """Chunk ids and BM25 scores of the best `depth` chunks that hold a word; best first, ties by id."""
        return self._words.search(query, depth, bm25, self._among(allowed))

    def candidates(
        self, query: Sequence[QueryTerm], depth: int, bm25: Bm25, allowed: Allowed | None
    ) -> Found:
        """About what `search` returns, found sooner: by the telling words, scored by all."""
        return self._words.candidates(query, depth, bm25, self._among(allowed))

    def scores(self, query: Sequence[QueryTerm], chunk_ids: NDArray[np.int64], bm25: Bm25) -> Found:
        """Those of these chunks that hold a word of the query, and their BM25 scores."""
        return self._words.scores(query, chunk_ids, bm25)

    def _among(self, allowed: Allowed | None) -> Among:
        return Among() if allowed is None else Among(allowed_sql(self._tables, allowed), allowed.chunks)
