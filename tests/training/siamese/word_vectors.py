"""An encoder for tests: texts are near each other by the words they share."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import terms

DIMENSION = 256


def encode_words(texts: Sequence[str], role: str) -> NDArray[np.float32]:
    """(len(texts), DIMENSION) unit vectors; each word has a direction of its own."""
    rows = np.array([_row(text) for text in texts], np.float32).reshape(len(texts), DIMENSION)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _row(text: str) -> NDArray[np.float32]:
    row = np.zeros(DIMENSION, np.float32)
    for word in terms(text):
        row += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(DIMENSION)
    return row


def silent(what: str, done: int, total: int) -> None:
    """Shows no progress."""
