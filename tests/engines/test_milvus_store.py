"""Vectors in Milvus: on Milvus Lite and on a server, with FOOTNOTE_ENGINE_TESTS=1."""

import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import InvalidInput, UpstreamFailed
from retrieval.engines.address import parse_engine
from retrieval.engines.milvus import MilvusStore
from retrieval.engines.types import Allowed, IndexKey, StoredChunk
from retrieval.filters import matches, parse_filter

DIMENSION = 32
WORDS_URL = "postgresql://words/are-not-asked-for-here"
_numbers = count(1)

METADATA: list[dict[str, Any]] = [
    {},
    {"lang": "ru", "year": 2019, "tags": ["a", "b"]},
    {"lang": "zh", "year": 2024.5, "tags": []},
    {"lang": None, "year": "2024", "draft": True},
    {"lang": "中文", "year": 1, "draft": 1},
    {"author": {"name": "Ann", "years": [1999, 2021]}},
    {"author": [{"name": "Ann"}, {"name": "Ежи"}], "author.name": 'O\'Neil \\ "n"'},
    {"year": 2**53 + 1, "note": "long " * 100},
    {f"ф{number}": "ж" * 200 for number in range(60)},
    {f"field {number}": number for number in range(300)} | {"year": 2020},
]
FILTERS: list[dict[str, Any]] = [
    {"lang": "ru"},
    {"lang": "中文"},
    {"lang": None},
    {"lang": {"$ne": "ru"}},
    {"year": {"$gte": 2019, "$lt": 2025}},
    {"year": {"$not": {"$gte": 2019}}},
    {"year": {"$gt": 2**53}},
    {"year": {"$gt": -1.5}},
    {"year": {"$gt": "2023"}},
    {"draft": True},
    {"draft": 1},
    {"draft": {"$in": [False, 1]}},
    {"tags": {"$in": ["b", "c"]}},
    {"tags": {"$nin": ["b", "c"]}},
    {"tags": {"$exists": True}},
    {"author.name": "Ann"},
    {"author.name": 'O\'Neil \\ "n"'},
    {"author.years": {"$lt": 2000}},
    {"note": {"$gt": "k"}},
    {"lang": {"$gte": "\ud800"}},
    {"field 299": 299},
    {"$or": [{"lang": "zh"}, {"$not": {"$or": [{"year": {"$lt": 3}}, {"tags": {"$exists": True}}]}}]},
    {},
]
# Milvus Lite reads no escape of a control character.
FILTERS_OF_SERVERS: list[dict[str, Any]] = [{"note": {"$lt": "m\x00\b\x1f\u2028"}}]


def unit(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal((rows, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


def chunks(vectors: NDArray[np.float32], first: int = 0) -> list[StoredChunk]:
    """Three chunks a document, whose metadata goes round METADATA."""
    return [
        StoredChunk(first + i, i // 3, vectors[i], METADATA[i // 3 % len(METADATA)], False)
        for i in range(len(vectors))
    ]


def best(vectors: NDArray[np.float32], query: NDArray[np.float32], rows: list[int], depth: int) -> list[int]:
    products = vectors[rows] @ query
    return [rows[i] for i in np.lexsort((np.array(rows), -products))[:depth]]


@pytest.fixture
def key() -> IndexKey:
    return IndexKey(7, "200/30", "encoder@1", f"test-store-{next(_numbers)}")


@pytest.fixture
def store(milvus_url: str, key: IndexKey) -> Iterator[MilvusStore]:
    opened = opened_store(milvus_url, key)
    yield opened
    opened.drop()
    opened.close()


def opened_store(url: str, key: IndexKey) -> MilvusStore:
    return MilvusStore(parse_engine(url, WORDS_URL), key, DIMENSION)


def test_empty_index_answers_without_a_collection(store: MilvusStore) -> None:
    found, values = store.vectors(np.array([1, 2]))
    assert (found.tolist(), values.shape, store.count()) == ([False, False], (2, DIMENSION), 0)
    assert store.search(values[0], 5, None)[0].tolist() == []
    store.delete_documents([1])
    store.drop()


def test_each_write_is_seen_by_the_next_read_of_another_opener(
    store: MilvusStore, milvus_url: str, key: IndexKey
) -> None:
    """The other opener refreshes, as EngineIndex does when the state says that somebody wrote."""
    other, vectors = opened_store(milvus_url, key), unit(np.random.default_rng(1), 12)
    for i in range(12):
        store.upsert([StoredChunk(i, i, vectors[i], {}, False)])
        other.refresh()
        assert other.search(vectors[i], 1, None)[0].tolist() == [i]
        other.delete_documents([i])
        store.refresh()
        assert (store.count(), store.search(vectors[i], 1, None)[0].tolist()) == (0, [])
    other.close()


def test_stored_values_come_back_exactly(store: MilvusStore) -> None:
    vectors = unit(np.random.default_rng(2), 30)
    store.upsert(chunks(vectors))
    found, values = store.vectors(np.array([29, 1_000, 0]))
    assert found.tolist() == [True, False, True]
    assert np.array_equal(values, np.stack([vectors[29], np.zeros(DIMENSION), vectors[0]]))


def test_repeated_upsert_is_as_one(store: MilvusStore) -> None:
    rng = np.random.default_rng(3)
    store.upsert(chunks(unit(rng, 30)))
    newer = unit(rng, 30)
    for _ in range(3):
        store.upsert(chunks(newer))
    assert store.count() == 30
    assert np.array_equal(store.vectors(np.arange(30))[1], newer)
    assert store.search(newer[4], 1, None)[0].tolist() == [4]


def test_filter_lets_through_what_ours_lets_through(store: MilvusStore, milvus_url: str) -> None:
    rng = np.random.default_rng(4)
    vectors, query = unit(rng, 3 * len(METADATA)), unit(rng, 1)[0]
    store.upsert(chunks(vectors))
    lite = milvus_url.startswith("milvus+lite")
    for source in FILTERS if lite else [*FILTERS, *FILTERS_OF_SERVERS]:
        filter_ = parse_filter(source)
        rows = [i for i in range(len(vectors)) if matches(filter_, METADATA[i // 3])]
        for depth in (2, 100):
            found, products = store.search(query, depth, Allowed(filter_, len(rows), None))
            assert found.tolist() == best(vectors, query, rows, depth), source
            assert products == pytest.approx(vectors[found] @ query, abs=1e-5)
    listed = Allowed(parse_filter({"lang": "never asked"}), 6, (1, 4))
    assert sorted(store.search(query, 100, listed)[0]) == [3, 4, 5, 12, 13, 14]


def test_rows_of_doubt_do_not_crowd_out_the_allowed(store: MilvusStore) -> None:
    """Their texts are too long to compare in Milvus; the one that is allowed is the farthest of all."""
    rng = np.random.default_rng(5)
    vectors = unit(rng, 90)
    order = np.argsort(-(vectors @ vectors[0])).tolist()
    texts = {row: "z" * 300 if row == order[-1] else "a" * 300 for row in range(90)}
    store.upsert([StoredChunk(i, i, vectors[i], {"note": texts[i]}, False) for i in range(90)])
    found, _ = store.search(vectors[0], 5, Allowed(parse_filter({"note": {"$gte": "m"}}), 1, None))
    assert found.tolist() == [order[-1]]


def test_index_leaves_its_neighbours_alone(store: MilvusStore, milvus_url: str, key: IndexKey) -> None:
    neighbour = opened_store(milvus_url, IndexKey(8, key.chunking, key.model_id, key.database_id))
    vectors = unit(np.random.default_rng(6), 12)
    store.upsert(chunks(vectors[:6]))
    neighbour.upsert(chunks(vectors[6:], first=100))
    assert (store.count(), neighbour.count()) == (6, 6)
    assert store.search(vectors[6], 10, None)[0].max() < 100
    store.drop()
    store.drop()
    assert store.count() == 0
    neighbour.refresh()
    assert sorted(neighbour.search(vectors[0], 10, None)[0]) == list(range(100, 106))
    neighbour.drop()
    neighbour.close()


def test_nearest_are_found_among_thousands(store: MilvusStore) -> None:
    rng = np.random.default_rng(7)
    vectors, queries = unit(rng, 3_000), unit(rng, 30)
    store.upsert(chunks(vectors))
    hits = sum(
        len({*store.search(query, 10, None)[0]} & {*best(vectors, query, list(range(3_000)), 10)})
        for query in queries
    )
    assert hits / 300 >= 0.95


def test_vector_of_another_dimension_is_refused(store: MilvusStore) -> None:
    with pytest.raises(InvalidInput, match="the index has 32"):
        store.search(np.ones(3, np.float32), 1, None)


def test_server_that_does_not_answer_is_named_without_its_password(key: IndexKey) -> None:
    pytest.importorskip("pymilvus", reason="the extra `milvus`")
    with pytest.raises(UpstreamFailed) as raised:
        opened_store("milvus://ann:secret@127.0.0.1:9/vectors", key)
    assert "milvus://127.0.0.1:9/vectors" in raised.value.message
    assert "secret" not in f"{raised.value.message} {raised.value.next_step}"


def test_missing_client_says_what_to_install(key: IndexKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(InvalidInput) as raised:
        opened_store("milvus://127.0.0.1:9", key)
    assert "footnote[milvus]" in str(raised.value.next_step)
