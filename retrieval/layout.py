"""Vectors of many dimensions as points of a plane, such that neighbours stay neighbours.

Principal components place the groups, and a neighbour embedding pulls the near ones together: UMAP (McInnes,
Healy and Melville, arXiv 1802.03426, 2018) without its spectral start, which principal components replace
just as well (Kobak and Linderman, Nature Biotechnology 2021), and with all points moved at once, as NumPy
likes it, in place of one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.float32]
Edges = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]

# Fewer rows have no neighbourhoods to speak of: their principal components say it all.
MIN_EMBEDDED = 12
# The curve 1 / (1 + A * d^(2B)) of being neighbours in the plane: UMAP's fit for a least distance of 0.1.
CURVE_A, CURVE_B = 1.577, 0.895
# The longest step of a point along one axis for one edge.
MAX_STEP = 4.0
# The plane at the beginning, from the middle to its farthest point.
START_RADIUS = 10.0


@dataclass(frozen=True, slots=True)
class LayoutSettings:
    """How a plane is made. neighbours: that each point is drawn to; epochs: passes over all edges; repelled:
    points drawn at random that each edge pushes its first point from.
    """

    neighbours: int = 15
    epochs: int = 250
    repelled: int = 5
    seed: int = 0


def lay_out(
    vectors: Vectors,
    settings: LayoutSettings = LayoutSettings(),  # frozen, so it may be shared
    cancelled: Callable[[], bool] = lambda: False,
) -> Places:
    """(n, dimension) unit rows -> (n, 2) places from -1 to 1, both axes in one scale; the same for the same
    input. cancelled: asked in each pass; once it is true, the plane is as far as it got.
    """
    start = principal_plane(vectors)
    if len(vectors) < MIN_EMBEDDED:
        return fitted(start)
    edges = _fuzzy_edges(*_neighbours(vectors, settings.neighbours))
    radius = float(np.abs(start).max()) or 1.0
    return fitted(_Embedding(start * (START_RADIUS / radius), edges, settings).run(cancelled))


def use_one_core() -> None:
    """Let what the calling thread computes with FAISS leave the other cores to searches."""
    faiss.omp_set_num_threads(1)


def principal_plane(vectors: Vectors) -> Places:
    """(n, 2): the rows along the two directions in which they differ most; their signs do not depend on the
    machine.
    """
    if not len(vectors):
        return np.zeros((0, 2), np.float32)
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    plane = np.zeros((len(vectors), 2))
    found = centred @ directions[:, ::-1][:, :2]
    plane[:, : found.shape[1]] = found
    farthest = np.abs(plane).argmax(axis=0)
    signs = np.where(plane[farthest, [0, 1]] < 0, -1.0, 1.0)
    return (plane * signs).astype(np.float32)


def fitted(places: Places) -> Places:
    """The same, moved and scaled to fill the square from -1 to 1 in its longer side."""
    if not len(places):
        return places
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-9)
    return np.asarray((places - (low + high) / 2) / half, np.float32)


def _neighbours(vectors: Vectors, count: int) -> tuple[Vectors, NDArray[np.int64]]:
    """Cosine distances (n, count) and rows (n, count) of the nearest others, by exact search."""
    rows = np.ascontiguousarray(vectors)
    count = min(count, len(rows) - 1)
    scores, near = faiss.knn(rows, rows, count + 1, metric=faiss.METRIC_INNER_PRODUCT)
    # Itself stands first, unless the row has copies: then any one of these goes.
    own = near == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True
    return np.maximum(1 - scores[~own].reshape(-1, count), 0), near[~own].reshape(-1, count)


def _fuzzy_edges(distances: Vectors, near: NDArray[np.int64]) -> Edges:
    """From, to and weight of each pair of which one is a neighbour of the other, in both directions."""
    weights = _memberships(distances)
    count = len(near)
    pairs = (np.arange(count)[:, None] * count + near).ravel()
    both = np.concatenate([pairs, (near * count + np.arange(count)[:, None]).ravel()])
    unique, where = np.unique(both, return_inverse=True)
    there = np.bincount(where[: len(pairs)], weights.ravel(), len(unique))
    back = np.bincount(where[len(pairs) :], weights.ravel(), len(unique))
    joined = there + back - there * back
    kept = joined > 0
    first, second = unique[kept] // count, unique[kept] % count
    return first.astype(np.int32), second.astype(np.int32), joined[kept].astype(np.float32)


def _memberships(distances: Vectors) -> Vectors:
    """exp(-(distance - nearest) / scale), with each row's scale such that they sum to log2 of their number.

    Halving finds the scale in as many steps as a float has bits to speak of.
    """
    beyond = distances - distances.min(axis=1, keepdims=True)
    target = np.log2(distances.shape[1])
    low, high = np.zeros((len(beyond), 1)), np.full((len(beyond), 1), 10.0)
    for _ in range(40):
        middle = (low + high) / 2
        too_wide = np.exp(-beyond / middle).sum(axis=1, keepdims=True) > target
        low, high = np.where(too_wide, low, middle), np.where(too_wide, middle, high)
    floor = 1e-3 * max(float(distances.mean()), 1e-6)
    return np.asarray(np.exp(-beyond / np.maximum(high, floor)), np.float32)


class _Embedding:
    """Points that edges pull together and chance pushes apart, ever less."""

    def __init__(self, places: Places, edges: Edges, settings: LayoutSettings) -> None:
        self._places = places.astype(np.float32)
        self._first, self._second, weights = edges
        self._share = weights / weights.max()  # of the passes in which an edge pulls
        self._settings = settings
        self._rng = np.random.default_rng(settings.seed)

    def run(self, cancelled: Callable[[], bool]) -> Places:
        epochs = self._settings.epochs
        for epoch in range(epochs):
            if cancelled():
                break
            self._step(epoch, 1.0 - epoch / epochs)
        return self._places

    def _step(self, epoch: int, rate: float) -> None:
        # As UMAP does it: an edge of half the greatest weight pulls in every second pass.
        active = np.floor((epoch + 1) * self._share) > np.floor(epoch * self._share)
        first, second = self._first[active], self._second[active]
        moves = self._moves(first, second, _pull)
        for _ in range(self._settings.repelled):
            others = self._rng.integers(0, len(self._places), len(first), dtype=np.int32)
            moves += self._moves(first, others, _push)
        self._places += rate * moves

    def _moves(
        self, first: NDArray[np.int32], second: NDArray[np.int32], force: Callable[[Places], Places]
    ) -> Places:
        """(n, 2): what each point moves by, the sum over the edges that begin at it."""
        apart = self._places[first] - self._places[second]
        strength = force(np.einsum("nd,nd->n", apart, apart))
        steps = np.clip(apart * strength[:, None], -MAX_STEP, MAX_STEP)
        sums = [np.bincount(first, steps[:, axis], len(self._places)) for axis in (0, 1)]
        return np.stack(sums, axis=1).astype(np.float32)


def _pull(squared: Places) -> Places:
    """Gradient of the attraction over the difference, by squared distance."""
    squared = np.maximum(squared, np.float32(1e-12))
    power = squared ** np.float32(CURVE_B)
    return np.asarray(-2 * CURVE_A * CURVE_B * power / squared / (1 + CURVE_A * power), np.float32)


def _push(squared: Places) -> Places:
    """The same of the repulsion."""
    power = squared ** np.float32(CURVE_B)
    return np.asarray(2 * CURVE_B / ((0.001 + squared) * (1 + CURVE_A * power)), np.float32)
