"""Which texts are nearly the same, by their vectors: each is given a leader, the first one near to it."""

from collections.abc import Sequence
from typing import Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from training.siamese.types import EncodeTexts, encoded_parts

_BLOCK = 1_024
_ENCODED_AT_ONCE = 256
# An exact search of so many leaders takes a few minutes in all; above, a graph finds nearly as many.
_EXACT_LEADERS = 50_000
# Vectors of the same text differ by this much with what else was in their batch.
ROUNDING = 1e-4


def encode_once(
    texts: Sequence[str], role: Literal["query", "passage"], encode: EncodeTexts
) -> NDArray[np.float32]:
    """(len(texts), d) unit; equal texts are encoded once; few in a call, so that `encode` can stop."""
    unique = sorted(set(texts), key=lambda text: (len(text), text))
    calls = range(0, len(unique), _ENCODED_AT_ONCE)
    parts = (unique[call : call + _ENCODED_AT_ONCE] for call in calls)
    vectors = np.concatenate(list(encoded_parts(parts, role, encode)))
    places = {text: place for place, text in enumerate(unique)}
    return vectors[[places[text] for text in texts]]


def leaders(vectors: NDArray[np.float32], near: float) -> NDArray[np.int64]:
    """For each row the index of its leader, itself if it is one; leaders are no nearer than `near` together.

    vectors: (n, d) unit; near: cosine. Rows are taken in order, in blocks: memory is that of the leaders and
    of one block's cosines.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    found = np.arange(len(vectors))
    kept: list[NDArray[np.int64]] = []
    index = _index(*vectors.shape)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        free = np.ones(len(block), bool)
        if index.ntotal:
            cosines, places = index.search(block, 1)
            free = cosines[:, 0] < near - ROUNDING
            found[start : start + len(block)][~free] = np.concatenate(kept)[places[~free, 0]]
        chosen = start + _led_within(block, free, found[start : start + len(block)], near, start)
        index.add(vectors[chosen])
        kept.append(chosen)
    return found


def highest_cosines(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each row the cosine of the nearest of the others; (n,). -1 where there is none."""
    if not len(vectors) or not len(others):
        return np.full(len(vectors), -1, np.float32)
    index = _index(*others.shape)
    index.add(np.ascontiguousarray(others, np.float32))
    cosines: NDArray[np.float32] = index.search(np.ascontiguousarray(vectors, np.float32), 1)[0][:, 0]
    return cosines


def _index(count: int, dimension: int) -> faiss.Index:
    if count <= _EXACT_LEADERS:
        return faiss.IndexFlatIP(dimension)
    return faiss.IndexHNSWFlat(dimension, 24, faiss.METRIC_INNER_PRODUCT)


def _led_within(
    block: NDArray[np.float32], free: NDArray[np.bool_], found: NDArray[np.int64], near: float, start: int
) -> NDArray[np.int64]:
    """Leaders among the free rows of a block, by place in it; writes into `found` whom they lead."""
    places = np.flatnonzero(free)
    alike = block[places] @ block[places].T >= near - ROUNDING
    unled = np.ones(len(places), bool)
    chosen = []
    for number, place in enumerate(places):
        if unled[number]:
            chosen.append(place)
            led = alike[number] & unled
            found[places[led]] = start + place
            unled &= ~led
    return np.array(chosen, np.int64)
