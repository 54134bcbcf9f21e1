"""Planes of vectors: neighbours stay neighbours, better than principal components alone can keep them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from embeddings.vectors import unit_rows
from retrieval.layout import MIN_EMBEDDED, LayoutSettings, fitted, lay_out, principal_plane

QUICK = LayoutSettings(epochs=60)
Rows = NDArray[np.float32]


def bundles(count: int, size: int, dimension: int = 32) -> tuple[Rows, NDArray[np.int64]]:
    """Rows around directions of more dimensions than a plane has, and which each is of."""
    rng = np.random.default_rng(1)
    centres = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0][:count]
    places = np.repeat(np.arange(count), size)
    return unit_rows(
        (centres[places] + rng.normal(size=(len(places), dimension)) * 0.12).astype(np.float32)
    ), places


def trust(rows: Rows, plane: Rows) -> float:
    return float(trustworthiness(rows, plane, n_neighbors=10, metric="cosine"))


def test_it_keeps_neighbours_that_principal_components_lose() -> None:
    rows, _ = bundles(8, 30)
    kept, lost = trust(rows, lay_out(rows, QUICK)), trust(rows, principal_plane(rows))
    assert kept > 0.9
    assert kept > lost + 0.05


def test_points_of_a_bundle_lie_together() -> None:
    rows, owners = bundles(6, 25)
    plane = lay_out(rows, QUICK)
    nearest = np.argsort(np.linalg.norm(plane[:, None] - plane[None], axis=2), axis=1)[:, 1:6]
    assert (owners[nearest] == owners[:, None]).mean() > 0.95


def test_the_same_rows_give_the_same_plane() -> None:
    rows, _ = bundles(4, 20)
    np.testing.assert_array_equal(lay_out(rows, QUICK), lay_out(rows, QUICK))


@pytest.mark.parametrize("count", [0, 1, 2, 3, MIN_EMBEDDED - 1, MIN_EMBEDDED])
def test_a_few_rows_have_a_plane_too(count: int) -> None:
    rows = unit_rows(np.random.default_rng(2).normal(size=(count, 8)).astype(np.float32))
    plane = lay_out(rows, QUICK)
    assert plane.shape == (count, 2)
    assert np.isfinite(plane).all()


@pytest.mark.parametrize("copies", [5, 40])
def test_copies_of_one_row_do_not_break_it(copies: int) -> None:
    rows = np.concatenate([np.repeat(bundles(1, 1)[0], copies, axis=0), bundles(3, 10)[0]])
    plane = lay_out(rows, QUICK)
    assert np.isfinite(plane).all()
    assert np.abs(plane).max() == pytest.approx(1)


def test_rows_that_are_all_the_same_lie_in_the_square() -> None:
    plane = lay_out(np.repeat(bundles(1, 1)[0], 30, axis=0), QUICK)
    assert np.isfinite(plane).all()
    assert np.abs(plane).max() <= 1 + 1e-6


def test_the_longer_side_fills_the_square_and_the_shape_stays() -> None:
    placed = fitted(np.array([[0, 5], [8, 7], [4, 6]], np.float32))
    assert placed.tolist() == [[-1, -0.25], [1, 0.25], [0, 0]]


def test_it_stops_when_cancelled() -> None:
    rows, _ = bundles(4, 20)
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    lay_out(rows, QUICK, cancelled)
    assert len(asked) == 4
