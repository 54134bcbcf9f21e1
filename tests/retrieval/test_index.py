"""The index against an exact oracle: a dict of chunks, NumPy scores, and `filters.matches`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.analysis import terms
from retrieval.builds.manifest import BuildOrigin
from retrieval.builds.sealing import SealOptions
from retrieval.filters import matches, parse_filter
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.ranking import candidate_depth
from retrieval.sealed_vectors import IndexKind
from retrieval.types import IndexedChunk, RankedList, SearchMode

DIMENSION = 8
ORIGIN = BuildOrigin("d" * 32, 1, "200/30", "encoder@1")
WORDS = ["apple", "pear", "plum", "fig", "quince"]


def unit(seed: int) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).standard_normal(DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def chunk(chunk_id: int, document_key: int | None = None, text: str = "", **metadata: Any) -> IndexedChunk:
    key = chunk_id if document_key is None else document_key
    return IndexedChunk(chunk_id, key, text, unit(chunk_id).astype(np.float16), metadata)


def ids(ranked: RankedList) -> list[int]:
    return [chunk.chunk_id for chunk in ranked.chunks]


def indexed(*chunks: IndexedChunk) -> CollectionIndex:
    index = CollectionIndex(DIMENSION)
    index.apply(chunks, [], 1)
    return index


class IndexAgainstOracle(RuleBasedStateMachine):
    """Random changes; after each of them every mode finds exactly what the oracle finds."""

    @initialize()
    def start(self) -> None:
        # tantivy's merging thread may still write while the folder goes.
        self.folder = TemporaryDirectory(ignore_cleanup_errors=True)
        self.index = CollectionIndex(DIMENSION, self.new_folder())
        self.chunks: dict[int, IndexedChunk] = {}
        self.seq = 0

    def new_folder(self) -> Path:
        folder = Path(self.folder.name) / f"{len(list(Path(self.folder.name).iterdir()))}"
        folder.mkdir()
        return folder

    @rule(kind=st.sampled_from([None, IndexKind.FLAT, IndexKind.HNSW]), going_on=st.booleans())
    def seal_a_build_and_open_it(self, kind: IndexKind | None, going_on: bool) -> None:
        folder = self.new_folder()
        options = SealOptions(kind=kind)
        build = self.index.seal(folder / "scratch", folder, ORIGIN, options)
        opened = CollectionIndex.open(build, self.new_folder())
        assert len(opened) == len(self.index)
        if going_on:
            self.index = opened

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(
        count=st.integers(0, 6),
        first=st.integers(0, 40),
        documents=st.integers(1, 3),
        words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
        deleted=st.sets(st.integers(0, 60), max_size=3),
    )
    def apply(self, count: int, first: int, documents: int, words: list[str], deleted: set[int]) -> None:
        added = [
            chunk(i, key, " ".join(words[: 1 + i % 3]), parity=key % 2)
            for i in range(first, first + count)
            for key in [i // documents]
        ]
        self.seq += 1
        self.index.apply(added, deleted, self.seq)
        kept = {i: held for i, held in self.chunks.items() if held.document_key not in deleted}
        self.chunks = kept | {held.chunk_id: held for held in added}

    @invariant()
    def holds_the_same_chunks(self) -> None:
        assert (len(self.index), self.index.seq) == (len(self.chunks), self.seq)

    @rule(query=st.integers(100, 110), limit=st.integers(1, 60), parity=st.sampled_from([None, 0, 1]))
    def search_dense(self, query: int, limit: int, parity: int | None) -> None:
        filter_ = None if parity is None else parse_filter({"parity": parity})
        found = self.index.search(
            SearchRequest("", unit(query), SearchMode.DENSE, limit=limit, filter=filter_)
        )
        scores = {
            i: float(held.vector.astype(np.float32) @ unit(query))
            for i, held in self.chunks.items()
            if filter_ is None or matches(filter_, held.metadata)
        }
        expected = sorted(scores.values(), reverse=True)[:limit]
        assert [chunk.score for chunk in found.chunks] == pytest.approx(expected, abs=1e-5)
        assert {chunk.chunk_id: chunk.score for chunk in found.chunks} == pytest.approx(
            {i: scores[i] for i in ids(found)}, abs=1e-5
        )

    @rule(word=st.sampled_from(WORDS), parity=st.sampled_from([0, 1]))
    def search_words(self, word: str, parity: int) -> None:
        filter_ = parse_filter({"parity": {"$ne": parity}})
        found = self.index.search(SearchRequest(word, mode=SearchMode.LEXICAL, limit=100, filter=filter_))
        holding = {
            i
            for i, held in self.chunks.items()
            if matches(filter_, held.metadata) and set(terms(word)) & set(terms(held.text))
        }
        assert set(ids(found)) == holding

    @rule(word=st.sampled_from(WORDS), query=st.integers(100, 110))
    def search_hybrid(self, word: str, query: int) -> None:
        found = self.index.search(SearchRequest(word, unit(query), limit=100))
        assert set(ids(found)) == set(self.chunks)
        scores = [chunk.score for chunk in found.chunks]
        assert scores == sorted(scores, reverse=True)


TestIndexAgainstOracle = IndexAgainstOracle.TestCase
TestIndexAgainstOracle.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("mode", list(SearchMode))
def test_empty_index_returns_no_hits(mode: SearchMode) -> None:
    assert CollectionIndex(DIMENSION).search(SearchRequest("word", unit(0), mode)).chunks == ()


@pytest.mark.parametrize("mode", list(SearchMode))
def test_pages_follow_one_another(mode: SearchMode) -> None:
    index = indexed(*(chunk(i, text="apple " * (i % 7 + 1)) for i in range(90)))
    request = SearchRequest("apple", unit(500), mode, limit=90)

    pages = [ids(index.search(replace(request, limit=30, offset=offset))) for offset in (0, 30, 60, 90)]

    assert pages[0] + pages[1] + pages[2] == ids(index.search(request))
    assert pages[3] == []


def test_candidates_stay_the_same_over_the_first_pages() -> None:
    assert {candidate_depth(wanted) for wanted in range(1, 51)} == {100}
    assert candidate_depth(51) == 200


def test_hybrid_explains_each_hit_with_the_scores_of_both_sides() -> None:
    index = indexed(chunk(1, text="apple pie"), chunk(2, text="plum jam"))

    by_id = {hit.chunk_id: hit for hit in index.search(SearchRequest("apple", unit(2))).chunks}

    assert by_id[2].dense is not None
    assert by_id[2].dense.score == pytest.approx(1.0, abs=1e-3)
    assert by_id[2].dense.rank == 1
    assert by_id[2].lexical is None
    assert by_id[1].lexical is not None
    assert by_id[1].lexical.rank == 1


def test_hybrid_scores_what_only_one_side_found() -> None:
    """A chunk below the dense candidates still gets its dense score, so that evidence is complete."""
    near = [replace(chunk(i), vector=unit(900).astype(np.float16)) for i in range(300)]
    far = replace(chunk(1_000, text="needle"), vector=(-unit(900)).astype(np.float16))

    best = indexed(*near, far).search(SearchRequest("needle", unit(900), limit=100, coverage=0.0)).chunks[0]

    assert best.chunk_id == 1_000
    assert best.dense is not None
    assert (best.dense.score, best.dense.rank) == (pytest.approx(-1.0, abs=1e-2), None)


def test_unknown_language_leaves_the_ranking_to_words_and_says_so() -> None:
    index = indexed(
        chunk(1, text="Ёж ест яблоко"), chunk(2, text="Кот спит"), *(chunk(i) for i in range(3, 40))
    )

    ranked = index.search(SearchRequest("ежи", unit(2), coverage=0.0))

    assert ids(ranked)[0] == 1
    assert ranked.weights is not None
    assert ranked.weights.dense < 0.1
    assert "vocabulary" in ranked.weights.reasons[0]


def test_query_without_known_words_still_finds_by_meaning() -> None:
    index = indexed(*(chunk(i, text="apple") for i in range(10)))

    assert ids(index.search(SearchRequest("unheard", unit(4), coverage=0.0)))[0] == 4


def test_collection_of_source_code_counts_words_less() -> None:
    code = "def get(self, key):\n    return self._items[key] if key in self._items else None\n"

    weights = indexed(*(chunk(i, text=code) for i in range(4))).search(SearchRequest("get", unit(0))).weights

    assert weights is not None
    assert weights.lexical < 1
    assert "source code" in weights.reasons[0]


def test_filter_that_allows_nothing_finds_nothing() -> None:
    index = indexed(*(chunk(i, text="apple", lang="en") for i in range(5)))
    filter_ = parse_filter({"lang": "ru"})

    for mode in SearchMode:
        assert index.search(SearchRequest("apple", unit(0), mode, filter=filter_)).chunks == ()


def test_document_version_is_replaced_in_one_change() -> None:
    index = indexed(chunk(1, 7, "old text"), chunk(2, 7, "old more"))

    index.apply([chunk(3, 7, "new text", lang="ru")], [7], 2)

    assert ids(index.search(SearchRequest("text", mode=SearchMode.LEXICAL))) == [3]
    assert len(index) == 1


def test_chunk_with_a_known_id_replaces_the_old_one() -> None:
    index = indexed(chunk(1, text="old"))

    index.apply([chunk(1, text="new")], [], 2)

    assert len(index) == 1
    assert ids(index.search(SearchRequest("old", mode=SearchMode.LEXICAL))) == []
    assert ids(index.search(SearchRequest("new", unit(1)))) == [1]


@pytest.mark.parametrize(
    ("added", "seq", "field"),
    [
        ([replace(chunk(2), vector=np.zeros(3, np.float16))], 2, "vector"),
        ([replace(chunk(2), vector=np.full(DIMENSION, np.nan, np.float16))], 2, "vector"),
        ([chunk(2), chunk(2)], 2, "additions"),
        ([chunk(2)], 0, "seq"),
    ],
)
def test_wrong_change_is_refused_and_changes_nothing(added: list[IndexedChunk], seq: int, field: str) -> None:
    index = indexed(chunk(1, text="kept"))

    with pytest.raises(InvalidInput) as raised:
        index.apply(added, [1], seq)

    assert raised.value.field == field
    assert (len(index), index.seq) == (1, 1)
    assert ids(index.search(SearchRequest("kept", unit(1)))) == [1]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (SearchRequest("a", None, SearchMode.DENSE), "vector"),
        (SearchRequest("a", None, SearchMode.HYBRID), "vector"),
        (SearchRequest("a", np.zeros(3, np.float32)), "vector"),
        (SearchRequest("a", unit(1), limit=0), "limit"),
        (SearchRequest("a", unit(1), offset=-1), "offset"),
    ],
)
def test_wrong_request_names_its_field(request_: SearchRequest, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        indexed(chunk(1)).search(request_)

    assert raised.value.field == field


def test_many_deletes_are_compacted_and_nothing_live_is_lost() -> None:
    index = indexed(*(chunk(i, text=f"word{i}", n=i) for i in range(3_000)))

    index.apply([], range(2_500), 2)
    index.apply([chunk(5_000, text="late", n=5_000)], [], 3)

    found = index.search(SearchRequest("word2999 late", mode=SearchMode.LEXICAL))
    assert set(ids(found)) == {2_999, 5_000}
    filter_ = parse_filter({"n": {"$gte": 2_998}})
    dense = index.search(SearchRequest("", unit(2_999), SearchMode.DENSE, filter=filter_))
    assert (ids(dense)[0], set(ids(dense))) == (2_999, {2_998, 2_999, 5_000})


def test_searches_during_changes_see_whole_changes_only() -> None:
    """Each change replaces all chunks of one document; a search must see one generation, never a mix."""
    size, generations, done = 40, 60, Event()
    index = CollectionIndex(DIMENSION)

    def generation(number: int) -> list[IndexedChunk]:
        return [chunk(number * size + i, 1, "apple", generation=number) for i in range(size)]

    index.apply(generation(0), [], 1)

    def keep_searching(mode: SearchMode) -> int:
        searches = 0
        while not done.is_set() or searches == 0:
            found = ids(index.search(SearchRequest("apple", unit(3), mode, limit=100)))
            assert len(found) == size
            assert len({chunk_id // size for chunk_id in found}) == 1
            searches += 1
        return searches

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(keep_searching, mode) for mode in (*SearchMode, SearchMode.HYBRID)]
        try:
            for number in range(1, generations):
                index.apply(generation(number), [1], number + 1)
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)


def test_concurrent_writers_take_turns() -> None:
    index = CollectionIndex(DIMENSION)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: index.apply([chunk(i, text="apple")], [], 1), range(40)))

    assert len(index) == 40
    assert set(ids(index.search(SearchRequest("apple", mode=SearchMode.LEXICAL, limit=50)))) == set(range(40))


def test_statistics_tell_what_is_found_what_is_newer_and_what_is_dead(tmp_path: Path) -> None:
    for name in ("first", "second", "builds"):
        (tmp_path / name).mkdir()
    index = CollectionIndex(DIMENSION, tmp_path / "first")
    index.apply([chunk(number) for number in range(1, 5)], [], 1)
    build = index.seal(tmp_path / "scratch", tmp_path / "builds", ORIGIN)
    opened = CollectionIndex.open(build, tmp_path / "second")
    opened.apply([chunk(5)], [1], 2)
    told = opened.statistics()
    assert (told.chunks, told.recent_rows, told.dead_share, told.seq) == (4, 1, 0.25, 2)
