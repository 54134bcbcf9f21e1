"""One contract for every engine of an index: what it finds is what brute force finds.

FAISS and pgvector always; milvus-lite and a Milvus server with FOOTNOTE_ENGINE_TESTS=1.
"""

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from embeddings.errors import InvalidInput
from retrieval.engines.types import IndexMoved
from retrieval.filters import parse_filter
from retrieval.ranking import SearchRequest
from retrieval.search_index import SearchIndex
from retrieval.types import IndexedChunk, RankedList, SearchMode
from tests.engines.contract_chunks import (
    DIMENSION,
    WORDS,
    Oracle,
    chunk,
    filters,
    metadata,
    texts,
    unit,
)
from tests.engines.contract_engines import QUICK, SLOW, Engine, engine_named, opened

THOROUGH = os.environ.get("FOOTNOTE_ENGINE_TESTS") == "1"
EXAMPLES, STEPS = (15, 12) if THOROUGH else (8, 12)


@pytest.fixture(params=[*QUICK, *SLOW])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return engine_named(request.param, request, tmp_path)


@pytest.fixture(params=[name for name in (*QUICK, *SLOW) if name != "faiss"])
def shared_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return engine_named(request.param, request, tmp_path)


def ids(ranked: RankedList) -> list[int]:
    return [each.chunk_id for each in ranked.chunks]


def scores(ranked: RankedList) -> dict[int, float]:
    return {each.chunk_id: each.score for each in ranked.chunks}


class IndexAgainstOracle(RuleBasedStateMachine):
    """Two openers take turns in writing; after each write both find what brute force finds."""

    engine: ClassVar[Engine]

    @initialize()
    def start(self) -> None:
        self.key = self.engine.new_key()
        self.openers = [self.engine.open(self.key, DIMENSION) for _ in range(2)]
        self.oracle = Oracle({})
        self.seq = 0
        self.writes = 0

    def teardown(self) -> None:
        if hasattr(self, "openers"):
            for index in self.openers:
                index.close()
            self.engine.drop(self.key)

    def current(self, opener: int) -> SearchIndex:
        index = self.openers[opener]
        if index.seq < self.seq:
            index.refresh()
        return index

    @rule(
        opener=st.integers(0, 1),
        documents=st.dictionaries(
            st.integers(0, 8), st.tuples(st.lists(texts, min_size=1, max_size=3), metadata), max_size=4
        ),
        deleted=st.sets(st.integers(0, 9), max_size=2),
    )
    def write_documents(
        self, opener: int, documents: dict[int, tuple[list[str], dict[str, Any]]], deleted: set[int]
    ) -> None:
        """As the service does: whole documents, whose chunks get new ids."""
        self.writes += 1
        first = 1_000 * self.writes
        added = [
            chunk(first + 10 * key + place, key, text, held)
            for key, (found, held) in documents.items()
            for place, text in enumerate(found)
        ]
        self.apply(opener, added, deleted | documents.keys())

    @rule(opener=st.integers(0, 1), text=texts)
    def replace_chunks(self, opener: int, text: str) -> None:
        """The same ids again: a load that is repeated after a kill."""
        some = sorted(self.oracle.chunks.values(), key=lambda held: held.chunk_id)[::2]
        self.apply(
            opener, [chunk(each.chunk_id, each.document_key, text, each.metadata) for each in some], set()
        )

    def apply(self, opener: int, added: list[IndexedChunk], deleted: set[int]) -> None:
        index = self.current(opener)
        self.seq += 1
        index.apply(added, deleted, self.seq)
        self.oracle.apply(added, deleted)
        assert (len(index), index.seq) == (len(self.oracle.chunks), self.seq)

    @rule(opener=st.integers(0, 1))
    def open_anew(self, opener: int) -> None:
        self.openers[opener].close()
        self.openers[opener] = self.engine.open(self.key, DIMENSION)
        assert (len(self.openers[opener]), self.openers[opener].seq) == (len(self.oracle.chunks), self.seq)

    @rule(opener=st.integers(0, 1), seed=st.integers(0, 9), limit=st.integers(1, 40))
    def search_dense(self, opener: int, seed: int, limit: int) -> None:
        self.check_dense(opener, seed, limit, None)

    @rule(opener=st.integers(0, 1), seed=st.integers(0, 9), source=filters)
    def search_filtered(self, opener: int, seed: int, source: dict[str, Any]) -> None:
        self.check_dense(opener, seed, 40, source)

    def check_dense(self, opener: int, seed: int, limit: int, source: dict[str, Any] | None) -> None:
        filter_ = None if source is None else parse_filter(source)
        query = unit(1_000_000 + seed)
        request = SearchRequest("", query, SearchMode.DENSE, limit=limit, filter=filter_)
        found = self.current(opener).search(request)
        expected = self.oracle.dense(query, filter_)
        best = sorted(expected.values(), reverse=True)[:limit]
        assert [each.score for each in found.chunks] == pytest.approx(best, abs=1e-4)
        assert scores(found) == pytest.approx({i: expected[i] for i in ids(found)}, abs=1e-4)

    @rule(opener=st.integers(0, 1), query=texts, source=st.none() | filters)
    def search_words(self, opener: int, query: str, source: dict[str, Any] | None) -> None:
        filter_ = None if source is None else parse_filter(source)
        request = SearchRequest(query, mode=SearchMode.LEXICAL, limit=200, filter=filter_)
        found = scores(self.current(opener).search(request))
        expected = self.oracle.bm25(query, filter_)
        assert found.keys() == expected.keys()
        if self.engine.shared:  # tantivy counts deleted chunks until it merges their files
            assert found == pytest.approx(expected, rel=1e-4)

    @rule(opener=st.integers(0, 1), query=texts, seed=st.integers(0, 9))
    def search_both(self, opener: int, query: str, seed: int) -> None:
        vector = unit(1_000_000 + seed)
        found = self.current(opener).search(SearchRequest(query, vector, limit=200))
        assert set(ids(found)) == set(self.oracle.chunks)
        dense = {each.chunk_id: each.dense.score for each in found.chunks if each.dense}
        assert dense == pytest.approx(self.oracle.dense(vector, None), abs=1e-4)
        assert [each.score for each in found.chunks] == sorted(scores(found).values(), reverse=True)


def test_index_finds_what_brute_force_finds(engine: Engine) -> None:
    machine = type("Machine", (IndexAgainstOracle,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def some_chunks(count: int) -> list[IndexedChunk]:
    return [chunk(i, i // 2, WORDS[i % 5], {"parity": i // 2 % 2, "deep": {"n": i}}) for i in range(count)]


def test_hybrid_search_ranks_as_the_index_of_this_process_does(shared_engine: Engine, tmp_path: Path) -> None:
    from retrieval.index import CollectionIndex  # noqa: PLC0415

    added = [chunk(i, i, f"{WORDS[i % 8]} {WORDS[i % 7]} w{i % 11}", {"n": i % 3}) for i in range(300)]
    local = CollectionIndex(DIMENSION)
    local.apply(added, (), 1)
    with opened(shared_engine, DIMENSION) as (_, index):
        index.apply(added, (), 1)
        for seed in range(8):
            filter_ = parse_filter({"n": {"$ne": seed % 3}}) if seed % 2 else None
            request = SearchRequest(f"{WORDS[seed]} w{seed} apple", unit(9_000 + seed), filter=filter_)
            ours, theirs = local.search(request), index.search(request)
            assert [each.score for each in theirs.chunks] == pytest.approx(
                [each.score for each in ours.chunks], abs=1e-3
            )
            assert theirs.weights == ours.weights


def test_stale_opener_is_told_and_changes_nothing(shared_engine: Engine) -> None:
    with opened(shared_engine, DIMENSION) as (key, first):
        second = shared_engine.open(key, DIMENSION)
        first.apply(some_chunks(4), (), 1)
        with pytest.raises(IndexMoved):
            second.apply(some_chunks(8), (), 2)
        assert (len(second), second.seq) == (0, 0)
        second.refresh()
        assert (len(second), second.seq) == (4, 1)
        second.apply([], [0], 2)
        first.refresh()
        assert (len(first), first.seq) == (2, 2)
        second.close()


def test_dropped_index_is_gone_for_every_opener(shared_engine: Engine) -> None:
    with opened(shared_engine, DIMENSION) as (key, index):
        index.apply(some_chunks(4), (), 1)
        assert shared_engine.keys(key) == [key]
        shared_engine.drop(key)
        shared_engine.drop(key)
        assert shared_engine.keys(key) == []
        with pytest.raises(IndexMoved):
            index.refresh()
        with pytest.raises(IndexMoved):
            index.apply(some_chunks(2), (), 2)
        anew = shared_engine.open(key, DIMENSION)
        assert (len(anew), anew.seq) == (0, 0)
        assert anew.search(SearchRequest("apple", unit(1))).chunks == ()
        anew.close()


def test_dropping_one_index_leaves_the_others(shared_engine: Engine) -> None:
    with opened(shared_engine, DIMENSION) as (_, kept), opened(shared_engine, DIMENSION) as (key, _):
        kept.apply(some_chunks(4), (), 1)
        shared_engine.drop(key)
        assert set(ids(kept.search(SearchRequest("apple", unit(1))))) == {0, 1, 2, 3}


def test_change_that_cannot_be_right_changes_nothing(engine: Engine) -> None:
    with opened(engine, DIMENSION) as (_, index):
        index.apply(some_chunks(4), (), 5)
        twice = [*some_chunks(1), *some_chunks(1)]
        long = IndexedChunk(9, 9, "", np.ones(DIMENSION + 1, np.float16), {})
        infinite = IndexedChunk(9, 9, "", np.full(DIMENSION, np.inf, np.float16), {})
        for added, seq in (([], 4), (twice, 6), ([long], 6), ([infinite], 6)):
            # The sequence number of an index that others write into may have moved without the caller.
            with pytest.raises(IndexMoved if engine.shared and seq < 5 else InvalidInput):
                index.apply(added, [0, 1], seq)
        assert (len(index), index.seq) == (4, 5)


def test_field_that_no_document_has_is_named(engine: Engine) -> None:
    with opened(engine, DIMENSION) as (_, index):
        index.check_fields(parse_filter({"typo": 1}))  # an empty index knows no fields
        index.apply(some_chunks(4), (), 1)
        index.check_fields(parse_filter({"parity": 1, "deep.n": {"$gt": 0}, "typo": {"$exists": False}}))
        for _ in range(2):
            with pytest.raises(InvalidInput, match="typo") as raised:
                index.check_fields(parse_filter({"parity": 1, "typo": 1}))
        assert raised.value.expected == "one of deep, parity"


def test_pages_of_a_search_fit_together(engine: Engine) -> None:
    with opened(engine, DIMENSION) as (_, index):
        index.apply(some_chunks(60), (), 1)
        whole = ids(index.search(SearchRequest("apple pear", unit(1), limit=60)))
        pages = [
            ids(index.search(SearchRequest("apple pear", unit(1), limit=20, offset=offset)))
            for offset in (0, 20, 40, 60)
        ]
        assert [*pages[0], *pages[1], *pages[2]] == whole
        assert pages[3] == []


def test_dimension_can_change_with_a_new_encoder(shared_engine: Engine) -> None:
    key = shared_engine.new_key()
    shared_engine.open(key, DIMENSION).close()
    wider = shared_engine.open(key, 2 * DIMENSION)
    added = IndexedChunk(1, 1, "apple", unit(1, 2 * DIMENSION).astype(np.float16), {})
    wider.apply([added], (), 1)
    assert ids(wider.search(SearchRequest("", unit(1, 2 * DIMENSION), SearchMode.DENSE))) == [1]
    wider.close()
    shared_engine.drop(key)
