"""Which passages lie nearest to queries: exact, in bounded memory."""

from collections.abc import Iterator, Sequence
from typing import Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from training.siamese.progress import Show
from training.siamese.types import EncodeTexts, encoded_parts

ENCODED_AT_ONCE = 256  # texts: about three seconds on two busy cores, so that cancelling is noticed soon
SEARCHED_AT_ONCE = 1_024  # queries
COMPARED_AT_ONCE = 32_768  # passages: 50 MB as float32 at 384 dimensions

Vectors = NDArray[np.float16]


def encode_all(
    texts: Sequence[str], role: Literal["query", "passage"], encode: EncodeTexts, show: Show
) -> Vectors:
    """(len(texts), d) unit vectors, halves to save memory. Texts of like length are encoded together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    starts = range(0, len(order), ENCODED_AT_ONCE)

    def parts() -> Iterator[list[str]]:
        for start in starts:
            show(f"{role} vectors", start, len(texts))
            yield [texts[i] for i in order[start : start + ENCODED_AT_ONCE]]

    found: Vectors | None = None
    for start, vectors in zip(starts, encoded_parts(parts(), role, encode), strict=True):
        if found is None:
            found = np.empty((len(texts), vectors.shape[1]), np.float16)
        found[order[start : start + ENCODED_AT_ONCE]] = vectors
    show(f"{role} vectors", len(texts), len(texts))
    return np.empty((0, 0), np.float16) if found is None else found


def nearest(
    queries: Vectors, passages: Vectors, depth: int, show: Show
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and cosines of the `depth` nearest passages to each query, (queries, depth), best first.

    queries, passages: (n, d) unit vectors. depth: fewer where there are fewer passages.
    """
    depth = min(depth, len(passages))
    rows, scores = np.empty((len(queries), depth), np.int64), np.empty((len(queries), depth), np.float32)
    if depth:
        for start in range(0, len(queries), SEARCHED_AT_ONCE):
            show("searches", start, len(queries))
            part = slice(start, start + SEARCHED_AT_ONCE)
            rows[part], scores[part] = _nearest(queries[part].astype(np.float32), passages, depth)
    show("searches", len(queries), len(queries))
    return rows, scores


def _nearest(
    queries: NDArray[np.float32], passages: Vectors, depth: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best of each block of passages and the best so far, merged."""
    rows = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for first in range(0, len(passages), COMPARED_AT_ONCE):
        block = passages[first : first + COMPARED_AT_ONCE].astype(np.float32)
        found = faiss.knn(queries, block, min(depth, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        scores = np.concatenate([scores, found[0]], axis=1)
        rows = np.concatenate([rows, found[1] + first], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    return rows, scores


def pair_cosines(first: Vectors, second: Vectors) -> NDArray[np.float32]:
    """(n,) of the i-th of both."""
    cosines: NDArray[np.float32] = np.einsum("nd,nd->n", first.astype(np.float32), second.astype(np.float32))
    return cosines
