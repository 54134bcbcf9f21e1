import pytest

from retrieval.bm25 import QueryTerm, counted, counted_length, query_terms, telling_terms
from retrieval.lexical import LexicalIndex
from tests.retrieval.test_lexical import chunk

# The first lengths of tantivy's table of field lengths, and some above 40 (its fieldnorm code).
TABLE = [*range(41), 42, 44, 46, 48, 50, 52, 54, 56, 60, 64, 68, 72, 76, 80, 84, 88, 96, 104, 112, 120, 128]


@pytest.mark.parametrize(
    "length", [0, 1, 23, 24, 39, 40, 41, 43, 55, 57, 59, 63, 85, 87, 89, 95, 119, 127, 128]
)
def test_length_is_counted_as_the_largest_of_the_table_that_it_reaches(length: int) -> None:
    assert counted_length(length) == max(entry for entry in TABLE if entry <= length)


def test_lengths_that_are_counted_alike_score_alike_in_tantivy() -> None:
    texts = [" ".join(["apple", *("pear" for _ in range(length - 1))]) for length in (56, 59, 60)]
    snapshot = LexicalIndex().rewrite([chunk(i, text) for i, text in enumerate(texts)], [], [])
    ids, scores = snapshot.search(snapshot.analyse("apple"), 3)
    score = dict(zip(ids.tolist(), scores.tolist(), strict=True))
    assert counted_length(56) == counted_length(59) != counted_length(60)
    assert score[0] == score[1] != score[2]


def test_rarest_terms_come_first_and_unknown_ones_not_at_all() -> None:
    counts = counted(["the", "rare", "the", "new"])
    assert query_terms(counts, {"the": 90, "rare": 2}) == [QueryTerm("rare", 1, 2), QueryTerm("the", 2, 90)]


def test_common_words_tell_nothing_beside_rare_ones() -> None:
    query = query_terms(counted(["the", "rare"]), {"the": 99_000, "rare": 2})
    assert [term.text for term in telling_terms(query, 100_000)] == ["rare"]
    assert telling_terms([], 100_000) == []
