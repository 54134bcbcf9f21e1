"""Texts that belong together, by their vectors: neighbours, clusters and near duplicates, with FAISS."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from embeddings.vectors import unit_rows
from retrieval.sealed_vectors import MIN_HNSW_ROWS, IndexKind, new_index

Vectors = NDArray[np.float32]

# Runs of k-means from different starts; the best stays.
RESTARTS = 3
ITERATIONS = 25
# Sizes that are tried when nobody says how many clusters there are: each a tenth larger than the last.
GROWTH = 1.1
MOST_TRIED = 60
# Rows that the choice among them is made on.
CHOICE_ROWS = 20_000
# Rows that are compared with all others at a time: 50,000 rows that are all alike make 100 MB of pairs.
BLOCK = 256
# In a collection that is too large to compare every pair, the nearest rows of each that are looked at.
NEIGHBOURS = 64

Progress = Callable[[str, int, int], None]


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """place: of the other text; score: cosine, -1 to 1."""

    place: int
    score: float


def nearest_neighbours(
    queries: Vectors, others: Vectors | None, limit: int, min_score: float = -1.0
) -> list[list[Neighbour]]:
    """For each query the most alike of the others, best first, by exact search.

    queries, others: (n, dimension) unit rows; others None: the queries, each without itself.
    """
    own = others is None
    searched = queries if others is None else others
    depth = min(limit + own, len(searched))
    scores, places = _knn(queries, searched, depth)
    found = []
    for row, (near, values) in enumerate(zip(places.tolist(), scores.tolist(), strict=True)):
        kept = [
            Neighbour(place, min(1.0, max(-1.0, score)))
            for place, score in zip(near, values, strict=True)
            if not (own and place == row) and score >= min_score
        ]
        found.append(kept[:limit])
    return found


def _knn(queries: Vectors, others: Vectors, depth: int) -> tuple[Vectors, NDArray[np.int64]]:
    rows = np.ascontiguousarray(queries), np.ascontiguousarray(others)
    scores, places = faiss.knn(*rows, depth, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, places


@dataclass(frozen=True, slots=True)
class Clustering:
    """places: (n,) the cluster of each row; centres: (k, dimension) unit rows; the largest cluster is 0.

    silhouette: mean of 1 - (distance to the own centre / distance to the next), 0 to 1: how far the clusters
    stand apart.
    """

    places: NDArray[np.int64]
    centres: Vectors
    silhouette: float


def cluster(
    vectors: Vectors, clusters: int | None = None, seed: int = 0, progress: Progress = _silent
) -> Clustering:
    """Spherical k-means (Dhillon and Modha, 2001).

    vectors: (n, dimension) unit rows; clusters: None: the number, up to MOST_TRIED, whose clusters stand
    farthest apart by the simplified silhouette (Hruschka et al., 2004). Raises InvalidInput for a number
    outside 1 to n.
    """
    if clusters is not None and not 1 <= clusters <= len(vectors):
        raise InvalidInput(
            f"{len(vectors)} texts cannot make {clusters} clusters",
            field="clusters",
            found=str(clusters),
            expected=f"1 to {len(vectors)}",
        )
    chosen = clusters or _choose(vectors, seed, progress)
    return _numbered(vectors, _centres(vectors, chosen, seed))


def _choose(vectors: Vectors, seed: int, progress: Progress) -> int:
    sample = vectors
    if len(vectors) > CHOICE_ROWS:
        drawn = np.random.default_rng(seed).choice(len(vectors), CHOICE_ROWS, replace=False)
        sample = vectors[np.sort(drawn)]
    tried: dict[int, float] = {}
    sizes = _sizes(len(vectors))
    for done, size in enumerate(sizes, start=1):
        tried[size] = _assign(sample, _centres(sample, size, seed))[1]
        progress("numbers of clusters", done, len(sizes))
    return max(tried, key=lambda size: tried[size]) if tried else 1


def _sizes(rows: int) -> list[int]:
    """Numbers of clusters to try: from 2 on, up to twice the root of the rows."""
    sizes, size = [], 2.0
    while round(size) <= min(MOST_TRIED, 2 * sqrt(rows), rows - 1):
        sizes.append(round(size))
        size = max(size * GROWTH, size + 1)
    return sizes


def _centres(vectors: Vectors, clusters: int, seed: int) -> Vectors:
    means: Any = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=ITERATIONS,
        nredo=RESTARTS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=256,
    )
    means.train(np.ascontiguousarray(vectors))
    return unit_rows(means.centroids)


def _assign(vectors: Vectors, centres: Vectors) -> tuple[NDArray[np.int64], float]:
    """The nearest centre of each row, and the mean simplified silhouette."""
    scores, places = _knn(vectors, centres, min(2, len(centres)))
    if len(centres) == 1:
        return places[:, 0], 0.0
    own, other = np.maximum(1 - scores, 0).T
    return places[:, 0], float(np.mean((other - own) / np.maximum(other, 1e-6)))


def _numbered(vectors: Vectors, centres: Vectors) -> Clustering:
    """The clusters that have rows, by falling size."""
    places, silhouette = _assign(vectors, centres)
    sizes = np.bincount(places, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    numbers = np.empty(len(centres), np.int64)
    numbers[order] = np.arange(len(order))
    return Clustering(numbers[places], centres[order], silhouette)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two documents with parts that are alike.

    first_share, second_share: of the parts of each that the other has too, 0 to 1; score: mean cosine of
    these parts with their nearest in the other.
    """

    first: int
    second: int
    first_share: float
    second_share: float
    score: float


def overlaps(
    vectors: Vectors, owners: NDArray[np.int64], min_score: float, progress: Progress = _silent
) -> list[Overlap]:
    """Pairs of documents that share a part of at least `min_score`, those that share most first.

    vectors: (n, dimension) unit rows of parts; owners: (n,) the document of each. Every pair of parts is
    compared below MIN_HNSW_ROWS rows; above, the NEIGHBOURS nearest of each, as a graph finds them.
    """
    if not len(vectors):
        return []
    parts = Counter(owners.tolist())
    best: dict[tuple[int, int], list[float]] = {}
    for start, found in _near_rows(vectors, min_score, progress):
        for row, near in enumerate(found, start):
            for document, score in _best_by_owner(near, owners, int(owners[row])).items():
                best.setdefault((int(owners[row]), document), []).append(score)
    pairs = sorted({(min(pair), max(pair)) for pair in best})
    made = [_overlap(first, second, best, parts) for first, second in pairs]
    return sorted(made, key=lambda each: (-min(each.first_share, each.second_share), -each.score))


_Near = tuple[NDArray[np.int64], NDArray[np.float32]]


def _near_rows(vectors: Vectors, min_score: float, progress: Progress) -> Any:
    """Yields blocks: their first row, and for each row the rows that are near with their cosines."""
    index, exact = _index(vectors)
    for start in range(0, len(vectors), BLOCK):
        block = np.ascontiguousarray(vectors[start : start + BLOCK])
        # range_search keeps what is above the radius, so that equal to it has to be let in.
        radius = float(np.nextafter(np.float32(min_score), np.float32(-2)))
        yield start, _by_range(index, block, radius) if exact else _by_count(index, block, radius)
        progress("parts", min(start + BLOCK, len(vectors)), len(vectors))


def _index(vectors: Vectors) -> tuple[Any, bool]:
    """An index of the rows, and whether it finds all that are near."""
    exact = len(vectors) < MIN_HNSW_ROWS
    index: Any = (
        faiss.IndexFlatIP(vectors.shape[1])
        if exact
        else new_index(IndexKind.HNSW, vectors.shape[1], len(vectors))
    )
    index.add(np.ascontiguousarray(vectors))
    return index, exact


def _by_range(index: Any, block: Vectors, radius: float) -> list[_Near]:
    limits, scores, rows = index.range_search(block, radius)
    return [(rows[first:last], scores[first:last]) for first, last in pairwise(limits.tolist())]


def _by_count(index: Any, block: Vectors, radius: float) -> list[_Near]:
    index.hnsw.efSearch = 2 * NEIGHBOURS
    scores, rows = index.search(block, NEIGHBOURS)
    return [(near[value > radius], value[value > radius]) for near, value in zip(rows, scores, strict=True)]


def _best_by_owner(near: _Near, owners: NDArray[np.int64], own: int) -> dict[int, float]:
    """The best score in each other document."""
    best: dict[int, float] = {}
    for row, score in zip(near[0].tolist(), near[1].tolist(), strict=True):
        document = int(owners[row])
        if document != own:
            best[document] = max(score, best.get(document, -1.0))
    return best


def _overlap(
    first: int, second: int, best: dict[tuple[int, int], list[float]], parts: Counter[int]
) -> Overlap:
    there, back = best.get((first, second), []), best.get((second, first), [])
    score = min(1.0, float(np.mean([*there, *back])))
    return Overlap(first, second, len(there) / parts[first], len(back) / parts[second], score)


def connected(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of what pairs join, directly or through others; each in order, the largest first."""
    roots: dict[int, int] = {}

    def root(item: int) -> int:
        while roots.setdefault(item, item) != item:
            roots[item] = item = roots[roots[item]]
        return item

    for first, second in pairs:
        roots[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for item in sorted(roots):
        groups.setdefault(root(item), []).append(item)
    return sorted(groups.values(), key=lambda group: (-len(group), group))
