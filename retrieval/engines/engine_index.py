"""An index in a database that all processes share: a vector store and a word store, searched as one.

The state of the index is read when it is opened and at each `refresh`; a search takes what its stores hold by
then or later. The row of the state is the lock of the one writer among all processes.
"""

from collections.abc import Collection, Mapping, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import looks_like_code
from retrieval.candidates import Candidates
from retrieval.changes import check_changes, unknown_field
from retrieval.engines.engine_view import EngineView
from retrieval.engines.postgres.state import EngineState, Move
from retrieval.engines.postgres.word_store import WordStore
from retrieval.engines.types import IndexMoved, StoredChunk
from retrieval.engines.vector_store import VectorStore
from retrieval.filters import Filter, conditions
from retrieval.ranking import SearchRequest, find_candidates, rank_chunks
from retrieval.search_index import IndexStatistics
from retrieval.types import IndexedChunk, RankedList


class EngineIndex:
    """A searchable collection whose vectors and words lie in databases. Implements `SearchIndex`."""

    def __init__(self, words: WordStore, vectors: VectorStore, apart: bool) -> None:
        """apart: the vectors are not in the words' database, so one commit does not cover both.

        Raises IndexMoved when it was dropped, UpstreamFailed when its database is out of reach.
        """
        self._words = words
        self.vectors = vectors
        self._apart = apart
        self._changing = Lock()
        self._state = words.state(EngineState.empty(words.dimension))
        self._present: tuple[int, frozenset[str]] = (self._state.version, frozenset())

    @property
    def dimension(self) -> int:
        return self._words.dimension

    @property
    def seq(self) -> int:
        """The sequence number up to which changes can be found, as far as this process knows."""
        return self._state.seq

    @property
    def build(self) -> None:
        """It has none: the databases keep it."""

    @property
    def sealable(self) -> bool:
        return False

    @property
    def needs_build(self) -> bool:
        return False

    def __len__(self) -> int:
        """Chunks that can be found."""
        return self._state.chunks

    def statistics(self) -> IndexStatistics:
        """How large it is, as far as this process knows."""
        state = self._state
        return IndexStatistics(state.chunks, 0, 0.0, state.seq)

    def refresh(self) -> None:
        """Learn what another process put into it. Raises IndexMoved when it was dropped."""
        with self._changing:
            state = self._words.state(self._state)
            if state is not self._state:
                self.vectors.refresh()
                self._state = state

    def apply(self, additions: Sequence[IndexedChunk], deleted_documents: Collection[int], seq: int) -> None:
        """Take in changes, all at once: a search that starts later finds them, in every process.

        As `SearchIndex.apply`. Raises IndexMoved when another process was faster, also when seq goes back:
        `refresh` may have learned more than the caller knew when it read the changes.
        """
        with self._changing:
            before = self._state
            _check_order(before, seq)
            check_changes(before.seq, self.dimension, additions, seq)
            written = {*deleted_documents, *(chunk.document_key for chunk in additions)}
            half_written = self._words.announce(before, written) if self._apart else ()
            with self._words.changing(before) as change:
                gone, fewer = change.remove(deleted_documents, [chunk.chunk_id for chunk in additions])
                more = change.add(additions)
                known = set(gone.values()).intersection(deleted_documents)
                removed = self._without(gone, known.union(half_written))
                added = self._with(additions)
                after = change.finish(before, Move(added, removed, more, fewer), seq)
            self._state = after

    def _without(self, gone: Mapping[int, int], document_keys: Collection[int]) -> NDArray[np.float32]:
        """Take the vectors of documents out; (rows, dimension) those of all chunks that go or are replaced.

        gone: the documents of these chunks, by chunk id.
        """
        found, values = self.vectors.vectors(np.array(sorted(gone), np.int64))
        self.vectors.delete_documents(document_keys)
        return values[found]

    def _with(self, additions: Sequence[IndexedChunk]) -> NDArray[np.float32]:
        """Take the vectors of chunks in; (len(additions), dimension) their stored values."""
        values = np.empty((len(additions), self.dimension), np.float32)
        for row, chunk in enumerate(additions):
            values[row] = chunk.vector.astype(np.float16)
        self.vectors.upsert(
            [
                StoredChunk(c.chunk_id, c.document_key, values[row], c.metadata, looks_like_code(c.text))
                for row, c in enumerate(additions)
            ]
        )
        return values

    def search(self, request: SearchRequest) -> RankedList:
        """The best chunks for a request. Raises as `SearchIndex.search` does."""
        with self._words.reading():
            return rank_chunks(self._view(), request)

    def candidates(self, request: SearchRequest) -> Candidates:
        """What hybrid mode would fuse for a request. Raises as `SearchIndex.candidates` does."""
        with self._words.reading():
            return find_candidates(self._view(), request)

    def check_fields(self, filter_: Filter) -> None:
        """Raise InvalidInput when a filter compares a field that no document has."""
        compared = {each.field for each in conditions(filter_) if each.operator != "$exists"}
        version, present = self._present
        if version != self._state.version:
            version, present = self._state.version, frozenset()
        if not compared <= present:
            with self._words.reading():
                for path in sorted(compared - present):
                    if self._words.lacks(path):
                        raise unknown_field(path, self._words.fields())
            self._present = (version, present | compared)

    def close(self) -> None:
        """Let go of the vector store; the connections to PostgreSQL belong to the process."""
        self.vectors.close()

    def _view(self) -> EngineView:
        return EngineView(self._words, self.vectors, self._state)


def _check_order(reached: EngineState, seq: int) -> None:
    if seq < reached.seq:
        raise IndexMoved(
            f"the index has changes up to {reached.seq} already",
            found=f"changes up to {seq}",
            next_step="send the request again",
            retry_after_s=1,
        )
