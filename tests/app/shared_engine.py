"""An index engine in memory that several services share, with what can go wrong with one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import pytest

from embeddings.errors import Overloaded
from retrieval.candidates import Candidates
from retrieval.engines import open as opening
from retrieval.engines.address import EngineAddress
from retrieval.engines.types import IndexKey, IndexMoved
from retrieval.filters import Filter
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.search_index import IndexStatistics
from retrieval.types import IndexedChunk, RankedList

URL = "postgresql://user:secret@engine.test:5432/indexes"
SHOWN = "postgresql://engine.test:5432/indexes"


@dataclass(slots=True)
class Stored:
    """What the engine keeps of one index, for all processes."""

    index: CollectionIndex
    lock: Lock = field(default_factory=Lock)


class SharedEngine:
    """lost: nobody reaches it any more. applied: how often an index took something in."""

    def __init__(self) -> None:
        self.indexes: dict[IndexKey, Stored] = {}
        self.lost = False
        self.applied = 0

    def serve(self, patch: pytest.MonkeyPatch) -> None:
        """Let every engine of the settings be this one."""
        patch.setattr(opening, "open_engine_index", self.open)
        patch.setattr(opening, "drop_engine_index", self.drop)
        patch.setattr(opening, "list_engine_indexes", self.list)

    def open(self, engine: EngineAddress, key: IndexKey, dimension: int) -> "SharedIndex":
        self.reach()
        self.indexes.setdefault(key, Stored(CollectionIndex(dimension)))
        return SharedIndex(self, key)

    def drop(self, engine: EngineAddress, key: IndexKey) -> None:
        self.reach()
        self.indexes.pop(key, None)

    def list(self, engine: EngineAddress, database_id: str) -> list[IndexKey]:
        self.reach()
        return [key for key in self.indexes if key.database_id == database_id]

    def reach(self) -> None:
        if self.lost:
            raise Overloaded("the engine cannot be reached", next_step="start it")


class SharedIndex:
    """One process's view of an index on the engine: a `SearchIndex`."""

    build: Path | None = None
    sealable = False
    needs_build = False

    def __init__(self, engine: SharedEngine, key: IndexKey) -> None:
        self._engine, self._key = engine, key
        self._stored = engine.indexes[key]
        self._seen = self._stored.index.seq

    @property
    def dimension(self) -> int:
        return self._stored.index.dimension

    @property
    def seq(self) -> int:
        return self._seen

    def __len__(self) -> int:
        return len(self._stored.index)

    def refresh(self) -> None:
        self._check()
        self._seen = self._stored.index.seq

    def close(self) -> None:
        """Nothing is held."""

    def statistics(self) -> IndexStatistics:
        return self._stored.index.statistics()

    def apply(self, additions: Sequence[IndexedChunk], deleted_documents: Collection[int], seq: int) -> None:
        with self._stored.lock:
            self._check()
            if self._stored.index.seq != self._seen or seq < self._seen:
                raise IndexMoved("another process changed the index")
            self._stored.index.apply(additions, deleted_documents, seq)
            self._seen = seq
            self._engine.applied += 1

    def search(self, request: SearchRequest) -> RankedList:
        self._check()
        return self._stored.index.search(request)

    def candidates(self, request: SearchRequest) -> Candidates:
        self._check()
        return self._stored.index.candidates(request)

    def check_fields(self, filter_: Filter) -> None:
        self._check()
        self._stored.index.check_fields(filter_)

    def _check(self) -> None:
        self._engine.reach()
        if self._engine.indexes.get(self._key) is not self._stored:
            raise IndexMoved("the index was dropped")
