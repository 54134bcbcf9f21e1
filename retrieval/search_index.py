"""What the service needs of a collection's index, whichever engine holds it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from retrieval.candidates import Candidates
from retrieval.filters import Filter
from retrieval.ranking import SearchRequest
from retrieval.types import IndexedChunk, RankedList


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """chunks: that can be found; recent_rows: newer than the build, searched one by one; dead_share: of the
    build's rows, 0 to 1; seq: up to which changes can be found. An engine has no build: both are 0.
    """

    chunks: int
    recent_rows: int
    dead_share: float
    seq: int


class SearchIndex(Protocol):
    """A searchable collection that follows the sequence numbers of its source of truth.

    `retrieval.index.CollectionIndex` keeps it in this process; `retrieval.engines.engine_index.EngineIndex`
    in a database that all processes share.
    """

    @property
    def dimension(self) -> int: ...

    @property
    def seq(self) -> int:
        """The sequence number up to which changes can be found; 0 at first."""
        ...

    @property
    def build(self) -> Path | None:
        """The directory of the build that it goes on from; None without one."""
        ...

    @property
    def sealable(self) -> bool:
        """Whether it can be made a build of."""
        ...

    @property
    def needs_build(self) -> bool:
        """Whether a build would serve better."""
        ...

    def __len__(self) -> int:
        """Chunks that can be found."""
        ...

    def refresh(self) -> None:
        """Learn what another process put into the same index. Raises IndexMoved when that was dropped."""
        ...

    def close(self) -> None:
        """Let go of what it holds; it is not searched any more."""
        ...

    def statistics(self) -> IndexStatistics:
        """How large it is, all from one state."""
        ...

    def apply(self, additions: Sequence[IndexedChunk], deleted_documents: Collection[int], seq: int) -> None:
        """Take in changes, all at once: a search that starts later finds them.

        deleted_documents: document keys whose chunks go. They go first, so a key may come again in
        `additions`. A chunk whose id is there already replaces it. Raises InvalidInput, and changes
        nothing, when a vector has another dimension, an id comes twice, or seq goes back; IndexMoved when
        another process changed the index since `refresh`.
        """
        ...

    def search(self, request: SearchRequest) -> RankedList:
        """The best chunks for a request. Raises InvalidInput for a value out of range."""
        ...

    def candidates(self, request: SearchRequest) -> Candidates:
        """What hybrid mode would fuse for a request. Raises InvalidInput as `search` does for the vector."""
        ...

    def check_fields(self, filter_: Filter) -> None:
        """Raise InvalidInput when a filter compares a field that no document has."""
        ...
