import numpy as np
import pytest

from tests.training.siamese.word_vectors import encode_words, silent
from training.siamese.nearest import COMPARED_AT_ONCE, SEARCHED_AT_ONCE, encode_all, nearest, pair_cosines


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def test_search_in_blocks_finds_what_one_product_finds() -> None:
    passages, queries = unit(COMPARED_AT_ONCE + 500, 8, 0), unit(SEARCHED_AT_ONCE + 3, 8, 1)
    rows, scores = nearest(queries, passages, 5, silent)
    sample = [0, 7, SEARCHED_AT_ONCE, SEARCHED_AT_ONCE + 2]
    products = queries[sample].astype(np.float32) @ passages.astype(np.float32).T
    expected = -np.sort(-products, axis=1)[:, :5]
    np.testing.assert_allclose(scores[sample], expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, rows[sample], 1), expected, atol=1e-6)


def test_search_finds_no_more_than_there_is() -> None:
    rows, scores = nearest(unit(2, 4, 0), unit(3, 4, 1), 10, silent)
    assert rows.shape == scores.shape == (2, 3)
    assert sorted(rows[0]) == [0, 1, 2]


def test_texts_of_any_length_get_the_vectors_of_their_place() -> None:
    texts = ["a long text about the castle of the king", "castle", "", "the king of Paris"] * 100
    found = encode_all(texts, "passage", encode_words, silent)
    np.testing.assert_allclose(found, encode_words(texts, "passage"), atol=1e-3)
    assert encode_all([], "query", encode_words, silent).shape[0] == 0


def test_cosines_are_of_the_vectors_in_the_same_place() -> None:
    first, second = unit(5, 8, 0), unit(5, 8, 1)
    expected = np.diag(first.astype(np.float32) @ second.astype(np.float32).T)
    np.testing.assert_allclose(pair_cosines(first, second), expected, atol=1e-6)


def test_encoding_stops_when_the_run_is_cancelled() -> None:
    def cancelled(what: str, done: int, total: int) -> None:
        raise RuntimeError(what)

    with pytest.raises(RuntimeError, match="passage vectors"):
        encode_all(["a text"], "passage", encode_words, cancelled)
