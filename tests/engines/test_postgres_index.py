"""What is PostgreSQL's own in an index: the graph, lost servers, shared databases, limits of full text."""

from collections.abc import Collection, Iterator, Sequence
from threading import Thread

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from embeddings.errors import InvalidInput, Overloaded, UpstreamFailed
from retrieval.engines.address import EngineAddress, parse_engine
from retrieval.engines.engine_index import EngineIndex
from retrieval.engines.open import (
    close_engines,
    drop_engine_index,
    list_engine_indexes,
    open_engine_index,
)
from retrieval.engines.postgres import graph, pool, scoring, vectors, words
from retrieval.engines.postgres.schema import open_tables
from retrieval.engines.postgres.word_store import WordStore
from retrieval.engines.types import Allowed, IndexKey, IndexMoved, StoredChunk
from retrieval.filters import parse_filter
from retrieval.ranking import SearchRequest
from retrieval.types import IndexedChunk, SearchMode
from tests.engines.contract_chunks import Oracle, unit
from tests.engines.postgres_server import PostgresServer

DIMENSION = 16
KEY = IndexKey(1, "200/30", "encoder@1", "d" * 32)


@pytest.fixture
def address(postgres_url: str) -> Iterator[EngineAddress]:
    yield parse_engine(postgres_url, None)
    close_engines()


@pytest.fixture
def index(address: EngineAddress) -> Iterator[EngineIndex]:
    opened = open_engine_index(address, KEY, DIMENSION)
    yield opened
    opened.close()


def chunks(count: int, first: int = 0, text: str = "apple") -> list[IndexedChunk]:
    return [
        IndexedChunk(i, i, f"{text} w{i % 7}", unit(i, DIMENSION).astype(np.float16), {"tenth": i % 10})
        for i in range(first, first + count)
    ]


def test_graph_is_made_beside_the_searches_and_finds_what_they_found(
    index: EngineIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "MIN_CHUNKS", 500)
    monkeypatch.setattr(vectors, "EXACT_CHUNKS", 50)
    added = chunks(1_500)
    index.apply(added, (), 1)
    oracle = Oracle({each.chunk_id: each for each in added})
    assert isinstance(index.vectors, vectors.PgvectorStore)
    assert not index.vectors.graph.ready()  # asking has it made
    assert index.vectors.graph.wait(120)
    index.apply(chunks(40, 2_000), range(40), 2)
    oracle.apply(chunks(40, 2_000), range(40))
    for source in (None, {"tenth": 3}, {"tenth": {"$ne": 3}}):
        filter_ = None if source is None else parse_filter(source)
        found, wanted = 0, 0
        for seed in range(20):
            query = unit(90_000 + seed, DIMENSION)
            request = SearchRequest("", query, SearchMode.DENSE, filter=filter_)
            scores = oracle.dense(query, filter_)
            best = sorted(scores, key=lambda i: -scores[i])[:10]
            ranked = index.search(request).chunks
            assert [each.score for each in ranked] == pytest.approx(
                [scores[c.chunk_id] for c in ranked], abs=1e-5
            )
            found += len(set(best) & {each.chunk_id for each in ranked})
            wanted += len(best)
        assert found / wanted >= 0.95


def test_graph_that_was_left_half_made_is_made_anew(
    index: EngineIndex, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "MIN_CHUNKS", 100)
    index.apply(chunks(200), (), 1)
    assert isinstance(index.vectors, vectors.PgvectorStore)
    index.vectors.graph.ready()
    assert index.vectors.graph.wait(60)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'footnote_index.graph_1'::regclass"
        )
    index.vectors.graph.wait(0)
    assert index.vectors.graph.wait(60)


def test_words_of_a_large_index_rank_as_all_words_do(
    index: EngineIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(5)
    added = [
        IndexedChunk(
            i, i, " ".join(f"w{int(w)}" for w in random.zipf(1.4, 30) % 400), each.vector, each.metadata
        )
        for i, each in enumerate(chunks(600))
    ]
    index.apply(added, (), 1)
    filter_ = parse_filter({"tenth": {"$lt": 6}})
    for query in ("w1 w2 w3 w77", "w5 w9 w1 w250 w31", "w1", "w1 w2", "w399 w398 w397"):
        for condition in (None, filter_):
            request = SearchRequest(query, mode=SearchMode.LEXICAL, limit=10, filter=condition)
            monkeypatch.setattr(scoring, "MAX_SCORED", 10**9)
            expected = index.search(request)
            monkeypatch.setattr(scoring, "MAX_SCORED", 20)
            assert index.search(request) == expected
            monkeypatch.setattr(words, "MAX_EXACT", 0)  # an index that is too large for it
            found, wanted = (
                {each.chunk_id for each in ranked.chunks} for ranked in (index.search(request), expected)
            )
            assert len(found & wanted) >= 0.8 * len(wanted)
            monkeypatch.setattr(words, "MAX_EXACT", 50_000)


def test_occurrences_are_counted_exactly_up_to_the_most_that_is_kept(index: EngineIndex) -> None:
    counts = [1, 2, 3, 17, 254, 255]
    vector = unit(1, DIMENSION).astype(np.float16)
    added = [IndexedChunk(i, i, "apple " * n + "pear " * (300 - n), vector, {}) for i, n in enumerate(counts)]
    index.apply(added, (), 1)
    expected = Oracle({each.chunk_id: each for each in added}).bm25("apple", None)
    found = index.search(SearchRequest("apple", mode=SearchMode.LEXICAL)).chunks
    assert {each.chunk_id: each.score for each in found} == pytest.approx(expected, rel=1e-5)


def test_chunk_with_more_words_than_full_text_takes_is_found_by_the_first(index: EngineIndex) -> None:
    text = " ".join(f"{'x' * 40}{i}" for i in range(40_000))
    index.apply([IndexedChunk(1, 1, text, unit(1, DIMENSION).astype(np.float16), {})], (), 1)
    found = index.search(SearchRequest("x" * 40 + "7", mode=SearchMode.LEXICAL)).chunks
    assert [each.chunk_id for each in found] == [1]
    index.apply([], [1], 2)
    assert len(index) == 0
    assert index.vectors.count() == 0


def test_moments_are_those_of_the_vectors_that_are_left(index: EngineIndex, address: EngineAddress) -> None:
    """Small changes are noted, large ones summed up; another process reads either."""
    index.apply(chunks(60), (), 1)
    for seq in range(2, 12):
        index.apply(chunks(3, 100 * seq), [seq, seq + 20], seq)
    index.apply(chunks(5, 30), (), 12)  # in place of those of their ids
    other = open_engine_index(address, KEY, DIMENSION)
    query = unit(77, DIMENSION)
    request = SearchRequest("", query, SearchMode.DENSE, limit=500)
    scores = [each.score for each in index.search(request).chunks]
    for opened in (index, other):
        background = opened.candidates(SearchRequest("apple", query)).background
        assert len(scores) == len(opened)
        assert background.mean == pytest.approx(np.mean(scores), abs=1e-5)
        squares = len(scores) * np.var(scores) + 10 * 0.1**2
        assert background.deviation == pytest.approx((squares / (len(scores) + 10)) ** 0.5, abs=1e-5)
    other.close()


def test_two_writers_at_once_make_one_change(index: EngineIndex, address: EngineAddress) -> None:
    openers = [index, *(open_engine_index(address, KEY, DIMENSION) for _ in range(3))]
    refused: list[Exception] = []

    def write(place: int) -> None:
        try:
            openers[place].apply(chunks(5, 100 * place), (), 1)
        except IndexMoved as error:
            refused.append(error)

    threads = [Thread(target=write, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index.refresh()
    assert (len(refused), len(index), index.vectors.count()) == (3, 5, 5)


def test_server_that_starts_anew_is_found_again() -> None:
    server = PostgresServer()
    try:
        address = parse_engine(server.url("postgres"), None)
        index = open_engine_index(address, KEY, DIMENSION)
        index.apply(chunks(4), (), 1)
        server.kill()
        with pytest.raises(UpstreamFailed, match="cannot be reached"):
            index.search(SearchRequest("apple", unit(1, DIMENSION)))
        with pytest.raises(UpstreamFailed):
            index.apply(chunks(8), (), 2)
        server.start()
        assert len(index.search(SearchRequest("apple", unit(1, DIMENSION))).chunks) == 4
        index.apply(chunks(8), (), 2)
        assert (len(index), index.vectors.count()) == (8, 8)
    finally:
        close_engines()
        server.remove()


class FailingStore:
    """A vector store apart from the words; it can end half-way through a change, as its process would."""

    dimension = DIMENSION

    def __init__(self) -> None:
        self.held: dict[int, StoredChunk] = {}
        self.fails = False

    def refresh(self) -> None: ...

    def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        for chunk in chunks[: len(chunks) // 2 if self.fails else None]:
            self.held[chunk.chunk_id] = chunk
        if self.fails:
            raise UpstreamFailed("killed")

    def delete_documents(self, document_keys: Collection[int]) -> None:
        self.held = {i: each for i, each in self.held.items() if each.document_key not in document_keys}

    def search(
        self, vector: NDArray[np.float32], depth: int, allowed: Allowed | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        scores = {i: float(each.vector @ vector) for i, each in self.held.items()}
        best = sorted(scores, key=lambda i: -scores[i])[:depth]
        return np.array(best, np.int64), np.array([scores[i] for i in best], np.float32)

    def vectors(self, chunk_ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        found = np.array([i in self.held for i in chunk_ids.tolist()], np.bool_)
        values = np.zeros((len(chunk_ids), DIMENSION), np.float32)
        for row in np.flatnonzero(found):
            values[row] = self.held[int(chunk_ids[row])].vector
        return found, values

    def count(self) -> int:
        return len(self.held)

    def drop(self) -> None: ...

    def close(self) -> None: ...


def test_change_that_was_half_written_elsewhere_leaves_nothing_behind(address: EngineAddress) -> None:
    own = pool.pool_of(address.words_url)
    store = WordStore(own, open_tables(own, KEY, "elsewhere", DIMENSION, vectors=False))
    vectors_apart = FailingStore()
    index = EngineIndex(store, vectors_apart, apart=True)
    index.apply(chunks(6), (), 1)
    vectors_apart.fails = True
    with pytest.raises(UpstreamFailed):  # 0 changes, 10 to 13 are new
        index.apply([*chunks(4, 10), *chunks(1, 100)], [0], 2)
    assert (len(index), index.seq) == (6, 1)
    assert vectors_apart.held.keys() != set(range(6))
    vectors_apart.fails = False
    after = EngineIndex(store, vectors_apart, apart=True)
    after.apply(chunks(2, 12), [0], 2)  # by now 10, 11 and 100 are deleted again
    assert vectors_apart.held.keys() == {1, 2, 3, 4, 5, 12, 13}
    found = after.search(SearchRequest("apple", unit(1, DIMENSION), limit=50)).chunks
    assert {each.chunk_id for each in found} == {1, 2, 3, 4, 5, 12, 13}


def test_search_waits_for_no_writer(index: EngineIndex, postgres_url: str) -> None:
    index.apply(chunks(4), (), 1)
    with psycopg.connect(postgres_url) as writer:
        writer.execute("SELECT 1 FROM footnote_index.states FOR UPDATE")
        assert len(index.search(SearchRequest("apple", unit(1, DIMENSION))).chunks) == 4


def test_every_connection_in_use_is_an_overload(
    address: EngineAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_S", 0.1)
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    small = pool.PostgresPool(address.url)
    failed: list[Exception] = []

    def read() -> None:
        try:
            with small.reading():
                pass
        except Overloaded as error:
            failed.append(error)

    with small.reading():
        thread = Thread(target=read)
        thread.start()
        thread.join()
    assert len(failed) == 1
    read()
    assert len(failed) == 1
    small.close()


def test_database_without_pgvector_says_what_it_lacks(
    address: EngineAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.engines.postgres import schema  # noqa: PLC0415

    monkeypatch.setattr(schema, "_VECTORS", ("CREATE EXTENSION absent",))
    with pytest.raises(InvalidInput, match="cannot hold one") as raised:
        open_engine_index(address, KEY, DIMENSION)
    assert "absent" in str(raised.value.found)
    assert list_engine_indexes(address, KEY.database_id) == []


def test_indexes_of_other_databases_are_not_listed(address: EngineAddress) -> None:
    other = IndexKey(1, "200/30", "encoder@1", "e" * 32)
    for key in (KEY, other):
        open_engine_index(address, key, DIMENSION).close()
    assert list_engine_indexes(address, KEY.database_id) == [KEY]
    drop_engine_index(address, KEY)
    assert list_engine_indexes(address, other.database_id) == [other]


def test_older_format_is_left_alone_and_made_anew(
    address: EngineAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.engines.postgres import schema  # noqa: PLC0415

    index = open_engine_index(address, KEY, DIMENSION)
    index.apply(chunks(4), (), 1)
    monkeypatch.setattr(schema, "FORMAT", schema.FORMAT + 1)
    newer = open_engine_index(address, KEY, DIMENSION)
    assert (len(newer), newer.seq) == (0, 0)
    assert len(index.search(SearchRequest("apple", unit(1, DIMENSION))).chunks) == 4
