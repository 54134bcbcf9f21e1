"""Vectors that are kept for the next time that a text comes."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.siamese.remembering import Remembering


class _Lengths:
    """Encodes a text as its length, turned round for queries; notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str], role: Literal["query", "passage"]) -> NDArray[np.float32]:
        self.asked.append(list(texts))
        sign = -1 if role == "query" else 1
        return np.array([[sign * len(text), 0.5] for text in texts], np.float32)


def test_encodes_a_text_once_and_gives_rows_in_the_order_asked_for() -> None:
    lengths = _Lengths()
    encode = Remembering(lengths)
    encode(["a", "bbb"], "passage")
    rows = encode(["cc", "bbb", "cc", "a"], "passage")
    assert rows.tolist() == [[2, 0.5], [3, 0.5], [2, 0.5], [1, 0.5]]
    assert rows.dtype == np.float32
    assert lengths.asked == [["a", "bbb"], ["cc"]]


def test_keeps_queries_apart_from_passages() -> None:
    lengths = _Lengths()
    encode = Remembering(lengths)
    assert encode(["a"], "passage").tolist() == [[1, 0.5]]
    assert encode(["a"], "query").tolist() == [[-1, 0.5]]
    assert encode(["a"], "passage").tolist() == [[1, 0.5]]
    assert lengths.asked == [["a"], ["a"]]
