import numpy as np
import pytest

from retrieval.bm25 import MAX_QUERY_TERMS
from retrieval.lexical import (
    MANY_CHUNKS,
    MAX_LISTED_CHUNKS,
    AllowedChunks,
    LexicalIndex,
    LexicalSnapshot,
)
from retrieval.types import IndexedChunk

TEXTS = [
    "The encoder gives unit vectors",
    "A decoder copies words from passages",
    "Ежи бегают по ночной Москве",
    "特斯拉于1943年去世",
    "def parse_filter(source): return source",
    "Encoders and decoders are connected",
]


def chunk(chunk_id: int, text: str, document_key: int | None = None) -> IndexedChunk:
    key = chunk_id if document_key is None else document_key
    return IndexedChunk(chunk_id, key, text, np.zeros(1, np.float16), {})


def index_of(*texts: str) -> LexicalSnapshot:
    return LexicalIndex().rewrite([chunk(i, text) for i, text in enumerate(texts)], [], [])


def found(
    snapshot: LexicalSnapshot, query: str, depth: int = 10, allowed: list[int] | None = None
) -> list[int]:
    permitted = None if allowed is None else allowed_chunks(allowed)
    return [int(i) for i in snapshot.search(snapshot.analyse(query), depth, permitted)[0]]


def allowed_chunks(ids: list[int]) -> AllowedChunks:
    listed = np.array(ids, np.int64)
    return AllowedChunks(len(ids), lambda: listed, lambda found: np.isin(found, listed))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("connect", [5]),
        ("vector", [0]),
        ("ёж в москве", [2]),
        ("特斯拉", [3]),
        ("去世", [3]),
        ("parse_filter", [4]),
        ("filter", [4]),
        ("ENCODER", [0, 5]),
    ],
)
def test_query_finds_other_forms_of_its_words(query: str, expected: list[int]) -> None:
    assert found(index_of(*TEXTS), query) == expected


def test_scores_are_bm25() -> None:
    snapshot = index_of("apple pear", "apple apple plum fig", "fig")

    ids, scores = snapshot.search(snapshot.analyse("apple"), 10)

    idf, average_length = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5)), 7 / 3
    expected = {
        i: idf * 2.2 * count / (count + 1.2 * (0.25 + 0.75 * length / average_length))
        for i, count, length in ((0, 1, 2), (1, 2, 4))
    }
    assert {int(i): float(s) for i, s in zip(ids, scores, strict=True)} == pytest.approx(expected, rel=1e-4)


def test_repeated_query_word_counts_each_time() -> None:
    snapshot = index_of("apple pear", "apple plum")

    single = snapshot.search(snapshot.analyse("plum"), 1)[1][0]
    double = snapshot.search(snapshot.analyse("plum plum"), 1)[1][0]

    assert double == pytest.approx(2 * single, rel=1e-5)


@pytest.mark.parametrize("query", ["", "   ", "?!", "absent", "\x00", "ничего"])
def test_query_without_known_words_finds_nothing(query: str) -> None:
    assert found(index_of(*TEXTS), query) == []


def test_empty_index_finds_nothing() -> None:
    assert found(LexicalIndex().snapshot(), "word") == []


def test_equal_scores_are_ordered_by_id() -> None:
    snapshot = LexicalIndex().rewrite([chunk(i, "same words") for i in (9, 3, 7)], [], [])

    assert found(snapshot, "words") == [3, 7, 9]


def test_filter_keeps_scores_and_only_allowed_chunks() -> None:
    snapshot = index_of(*TEXTS)

    assert found(snapshot, "encoder decoder", allowed=[1, 2, 5]) == [5, 1]
    unfiltered = snapshot.search(snapshot.analyse("decoder"), 10)
    filtered = snapshot.search(snapshot.analyse("decoder"), 10, allowed_chunks([1]))
    assert filtered[1][0] == pytest.approx(unfiltered[1][unfiltered[0].tolist().index(1)])


@pytest.mark.parametrize("kept", [100, MAX_LISTED_CHUNKS + 50])
def test_filter_never_returns_fewer_chunks_than_exist(kept: int) -> None:
    total = 3 * MAX_LISTED_CHUNKS
    # The allowed chunks are the longest, so that they rank last of all.
    texts = ("word" + " filler" * (20 if i < kept else i % 3) for i in range(total))
    snapshot = index_of(*texts)

    assert sorted(found(snapshot, "word", depth=total, allowed=list(range(kept)))) == list(range(kept))
    assert len(found(snapshot, "word", depth=70, allowed=list(range(kept)))) == 70


def test_deleted_document_is_gone_and_the_earlier_snapshot_still_has_it() -> None:
    index = LexicalIndex()
    before = index.rewrite(
        [chunk(1, "one word", 10), chunk(2, "two words", 10), chunk(3, "word", 11)], [], []
    )

    after = index.rewrite([], [10], [])

    assert found(before, "word") == [3, 1, 2]
    assert found(after, "word") == [3]


def test_document_can_be_deleted_and_added_in_one_change() -> None:
    index = LexicalIndex()
    index.rewrite([chunk(1, "old", 10)], [], [])

    after = index.rewrite([chunk(2, "new", 10)], [10], [])

    assert (found(after, "old"), found(after, "new")) == ([], [2])


def test_failed_change_leaves_nothing_behind() -> None:
    index = LexicalIndex()
    index.rewrite([chunk(1, "kept")], [], [])

    with pytest.raises(OverflowError):
        index.rewrite([chunk(2, "half"), chunk(-1, "written")], [1], [])

    snapshot = index.rewrite([chunk(3, "later")], [], [])
    assert [found(snapshot, word) for word in ("kept", "half", "later")] == [[1], [], [3]]


def test_huge_text_and_endless_query_are_taken() -> None:
    snapshot = index_of("x" * 1_000_000 + " needle", "short")

    assert found(snapshot, "needle") == [0]
    assert found(snapshot, "needle " + " ".join(f"w{i}" for i in range(5_000))) == [0]


def test_rare_words_of_a_long_query_are_the_ones_kept() -> None:
    texts = [" ".join(f"common{i}" for i in range(MAX_QUERY_TERMS + 5)) for _ in range(3)]
    snapshot = index_of(*texts, "rare")

    kept = {term.text for term in snapshot.analyse(texts[0] + " rare")}

    assert "rare" in kept
    assert len(kept) == MAX_QUERY_TERMS


@pytest.fixture(scope="module")
def many() -> LexicalSnapshot:
    """Every chunk holds "the", every second "of"; some hold a rare word once, or twice."""
    texts = [f"the {'of' if i % 2 else 'at'} w{i % 5_000} v{i % 700}" for i in range(MANY_CHUNKS)]
    return index_of(*texts)


def test_candidates_of_many_chunks_are_those_of_the_rare_words_with_the_scores_of_all(
    many: LexicalSnapshot,
) -> None:
    query = many.analyse("the of w17 v3")
    best, best_scores = many.search(query, 10)

    ids, scores = many.candidates(query, 100)

    assert set(best.tolist()) <= set(ids.tolist())
    assert scores[:10] == pytest.approx(best_scores)
    assert len(ids) < len(many.search(query, 100)[0])  # nothing that only a common word finds


def test_question_of_common_words_alone_has_candidates(many: LexicalSnapshot) -> None:
    query = many.analyse("the of")

    assert len(many.candidates(query, 100)[0]) == 100


def test_scores_of_given_chunks_are_those_of_a_search() -> None:
    snapshot = index_of(*TEXTS)
    query = snapshot.analyse("encoder vectors passages words")
    ids, expected = snapshot.search(query, 10)

    found_ids, scores = snapshot.scores(query, np.arange(len(TEXTS)))

    assert found_ids.tolist() == ids.tolist()
    assert scores == pytest.approx(expected)
