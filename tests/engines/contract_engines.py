"""The engines that the contract suite runs on, each by the way it is opened twice."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from retrieval.engines.address import EngineAddress, parse_engine
from retrieval.engines.open import drop_engine_index, list_engine_indexes, open_engine_index
from retrieval.engines.types import IndexKey
from retrieval.index import CollectionIndex
from retrieval.search_index import SearchIndex

QUICK = ("faiss", "pgvector")
SLOW = ("milvus-lite", "milvus")
_numbers = count(1)


class Engine(ABC):
    """Opens indexes. shared: whether a second opener is another handle of the same index."""

    shared = True

    def new_key(self) -> IndexKey:
        """Of an index that is not there yet, in a database of its own: so no other has its chunk ids."""
        return IndexKey(1, "200/30", "encoder@1", f"{next(_numbers):032x}")

    @abstractmethod
    def open(self, key: IndexKey, dimension: int) -> SearchIndex: ...

    @abstractmethod
    def drop(self, key: IndexKey) -> None: ...

    @abstractmethod
    def keys(self, key: IndexKey) -> list[IndexKey]:
        """The indexes that the engine holds of this key's database."""


class InProcess(Engine):
    """FAISS and tantivy: one index of this process, which is its own second opener."""

    shared = False

    def __init__(self) -> None:
        self._held: dict[IndexKey, CollectionIndex] = {}

    def open(self, key: IndexKey, dimension: int) -> SearchIndex:
        return self._held.setdefault(key, CollectionIndex(dimension))

    def drop(self, key: IndexKey) -> None:
        self._held.pop(key, None)

    def keys(self, key: IndexKey) -> list[IndexKey]:
        return [each for each in self._held if each.database_id == key.database_id]


class Remote(Engine):
    """An engine that an address names."""

    def __init__(self, address: EngineAddress) -> None:
        self.address = address

    def open(self, key: IndexKey, dimension: int) -> SearchIndex:
        return open_engine_index(self.address, key, dimension)

    def drop(self, key: IndexKey) -> None:
        drop_engine_index(self.address, key)

    def keys(self, key: IndexKey) -> list[IndexKey]:
        return list_engine_indexes(self.address, key.database_id)


def engine_named(name: str, request: pytest.FixtureRequest, folder: Path) -> Engine:
    """An engine of QUICK or SLOW; the test is skipped where it cannot run."""
    if name in SLOW and os.environ.get("FOOTNOTE_ENGINE_TESTS") != "1":
        pytest.skip("FOOTNOTE_ENGINE_TESTS=1 runs it: make test-engines")
    if name == "faiss":
        return InProcess()
    postgres_url: str = request.getfixturevalue("postgres_url")
    if name == "pgvector":
        return Remote(parse_engine(postgres_url, None))
    if name == "milvus-lite":
        pytest.importorskip("milvus_lite", reason="pip install -r tests/engines/requirements.txt")
        return Remote(parse_engine(f"milvus+lite://{folder}/vectors.db", postgres_url))
    return Remote(parse_engine(request.getfixturevalue("milvus_address"), postgres_url))


@contextmanager
def opened(engine: Engine, dimension: int) -> Iterator[tuple[IndexKey, SearchIndex]]:
    """A new index, dropped afterwards."""
    key = engine.new_key()
    index = engine.open(key, dimension)
    try:
        yield key, index
    finally:
        index.close()
        engine.drop(key)
