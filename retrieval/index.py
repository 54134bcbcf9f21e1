"""One collection's index: vectors, words and metadata of its chunks, searched together.

Readers take the published snapshot and never wait. The one writer makes the next snapshot beside it and
publishes it by swapping one reference, so a search sees all of an `apply` or nothing of it.
"""

from collections.abc import Collection, Sequence
from threading import Lock

import numpy as np

from embeddings.errors import InvalidInput
from retrieval.columns import MetadataTable
from retrieval.filters import Filter, conditions
from retrieval.lexical import LexicalIndex
from retrieval.ranking import SearchRequest, rank_chunks
from retrieval.snapshot import Snapshot
from retrieval.types import IndexedChunk, RankedList

__all__ = ["CollectionIndex", "SearchRequest"]


class CollectionIndex:
    """A searchable collection that follows the sequence numbers of its source of truth."""

    def __init__(self, dimension: int) -> None:
        self._lexical = LexicalIndex()
        self._snapshot = Snapshot.empty(dimension, self._lexical.snapshot())
        self._writing = Lock()

    @property
    def seq(self) -> int:
        """The sequence number up to which changes can be found; 0 at first."""
        return self._snapshot.seq

    def __len__(self) -> int:
        """Chunks that can be found."""
        return len(self._snapshot)

    def apply(self, additions: Sequence[IndexedChunk], deleted_documents: Collection[int], seq: int) -> None:
        """Take in changes, all at once: a search that starts later finds them.

        deleted_documents: document keys whose chunks go. They go first, so a key may come again in
        `additions`. A chunk whose id is there already replaces it. Raises InvalidInput, and changes
        nothing, when a vector has another dimension, an id comes twice, or seq goes back.
        """
        with self._writing:
            before = self._snapshot
            _check_changes(before, additions, seq)
            replaced = [chunk.chunk_id for chunk in additions]
            after = before.without(deleted_documents, replaced).extended(additions).tidied()
            lexical = self._lexical.rewrite(additions, deleted_documents, before.present(replaced))
            self._snapshot = after.published(lexical, seq)

    def search(self, request: SearchRequest) -> RankedList:
        """The best chunks for a request, all from one snapshot.

        Raises InvalidInput when the vector is missing or of another dimension, limit is below 1 or offset
        below 0.
        """
        return rank_chunks(self._snapshot, request)

    def check_fields(self, filter_: Filter) -> None:
        """Raise InvalidInput when a filter compares a field that no document has: it is a slip of the pen.

        `$exists` may ask for any field, and a filter on no documents at all finds nothing.
        """
        metadata = self._snapshot.metadata
        for condition in conditions(filter_):
            if condition.operator != "$exists" and metadata.lacks(condition.field):
                raise _unknown_field(condition.field, metadata)


def _unknown_field(path: str, metadata: MetadataTable) -> InvalidInput:
    known = sorted({key for row in metadata.rows for key in row})
    expected = f"one of {', '.join(known[:20])}" if known else "no filter: the documents have no metadata"
    return InvalidInput(
        f"no document of the collection has the field {path!r}",
        field=f"filter.{path}",
        found=f"{path!r}, which no document has",
        expected=expected,
        next_step="correct the name, or ask with $exists",
    )


def _check_changes(snapshot: Snapshot, additions: Sequence[IndexedChunk], seq: int) -> None:
    if seq < snapshot.seq:
        raise InvalidInput(
            f"changes up to {seq} come after changes up to {snapshot.seq}",
            field="seq",
            found=str(seq),
            expected=f"at least {snapshot.seq}",
            next_step="apply changes in the order of their sequence numbers",
        )
    if len({chunk.chunk_id for chunk in additions}) < len(additions):
        raise InvalidInput(
            "a chunk id comes twice in one change",
            field="additions",
            found="repeated chunk ids",
            expected="each id once",
        )
    for chunk in additions:
        snapshot.dense.check_dimension(len(chunk.vector))
        if not np.isfinite(chunk.vector).all():
            raise InvalidInput(
                f"the vector of chunk {chunk.chunk_id} is not finite",
                field="vector",
                found="nan or infinity",
                expected="a unit vector",
                next_step="encode the chunk again; if it stays so, the model is damaged",
            )
