"""What Milvus acknowledged survives the kill of its server, with FOOTNOTE_ENGINE_TESTS=1."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import UpstreamFailed
from retrieval.engines.milvus import MilvusStore
from retrieval.engines.types import IndexKey, StoredChunk
from tests.engines.milvus_fixtures import skip_unless_thorough, started
from tests.engines.milvus_server import MilvusServer
from tests.engines.test_milvus_store import DIMENSION, opened_store, unit

CYCLES, BATCH, WRITING_S = 2, 20, 6.0
KEY = IndexKey(1, "200/30", "encoder@1", "killed")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MilvusServer]:
    skip_unless_thorough()
    with started(tmp_path / "milvus") as running:
        yield running


def reopened(server: MilvusServer, rows: int) -> MilvusStore:
    """The index after a restart: the server loads it again, which takes some seconds."""
    deadline = time.monotonic() + 120
    while True:
        try:
            store = opened_store(server.address, KEY)
            store.search(np.ones(DIMENSION, np.float32), 1, None)
            assert store.count() >= rows
        except UpstreamFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return store


def write(store: MilvusStore, vectors: NDArray[np.float32], batch: range) -> None:
    store.upsert([StoredChunk(i, i // 3, vectors[i], {"n": i}, False) for i in batch])


def write_until_killed(store: MilvusStore, vectors: NDArray[np.float32], rows: int) -> tuple[int, range]:
    """How many rows were acknowledged in the end, and the batch that was not."""
    while True:
        batch = range(rows, rows + BATCH)
        try:
            write(store, vectors, batch)
        except UpstreamFailed:
            return rows, batch
        rows += BATCH


def test_kill_during_writes_loses_nothing_acknowledged(server: MilvusServer) -> None:
    vectors = unit(np.random.default_rng(1), 20_000)
    store, rows = opened_store(server.address, KEY), BATCH
    write(store, vectors, range(BATCH))
    for _ in range(CYCLES):
        before, killing = rows, Timer(WRITING_S, server.kill)
        killing.start()
        rows, lost = write_until_killed(store, vectors, rows)
        killing.join()
        store.close()
        assert rows > before
        server.start()
        store = reopened(server, rows)
        found, values = store.vectors(np.arange(rows))
        assert found.all()
        assert np.array_equal(values, vectors[:rows])
        write(store, vectors, lost)  # as the next apply does, since no state was committed
        rows += BATCH
        assert store.count() == rows
    store.close()
