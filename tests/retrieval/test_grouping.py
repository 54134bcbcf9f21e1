"""Neighbours, clusters and overlaps, against exact search in NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from embeddings.vectors import unit_rows
from retrieval import grouping
from retrieval.grouping import cluster, connected, nearest_neighbours, overlaps

DIMENSION = 16


def random_rows(count: int, seed: int = 1) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32))


def bundles(sizes: tuple[int, ...], spread: float = 0.05) -> tuple[NDArray[np.float32], list[int]]:
    """Rows around as many directions as there are sizes, and which each is of."""
    rng = np.random.default_rng(3)
    centres = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0][: len(sizes)]
    places = [place for place, size in enumerate(sizes) for _ in range(size)]
    rows = centres[places] + rng.normal(size=(len(places), DIMENSION)) * spread
    return unit_rows(rows.astype(np.float32)), places


def test_neighbours_are_those_of_exact_search() -> None:
    queries, others = random_rows(5), random_rows(40, seed=2)
    scores = queries @ others.T
    for row, found in enumerate(nearest_neighbours(queries, others, limit=3)):
        assert [each.place for each in found] == np.argsort(-scores[row])[:3].tolist()
        np.testing.assert_allclose([each.score for each in found], np.sort(scores[row])[::-1][:3], atol=1e-5)


def test_a_row_is_no_neighbour_of_itself_but_its_copy_is() -> None:
    rows = random_rows(4)
    found = nearest_neighbours(np.concatenate([rows, rows[:1]]), None, limit=1)
    assert (found[0][0].place, found[4][0].place) == (4, 0)
    assert all(each.place != row for row, near in enumerate(found) for each in near)


def test_many_copies_of_a_row_do_not_crowd_out_a_neighbour() -> None:
    rows = np.repeat(random_rows(1), 5, axis=0)
    assert [len(near) for near in nearest_neighbours(rows, None, limit=2)] == [2] * 5


def test_neighbours_below_the_least_score_are_left_out() -> None:
    rows = np.eye(3, DIMENSION, dtype=np.float32)
    assert nearest_neighbours(rows[:1], rows, limit=3, min_score=0.5) == [[grouping.Neighbour(0, 1.0)]]


def test_clusters_are_the_bundles_largest_first() -> None:
    vectors, places = bundles((5, 20, 10))
    found = cluster(vectors, clusters=3)
    assert [set(found.places[np.array(places) == each].tolist()) for each in range(3)] == [{2}, {0}, {1}]
    np.testing.assert_allclose(np.linalg.norm(found.centres, axis=1), 1, atol=1e-5)


def test_the_number_of_clusters_is_found() -> None:
    vectors, _ = bundles((15, 15, 15, 15, 15, 15))
    found = cluster(vectors)
    assert len(found.centres) == 6
    assert found.silhouette > 0.8


def test_the_same_seed_gives_the_same_clusters() -> None:
    vectors = random_rows(60)
    np.testing.assert_array_equal(cluster(vectors, seed=4).places, cluster(vectors, seed=4).places)


def test_one_row_is_one_cluster() -> None:
    assert cluster(random_rows(1)).places.tolist() == [0]


@pytest.mark.parametrize("clusters", [0, 4])
def test_an_impossible_number_of_clusters_is_refused(clusters: int) -> None:
    with pytest.raises(InvalidInput) as error:
        cluster(random_rows(3), clusters=clusters)
    assert error.value.expected == "1 to 3"


def test_overlap_tells_the_share_of_each_document() -> None:
    parts = random_rows(5)
    vectors = np.concatenate([parts, parts[:2]])  # document 1 holds two of the four parts of document 0
    owners = np.array([0, 0, 0, 0, 2, 1, 1])
    (found,) = overlaps(vectors, owners, min_score=0.99)
    assert (found.first, found.second, found.first_share, found.second_share) == (0, 1, 0.5, 1.0)
    assert found.score == pytest.approx(1.0, abs=1e-5)


def test_parts_that_repeat_within_a_document_are_no_overlap() -> None:
    part = random_rows(1)
    assert overlaps(np.concatenate([part, part]), np.array([0, 0]), min_score=0.5) == []


def test_a_score_equal_to_the_least_counts() -> None:
    rows = np.zeros((2, DIMENSION), np.float32)
    rows[:, 0] = 1
    assert len(overlaps(rows, np.array([0, 1]), min_score=1.0)) == 1


def test_overlaps_are_those_of_exact_search() -> None:
    vectors, owners = random_rows(300), np.arange(300) // 3
    scores = vectors @ vectors.T
    near = {tuple(sorted((i // 3, j // 3))) for i, j in np.argwhere(scores >= 0.7) if i // 3 != j // 3}
    assert {(each.first, each.second) for each in overlaps(vectors, owners, min_score=0.7)} == near


def test_a_large_collection_is_searched_by_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, owners = random_rows(200), np.arange(200)
    exact = overlaps(vectors, owners, min_score=0.75)
    monkeypatch.setattr(grouping, "MIN_HNSW_ROWS", 100)
    found = overlaps(vectors, owners, min_score=0.75)
    assert [(each.first, each.second) for each in found] == [(each.first, each.second) for each in exact]


def test_nothing_overlaps_in_an_empty_collection() -> None:
    assert overlaps(np.empty((0, 0), np.float32), np.empty(0, np.int64), min_score=0.9) == []


def test_pairs_join_to_groups_through_others() -> None:
    assert connected([(3, 4), (0, 1), (1, 2)]) == [[0, 1, 2], [3, 4]]
