"""What an engine has to do with the vectors of one index. All engines pass the same tests."""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.types import Allowed, StoredChunk


class VectorStore(Protocol):
    """The vectors of one index. Calls block and may come from several threads at once.

    Only one process writes at a time: its owner holds the lock of the index's state. What a method wrote is
    seen by the next call of every process. Raises UpstreamFailed when the engine cannot be reached.
    """

    @property
    def dimension(self) -> int: ...

    def refresh(self) -> None:
        """Called when another process has written: what it wrote is seen from the next call on."""
        ...

    def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        """Store these chunks, each in place of the one of its id. Done twice it is as if done once."""
        ...

    def delete_documents(self, document_keys: Collection[int]) -> None:
        """Delete all chunks of these documents; those that are not there are no error."""
        ...

    def search(
        self, vector: NDArray[np.float32], depth: int, allowed: Allowed | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Chunk ids and inner products of the best `depth` chunks, best first; ties by id.

        vector: (dimension,) unit length. allowed: None for all. No chunk outside of it comes back, and
        min(depth, allowed.chunks) do; the products are those of the stored values, exactly. An approximate
        engine may miss some of the best (recall@10 at least 0.95 at the settings it ships with).
        """
        ...

    def vectors(self, chunk_ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """(n,) which of these chunks are there, and (n, dimension) their stored values, else zeros."""
        ...

    def count(self) -> int:
        """Chunks that can be found."""
        ...

    def drop(self) -> None:
        """Delete the index with all that belongs to it; done twice it is no error."""
        ...

    def close(self) -> None:
        """Let go of connections; the store is of no use after it."""
        ...
